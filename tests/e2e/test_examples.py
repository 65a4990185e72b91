"""Every example is run to its expected end, as its comments say (see ``examples/README.md``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import operator_fixture as fixture
from tests.e2e.service import Service
from tests.e2e.terminal import Terminal
from tools.kubectl import Kubectl
from tools.rest import Api

JSON = dict[str, Any]

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SERVICE = "http://localhost:8080"
COMMENT = re.compile(r"^# (expect|terminate|needs): (\S+)$", re.MULTILINE)
PATIENCE = 60.0
ENDED = ("succeeded", "failed", "terminated")

CLEANED = (
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("v1", "Pod"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("batch/v1", "Job"),
)

ELSEWHERE = {
    "external-integration": "asks services on the internet",
    "multi-cluster": "wants OpenKruise and two further clusters",
    "scripts": "wants KubeVela",
    "terraform": "wants the Terraform controller and a cloud",
}
"""Examples that need more than a cluster, and what; that they fit their step types is tested with the definitions."""


@dataclass(frozen=True, slots=True)
class RunOfExample:
    """One run, and what its comments say: its end, the steps at which it is terminated, what it needs."""

    body: JSON
    expected: str
    terminated_at: frozenset[str]
    needs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Example:
    """One file: its runs, and the objects that come before them."""

    path: Path
    others: list[JSON] = field(default_factory=list)
    runs: list[RunOfExample] = field(default_factory=list)


def read(path: Path) -> Example:
    """Read a file with its comments."""
    example = Example(path)
    for text in re.split(r"^---$", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
        body = yaml.safe_load(text)
        if body is None:
            continue
        if body["kind"] != "WorkflowRun":
            example.others.append(body)
            continue
        said = COMMENT.findall(text)
        expected = [value for key, value in said if key == "expect"] or ["succeeded"]
        assert len(expected) == 1, f"{path.name}: {body['metadata']['name']} has several expectations"
        named = {wanted: frozenset(value for key, value in said if key == wanted) for wanted in ("terminate", "needs")}
        example.runs.append(RunOfExample(body, expected[0], named["terminate"], named["needs"]))
    assert example.runs, f"{path.name} has no run"
    return example


PATHS = sorted(EXAMPLES.rglob("*.yaml"))


@dataclass(frozen=True, slots=True)
class Place:
    """Where examples are run."""

    api: Api
    terminal: Terminal
    recorder: fixture.Recorder
    service: Service

    def start(self, body: JSON) -> fixture.Run:
        """Create a run."""
        return fixture.Run(self.api, self.recorder, self.api.create(self.here(body)))

    def clean(self, run: str) -> None:
        """Delete what a run has applied, so that the next example finds a clean place."""
        for api_version, kind in CLEANED:
            for found in self.api.list(
                api_version, kind, self.terminal.namespace, labels=f"workflowrun.oam.dev/name={run}"
            ):
                self.api.delete(api_version, kind, found["metadata"]["name"], self.terminal.namespace)

    def here(self, body: JSON) -> JSON:
        """The object in the namespace of the examples, where it would go to the default one."""
        metadata = body["metadata"]
        if metadata.get("namespace") not in (None, "default"):
            return body
        return {**body, "metadata": {**metadata, "namespace": self.terminal.namespace}}

    def get(self, api_version: str, kind: str, name: str) -> JSON | None:
        """An object of the namespace of the examples."""
        return self.api.get(api_version, kind, name, self.terminal.namespace)


@pytest.fixture(scope="module")
def place(
    admin: Api, terminal: Terminal, kubectl: Kubectl, cue_command: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    recorder = fixture.Recorder(kubectl, terminal.namespace)
    try:
        with (
            fixture.OperatorProcess(
                kubeconfig=terminal.kubeconfig, cue=cue_command, namespace=terminal.namespace, log=log
            ),
            Service() as service,
        ):
            yield Place(admin, terminal, recorder, service)
    finally:
        recorder.close()


def with_service(body: JSON, url: str) -> JSON:
    """The run with the address of the service of this test."""
    text = yaml.safe_dump(body)
    assert SERVICE in text, f"{body['metadata']['name']} needs no service"
    changed: JSON = yaml.safe_load(text.replace(SERVICE, url))
    return changed


def steer(place: Place, run: fixture.Run, terminated_at: frozenset[str]) -> None:
    """Do what people do, until the run has ended: approve what waits for them, or terminate it there."""
    steps = {step["name"]: step for step in fixture.steps_of({"steps": run.body["spec"]["workflowSpec"]["steps"]})}
    seen: set[str] = set()

    def waiting(body: JSON) -> list[str]:
        entries = fixture.steps_of(body.get("status") or {})
        return [
            entry["name"]
            for entry in entries
            if entry.get("reason") == "Suspend"
            and entry["phase"] == "suspending"
            and entry["name"] not in seen
            and "duration" not in (steps[entry["name"]].get("properties") or {})
        ]

    while True:
        status = run.until(lambda body: fixture.phase_of(body) in ENDED or waiting(body), "an end", PATIENCE)
        for name in waiting({"status": status}):
            seen.add(name)
            command = ("terminate", run.name) if name in terminated_at else ("resume", run.name, "--step", name)
            place.terminal(*command)
        if status["status"] in ENDED:
            return


@pytest.mark.parametrize("path", [path for path in PATHS if path.stem not in ELSEWHERE], ids=lambda path: path.stem)
def test_every_run_comes_to_its_expected_end(path: Path, place: Place) -> None:
    example = read(path)
    for body in example.others:
        place.api.apply(place.here(body))
    for one in example.runs:
        body = with_service(one.body, place.service.url) if "service" in one.needs else one.body
        run = place.start(body)
        steer(place, run, one.terminated_at)
        run.ended(one.expected, timeout=PATIENCE)
        if run.name in RESULTS:
            RESULTS[run.name](place, run)
        place.clean(run.name)


def _apply_and_wait(place: Place, run: fixture.Run) -> None:
    """The second step started when the first had ended, and got what that gave."""
    web = place.get("apps/v1", "Deployment", "my-web")
    database = place.get("apps/v1", "StatefulSet", "mysql")
    assert web is not None and database is not None
    container = web["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "MYSQL_CONN", "value": f"mysql.{run.namespace}:3306"}]
    assert database["status"]["readyReplicas"] == 1
    seen = [fixture.brief(body.get("status") or {}) for body in run.versions]
    assert not any("deploy-web" in brief for brief in seen if brief.get("deploy-database") != "succeeded"), seen


def _read_and_wait(place: Place, run: fixture.Run) -> None:
    """Both images were pulled, and nothing is left of it."""
    done = {"pull-shanghai", "pulled-shanghai", "pull-us-west", "pulled-us-west", "preload"}
    assert fixture.brief(run.status) == dict.fromkeys(done, "succeeded")
    for region in ("shanghai", "us-west"):
        pod = place.get("v1", "Pod", f"pull-{region}")
        assert pod is None or pod["metadata"]["deletionTimestamp"], pod


def _build_push_image(place: Place, run: fixture.Run) -> None:
    """The Pod that built had the arguments and the credentials."""
    step_id = fixture.step(run.status, "build-push")["id"]
    pod = place.get("v1", "Pod", f"build-push-image-{step_id}-kaniko")
    assert pod is not None
    assert pod["status"]["phase"] == "Succeeded"
    container = pod["spec"]["containers"][0]
    assert "--context=git://github.com/FogDong/simple-web-demo#refs/heads/main" in container["args"]
    assert "--destination=fogdong/simple-web-demo:v1" in container["args"]
    assert {"name": "registry", "mountPath": "/kaniko/.docker/"} in container["volumeMounts"]


def _call_service(place: Place, run: fixture.Run) -> None:
    """The image was asked for once, its id went to the cache, and nobody was told of an error."""
    assert fixture.brief(run.status) == {"build": "succeeded", "error-handle": "skipped/Skip", "cache": "succeeded"}
    asked = [(path, body) for path, body in place.service.posts() if body.get("name") == "base"]
    assert [path for path, _ in asked] == ["/images", "/caches"]
    assert asked[1][1]["imageID"].startswith("base-")


def _call_service_broken(place: Place, run: fixture.Run) -> None:
    """The failure was handled: somebody was told once, and nothing followed."""
    assert fixture.brief(run.status) == {
        "build": "failed/Action",
        "error-handle": "succeeded",
        "cache": "skipped/Skip",
    }
    alerts = [body for path, body in place.service.posts() if path == "/alerts"]
    assert alerts == [{"text": "the base image could not be built"}]


def _release(place: Place, run: fixture.Run) -> None:
    """Values went from step to step: the image to the Deployment, its selector to the Service."""
    deployment, service = place.get("apps/v1", "Deployment", "frontend"), place.get("v1", "Service", "frontend")
    assert deployment is not None and service is not None
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1.29"
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert fixture.step(run.status, "tell")["message"] == "3 replicas of nginx:1.29 are ready"


RESULTS: dict[str, Callable[[Place, fixture.Run], None]] = {
    "apply-and-wait": _apply_and_wait,
    "read-and-wait": _read_and_wait,
    "build-push-image": _build_push_image,
    "call-service": _call_service,
    "call-service-broken": _call_service_broken,
    "release": _release,
}
"""What else has to be true after a run, by its name."""


def test_tables_speak_of_examples_that_are_there() -> None:
    assert set(RESULTS) <= {one.body["metadata"]["name"] for path in PATHS for one in read(path).runs}
    assert set(ELSEWHERE) <= {path.stem for path in PATHS}


def test_names_of_runs_are_not_used_twice() -> None:
    names = [one.body["metadata"]["name"] for path in PATHS for one in read(path).runs]
    assert sorted(set(names)) == sorted(names)


def test_the_readme_of_the_examples_lists_every_file() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in PATHS if f"({path.relative_to(EXAMPLES)})" not in text] == []
