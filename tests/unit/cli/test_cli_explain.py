from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from vela_workflow.cli import explain, view

JSON = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
STARTED = "2026-01-01T11:59:00Z"


def run(*steps: JSON, phase: str = "executing", suspend: bool = False, **more: Any) -> JSON:
    return {
        "metadata": {"name": "r", "namespace": "n", **more},
        "status": {
            "status": phase,
            "finished": phase in {"succeeded", "failed", "terminated"},
            "suspend": suspend,
            "steps": list(steps),
        },
    }


def reasons(
    body: JSON, remembered: JSON | None = None, resume_at: dict[str, str] | None = None
) -> list[explain.Waiting]:
    return explain.reasons(view.read(body), remembered or {}, resume_at or {}, NOW)


WAIT = {"id": "s1", "name": "wait", "phase": "running", "reason": "Wait", "firstExecuteTime": STARTED}
INTEREST = {"cluster": "", "apiVersion": "apps/v1", "kind": "Deployment", "namespace": "n", "name": "web"}


def test_a_waiting_step_tells_what_it_waits_for() -> None:
    remembered = {
        "engine": {"steps": {"s1": {"waiting": NOW.timestamp() - 20, "at": NOW.timestamp() - 20}}},
        "waiting": {"s1": {"interests": [INTEREST]}},
    }
    (found,) = reasons(run({**WAIT, "message": "waiting for status.readyReplicas"}), remembered)
    assert found.why == "waiting for status.readyReplicas"
    assert found.objects == (explain.Object("", "apps/v1", "Deployment", "n", "web"),)
    assert found.since == "2026-01-01T11:59:40Z"
    assert view.time(found.next_look) == datetime(2026, 1, 1, 12, 0, 25, tzinfo=UTC), "the pauses are 25 s by now"


def test_a_polling_step_tells_its_own_pause() -> None:
    remembered = {"engine": {"steps": {"s1": {"after": 5}}}}
    (found,) = reasons(run(WAIT), remembered)
    assert view.time(found.next_look) == datetime(2026, 1, 1, 12, 0, 5, tzinfo=UTC)


def test_a_retried_step_tells_how_often_and_when_again() -> None:
    step = {**WAIT, "phase": "failed", "reason": "Execute", "message": "connection refused"}
    remembered = {"engine": {"steps": {"s1": {"failures": 4, "delay": 6, "at": NOW.timestamp() - 2}}}}
    (found,) = reasons(run(step), remembered)
    assert (found.why, found.failures) == ("connection refused", 4)
    assert view.time(found.next_look) == datetime(2026, 1, 1, 12, 0, 4, tzinfo=UTC)


def test_a_timed_suspend_tells_its_end_and_how_to_end_it_now() -> None:
    step = {**WAIT, "phase": "suspending", "reason": "Suspend"}
    until = datetime(2026, 1, 1, 12, 10, tzinfo=UTC)
    (found,) = reasons(
        run(step, suspend=True), {"engine": {"steps": {"s1": {"suspended": "suspend", "until": until.timestamp()}}}}
    )
    assert view.time(found.next_look) == until
    assert found.hint == "vela-workflow resume r --step wait"
    (kept,) = reasons(run(step, suspend=True), {}, {"s1": "2026-01-01T12:10:00Z"})
    assert view.time(kept.next_look) == until, "also from the time stamp that the Go implementation keeps"


def test_a_step_that_suspends_the_run_by_its_failure_tells_how_to_try_it_again() -> None:
    failed = {"id": "s1", "name": "a", "phase": "failed", "reason": "FailedAfterRetries", "message": "no such host"}
    group = {"id": "s0", "name": "g", "phase": "running", "subSteps": [failed]}
    remembered = {"engine": {"steps": {"s1": {"exhausted": True, "failures": 11}}}}
    (found,) = reasons(run(group, phase="suspending", suspend=True), remembered)
    assert (found.step, found.why, found.failures) == ("a", "no such host", 11)
    assert found.hint == "vela-workflow resume r --step a"
    (found,) = reasons(run(failed), remembered)
    assert found.hint == "", "while others go on it is not resumed by itself"
    assert reasons(run(failed, phase="suspending", suspend=True)) == [], "without the setting it has ended"


@pytest.mark.parametrize(
    ("step", "why"),
    [
        pytest.param({"phase": "running"}, "it is being carried out", id="running"),
        pytest.param({"phase": "running", "reason": "Wait"}, "does not say for what", id="wait-without-a-message"),
        pytest.param({"phase": "pending", "message": "Pending on Input: x"}, "Pending on Input: x", id="pending"),
        pytest.param({"phase": "suspending", "reason": "Wait"}, "somebody suspended it", id="suspended-by-hand"),
        pytest.param({"phase": "suspending", "reason": "Suspend"}, "somebody to resume it", id="suspended-by-template"),
        pytest.param({"phase": "failed", "reason": "Execute"}, "is tried again", id="retried"),
    ],
)
def test_a_step_that_says_nothing_is_explained_by_its_phase(step: JSON, why: str) -> None:
    (found,) = reasons(run({"name": "s", **step}))
    assert why in found.why


