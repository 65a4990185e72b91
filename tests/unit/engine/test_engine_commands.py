"""What users ask of a run: commands and plain edits of the status, carried out (engine 7)."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import pytest
from engine_driver import GROUP, Run, entry, error, fail, phases, status, step

from vela_workflow.engine import commands, restart, result

WAIT = result.Waiting("not yet")
SUSPEND = result.Suspended()
PATCHES: list[tuple[str, Any, dict[str, Any], list[str], dict[str, Any]]] = [
    (
        "suspend: running steps, their unfinished sub steps",
        lambda s: commands.suspend(s, "r"),
        status(entry("a", "running", "Wait"), GROUP, entry("d", "pending")),
        [
            "a: suspending/Wait",
            "g: suspending",
            "x: succeeded",
            "y: suspending/Wait",
            "z: suspending/Execute",
            "p: suspending",
            "d: pending",
        ],
        {"suspend": True, "suspendState": "manual"},
    ),
    (
        "suspend before the first reconcile",
        lambda s: commands.suspend(s, "r"),
        {},
        [],
        {"suspend": True, "suspendState": "manual"},
    ),
    (
        "suspend a step that is tried again",
        lambda s: commands.suspend(s, "r", "a"),
        status(entry("a", "failed", "Execute"), entry("b", "running")),
        ["a: suspending/Execute", "b: running"],
        {"suspend": True, "suspendState": "manual"},
    ),
    (
        "suspend a pending sub step",
        lambda s: commands.suspend(s, "r", "p"),
        status(GROUP),
        ["g: running", "x: succeeded", "y: running/Wait", "z: failed/Execute", "p: suspending"],
        {"suspend": True, "suspendState": "manual"},
    ),
    (
        "resume all",
        lambda s: commands.resume(s, "r"),
        status(
            entry("a", "suspending", "Suspend"),
            entry("g", "suspending", subs=[entry("x", "suspending", "Wait")]),
            suspend=True,
            suspendState="manual",
        ),
        ["a: running/Suspend", "g: running", "x: running/Wait"],
        {"suspend": False, "suspendState": None},
    ),
    (
        "resume one",
        lambda s: commands.resume(s, "r", "a"),
        status(entry("a", "suspending", "Suspend"), entry("b", "suspending", "Wait"), suspend=True),
        ["a: running/Suspend", "b: suspending/Wait"],
        {"suspend": False},
    ),
    ("resume what is not suspended", lambda s: commands.resume(s, "r"), status(entry("a", "running")), [], {}),
    (
        "resume in the window between failure and end",
        lambda s: commands.resume(s, "r"),
        status(entry("a", "failed", "Action"), entry("b", "suspending", "Suspend"), terminated=True, suspend=True),
        ["a: failed/Action", "b: running/Suspend"],
        {"suspend": False},
    ),
    (
        "terminate",
        lambda s: commands.terminate(s, "r"),
        status(
            entry("a", "failed", "Timeout"),
            entry("b", "failed", "Execute"),
            entry("c", "suspending", "Suspend"),
            entry("d", "pending"),
            entry("e", "succeeded"),
            suspend=True,
        ),
        ["a: failed/Timeout", "b: failed/Terminate", "c: failed/Terminate", "d: pending", "e: succeeded"],
        {"terminated": True, "suspend": False},
    ),
    ("terminate before the first reconcile", lambda s: commands.terminate(s, "r"), {}, [], {"terminated": True}),
    (
        "terminate what has ended",
        lambda s: commands.terminate(s, "r"),
        status(entry("a", "succeeded"), finished=True),
        [],
        {},
    ),
]


@pytest.mark.parametrize(
    ("command", "before", "shown", "flags"), [row[1:] for row in PATCHES], ids=[row[0] for row in PATCHES]
)
def test_patches(command: Any, before: dict[str, Any], shown: list[str], flags: dict[str, Any]) -> None:
    untouched = copy.deepcopy(before)
    patch = command(before).patch
    assert before == untouched
    assert phases(patch) == shown
    assert {key: value for key, value in patch.items() if key != "steps"} == flags


REFUSED: list[tuple[str, Any, str]] = [
    (
        "suspend terminated",
        lambda: commands.suspend({"terminated": True}, "r"),
        "can not suspend a terminated workflow",
    ),
    ("suspend finished", lambda: commands.suspend({"finished": True}, "r"), "can not suspend a finished workflow"),
    ("suspend nothing", lambda: commands.suspend({}, "r", ""), "step can not be empty"),
    ("suspend unknown", lambda: commands.suspend(status(), "r", "x"), "can not find step x"),
    (
        "suspend finished step",
        lambda: commands.suspend(status(entry("x", "succeeded")), "r", "x"),
        "can not find step x",
    ),
    (
        "resume terminated",
        lambda: commands.resume({"terminated": True, "suspend": True}, "r"),
        "can not resume a terminated workflow",
    ),
    ("resume nothing", lambda: commands.resume({"suspend": True}, "r", ""), "step can not be empty"),
    ("resume unknown", lambda: commands.resume({"suspend": True}, "r", "x"), "can not find step x"),
    (
        "resume running",
        lambda: commands.resume(status(entry("x", "running"), suspend=True), "r", "x"),
        "can not find step x",
    ),
    ("rollback", lambda: commands.rollback("r"), "can not rollback a WorkflowRun"),
]


@pytest.mark.parametrize(("command", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused(command: Any, why: str) -> None:
    with pytest.raises(commands.Refused, match=why):
        command()


@pytest.mark.parametrize(
    ("done", "text"),
    [
        (commands.suspend({}, "r"), "Successfully suspend workflow: r"),
        (commands.suspend(status(entry("a", "running")), "r", "a"), "Successfully suspend workflow r from step a"),
        (commands.resume({"suspend": True}, "r"), "Successfully resume workflow: r"),
        (commands.resume({}, "r"), "nothing to do: r is not suspended"),
        (commands.terminate({}, "r"), "Successfully terminate workflow: r"),
        (
            commands.terminate({"finished": True, "status": "succeeded"}, "r"),
            "nothing to do: r has ended already (succeeded)",
        ),
        (restart.restart_run({}, {}, "r"), "Successfully restart workflow: r"),
    ],
)
def test_what_is_told(done: Any, text: str) -> None:
    assert done.message == text


# --- Suspend and resume, carried out ---------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
def test_a_manual_suspend_holds_until_a_manual_resume(plain: bool) -> None:
    run = Run(step("a"), step("b"), step("c"), mode="DAG")
    run.go(a=WAIT, b=WAIT)
    run.edit({"suspend": True} if plain else commands.suspend(run.status, "run").patch)
    count = len(run.log)
    for _ in range(3):
        conclusion = run.go(woken=("*",))
        run.wait(100)
    assert (run.phase, conclusion.requeue_after, len(run.log)) == ("suspending", None, count)
    run.edit({"suspend": False} if plain else commands.resume(run.status, "run").patch)
    run.go(a=result.Succeeded(), b=result.Succeeded())
    assert run.phase == "succeeded"


def test_a_manual_suspend_beside_a_template_one() -> None:
    """A timed suspend ends, but the user's suspend holds the run (decisions 26)."""
    run = Run(step("a"), step("b"), mode="DAG")
    timed = result.Suspended(until=run.now + timedelta(seconds=5))
    run.go(a=lambda task: result.Succeeded() if task.resumed else timed, b=WAIT)
    run.edit(commands.suspend(run.status, "run").patch)
    run.go()
    run.wait(60)
    run.go(b=result.Succeeded())
    assert run.shown() == ['a: suspending/Suspend "Suspended by field suspend"', 'b: suspending/Wait "not yet"']
    run.edit(commands.resume(run.status, "run").patch)
    run.go()
    assert run.phase == "succeeded"


