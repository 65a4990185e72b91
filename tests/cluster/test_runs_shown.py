"""What users see of a run: conditions that kubectl can wait for, Events on transitions only, columns, what is done."""

from __future__ import annotations

import threading
from typing import Any

from tests import web
from tests.cluster import operator_fixture as fixture
from tools.kubectl import Kubectl
from tools.waiting import WaitFor


def told(run: fixture.Run) -> list[tuple[str, str, str]]:
    return sorted((event["type"], event["reason"], event["message"]) for event in run.events())


def test_kubectl_waits_for_the_end(runs: fixture.Runs, kubectl: Kubectl) -> None:
    good = runs.start("[{name: a, type: suspend, properties: {duration: 1s}}]")
    kubectl("wait", "-n", good.namespace, f"workflowrun/{good.name}", "--for=condition=Succeeded", "--timeout=50s")
    bad = runs.start("[{name: a, type: fail}]")
    kubectl("wait", "-n", bad.namespace, f"workflowrun/{bad.name}", "--for=condition=Succeeded=False", "--timeout=50s")
    condition = next(one for one in bad.status["conditions"] if one["type"] == "Succeeded")
    assert condition["reason"] == "Failed"
    assert condition["observedGeneration"] == 1
    assert "oops" in condition["message"]


def test_a_condition_is_unknown_until_the_end(runs: fixture.Runs) -> None:
    run = runs.start("[{name: a, type: suspend}]")
    status = run.until_phase("suspending")
    condition = next(one for one in status["conditions"] if one["type"] == "Succeeded")
    assert (condition["status"], condition["reason"]) == ("Unknown", "Suspending")


def test_events_tell_transitions_once(runs: fixture.Runs, wait_for: WaitFor) -> None:
    name = fixture.unique("ready")
    run = runs.start([
        {"name": "a", "type": "await", "properties": {"name": name}},
        {"name": "b", "type": "suspend"},
        {"name": "c", "type": "fail"},
    ])  # fmt: skip
    run.until_step("a", "running", "Wait")
    for number in range(5):  # each of these is looked at, none is a transition
        runs.config_map(name, {"number": str(number)})
    runs.config_map(name, {"ready": "yes"})
    run.until_phase("suspending")
    run.patch_status({"suspend": False})
    run.ended("failed")
    wait_for(lambda: len(told(run)) >= 4, what="four Events")
    assert told(run) == [
        ("Normal", "Start", "WorkflowRun started"),
        ("Normal", "Suspend", 'WorkflowRun suspended: step "b": Suspended by field suspend'),
        ("Warning", "Execute", "WorkflowRun finished with failure"),
        ("Warning", "StepFailed", 'step "c" failed (Action): oops'),
    ]


class Slow(web.Server):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def answer(self, request: web.Request) -> web.Answer:
        self.go_on.wait(fixture.PATIENCE)
        return web.Answer.of(1)


def test_what_is_done_is_shown_while_an_operation_takes_long(runs: fixture.Runs) -> None:
    with Slow() as service:
        run = runs.start(
            [
                {"name": "a", "type": "echo"},
                {"name": "b", "type": "post", "properties": {"url": service.url}},
                {"name": "c", "type": "echo", "dependsOn": ["a"]},
            ],
            mode={"steps": "DAG"},
        )
        wanted = {"a": "succeeded", "b": "running", "c": "succeeded"}
        status = run.until(lambda body: fixture.brief(body.get("status") or {}) == wanted, "what is done so far")
        assert (status["status"], status["progress"]) == ("executing", "2/3")
        service.go_on.set()
        run.ended("succeeded")


def test_a_waiting_step_costs_no_writes(runs: fixture.Runs) -> None:
    name = fixture.unique("ready")
    run = runs.start([{"name": "a", "type": "await", "properties": {"name": name}}])
    run.until_step("a", "running", "Wait")
    runs.config_map(name, {"number": "1"})
    runs.config_map(name, {"number": "2"})
    runs.config_map(name, {"ready": "yes"})
    run.ended("succeeded")
    # Created, waiting (with the context), the end; looks that change nothing are not written.
    assert len(run.versions) <= 4


def test_columns(runs: fixture.Runs, kubectl: Kubectl) -> None:
    run = runs.start("[{name: a, type: echo}, {name: hold, type: suspend}, {name: c, type: echo}]")
    run.until_phase("suspending")
    shown: Any = kubectl("get", "wr", "-n", run.namespace, run.name, "-o", "wide").splitlines()
    columns = dict(zip(shown[0].split(), shown[1].split(maxsplit=len(shown[0].split()) - 1), strict=True))
    assert columns["PHASE"] == "suspending"
    assert columns["STEPS"] == "1/3"
    assert columns["STEP"] == "hold"
    assert columns["MODE"] == "StepByStep"
    assert "Suspended by field suspend" in columns["MESSAGE"]


def test_a_long_wait_is_told(runs: fixture.Runs, wait_for: WaitFor) -> None:
    run = runs.start("[{name: a, type: await, properties: {name: never, message: the moon}}]")
    wait_for(lambda: [event for event in told(run) if event[1] == "StepWaiting"], what="the Event")
    assert "the moon" in next(event[2] for event in told(run) if event[1] == "StepWaiting")
