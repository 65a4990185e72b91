"""Restarts: from a step, of the whole run, and by taking entries out of the status (engine 7.4 and 7.5)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from engine_driver import Run, fail, step

from vela_workflow.engine import commands, ids, restart, result

WAIT = result.Waiting("not yet")


def restarted(run: Run, name: str) -> restart.Restart:
    again = restart.restart_step(run.plan(), run.status, run.state, "run", name, now=run.now)
    run.edit(again.patch)
    run.state = again.state
    run.start()
    for path in again.drop:
        run.variables.drop(path)
    run.values = run.variables.values
    return again


RESTARTS: list[tuple[str, list[dict[str, Any]], str, str, list[str], set[str]]] = [
    (
        "later siblings in order",
        [step("a", out="oa"), step("b", out="ob"), step("c", out="oc")],
        "",
        "b",
        ["a: succeeded"],
        {"oa"},
    ),
    (
        "dependents in a DAG",
        [step("a", out="oa"), step("b", depends="a", out="ob"), step("c", takes="ob"), step("d")],
        "DAG",
        "a",
        ["d: succeeded"],
        set(),
    ),
    (
        "by alias",
        [step("a", properties={"name": "web"}), step("b", depends="web"), step("c")],
        "DAG",
        "web",
        ["c: succeeded"],
        set(),
    ),
    (
        "a group with all in it",
        [step("g", subs=[step("x", out="ox"), step("y")]), step("b", out="ob")],
        "DAG",
        "g",
        ["b: succeeded"],
        {"ob"},
    ),
    (
        "a sub step reopens its group",
        [step("g", subs=[step("x", out="ox"), step("y", depends="x"), step("z", out="oz")]), step("b")],
        "",
        "x",
        ["g: running", "z: succeeded"],
        {"oz"},
    ),
    (
        "order in a group by its own mode",
        [step("g", mode="StepByStep", subs=[step("x"), step("y"), step("z")])],
        "",
        "y",
        ["g: running", "x: succeeded"],
        set(),
    ),
    (
        "who takes from a sub step of a group",
        [step("g", subs=[step("x", out="ox")]), step("b", takes="ox"), step("c")],
        "DAG",
        "g",
        ["c: succeeded"],
        set(),
    ),
    (
        "across groups",
        [step("g", subs=[step("x", out="ox")]), step("h", subs=[step("y", takes="ox"), step("z")])],
        "DAG",
        "x",
        ["g: running", "h: running", "z: succeeded"],
        set(),
    ),
]


@pytest.mark.parametrize(
    ("steps", "mode", "name", "left", "values"), [row[1:] for row in RESTARTS], ids=[row[0] for row in RESTARTS]
)
def test_restart_from_a_step(
    steps: list[dict[str, Any]], mode: str, name: str, left: list[str], values: set[str]
) -> None:
    run = Run(*steps, mode=mode)
    run.go()
    assert run.phase == "succeeded"
    before = {task.step.path: task.id for task in run.executed}
    run.executed.clear()
    run.wait(10)
    again = restarted(run, name)
    assert run.shown() == left
    assert set(run.values) == values
    run.go()
    assert run.phase == "succeeded"
    assert {task.id for task in run.executed}.isdisjoint(before.values())
    assert {before[task.step.path] for task in run.executed} <= set(again.removed)


def test_executions_are_counted() -> None:
    """One more with each begin of the whole run, and when a run goes on that had come to its end."""
    run = Run(step("a"), step("b"), mode="DAG")
    counted: list[int] = []

    def count() -> None:
        counted.append(ids.execution(run.state.get("restarts") or {}))

    run.go(a=result.Failed(fail().reason.EXECUTE, "pure"), b=WAIT)
    count()
    restarted(run, "a")
    count()
    run.wait()
    run.go(a=result.Succeeded(), b=result.Succeeded())
    assert run.phase == "succeeded"
    restarted(run, "a")
    count()
    for _ in range(2):
        run.go(a=WAIT)
        again = restart.restart_run(run.status, run.state, "run")
        run.edit(again.patch)
        run.state = again.state
        count()
    assert counted == [0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("name", "why"), [("", "step can not be empty"), ("zz", "failed step zz not found"), ("a", "has not ended")]
)
def test_restart_is_refused(name: str, why: str) -> None:
    run = Run(step("a"))
    run.go(a=WAIT)
    with pytest.raises(commands.Refused, match=why):
        restart.restart_step(run.plan(), run.status, run.state, "run", name, now=run.now)


def test_restart_of_a_pure_failure_while_others_run_and_of_a_terminated_run() -> None:
    run = Run(step("a"), step("b"), mode="DAG")
    run.go(a=result.Failed(fail().reason.EXECUTE, "pure"), b=WAIT)
    restarted(run, "a")
    run.wait()
    run.go(a=result.Succeeded(), b=result.Succeeded())
    assert run.phase == "succeeded"
    run = Run(step("a"))
    run.go(a=WAIT)
    run.edit({"terminated": True})
    run.go()
    restarted(run, "a")
    run.go(a=result.Succeeded())
    assert run.phase == "succeeded"


def test_a_restarted_group_has_its_whole_time_again() -> None:
    run = Run(step("g", timeout="1m", subs=[step("x")]))
    run.go()
    run.wait(3600)
    restarted(run, "x")
    run.go(x=WAIT)
    assert run.phase == "executing"


def test_restart_of_the_whole_run() -> None:
    run = Run(step("a", out="o"))
    run.go()
    first = run.entry("a")["id"]
    again = restart.restart_run(run.status, run.state, "run")
    assert again.everything
    run.edit(again.patch)
    assert run.status == {}
    run.state = again.state
    run.go()
    assert run.entry("a")["id"] != first
    assert restart.restart_run(run.status, run.state, "run").state["restarts"] == {"*": 2}


@pytest.mark.parametrize(
    ("edit", "written", "expected"),
    [
        ("nothing", True, None),
        ("entry", True, "step"),
        ("entry", False, "step"),
        ("all", True, "run"),
        ("all", False, None),  # as it was before the one write: taken for a write that was lost
    ],
)
def test_steps_that_a_user_took_out_are_recognised(edit: str, written: bool, expected: str | None) -> None:
    run = Run(step("a", out="o"), step("b", out="p"))
    run.go(b=fail())
    if edit == "entry":
        run.edit({"steps": run.status["steps"][:1], "finished": False, "terminated": False})
    elif edit == "all":
        run.status = {}
    found = restart.recognise(run.plan(), run.status, run.state, written=written)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert found.patch == {}
    assert found.everything is (expected == "run")
    assert found.drop == (() if expected == "run" else (("p",),))
    assert found.state["restarts"] == ({"*": 1} if expected == "run" else {"b": 1, "*step": 1})
    run.state = found.state
    assert restart.recognise(run.plan(), run.status, run.state, written=True) is None, "recognised once"


def test_a_write_of_the_status_that_was_lost_is_no_restart() -> None:
    run = Run(step("a"), step("b"))
    run.go(a=WAIT)
    before = copy.deepcopy(run.status)
    run.wait()
    run.go(a=result.Succeeded(), b=WAIT)
    run.status = before
    assert restart.recognise(run.plan(), run.status, run.state) is None