def test_a_manual_suspend_of_a_run_that_only_a_template_suspended() -> None:
    run = Run(step("a"))
    timed = result.Suspended(until=run.now + timedelta(seconds=5))
    run.go(a=lambda task: result.Succeeded() if task.resumed else timed)
    run.edit(commands.suspend(run.status, "run").patch)
    run.wait(60)
    run.go()
    assert run.phase == "suspending"
    run.edit({"suspend": False})
    run.go()
    assert run.phase == "succeeded"
    assert "suspendState" not in run.status


def test_a_manual_suspend_by_a_tool_that_says_nothing_of_it_in_the_flags() -> None:
    run = Run(step("a"), step("b"), mode="DAG")
    timed = result.Suspended(until=run.now + timedelta(seconds=5))
    run.go(a=lambda task: result.Succeeded() if task.resumed else timed, b=WAIT)
    run.edit({**commands.suspend(run.status, "run").patch, "suspendState": None})
    run.go()
    run.wait(60)
    run.go(b=result.Succeeded())
    run.go(woken=("*",))
    assert run.shown() == ['a: suspending/Suspend "Suspended by field suspend"', 'b: suspending/Wait "not yet"']


def test_only_the_named_step_goes_on() -> None:
    run = Run(step("a"), step("b"), mode="DAG")
    run.go(a=WAIT, b=WAIT)
    run.edit(commands.suspend(run.status, "run").patch)
    run.go()
    run.edit(commands.resume(run.status, "run", "a").patch)
    run.go(a=result.Succeeded(), b=result.Succeeded())
    assert run.shown() == ["a: succeeded", 'b: suspending/Wait "not yet"']
    assert (run.phase, run.status["suspend"]) == ("suspending", False)
    run.edit(commands.resume(run.status, "run", "b").patch)
    run.go()
    assert run.phase == "succeeded"


