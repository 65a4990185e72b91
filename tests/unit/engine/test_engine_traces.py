"""The reference traces (engine Appendix C), as the decisions amend them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from engine_driver import START, Run, error, fail, step

from vela_workflow.engine import commands, restart, result, timing

WAIT = result.Waiting("not yet")
SUSPEND = result.Suspended()


def test_trace_1_output_to_input_in_one_pass() -> None:
    run = Run(step("a", out="o"), step("b", takes="o"), generation=3)
    conclusion = run.go()
    assert run.shown() == ["a: succeeded", "b: succeeded"]
    assert run.phase == "succeeded"
    assert run.status["mode"] == {"steps": "StepByStep", "subSteps": "DAG"}
    assert run.status["finished"] is True
    assert run.status["endTime"] == timing.stamp(START)
    assert run.values == {"o": "o of a"}
    assert run.executed[1].parameters == {"o": "o of a"}
    condition = run.condition("WorkflowRun")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("True", "Available")
    succeeded = run.condition("Succeeded")
    assert succeeded is not None
    assert (succeeded["status"], succeeded["observedGeneration"]) == ("True", 3)
    assert not conclusion.state_needed
    assert conclusion.requeue_after is None


def test_trace_2_suspend_and_resume() -> None:
    run = Run(step("s"), step("b"))
    conclusion = run.go(s=lambda task: result.Succeeded() if "suspend" in task.resumed else SUSPEND)
    assert run.shown() == ['s: suspending/Suspend "Suspended by field suspend"']
    assert (run.phase, run.status["suspend"], conclusion.requeue_after) == ("suspending", True, None)
    run.edit(commands.resume(run.status, "run").patch)
    assert run.shown() == ['s: running/Suspend "Suspended by field suspend"']
    run.go()
    assert run.shown() == ["s: succeeded", "b: succeeded"]
    assert run.phase == "succeeded"


@pytest.mark.parametrize("by", ["time", "resume"])
def test_trace_3_timed_suspend_ends_by_time_or_by_resume(by: str) -> None:
    run = Run(step("s"))
    until = START + timedelta(seconds=3)
    conclusion = run.go(s=lambda task: result.Succeeded() if task.resumed else result.Suspended(until=until))
    assert conclusion.requeue_after == 3
    run.wait(1)
    if by == "resume":  # decisions 26: at once
        run.edit(commands.resume(run.status, "run").patch)
    else:
        run.go()
        assert run.phase == "suspending"
        assert run.log == ["s"], "looking again before the time would be of no use"
        run.wait()
    run.go()
    assert run.phase == "succeeded"


def test_trace_4_retries_until_the_budget_is_used_up() -> None:
    run = Run(step("a"), step("b"))
    delays = []
    for _ in range(10):
        conclusion = run.go(a=error("no connection"))
        assert run.shown() == ['a: failed/Execute "no connection"']
        assert run.phase == "executing"
        delays.append(conclusion.requeue_after)
        run.wait()
    assert delays == [1, 1, 1, 1, 1, 1, 3, 6, 12, 25]
    run.go()
    assert run.shown() == ['a: failed/FailedAfterRetries "no connection"', "b: skipped/Skip"]
    assert run.phase == "failed"
    assert [task.attempt for task in run.executed] == list(range(1, 12))


def test_trace_5_after_a_failure_only_if_always_runs() -> None:
    run = Run(step("a"), step("b"), step("c", if_="always"))
    run.go(a=fail())
    assert run.shown() == ['a: failed/Action "oops"', "b: skipped/Skip", "c: succeeded"]
    assert run.phase == "failed"
    assert run.status["message"] == 'step "a" failed (Action): oops'


def test_trace_6_dag_in_the_order_of_the_spec() -> None:
    run = Run(step("a"), step("b", depends="a"), step("c"), mode="DAG")
    run.go(a=WAIT)
    assert run.shown() == ['a: running/Wait "not yet"', 'b: pending "Pending on DependsOn: a"', "c: succeeded"]


def test_trace_7_depends_on_decides_in_step_by_step() -> None:
    run = Run(step("a"), step("b"), step("c", depends="a"), step("d"))
    run.go(b=fail())
    assert run.shown() == ["a: succeeded", 'b: failed/Action "oops"', "c: succeeded", "d: skipped/Skip"]


def test_trace_8_skipped_dependency_skips_but_skipped_predecessor_does_not() -> None:
    run = Run(step("a", if_="false"), step("b", depends="a"), step("c"))
    run.go()
    assert run.shown() == ["a: skipped/Skip", "b: skipped/Skip", "c: succeeded"]
    assert run.phase == "succeeded"


def test_trace_9_group_with_a_failure_waits_for_the_rest_and_terminates() -> None:
    group = step("g", subs=[step("x"), step("y"), step("z", depends="x")])
    run = Run(group, step("later"))
    run.go(x=fail(), y=WAIT)
    assert run.shown() == ["g: running", 'x: failed/Action "oops"', 'y: running/Wait "not yet"', "z: skipped/Skip"]
    assert (run.phase, run.status["terminated"]) == ("executing", False)  # the Go implementation sets the flag here
    run.edit(commands.terminate(run.status, "run").patch)
    run.go()
    assert run.shown() == [
        "g: failed/Terminate",
        'x: failed/Action "oops"',
        'y: failed/Terminate "not yet"',
        "z: skipped/Skip",
        "later: skipped/Skip",
    ]
    assert run.phase == "terminated"


def test_trace_10_step_by_step_group() -> None:
    group = step("g", mode="StepByStep", subs=[step("x"), step("y"), step("z", if_="always")])
    run = Run(group, step("p", if_="status.x.failed"), step("q", if_="status.g.failed"), step("r"))
    run.go(x=fail())
    assert run.shown() == [
        'g: failed/Action "sub step "x" failed: oops"',
        'x: failed/Action "oops"',
        "y: skipped/Skip",
        "z: succeeded",
        "p: succeeded",
        "q: succeeded",
        "r: skipped/Skip",
    ]


def test_trace_11_timeout_ends_a_waiting_step_without_another_attempt() -> None:
    run = Run(step("a", timeout="1s"), step("b"), step("c", if_="status.a.timeout"))
    assert run.go(a=WAIT).requeue_after == 1
    run.wait()
    run.go()
    assert run.shown() == ['a: failed/Timeout "timed out after 1s: not yet"', "b: skipped/Skip", "c: succeeded"]
    assert run.log == ["a", "if c", "c"]
    assert run.phase == "failed"


def test_trace_12_missing_definition_blocks_and_then_goes_on() -> None:
    run = Run(step("a"))
    one = run.start()
    (task,) = one.advance(run.now)
    one.blocked('workflowstepdefinitions.core.oam.dev "work" not found', task)
    assert one.advance(run.now) == []
    conclusion = run.keep(one.conclude(run.now))
    assert run.phase == "initializing"
    assert run.shown() == ['a: pending "workflowstepdefinitions.core.oam.dev "work" not found"']
    assert "firstExecuteTime" not in run.entry("a")
    condition = run.condition("WorkflowRun")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "ReconcileError")
    assert "not found" in condition["message"]
    assert conclusion.requeue_after == 60
    run.go()
    condition = run.condition("WorkflowRun")
    assert condition is not None
    assert (run.phase, condition["status"]) == ("succeeded", "True")


def test_trace_13_restart_from_the_failed_step() -> None:
    run = Run(step("a", out="o"), step("b", out="p"), step("c"))
    run.go(b=fail())
    assert run.phase == "failed"
    ids = {entry["name"]: entry["id"] for entry in run.status["steps"]}
    again = restart.restart_step(run.plan(), run.status, run.state, "run", "b", now=run.now)
    run.edit(again.patch)
    run.state = again.state
    for path in again.drop:
        run.values.pop(str(path[0]))
    assert run.shown() == ["a: succeeded"]
    assert (run.status["finished"], run.status["terminated"], run.phase) == (False, False, "failed")
    assert "endTime" not in run.status
    assert run.values == {"o": "o of a"}
    run.go(b=result.Succeeded({"p": 1}))
    assert run.phase == "succeeded"
    assert run.entry("a")["id"] == ids["a"]
    assert run.entry("b")["id"] != ids["b"]
    assert run.entry("c")["id"] != ids["c"]
    assert run.log == ["a", "b", "b", "c"]


def test_trace_14_custom_context_overrides() -> None:
    run = Run(step("a"), custom={"name": "zz", "stepName": "override", "foo-bar": 1})
    run.go()
    context = run.executed[0].context
    assert (context["name"], context["stepName"], context["foo-bar"]) == ("zz", "override", 1)
    assert context["namespace"] == "ns"
