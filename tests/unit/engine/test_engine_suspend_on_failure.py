"""The setting ``suspend_on_failure``: retries that are used up suspend the run instead of ending it (engine 3.15)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from engine_driver import Run, entry, error, fail, phases, status, step

from vela_workflow.api.constants import SUSPENDED_ON_FAILURE, EventReason, Reason
from vela_workflow.engine import commands, restart, result

WAIT = result.Waiting("not yet")
SUSPEND = result.Suspended()
ONCE = {"limit": 0}
A = 'a: failed/FailedAfterRetries "down"'


def resumable(*steps: dict[str, Any], mode: str = "", **more: Any) -> Run:
    run = Run(*steps, mode=mode, **more)
    run.suspend_on_failure = True
    return run


def flaky(name: str = "a", **fields: Any) -> dict[str, Any]:
    """A step that is tried once."""
    return step(name, retry=ONCE, **fields)


DOWN = {"a": error("down")}

STANDS: list[tuple[str, Run, dict[str, Any], list[str], str]] = [
    ("alone", resumable(flaky()), DOWN, [A], "suspending"),
    ("what comes after does not start", resumable(flaky(), step("b")), DOWN, [A], "suspending"),
    ("not even a clean-up", resumable(flaky(), step("b", if_="always")), DOWN, [A], "suspending"),
    (
        "other branches go on to their end",
        resumable(flaky(), step("b"), step("c", depends="b"), mode="DAG"),
        DOWN,
        [A, "b: succeeded", "c: succeeded"],
        "suspending",
    ),
    (
        "what depends on it stays pending",
        resumable(flaky(out="o"), step("b", depends="a"), step("c", takes="o"), step("d", depends="b"), mode="DAG"),
        DOWN,
        [
            A,
            'b: pending "Pending on DependsOn: a"',
            'c: pending "Pending on Input: o"',
            'd: pending "Pending on DependsOn: b"',
        ],
        "suspending",
    ),
    (
        "what depends on a clean-up of it as well",
        resumable(flaky(), step("b", depends="a", if_="always"), mode="DAG"),
        DOWN,
        [A, 'b: pending "Pending on DependsOn: a"'],
        "suspending",
    ),
    (
        "a condition that asks about it waits, others are evaluated",
        resumable(
            flaky(),
            step("b"),
            step("c", depends="b", if_="status.a.failed"),
            step("d", depends="b", if_='!status["a"].succeeded'),
            step("e", depends="b", if_="!status.b.succeeded"),
            step("f", depends="e"),
            mode="DAG",
        ),
        DOWN,
        [
            A,
            "b: succeeded",
            'c: pending "Pending on If: a"',
            'd: pending "Pending on If: a"',
            "e: skipped/Skip",
            "f: skipped/Skip",
        ],
        "suspending",
    ),
    (
        "while another step waits the run is executing",
        resumable(flaky(), step("b"), mode="DAG"),
        {**DOWN, "b": WAIT},
        [A, 'b: running/Wait "not yet"'],
        "executing",
    ),
    (
        "or is tried again",
        resumable(flaky(), step("b"), mode="DAG"),
        {**DOWN, "b": error()},
        [A, 'b: failed/Execute "broken"'],
        "executing",
    ),
    (
        "a sub step",
        resumable(step("g", subs=[flaky(), step("b", depends="a")]), step("c")),
        DOWN,
        ["g: running", A, 'b: pending "Pending on DependsOn: a"'],
        "suspending",
    ),
    (
        "a sub step in order",
        resumable(step("g", mode="StepByStep", subs=[flaky(), step("b")])),
        DOWN,
        ["g: running", A],
        "suspending",
    ),
    ("errors that are not retried", resumable(step("a", retry={"on": ["fail"]})), DOWN, [A], "suspending"),
    (
        "#Fail is final",
        resumable(flaky(), step("b")),
        {"a": fail()},
        ['a: failed/Action "oops"', "b: skipped/Skip"],
        "failed",
    ),
    (
        "what no retry can help is final",
        resumable(flaky(), step("b")),
        {"a": result.Failed(Reason.EXECUTE, "conflict")},
        ['a: failed/Execute "conflict"', "b: skipped/Skip"],
        "failed",
    ),
    (
        "#Break ends the run",
        resumable(flaky(), step("b"), step("c", depends="a"), step("d", depends="a", if_="always"), mode="DAG"),
        {**DOWN, "b": result.Broken("enough")},
        [A, 'b: succeeded/Terminate "enough"', "c: skipped/Skip", "d: succeeded"],
        "terminated",
    ),
]


@pytest.mark.parametrize(("run", "script", "shown", "phase"), [row[1:] for row in STANDS], ids=[r[0] for r in STANDS])
def test_what_a_run_shows_when_retries_are_used_up(
    run: Run, script: dict[str, Any], shown: list[str], phase: str
) -> None:
    conclusion = run.go(**script)
    assert run.shown() == shown
    assert run.phase == phase
    suspended = phase == "suspending"
    assert run.status["suspend"] is suspended
    assert run.status["terminated"] is (phase in {"failed", "terminated"})
    if suspended:
        assert run.status["message"] == SUSPENDED_ON_FAILURE
        assert conclusion.requeue_after is None
        assert run.entry("a")["id"] not in conclusion.in_flight, "nothing is watched for it"
        before, log = run.status, list(run.log)
        run.wait(100_000)
        run.go(woken=("*",), a=result.Succeeded())
        assert (run.status, run.log) == (before, log), "nothing but a user makes it go on"


def test_without_the_setting_it_is_the_end() -> None:
    run = Run(flaky(), step("b"))
    run.go(a=error("down"))
    assert (run.shown(), run.phase) == ([A, "b: skipped/Skip"], "failed")


def test_it_is_told_once() -> None:
    run = resumable(flaky(), step("b"))
    told = run.go(a=error("down")).transitions
    assert [(one.reason, one.warning) for one in told] == [
        (EventReason.START, False),
        (EventReason.STEP_FAILED, True),
        (EventReason.SUSPEND, False),
    ]
    assert run.go().transitions == ()
    succeeded = run.condition("Succeeded")
    assert succeeded is not None
    assert (succeeded["status"], succeeded["reason"]) == ("Unknown", "Suspending")
    assert (run.status["progress"], run.status["currentStep"]) == ("0/2", "a")


RESUMES: list[tuple[str, Any]] = [
    ("flag alone", lambda run: {"suspend": False}),
    ("command", lambda run: commands.resume(run.status, "run").patch),
    ("command for the step", lambda run: commands.resume(run.status, "run", "a").patch),
    ("command for its group", lambda run: commands.resume(run.status, "run", "g").patch),
]


@pytest.mark.parametrize("patch", [row[1] for row in RESUMES], ids=[row[0] for row in RESUMES])
def test_resume_runs_the_step_again_with_all_its_retries(patch: Any) -> None:
    run = resumable(
        step("g", subs=[step("a", retry={"limit": 2, "backoff": {"duration": "1s"}}), step("b", depends="a")])
    )
    run.go(a=error("down"))
    for _ in range(2):
        run.wait()
        run.go()
    assert (run.phase, run.entry("a")["reason"]) == ("suspending", "FailedAfterRetries")
    run.wait(1000)
    run.edit(patch(run))
    run.go()
    assert (run.phase, run.status["message"], run.entry("a")["reason"]) == ("executing", "", "Execute")
    assert run.entry("a")["firstExecuteTime"] > run.status["startTime"], "its clock starts anew"
    run.wait()
    run.go()
    assert run.phase == "executing"
    run.wait()
    run.go(a=result.Succeeded())
    assert (run.phase, run.shown()) == ("succeeded", ["g: succeeded", "a: succeeded", "b: succeeded"])
    assert [task.attempt for task in run.executed] == [1, 2, 3, 1, 2, 3, 1]


def test_after_its_retries_are_used_up_again_the_run_is_suspended_again() -> None:
    run = resumable(flaky())
    run.go(a=error("down"))
    run.edit({"suspend": False})
    assert EventReason.SUSPEND not in {one.reason for one in run.go().transitions}, "it never went on"
    assert (run.phase, run.log) == ("suspending", ["a", "a"])


def test_resuming_one_step_leaves_the_others() -> None:
    run = resumable(flaky(), flaky("b"), mode="DAG")
    run.go(a=error("down"), b=error("gone"))
    run.edit(commands.resume(run.status, "run", "b").patch)
    run.go(a=result.Succeeded(), b=result.Succeeded())
    assert run.shown() == [A, "b: succeeded"]
    assert (run.phase, run.status["message"]) == ("suspending", SUSPENDED_ON_FAILURE)
    run.edit(commands.resume(run.status, "run").patch)
    run.go()
    assert run.phase == "succeeded"


def test_the_step_runs_as_it_is_in_the_spec_now_and_its_if_is_not_asked_again() -> None:
    run = resumable(step("b"), flaky(depends="b", if_="!status.c.succeeded"), step("c"), mode="DAG")
    run.go(a=error("down"), c=WAIT)
    run.wait()
    run.go(c=result.Succeeded())
    run.steps[1]["properties"] = {"image": "right"}
    run.edit({"suspend": False})
    run.go(a=result.Succeeded())
    assert run.executed[-1].parameters == {"image": "right"}
    assert (run.phase, run.log.count("if a")) == ("succeeded", 1)


def test_what_was_begun_anew_before_stays_the_same_round() -> None:
    run = resumable(step("a", retry={"limit": 1, "on": ["fail", "error"]}))
    run.go(a=[fail(), error("down"), result.Succeeded()])
    run.wait()
    run.go()
    assert run.phase == "suspending"
    run.edit({"suspend": False})
    run.go()
    assert [task.round for task in run.executed] == [1, 2, 2]


def test_a_step_that_is_taken_out_of_the_spec_suspends_nothing() -> None:
    run = resumable(flaky(), step("b"))
    run.go(a=error("down"))
    taken = run.steps.pop(0)
    run.go()
    assert (run.phase, run.shown()) == ("succeeded", ["b: succeeded", A])
    run = resumable(flaky(), step("b"))
    run.go(a=error("down"))
    run.steps, steps = [], run.steps
    one = run.start()
    one.advance(run.now)
    one.blocked("the Workflow cannot be read")
    run.keep(one.conclude(run.now))
    assert (run.phase, run.status["message"]) == ("executing", "the Workflow cannot be read")
    run.steps = steps
    run.go()
    assert (run.phase, run.steps[0]) == ("suspending", taken), "where the steps cannot be had it is only a while"


def test_terminate_ends_the_run_and_cleans_up() -> None:
    for patch in (lambda run: {"terminated": True}, lambda run: commands.terminate(run.status, "run").patch):
        run = resumable(flaky(out="o"), step("b", takes="o"), step("c", if_="always", takes="o"))
        run.go(a=error("down"))
        run.edit(patch(run))
        run.go()
        assert run.shown() == [A, "b: skipped/Skip", "c: succeeded"]
        assert (run.phase, run.status["suspend"], run.status["message"]) == ("terminated", False, "")
        assert run.executed[-1].parameters == {"o": None}


@pytest.mark.parametrize("name", ["a", "b"])
def test_restart_from_a_step(name: str) -> None:
    run = resumable(step("b"), flaky(depends="b"), mode="DAG")
    run.go(a=error("down"))
    asked = restart.restart_step(run.plan(), run.status, run.state, "run", name, now=run.now)
    run.edit(asked.patch)
    run.state = json.loads(json.dumps(asked.state))
    run.go(a=result.Succeeded())
    assert run.phase == "succeeded"
    assert run.log == ["b", "a"] + (["a"] if name == "a" else ["b", "a"])


def test_a_restart_of_another_step_is_no_resume() -> None:
    run = resumable(flaky(), step("b"), mode="DAG")
    run.go(a=error("down"))
    asked = restart.restart_step(run.plan(), run.status, run.state, "run", "b", now=run.now)
    run.edit(asked.patch)
    run.state = json.loads(json.dumps(asked.state))
    run.go(a=result.Succeeded())
    assert (run.phase, run.shown(), run.log) == ("suspending", [A, "b: succeeded"], ["a", "b", "b"])


def test_a_suspend_by_a_user_stays_what_it_is() -> None:
    run = resumable(flaky(), step("b"), mode="DAG")
    run.go(a=error("down"), b=WAIT)
    run.edit(commands.suspend(run.status, "run").patch)
    run.go()
    assert (run.phase, run.status["message"]) == ("suspending", "suspended by a user")
    run.edit(commands.resume(run.status, "run").patch)
    run.go()
    assert run.log == ["a", "b", "b", "a"], "resuming the whole run means all of it"
    run.go(b=result.Succeeded(), woken=("b",))
    assert (run.phase, run.status["message"]) == ("suspending", SUSPENDED_ON_FAILURE)
    run.edit(commands.suspend(run.status, "run").patch)
    run.go()
    assert run.status["message"] == "suspended by a user"
    run.edit(commands.resume(run.status, "run").patch)
    run.go(a=result.Succeeded())
    assert run.phase == "succeeded"


def test_beside_a_step_that_waits_for_somebody() -> None:
    approve = {"s": lambda task: result.Succeeded() if task.resumed else SUSPEND}
    run = resumable(flaky(), step("s"), mode="DAG")
    run.go(a=error("down"), **approve)
    assert run.status["message"] == SUSPENDED_ON_FAILURE
    run.edit(commands.resume(run.status, "run", "a").patch)
    run.go(a=result.Succeeded())
    assert run.shown() == ["a: succeeded", 's: suspending/Suspend "Suspended by field suspend"']
    assert run.status["message"] == 'step "s": Suspended by field suspend'
    run.edit(commands.resume(run.status, "run").patch)
    run.go()
    assert run.phase == "succeeded"


def test_beside_a_step_that_is_suspended_for_a_time() -> None:
    run = resumable(flaky(), step("s"), mode="DAG")
    until = run.now.replace(year=run.now.year + 1)
    conclusion = run.go(a=error("down"), s=result.Suspended(until=until))
    assert (run.phase, run.status["message"]) == ("suspending", 'step "s": Suspended by field suspend')
    assert conclusion.requeue_after is not None
    run.wait()
    run.go(s=result.Succeeded())
    assert (run.phase, run.status["message"]) == ("suspending", SUSPENDED_ON_FAILURE)


def test_time_limits() -> None:
    run = resumable(step("g", timeout="1m", subs=[flaky(timeout="10s"), step("b", depends="a")]), step("c"))
    conclusion = run.go(a=error("down"))
    assert conclusion.requeue_after == 60, "that of the group holds, that of the step is over with it"
    run.wait()
    run.go()
    assert run.shown() == ['g: failed/Timeout "timed out after 1m"', A, "b: skipped/Skip", "c: skipped/Skip"]
    assert run.phase == "failed"


STATES: list[tuple[str, Any]] = [
    ("kept", lambda state: state),
    ("lost", lambda state: {}),
]


@pytest.mark.parametrize("state", [row[1] for row in STATES], ids=[row[0] for row in STATES])
def test_another_process_goes_on_with_it_also_without_the_state(state: Any) -> None:
    run = resumable(flaky(), step("b"))
    run.go(a=error("down"))
    run.state = state(run.state)
    run.go()
    assert (run.phase, run.status["message"], run.log) == ("suspending", SUSPENDED_ON_FAILURE, ["a"])
    run.state = state(run.state)
    run.edit(commands.resume(run.status, "run").patch)
    run.go(a=result.Succeeded())
    assert (run.phase, run.log) == ("succeeded", ["a", "a", "b"])


def test_a_status_that_was_not_written_costs_one_attempt() -> None:
    run = resumable(step("a", retry={"limit": 1}))
    run.go(a=error("down"))
    before = run.status
    run.wait()
    run.go()
    assert run.phase == "suspending"
    run.status = before
    run.go()
    assert (run.phase, run.log) == ("suspending", ["a", "a", "a"])


def test_a_run_that_the_go_controller_suspended_can_be_resumed() -> None:
    run = resumable(flaky(), step("b"))
    run.status = status(
        entry("a", "failed", "FailedAfterRetries"), suspend=True, status="suspending", message=SUSPENDED_ON_FAILURE
    )
    run.go()
    assert (run.phase, run.log) == ("suspending", [])
    run.edit({"suspend": False})
    run.go()
    assert run.phase == "succeeded"


def test_the_setting_counts_for_failures_while_it_is_on() -> None:
    run = resumable(flaky(), step("b"))
    run.go(a=error("down"))
    run.suspend_on_failure = False
    run.go()
    assert (run.phase, run.shown()) == ("failed", [A, "b: skipped/Skip"])
    run = Run(flaky(), step("b"), mode="DAG")
    run.go(a=error("down"), b=WAIT)
    run.suspend_on_failure = True
    run.wait()
    run.go(b=result.Succeeded())
    assert run.phase == "failed"


NAMED: list[tuple[str, dict[str, Any], list[str] | str]] = [
    (
        "a step",
        status(entry("a", "failed", "FailedAfterRetries"), suspend=True, message=SUSPENDED_ON_FAILURE),
        ["a: running/FailedAfterRetries"],
    ),
    (
        "another failure",
        status(entry("a", "failed", "Timeout"), suspend=True, message=SUSPENDED_ON_FAILURE),
        "it is failed",
    ),
    (
        "where it is final",
        status(entry("a", "failed", "FailedAfterRetries"), suspend=True, message="suspended by a user"),
        "it is failed",
    ),
    (
        "a group that has failed",
        status(
            entry("a", "failed", "FailedAfterRetries", subs=[entry("x", "failed", "Execute")]),
            suspend=True,
            message=SUSPENDED_ON_FAILURE,
        ),
        "it is failed",
    ),
]


@pytest.mark.parametrize(("before", "wanted"), [row[1:] for row in NAMED], ids=[row[0] for row in NAMED])
def test_which_failed_steps_can_be_resumed_by_name(before: dict[str, Any], wanted: list[str] | str) -> None:
    if isinstance(wanted, str):
        with pytest.raises(commands.Refused, match=wanted):
            commands.resume(before, "run", "a")
        return
    assert phases(commands.resume(before, "run", "a").patch) == wanted
