"""Runs in flight that others wrote are carried on: the Go controller's, and those of earlier versions of ours.

``takeover/`` has them as they were in a cluster, with ``UID`` in the place of the run's uid. Those of ours are recorded
from a real operator once per released version (``RECORD=<version> pytest -k record``) and then stay as they are.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import operator_fixture as fixture
from tests.cluster.conftest import namespace_for_runs
from tests.cluster.replicas import Counting
from tools.kubectl import Kubectl
from tools.rest import Api

JSON = dict[str, Any]

FOLDER = Path(__file__).parent / "takeover"
OURS = sorted(path.stem for path in FOLDER.glob("ours-*.yaml"))


@pytest.fixture(scope="module")
def place(admin: Api, installed: None) -> Iterator[str]:
    with namespace_for_runs(admin) as name:
        yield name


@pytest.fixture(scope="module")
def recorder(kubectl: Kubectl, place: str) -> Iterator[fixture.Recorder]:
    with fixture.Recorder(kubectl, place) as made:
        yield made


@pytest.fixture(scope="module")
def service() -> Iterator[Counting]:
    with Counting() as made:
        yield made


@pytest.fixture(scope="module")
def found(admin: Api, place: str, recorder: fixture.Recorder) -> dict[str, fixture.Run]:
    """All runs, put into the cluster while no operator is there."""
    return {path.stem: put(admin, recorder, place, path) for path in sorted(FOLDER.glob("*.yaml"))}


def put(admin: Api, recorder: fixture.Recorder, place: str, path: Path) -> fixture.Run:
    """Put a run with its status and its context into the cluster."""
    run, *others = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    status = run.pop("status")
    created = fixture.Run(admin, recorder, admin.create(run, place))
    owner = {
        "apiVersion": fixture.RUN.api_version,
        "kind": fixture.RUN.kind,
        "name": created.name,
        "uid": created.uid,
        "controller": True,
    }
    for other in json.loads(json.dumps(others).replace("UID", created.uid)):
        admin.create({**other, "metadata": {**other["metadata"], "ownerReferences": [owner]}}, place)
    if "contextBackend" in status:
        status["contextBackend"]["namespace"] = place
    created.patch_status(status)
    return created


@pytest.fixture(scope="module")
def taken_over(
    found: dict[str, fixture.Run],
    place: str,
    operator_kubeconfig: Path,
    cue_command: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, fixture.Run]]:
    """The runs, now that an operator is there."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with fixture.OperatorProcess(kubeconfig=operator_kubeconfig, cue=cue_command, namespace=place, log=log):
        yield found


def test_a_timed_suspension_ends(taken_over: dict[str, fixture.Run]) -> None:
    run = taken_over["go-timed-suspend"]
    status = run.ended("succeeded")
    assert [entry["id"] for entry in status["steps"]][:2] == ["4p1x9kzq2m", "7hq3vd8wbn"]
    assert status["startTime"] == "2026-11-20T10:00:00Z"
    assert run.variables() == {"o": "hi", "p": "hi"}


def test_a_person_can_resume(taken_over: dict[str, fixture.Run]) -> None:
    """By the edit of the status that the documents of the Go controller tell of (engine 7.2)."""
    run = taken_over["go-manual-suspend"]
    steps = run.status["steps"]
    assert fixture.step({"steps": steps}, "hold")["phase"] == "suspending"
    run.patch_status({"suspend": False, "steps": [steps[0], {**steps[1], "phase": "running"}]})
    run.ended("succeeded")
    assert run.variables() == {"o": {"a": 1}, "p": 1}


def test_a_waiting_step_goes_on(taken_over: dict[str, fixture.Run], admin: Api, place: str) -> None:
    run = taken_over["go-waiting"]
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "go-later"}, "data": {"ready": "yes"}}
    admin.apply(body, place)
    status = run.ended("succeeded")
    assert fixture.brief(status) == dict.fromkeys(("first", "wait", "group", "inner"), "succeeded")
    assert fixture.step(status, "wait")["id"] == "4ddddddddd"
    assert admin.get("v1", "ConfigMap", "go-touched", place) is None, "a step that had ended was executed again"