def test_a_template_suspend_that_was_not_resumed_suspends_the_run_again() -> None:
    run = Run(step("a"), step("b"), mode="DAG")
    for name in ("a", "b"):
        run.script[name] = lambda task: result.Succeeded() if task.resumed else SUSPEND
    run.go()
    run.edit(commands.resume(run.status, "run", "a").patch)
    run.go()
    assert run.shown() == ["a: succeeded", 'b: suspending/Suspend "Suspended by field suspend"']
    assert run.status["suspend"] is True
    run.edit({"suspend": False})
    run.go()
    assert run.phase == "succeeded"


def test_a_sub_step_is_resumed_though_its_group_still_says_suspending() -> None:
    run = Run(step("g", mode="StepByStep", subs=[step("x"), step("y")]))
    run.go(x=lambda task: result.Succeeded() if task.resumed else SUSPEND)
    run.edit(commands.resume(run.status, "run", "x").patch)
    assert run.shown()[0] == "g: suspending"
    run.go()
    assert run.phase == "succeeded"


def test_a_pending_step_can_be_suspended_and_starts_after_its_resume() -> None:
    run = Run(step("a"), step("b", depends="a"), mode="DAG")
    run.go(a=WAIT)
    run.edit(commands.suspend(run.status, "run", "b").patch)
    run.go()
    run.edit(commands.resume(run.status, "run", "b").patch)
    run.go(a=result.Succeeded())
    assert run.phase == "succeeded"
    assert run.log == ["a", "a", "b"]


@pytest.mark.parametrize("flag", ["suspend", "terminated"])
def test_what_is_set_before_the_first_reconcile_holds(flag: str) -> None:
    run = Run(step("a"), step("b", if_="always"))
    run.edit({flag: True})
    run.go()
    if flag == "suspend":
        assert (run.phase, run.shown()) == ("suspending", [])
    else:
        assert (run.phase, run.shown()) == ("terminated", ["a: skipped/Skip", "b: succeeded"])


# --- Terminate -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True])
def test_terminate_ends_the_run_and_cleans_up(plain: bool) -> None:
    run = Run(
        step("a", out="o"),
        step("r"),
        step("s"),
        step("b", takes="o"),
        step("c", depends="a"),
        step("d", if_="always", takes="o"),
        step("e", if_="status.a.terminate"),
        step("f", if_="status.a.succeeded"),
        mode="DAG",
    )
    run.steps[6]["dependsOn"] = run.steps[7]["dependsOn"] = ["a"]
    run.go(a=WAIT, r=error("down"), s=SUSPEND)
    run.edit({"terminated": True} if plain else commands.terminate(run.status, "run").patch)
    run.go()
    assert run.shown() == [
        'a: failed/Terminate "not yet"',
        'r: failed/Terminate "down"',
        's: failed/Terminate "Suspended by field suspend"',
        "b: skipped/Skip",
        "c: skipped/Skip",
        "d: succeeded",
        "e: succeeded",
        "f: skipped/Skip",
    ]
    assert run.phase == "terminated"
    assert run.executed[-2].parameters == {"o": None}


