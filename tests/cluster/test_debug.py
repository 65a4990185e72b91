"""Debug values: what steps of a run that asks for it evaluated to, in ConfigMaps, without Secrets."""

from __future__ import annotations

from typing import Any

from tests.cluster import operator_fixture as fixture
from tools.rest import Api
from tools.waiting import wait_for
from vela_workflow.api import constants
from vela_workflow.runs import debug

JSON = dict[str, Any]
WANTED = {constants.ANNOTATION_DEBUG: "true"}

APPLY = """
import "vela/kube"

apply: kube.#Apply & {$params: value: {
	apiVersion: "v1"
	kind:       "ConfigMap"
	metadata: name: parameter.name
	data: told: parameter.told
}}
seen: apply.$returns.value.metadata.uid
parameter: {name: string, told: string}
"""

READ_SECRET = """
import ("vela/kube", "encoding/base64")

read: kube.#Read & {$params: value: {apiVersion: "v1", kind: "Secret", metadata: name: parameter.name}}
word: "\\(base64.Decode(null, read.$returns.value.data.word))"
parameter: name: string
"""

WRITE_SECRET = """
import "vela/kube"

ready: kube.#Read & {$params: value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: "never"}}
if ready.$returns.value.data.go != _|_ {
	write: kube.#Apply & {$params: value: {
		apiVersion: "v1", kind: "Secret", metadata: name: "made", stringData: word: parameter.word
	}}
}
template: {kind: "Secret", stringData: word: parameter.word}
parameter: word: string
"""

ECHO = """
result: parameter.value
parameter: value: _
"""


def shown(admin: Api, run: fixture.Run, step: str) -> JSON | None:
    """The debug ConfigMap of a step."""
    entry = fixture.step(run.status, step)
    name = f"{run.name}-{entry['id']}-debug-{run.uid[-5:]}"
    return admin.get("v1", "ConfigMap", name, run.namespace)


def text(admin: Api, run: fixture.Run, step: str) -> str:
    found = shown(admin, run, step)
    assert found is not None, f"no debug value of {step}"
    return str(found["data"]["debug"])


def test_every_attempted_step_is_shown(admin: Api, runs: fixture.Runs) -> None:
    runs.definition("debug-apply", APPLY)
    target = fixture.unique("shown")
    run = runs.start(
        f"""
        - {{name: a, type: debug-apply, properties: {{name: {target}, told: hello}}}}
        - name: g
          type: step-group
          subSteps:
            - {{name: sub, type: echo, properties: {{value: 42}}}}
        - {{name: skipped, type: echo, if: "false", properties: {{value: 1}}}}
        """,
        annotations=WANTED,
    )
    run.ended("succeeded")
    found = shown(admin, run, "a")
    assert found is not None
    assert found["metadata"]["ownerReferences"][0]["uid"] == run.uid
    live = admin.get("v1", "ConfigMap", target, run.namespace)
    assert live is not None
    told = found["data"]["debug"]
    assert "hello" in told
    assert f'seen: "{live["metadata"]["uid"]}"' in " ".join(told.split()), told
    assert "42" in text(admin, run, "sub")
    assert shown(admin, run, "g") is None, "a group has no value"
    assert shown(admin, run, "skipped") is None, "a skipped step was not evaluated"


def test_a_step_that_waits_and_one_that_fails_are_shown(admin: Api, runs: fixture.Runs) -> None:
    runs.definition("debug-apply", APPLY)
    steps = """
    - {name: waits, type: await, properties: {name: debug-never}}
    - {name: fails, type: debug-apply, properties: {told: that a name is missing}}
    """
    run = runs.start(steps, annotations=WANTED, mode={"steps": "DAG"})
    run.until_step("waits", "running")
    run.until_step("fails", "failed")
    assert "debug-never" in wait_for(lambda: (shown(admin, run, "waits") or {}).get("data", {}).get("debug"))
    assert "that a name is missing" in text(admin, run, "fails")
    admin.delete(constants.WORKFLOW_RUN.api_version, constants.WORKFLOW_RUN.kind, run.name, run.namespace)


def test_without_the_annotation_nothing_is_kept(admin: Api, runs: fixture.Runs) -> None:
    run = runs.start("[{name: a, type: echo, properties: {value: 1}}]", annotations={constants.ANNOTATION_DEBUG: "no"})
    run.ended("succeeded")
    assert shown(admin, run, "a") is None


def test_secrets_are_not_shown(admin: Api, runs: fixture.Runs) -> None:
    runs.definition("debug-read-secret", READ_SECRET)
    runs.definition("debug-write-secret", WRITE_SECRET)
    runs.definition("debug-echo", ECHO)
    name, word = fixture.unique("secret"), fixture.unique("word")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"word": word}}
    admin.create(secret, runs.namespace)
    run = runs.start(
        f"""
        - name: read
          type: debug-read-secret
          properties: {{name: {name}}}
          outputs: [{{name: word, valueFrom: word}}]
        - name: given
          type: debug-echo
          inputs: [{{from: word, parameterKey: value}}]
          outputs: [{{name: again, valueFrom: result}}]
        - name: writes
          type: debug-write-secret
          properties: {{word: {word}-in-the-spec}}
          timeout: 1s
        """,
        annotations=WANTED,
    )
    run.until_phase("succeeded", "failed")
    assert fixture.step(run.status, "given")["phase"] == "succeeded"
    for step in ("read", "given", "writes"):
        assert text(admin, run, step) == debug.REDACTED, step
    for found in admin.list("v1", "ConfigMap", run.namespace):
        if run.uid in str(found["metadata"].get("ownerReferences")) and "-debug-" in found["metadata"]["name"]:
            assert word not in str(found), found["metadata"]["name"]