def test_what_has_ended_stays_as_it_is(taken_over: dict[str, fixture.Run], admin: Api, place: str) -> None:
    taken_over["go-timed-suspend"].ended("succeeded")
    run = taken_over["go-finished"]
    assert len({body["metadata"]["resourceVersion"] for body in run.versions[-1:]} | {
        run.body["metadata"]["resourceVersion"]}) == 1  # fmt: skip
    assert admin.get("v1", "ConfigMap", "go-never", place) is None


def test_every_version_of_ours_is_recorded() -> None:
    assert "ours-0.1.0" in OURS


@pytest.mark.parametrize("name", OURS)
def test_runs_of_earlier_versions_of_ours_go_on(
    name: str, taken_over: dict[str, fixture.Run], admin: Api, place: str
) -> None:
    """The request was sent by the earlier version, so this one uses its recorded outcome and sends nothing."""
    run = taken_over[name]
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ours-later"}, "data": {"ready": "yes"}}
    admin.apply(body, place)
    status = run.ended("succeeded")
    assert fixture.brief(status) == dict.fromkeys(("send", "wait", "tell"), "succeeded")
    assert run.variables()["told"] == {"done": True}


SEND_AND_WAIT = """
import (
	"encoding/json"
	"vela/http"
	"vela/kube"
	"vela/builtin"
)

request: http.#HTTPPost & {$params: {url: parameter.url, request: body: "{}"}}
read: kube.#Read & {$params: value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: "ours-later"}}
wait: builtin.#ConditionalWait & {$params: continue: read.$returns.value.data.ready == "yes"}
answer: json.Unmarshal(request.$returns.body)
parameter: url: string
"""


@pytest.mark.skipif("RECORD" not in os.environ, reason="records a run of this version: RECORD=<version>")
def test_record(
    admin: Api,
    place: str,
    recorder: fixture.Recorder,
    service: Counting,
    taken_over: dict[str, fixture.Run],
) -> None:
    runs = fixture.Runs(admin, recorder, place)
    runs.definition("send-and-wait", SEND_AND_WAIT)
    steps = [
        {"name": "send", "type": "echo", "properties": {"value": 1}, "outputs": [{"name": "one", "valueFrom": "result"}]},
        {"name": "wait", "type": "send-and-wait", "properties": {"url": service.url},
         "outputs": [{"name": "answer", "valueFrom": "answer"}]},
        {"name": "tell", "type": "echo", "inputs": [{"from": "answer", "parameterKey": "value"}],
         "outputs": [{"name": "told", "valueFrom": "result"}]},
    ]  # fmt: skip
    run = runs.start(steps, name=f"ours-{os.environ['RECORD']}".replace(".", "-"))
    run.until_step("wait", "running", "Wait")
    body = run.body
    del body["metadata"]["managedFields"]
    kept = {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "metadata": {"name": run.name},
        "spec": body["spec"],
        "status": body["status"],
    }
    objects = [kept]
    for kind in ("ConfigMap", "Secret"):
        stored = admin.get("v1", kind, body["status"]["contextBackend"]["name"], place)
        if stored is not None:
            metadata = {key: stored["metadata"][key] for key in ("name", "annotations")}
            data = stored["data"]
            if kind == "Secret":
                data = {key: base64.b64decode(value).decode() for key, value in data.items()}
            field = "stringData" if kind == "Secret" else "data"
            objects.append({"apiVersion": "v1", "kind": kind, "metadata": metadata, field: data})
    text = yaml.safe_dump_all(objects, sort_keys=False, width=1000).replace(run.uid, "UID")
    (FOLDER / f"ours-{os.environ['RECORD']}.yaml").write_text(text, encoding="utf-8")