def test_groups_speak_through_their_sub_steps() -> None:
    group = {"name": "g", "phase": "running", "subSteps": [{**WAIT, "name": "in"}, {"name": "x", "phase": "succeeded"}]}
    assert [found.step for found in reasons(run(group))] == ["in"]
    alone = {"name": "g", "phase": "running", "subSteps": [{"name": "x", "phase": "succeeded"}]}
    assert [found.step for found in reasons(run(alone))] == ["g"]


@pytest.mark.parametrize(
    "remembered",
    [
        {"waiting": []},
        {"waiting": {"s1": "x"}, "engine": []},
        {"waiting": {"s1": {"interests": "x"}}, "engine": {"steps": []}},
        {"waiting": {"s1": {"interests": [1, {}]}}, "engine": {"steps": {"s1": {"after": "x", "waiting": "y"}}}},
        {"engine": {"steps": {"s1": {"after": 1e400, "failures": "many"}}}},
    ],
)
def test_what_cannot_be_read_is_left_out(remembered: JSON) -> None:
    (found,) = reasons(run(WAIT), remembered)
    assert found.why
    assert found.failures == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_a_state_that_cannot_be_read(text: str) -> None:
    assert explain.state({"vela-workflow.state": text}) == {}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(run(phase=""), "is the operator running", id="not-taken-up"),
        pytest.param(
            run(phase="", annotations={"workflowrun.oam.dev/controller-version-require": "v9"}),
            "asks for a controller of version v9",
            id="asks-for-another-version",
        ),
        pytest.param(run(phase="succeeded"), "r has succeeded", id="succeeded"),
        pytest.param(run(phase="failed"), "r has failed; `vela-workflow restart r --step STEP`", id="failed"),
        pytest.param(
            run({"name": "g", "phase": "failed", "subSteps": [{"name": "in it", "phase": "failed"}]}, phase="failed"),
            "`vela-workflow restart r --step 'in it'` runs it again from there on",
            id="failed-at-a-sub-step",
        ),
        pytest.param(run(phase="suspending", suspend=True), "`vela-workflow resume r` lets it go on", id="suspended"),
        pytest.param(
            run(phase="failed", annotations={"workflowrun.oam.dev/restart": "*"}), "is to be restarted", id="restart"
        ),
        pytest.param(run(WAIT), "r is executing, 0/1 steps have ended", id="executing"),
    ],
)
def test_the_run_as_a_whole(body: JSON, said: str) -> None:
    assert said in explain.head(view.read(body), body)


def test_text() -> None:
    body = run({**WAIT, "message": "waiting for x"})
    state = {
        "engine": {"steps": {"s1": {"waiting": NOW.timestamp() - 20}}},
        "waiting": {"s1": {"interests": [INTEREST]}},
    }
    remembered = explain.state({"vela-workflow.state": json.dumps(state)})
    lines = list(explain.lines(view.read(body), reasons(body, remembered), "head", NOW))
    assert lines == [
        "head",
        "",
        "step wait: running (Wait)",
        "  why:       waiting for x",
        "  waits for: Deployment n/web (apps/v1)",
        "  since:     20s (2026-01-01T11:59:40Z)",
        "  next look: at once when one of these changes, at the latest in 25s",
    ]


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (explain.Object("", "v1", "Pod", "n", ""), "Pod n/* (v1)"),
        (explain.Object("eu", "v1", "Node", "", "a"), "Node a (v1) in cluster eu"),
        (
            explain.Object("local", "v1", "Pod", "n", "p", "there is no such object"),
            "Pod n/p (v1): there is no such object",
        ),
    ],
)
def test_objects(thing: explain.Object, text: str) -> None:
    assert str(thing) == text


@pytest.mark.parametrize(
    ("message", "said"),
    [
        pytest.param('step "a": there is no WorkflowStepDefinition "x"', "before that is put right", id="blocked"),
        pytest.param("", "the next one is about to start", id="starting"),
    ],
)
def test_a_run_whose_steps_cannot_start(message: str, said: str) -> None:
    body = run(phase="initializing")
    body["status"]["message"] = message
    assert said in list(explain.lines(view.read(body), [], "head", NOW))[-1]


def test_a_failure_that_no_trying_helps_against_is_not_waited_for() -> None:
    step = {**WAIT, "phase": "failed", "reason": "Execute"}
    assert reasons(run(step), {"engine": {"steps": {"s1": {"final": True}}}}) == []