def test_a_clean_up_that_takes_time_is_left_to_finish() -> None:
    run = Run(step("a"), step("b", if_="always"))
    run.go(a=WAIT, b=[WAIT])
    run.edit({"terminated": True})
    run.go()
    assert run.shown() == ['a: failed/Terminate "not yet"', 'b: running/Wait "not yet"']
    run.wait()
    run.go()
    assert run.shown()[1] == "b: succeeded"
    assert run.phase == "terminated"


def test_a_clean_up_in_a_terminated_group() -> None:
    run = Run(step("g", subs=[step("x"), step("y", depends="x"), step("z", depends="x", if_="always")]))
    run.go(x=WAIT)
    run.edit(commands.terminate(run.status, "run").patch)
    assert run.entry("g")["phase"] == "failed"
    run.go()
    assert run.shown() == ["g: failed/Terminate", 'x: failed/Terminate "not yet"', "y: skipped/Skip", "z: succeeded"]
    assert run.phase == "terminated"


def test_a_failure_of_another_branch_is_no_terminate() -> None:
    for failure in (fail(), result.Failed(fail().reason.EXECUTE, "pure")):
        run = Run(step("a"), step("b"), mode="DAG")
        run.go(a=failure, b=WAIT)
        assert run.status["terminated"] is False
        run.state = {}  # even when the state is lost
        run.wait()
        run.go(b=result.Succeeded())
        assert run.entry("b")["phase"] == "succeeded"
        assert (run.phase, run.status["terminated"]) == ("failed", True)


@pytest.mark.parametrize("lost", [False, True], ids=["state", "state lost"])
@pytest.mark.parametrize("first", [fail(), result.Broken()], ids=["failed", "broken"])
def test_a_user_ends_a_run_of_which_a_step_has_ended_it_already(first: result.Result, lost: bool) -> None:
    run = Run(step("a"), step("b"), mode="DAG")
    run.go(a=first, b=WAIT)
    run.edit({"terminated": True})
    if lost:
        run.state = {}
    run.go()
    assert run.shown()[1] == 'b: failed/Terminate "not yet"'
    assert run.phase == "terminated"


def test_the_flag_that_the_go_implementation_sets_after_a_failure_is_no_terminate() -> None:
    run = Run(step("a"), step("b"), mode="DAG")
    run.go(a=fail(), b=WAIT)
    run.edit({"terminated": True, "progress": None})
    run.state = {}
    run.go()
    assert run.shown()[1] == 'b: running/Wait "not yet"'
    assert (run.phase, run.status["terminated"]) == ("executing", False)
    run.edit({"terminated": True})
    run.go()
    assert run.shown()[1] == 'b: failed/Terminate "not yet"'


def test_a_suspend_by_the_flag_alone_is_shown_by_what_is_running() -> None:
    run = Run(step("g", subs=[step("a"), step("r"), step("p", depends="a")]))
    run.go(a=WAIT, r=error("down"))
    run.edit({"suspend": True})
    run.go()
    assert run.phase == "suspending"
    assert run.shown() == [
        "g: suspending",
        'a: suspending/Wait "not yet"',
        'r: failed/Execute "down"',
        'p: pending "Pending on DependsOn: a"',
    ]
    run.edit({"suspend": False})
    run.go(a=result.Succeeded(), r=result.Succeeded())
    run.wait(1)
    run.go()
    assert run.phase == "succeeded"


def test_a_step_suspended_by_name_leaves_the_others_as_they_are() -> None:
    run = Run(step("a"), step("b"), mode="DAG")
    run.go(a=WAIT, b=WAIT)
    run.edit(commands.suspend(run.status, "run", "a").patch)
    run.go()
    assert run.shown() == ['a: suspending/Wait "not yet"', 'b: running/Wait "not yet"']
