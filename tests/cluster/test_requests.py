"""What a run costs the API server, counted from its audit log: the numbers are held, one request more is a failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import conftest as cluster
from tests.cluster import operator_fixture as fixture
from tools.audit import Request
from tools.controlplane import ControlPlane
from tools.kubectl import Kubectl
from tools.rest import Api
from tools.waiting import wait_for

JSON = dict[str, Any]

BESIDE = frozenset({"events"})
"""What is written beside the work of a run and is aggregated."""

RUN = fixture.RUN.plural
APPLY = "patch configmaps"
READ = "get configmaps"
KEEP = "create configmaps"
KEEP_AGAIN = "update configmaps"
WATCH = "watch configmaps"
STATUS = f"patch {RUN}/status"


@pytest.fixture(scope="module")
def run_namespace(admin: Api, installed: None) -> Iterator[str]:
    """A namespace that no other test has, so that all requests in it are known."""
    with cluster.namespace_for_runs(admin) as name:
        yield name


@pytest.fixture(scope="module")
def recorder(kubectl: Kubectl, run_namespace: str) -> Iterator[fixture.Recorder]:
    with fixture.Recorder(kubectl, run_namespace) as made:
        yield made


@pytest.fixture(scope="module")
def operator(
    control_plane: ControlPlane, cue_command: Path, run_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[fixture.OperatorProcess]:
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    kubeconfig = control_plane.operator_kubeconfig
    with fixture.OperatorProcess(kubeconfig=kubeconfig, cue=cue_command, namespace=run_namespace, log=log) as process:
        yield process


@pytest.fixture(scope="module")
def warm(admin: Api, operator: fixture.OperatorProcess, recorder: fixture.Recorder, run_namespace: str) -> fixture.Runs:
    """Runs of an operator that has already met the kinds it will need."""
    runs = fixture.Runs(admin, recorder, run_namespace)
    runs.start([touch("warm-up")]).ended("succeeded")
    return runs


class Log:
    """The requests of the operator in its namespace since a moment."""

    def __init__(self, plane: ControlPlane, api: Api, namespace: str) -> None:
        self._log = plane.audit_log
        self._api = api
        self._namespace = namespace
        self._since = self._log.mark()
        # The end of an earlier run is seen a moment before it stands in the log.
        self._until_now()
        self._since = self._log.mark()

    def _until_now(self) -> None:
        """Wait until all that was answered before this call stands in the log."""
        sign = fixture.unique("sign")
        assert self._api.get("v1", "ConfigMap", sign, self._namespace) is None
        wait_for(lambda: any(one.name == sign for one in self._log.requests(self._since)), what="the audit log")

    def requests(self) -> list[Request]:
        """All that were answered before this call, in order; a watch or list that began is one."""
        self._until_now()
        return [
            one
            for one in self._log.requests(self._since)
            if one.user == "operator" and one.namespace == self._namespace and one.subject not in BESIDE
            if one.stage == ("ResponseStarted" if one.verb == "watch" else "ResponseComplete")
        ]

    def counted(self) -> Counter[str]:
        """How many there were by verb and subject, of those that concern runs and their objects."""
        return Counter(f"{one.verb} {one.subject}" for one in self.requests())


@pytest.fixture
def log(control_plane: ControlPlane, admin: Api, warm: fixture.Runs) -> Log:
    return Log(control_plane, admin, warm.namespace)


def touch(name: str) -> JSON:
    return {"name": name, "type": "touch", "properties": {"name": f"{name}-{fixture.unique('object')}"}}


def passing(name: str) -> list[JSON]:
    """Two steps, of which the second gets what the first one has."""
    first = touch(name)
    first["outputs"] = [{"name": "version", "valueFrom": "output.$returns.value.metadata.resourceVersion"}]
    second = {"name": "next", "type": "echo", "inputs": [{"from": "version", "parameterKey": "value"}]}
    return [first, second]


@dataclass(frozen=True, slots=True)
class Case:
    """Steps, and what they cost."""

    steps: list[JSON]
    cost: dict[str, int]
    mode: str = "StepByStep"


CASES = {
    "one step": Case([touch("a")], {APPLY: 1, STATUS: 1}),
    "three steps, one after another: the status is written once": Case(
        [touch("a"), touch("b"), touch("c")], {APPLY: 3, STATUS: 1}
    ),
    "five steps at the same time: the status is written once": Case(
        [touch(name) for name in "abcde"], {APPLY: 5, STATUS: 1}, "DAG"
    ),
    "nothing outside: nothing but the status": Case(
        [{"name": "echo", "type": "echo", "properties": {"value": 1}}], {STATUS: 1}
    ),
    "a failure by its template: nothing but the status": Case([{"name": "fail", "type": "fail"}], {STATUS: 1}),
    "a value that is handed on: the context is kept, once": Case(passing("a"), {APPLY: 1, KEEP: 1, STATUS: 1}),
    "a group: no more than its sub steps": Case(
        [{"name": "group", "type": "step-group", "subSteps": [touch("a"), touch("b")]}], {APPLY: 2, STATUS: 1}
    ),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
def test_a_run_costs_few_requests(warm: fixture.Runs, log: Log, case: Case) -> None:
    run = warm.start(case.steps, mode={"steps": case.mode})
    run.until(lambda body: (body.get("status") or {}).get("finished"), "its end")
    assert log.counted() == case.cost


def test_a_wait_costs_two_reads_and_nothing_while_it_lasts(warm: fixture.Runs, log: Log) -> None:
    gate = fixture.unique("gate")
    warm.config_map(gate, {"ready": "no"})
    run = warm.start([{"name": "wait", "type": "await", "properties": {"name": gate}}])
    run.until_step("wait", "running", "Wait")
    # Others come and go meanwhile.
    others = [warm.start([{"name": "echo", "type": "echo"}]) for _ in range(5)]
    for other in others:
        other.ended("succeeded")
    warm.config_map(gate, {"ready": "yes"})
    run.ended("succeeded")
    costs = log.counted() - Counter({STATUS: len(others)})
    assert costs == {READ: 2, WATCH: 1, KEEP: 1, KEEP_AGAIN: 1, STATUS: 2}


def test_runs_that_wait_for_one_object_share_its_watch(warm: fixture.Runs, log: Log) -> None:
    gate = fixture.unique("gate")
    warm.config_map(gate, {"ready": "no"})
    steps: list[JSON] = [{"name": "wait", "type": "await", "properties": {"name": gate}}]
    waiting = [warm.start(steps) for _ in range(10)]
    for run in waiting:
        run.until_step("wait", "running", "Wait")
    before = len(log.requests())
    # Ten others come and go: what waits costs nothing meanwhile.
    for run in [warm.start([touch("other")]) for _ in range(10)]:
        run.ended("succeeded")
    meanwhile = log.requests()[before:]
    assert not [one for one in meanwhile if any(run.name in one.name for run in waiting)]
    assert not [one for one in meanwhile if one.name == gate and one.verb != "watch"]
    warm.config_map(gate, {"ready": "yes"})
    for run in waiting:
        run.ended("succeeded")
    counted = log.counted()
    assert counted[WATCH] <= 1
    assert counted[READ] <= 2 * len(waiting)
    # Where many begin at once on a busy machine, some show that they have begun.
    assert 2 * len(waiting) + 10 <= counted[STATUS] <= 3 * len(waiting) + 2 * 10


def test_a_definition_is_looked_up_without_a_request(warm: fixture.Runs, log: Log) -> None:
    for number in range(3):
        warm.definition("changes", f"result: {number}\nparameter: {{}}")
        run = warm.start([{"name": "changes", "type": "changes", "outputs": [{"name": "it", "valueFrom": "result"}]}])
        run.ended("succeeded")
    subjects = {one.subject for one in log.requests() if one.verb in {"get", "list"}}
    assert "workflowstepdefinitions" not in subjects
    assert RUN not in subjects
