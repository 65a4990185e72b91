"""Guards that fail: a warning Event names the step, the guard, its place and the reason, and holds no Secret."""

from __future__ import annotations

from tests.cluster import operator_fixture as fixture
from tools.rest import Api
from tools.waiting import WaitFor

GUARDS = """import (
	"vela/kube"
	"vela/builtin"
)

read: kube.#Read & {$params: value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: parameter.name}}
wait: builtin.#ConditionalWait & {$params: continue: read.$returns.value.data.ready == "yes"}
apply: kube.#Apply & {$params: value: {
	apiVersion: "v1"
	kind:       "ConfigMap"
	metadata: name: "\\(parameter.name)-made"
	data: size: "small"
	if parameter.name > 3 {
		data: size: "big"
	}
}}
parameter: name: string
"""

SECRETS = """import (
	"vela/kube"
	"encoding/base64"
	"strconv"
)

read: kube.#Read & {$params: value: {apiVersion: "v1", kind: "Secret", metadata: name: parameter.name}}
word: "\\(base64.Decode(null, read.$returns.value.data.word))"
if strconv.Atoi(word) > 3 {
	more: kube.#Read & {$params: value: {apiVersion: "v1", kind: "Secret", metadata: name: "never"}}
}
parameter: name: string
"""

GIVEN = """import "strconv"

if strconv.Atoi(parameter.word) > 3 {
	big: true
}
parameter: word: string
"""


def warnings(run: fixture.Run) -> list[str]:
    return [event["message"] for event in run.events() if (event["type"], event["reason"]) == ("Warning", "Template")]


def test_a_guard_that_fails_is_told_once(runs: fixture.Runs, wait_for: WaitFor) -> None:
    runs.definition("guards", GUARDS)
    name = fixture.unique("guarded")
    run = runs.start([{"name": "made", "type": "guards", "properties": {"name": name}}])
    run.until_step("made", "running", "Wait")
    wait_for(lambda: warnings(run), what="the Event")
    for number in range(3):
        runs.config_map(name, {"number": str(number)})
    runs.config_map(name, {"ready": "yes"})
    run.ended("succeeded")
    made = runs.get("ConfigMap", f"{name}-made")
    assert made is not None
    assert made["data"] == {"size": "small"}
    (told,) = warnings(run)
    head = 'step "made": line 13:2: the guard "if parameter.name > 3" fails and adds nothing: '
    assert told.startswith(head)
    assert "invalid operands" in told


def test_values_of_secrets_are_not_told(admin: Api, runs: fixture.Runs, wait_for: WaitFor) -> None:
    runs.definition("guards-secret", SECRETS)
    runs.definition("guards-given", GIVEN)
    name, word = fixture.unique("secret"), fixture.unique("word")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"word": word}}
    admin.create(secret, runs.namespace)
    run = runs.start([
        {"name": "reads", "type": "guards-secret", "properties": {"name": name},
         "outputs": [{"name": "word", "valueFrom": "word"}]},
        {"name": "given", "type": "guards-given", "inputs": [{"from": "word", "parameterKey": "word"}]},
    ])  # fmt: skip
    run.ended("succeeded")
    wait_for(lambda: len(warnings(run)) >= 2, what="two Events")
    for told, step in zip(sorted(warnings(run)), ("given", "reads"), strict=True):
        assert told.startswith(f'step "{step}": ')
        assert "invalid syntax" in told
    assert word not in str(run.events())
