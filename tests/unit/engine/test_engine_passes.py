"""Rules of engine 3 to 6 and of the decisions that take more than one pass, or a look at more than the status."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from engine_driver import START, Run, error, fail, step

from vela_workflow import errors
from vela_workflow.api.constants import EventReason, Reason
from vela_workflow.engine import result, run_pass, tasks
from vela_workflow.engine.plan import Plan

WAIT = result.Waiting("not yet")
SUSPEND = result.Suspended()
BREAK = result.Broken("enough")
PURE = result.Failed(Reason.EXECUTE, "conflict")


def test_really_concurrent_in_a_dag_and_one_at_a_time_in_order() -> None:
    run = Run(step("a"), step("b"), step("g", subs=[step("x"), step("y")]), mode="DAG")
    run.go()
    assert run.concurrent[0] == {"a", "b", "x", "y"}
    run = Run(step("a"), step("b"))
    run.go()
    assert all(len(together) <= 1 for together in run.concurrent)


def test_the_top_level_mode_is_frozen_at_the_start() -> None:
    run = Run(step("a"), step("b"))
    run.go(a=WAIT)
    run.mode = {"steps": "DAG"}
    run.go()
    assert run.shown() == ['a: running/Wait "not yet"']


def test_an_if_is_evaluated_once() -> None:
    run = Run(step("a", if_="true"))
    run.go(a=[WAIT, WAIT])
    run.wait()
    run.go()
    run.wait()
    run.go()
    assert run.log == ["if a", "a", "a", "a"]


def test_the_scope_of_an_if() -> None:
    inputs = [{"from": "o"}, {"from": "context.name"}, {"from": "1 + 1"}]
    run = Run(
        step("a", out="o", properties={"name": "web"}), step("b", if_="always"), step("c", if_="x", inputs=inputs)
    )
    one = run.start()
    (first,) = one.advance(run.now)
    one.finished(first, result.Succeeded({"o": 5}, "fine"), run.now)
    (second,) = one.advance(run.now)
    one.finished(second, result.Succeeded(), run.now)
    (wanted,) = one.advance(run.now)
    assert isinstance(wanted, tasks.EvaluateInput)
    one.input(wanted, 2, run.now)
    (asked,) = one.advance(run.now)
    assert isinstance(asked, tasks.EvaluateCondition)
    assert asked.scope.inputs == {"o": 5, "context.name": "run", "1 + 1": 2}
    status = asked.scope.status
    assert set(status) == {"a", "b", "c", "web"}
    assert status["a"] == status["web"]
    assert status["a"]["succeeded"] is True
    assert status["a"]["message"] == "fine"
    assert status["a"]["id"] == first.id
    assert status["c"]["failed"] is False
    assert {status[name][text] for name in "bc" for text in ("message", "reason")} == {""}


def test_waiting_looks_again_by_the_slow_timer_or_when_woken() -> None:
    run = Run(step("a"))
    delays = [run.go(a=WAIT).requeue_after]
    for _ in range(11):
        run.wait()
        delays.append(run.go().requeue_after)
    assert delays == [1, 1, 1, 1, 1, 1, 3, 6, 12, 25, 51, 60]
    count = len(run.log)
    run.go()
    assert len(run.log) == count, "nothing is looked at before its time"
    run.go(woken=("a",))
    assert len(run.log) == count + 1
    run.go(woken=(run_pass.EVERYTHING,))
    assert len(run.log) == count + 2


def test_a_look_that_changes_nothing_writes_nothing() -> None:
    run = Run(step("a"))
    assert run.go(a=WAIT).state_needed
    before = run.status
    run.wait()
    conclusion = run.go()
    assert conclusion.status == before
    assert not conclusion.state_changed


def test_polling_has_its_own_pace_and_a_new_message_starts_the_timer_anew() -> None:
    run = Run(step("a"))
    assert run.go(a=result.Waiting("x", after=7)).requeue_after == 7
    run.wait(1000)
    assert run.go(a=result.Waiting("x")).requeue_after == 60
    run.wait()
    assert run.go(a=result.Waiting("y")).requeue_after == 1


def test_back_off_survives_a_restart_and_refused_is_not_tried_at_once() -> None:
    run = Run(step("a"))
    for _ in range(7):
        conclusion = run.go(a=error())
        run.wait()
    assert conclusion.requeue_after == 3
    assert conclusion.state_needed
    assert run.go(a=error("forbidden", after=5.0)).requeue_after == 6
    run = Run(step("a"))
    assert run.go(a=error("forbidden", after=5.0)).requeue_after == 5
    run.go(woken=("*",))
    assert run.log == ["a"], "a wake does not shorten a back-off"


RETRIES: list[tuple[str, dict[str, Any], list[result.Result], list[float], str]] = [
    (
        "own delays",
        {"limit": 4, "backoff": {"duration": "2s", "factor": 3, "cap": "10s"}},
        [error()] * 5,
        [2, 6, 10, 10],
        "failed/FailedAfterRetries",
    ),
    ("none", {"limit": 0}, [error()], [], "failed/FailedAfterRetries"),
    ("fail is answered when asked for", {"limit": 1, "on": ["fail"]}, [fail(), fail()], [1], "failed/Action"),
    ("fail is final otherwise", {"limit": 3}, [fail()], [], "failed/Action"),
    ("error is final when only fail is asked for", {"on": ["fail"]}, [error()], [], "failed/FailedAfterRetries"),
    ("success in the end", {"limit": 3, "backoff": {"factor": 1}}, [error(), error()], [1, 1], "succeeded/"),
    ("pure errors never", {"limit": 3}, [PURE], [], "failed/Execute"),
    ("unknown outcomes never", {"limit": 3}, [result.Failed(Reason.UNKNOWN, "who knows")], [], "failed/Unknown"),
]


@pytest.mark.parametrize(
    ("retry", "script", "delays", "end"), [row[1:] for row in RETRIES], ids=[row[0] for row in RETRIES]
)
def test_own_retry(retry: dict[str, Any], script: list[result.Result], delays: list[float], end: str) -> None:
    run = Run(step("a", retry=retry))
    run.script["a"] = list(script)
    seen = []
    while not run.go().status["finished"]:
        assert run.conclusion is not None
        seen.append(run.conclusion.requeue_after)
        run.wait()
    assert seen == delays
    assert f"{run.entry('a')['phase']}/{run.entry('a').get('reason', '')}" == end


def test_retry_on_timeout_gives_each_attempt_its_time() -> None:
    run = Run(step("a", timeout="2s", retry={"limit": 1, "on": ["timeout"], "backoff": {"duration": "5s"}}))
    assert run.go(a=WAIT).requeue_after == 1
    run.wait(2)
    assert run.go().requeue_after == 5
    assert run.shown() == ['a: failed/Execute "timed out after 2s: not yet"']
    run.wait()
    run.go()
    assert run.shown() == ['a: running/Wait "not yet"']
    assert [task.attempt for task in run.executed] == [1, 2]
    run.wait(2)
    run.go()
    assert run.entry("a")["reason"] == "Timeout"
    assert run.phase == "failed"


def test_the_clock_of_a_timeout_does_not_run_while_pending() -> None:
    run = Run(step("a"), step("b", depends="a", timeout="5s"), mode="DAG")
    run.go(a=WAIT)
    run.wait(3600)
    run.go(woken=("a",), a=result.Succeeded(), b=WAIT)
    assert run.shown() == ["a: succeeded", 'b: running/Wait "not yet"']


@pytest.mark.parametrize("answer", [SUSPEND, WAIT])
def test_a_deadline_holds_while_waiting_or_suspended(answer: result.Result) -> None:
    run = Run(step("a", timeout="1d"))
    run.go(a=answer)
    run.edit({"suspend": True})
    conclusion = run.go()
    assert conclusion.requeue_after == 86400
    run.wait()
    run.go()
    assert run.entry("a")["reason"] == "Timeout"
    assert run.phase == "failed"


def test_an_attempt_that_comes_to_its_end_after_the_deadline() -> None:
    for answer, reason in ((WAIT, "Timeout"), (error(), "Timeout"), (fail(), "Action"), (result.Succeeded(), None)):
        run = Run(step("a", timeout="1s"))
        one = run.start()
        (task,) = one.advance(run.now)
        assert isinstance(task, tasks.Execute)
        assert task.deadline == START + timedelta(seconds=1)
        one.finished(task, answer, run.now + timedelta(seconds=2))
        run.keep(one.conclude(run.now + timedelta(seconds=2)))
        assert run.entry("a").get("reason") == reason


def test_timeout_of_a_group_ends_all_in_it() -> None:
    subs = [step("x", timeout="1h"), step("y", depends="x"), step("z", depends="x", if_="always")]
    run = Run(step("g", timeout="10s", subs=subs))
    conclusion = run.go(x=WAIT)
    assert run.executed[0].deadline == START + timedelta(seconds=10)
    assert conclusion.requeue_after == 1
    run.wait(10)
    run.go()
    assert run.shown() == [
        'g: failed/Timeout "timed out after 10s"',
        'x: failed/Timeout "the group "g" timed out after 10s: not yet"',
        "y: skipped/Skip",
        'z: failed/Timeout "the group "g" timed out after 10s: Pending on DependsOn: x"',
    ]
    assert run.phase == "failed"


def test_when_to_look_at_what_is_not_being_worked_on() -> None:
    """While attempts are under way: retries and deadlines of others count, their own are for the driver to cut off."""
    run = Run(step("g", timeout="10s", subs=[step("x", timeout="5s"), step("y")]), step("z"), mode="DAG")
    one = run.start()
    x, y, z = sorted(one.advance(run.now), key=lambda task: task.step.name)
    assert one.next_look(run.now) is None
    for task, answer in ((y, WAIT), (z, error())):
        assert isinstance(task, tasks.Execute)
        one.finished(task, answer, run.now)
    assert one.next_look(run.now) == 1
    run.wait(60)
    again = one.advance(run.now)
    assert {task.step.name for task in again} == {"y", "z"}, "others need not wait for x"
    for task in (x, *again):
        assert isinstance(task, tasks.Execute)
        one.finished(task, WAIT, run.now)
    one.advance(run.now)
    run.keep(one.conclude(run.now))
    assert [run.entry(name).get("reason") for name in ("g", "x", "y", "z")] == ["Timeout", "Timeout", "Timeout", "Wait"]


def test_a_timed_suspend_in_a_group_ends_by_itself() -> None:
    """Go issue 4508: the group shows suspending too, which is no user's suspend."""
    run = Run(step("g", subs=[step("x")]))
    until = START + timedelta(seconds=5)
    run.go(x=lambda task: result.Succeeded() if task.resumed else result.Suspended(until=until))
    run.wait(1)
    assert run.go().requeue_after == 4
    run.state = {}  # even when the state is lost
    assert run.go().requeue_after == 4
    run.wait()
    run.go()
    assert run.phase == "succeeded"


def test_two_suspends_need_two_resumes() -> None:
    def answer(task: tasks.Execute) -> result.Result:
        return next((result.Suspended(name) for name in ("one", "two") if name not in task.resumed), result.Succeeded())

    run = Run(step("a"))
    run.go(a=answer)
    assert run.entry("a")["message"] == "Suspended by field one"
    run.edit({"suspend": False})
    run.go()
    assert run.entry("a")["message"] == "Suspended by field two"
    run.edit({"suspend": False})
    run.go()
    assert run.phase == "succeeded"


def test_a_suspended_branch_does_not_stop_the_others() -> None:
    run = Run(step("a"), step("b"), step("c", depends="b"), mode="DAG")
    run.go(a=SUSPEND, b=WAIT)
    assert run.phase == "suspending"
    run.wait()
    run.go(b=result.Succeeded())
    assert run.shown()[1:] == ["b: succeeded", "c: succeeded"]
    assert run.phase == "suspending"


EITHER_OR: list[tuple[str, list[dict[str, Any]], dict[str, Any], Any]] = [
    ("skipped gives null", [step("a", if_="false", out="o")], {}, None),
    ("failed gives null", [step("a", out="o")], {"a": fail()}, None),
    ("first of two ran", [step("a", out="o"), step("b", if_="false", out="o")], {}, "o of a"),
    ("second of two ran", [step("a", if_="false", out="o"), step("b", out="o")], {}, "o of b"),
    ("null is a value", [step("a", out="o")], {"a": result.Succeeded({"o": None})}, None),
    ("nested names", [step("a", out="o.x"), step("b", out="o.y")], {}, {"x": "o.x of a", "y": "o.y of b"}),
]


@pytest.mark.parametrize("mode", ["StepByStep", "DAG"])
@pytest.mark.parametrize(
    ("steps", "script", "value"), [row[1:] for row in EITHER_OR], ids=[row[0] for row in EITHER_OR]
)
def test_who_gives_a_value(steps: list[dict[str, Any]], script: dict[str, Any], value: Any, mode: str) -> None:
    run = Run(*steps, step("z", if_="always", takes="o"), mode=mode)
    run.go(**script)
    assert run.executed[-1].step.name == "z"
    assert run.executed[-1].parameters == {"o": value}
    assert not [t for t in run.conclusion.transitions if t.reason is EventReason.OUTPUT_REPLACED]  # type: ignore[union-attr]


def test_the_later_writer_wins_with_a_warning() -> None:
    run = Run(step("a", out="o"), step("b", out="o"), step("c", takes="o"))
    conclusion = run.go()
    assert run.executed[-1].parameters == {"o": "o of b"}
    (warning,) = [t for t in conclusion.transitions if t.reason is EventReason.OUTPUT_REPLACED]
    assert warning.warning
    assert warning.message == 'output "o" of step "b" replaces that of step "a"'


def test_a_part_of_an_output_that_is_not_there_is_an_error() -> None:
    run = Run(step("a", out="o"), step("b", inputs=[{"from": "o.x", "parameterKey": "k"}]))
    run.go(a=result.Succeeded({"o": {"y": 1}}))
    assert run.shown()[1] == 'b: failed/Input "get input from [o.x]: o.x does not exist"'


def test_a_variable_that_a_template_set_serves_as_an_input() -> None:
    run = Run(step("b", takes="x"), step("a"), mode="DAG")

    def put(task: tasks.Execute) -> result.Result:
        run.variables.put("x", 7)
        return result.Succeeded()

    run.go(a=put)
    assert run.shown() == ["b: succeeded", "a: succeeded"]
    assert run.executed[-1].parameters == {"x": 7}


def test_inputs_are_put_into_the_parameters_of_every_attempt() -> None:
    inputs = [{"from": "o", "parameterKey": "env[0].value"}, {"from": "2 * 3", "parameterKey": "n"}]
    run = Run(step("a", out="o"), step("b", inputs=inputs, properties={"env": [{"name": "A"}], "n": 1}))
    run.go(b=[WAIT], **{"2 * 3": 6})
    run.wait()
    run.go(**{"2 * 3": 6})
    wanted = {"env": [{"name": "A", "value": "o of a"}], "n": 6}
    assert run.executed[1].parameters == wanted
    assert run.steps[1]["properties"] == {"env": [{"name": "A"}], "n": 1}


INPUTS_IN_ORDER = [
    ("a path", ["parameter.a"], {"a": "old"}, "new", {"a": "new", "c0": "new"}),
    ("a part", ["parameter.a.b"], {}, {"b": 1}, {"a": {"b": 1}, "c0": 1}),
    ("what was not there before", ["parameter.a"], {}, "new", {"a": "new", "c0": "new"}),
    ("a script", ['parameter.a + "!"', "parameter.c0"], {"a": "old"}, "new", {"a": "new", "c0": "new!", "c1": "new!"}),
]


@pytest.mark.parametrize(
    ("sources", "properties", "output", "wanted"),
    [row[1:] for row in INPUTS_IN_ORDER],
    ids=[row[0] for row in INPUTS_IN_ORDER],
)
def test_a_later_input_sees_what_earlier_ones_have_put_in(
    sources: list[str], properties: dict[str, Any], output: Any, wanted: dict[str, Any]
) -> None:
    later = [{"from": source, "parameterKey": f"c{index}"} for index, source in enumerate(sources)]
    run = Run(step("a", out="o"), step("b", inputs=[{"from": "o", "parameterKey": "a"}, *later], properties=properties))
    run.go(a=result.Succeeded({"o": output}), **{'parameter.a + "!"': lambda task: task.scope.parameter["a"] + "!"})
    assert run.shown() == ["a: succeeded", "b: succeeded"]
    assert run.executed[-1].parameters == wanted


def test_context_of_a_sub_step_and_stable_ids() -> None:
    run = Run(step("g", subs=[step("x")]))
    run.go()
    context = run.executed[0].context
    group, sub = run.entry("g")["id"], run.entry("x")["id"]
    assert context["stepGroupName"] == "g"
    assert (context["stepName"], context["stepSessionID"]) == ("x", sub)
    assert context["spanID"].endswith(f".{group}.{sub}")
    assert context["workflowName"] == context["publishVersion"] == ""
    again = Run(step("g", subs=[step("x")]))
    again.go()
    assert again.executed[0].context == context
    assert len(sub) == 10
    assert sub.isalnum()
    assert "0" not in sub


def test_messages_are_bounded() -> None:
    run = Run(step("a"))
    run.go(a=fail("x" * 5000))
    assert len(run.entry("a")["message"].encode()) <= errors.MESSAGE_LIMIT
    assert run.entry("a")["message"].endswith("…")


def test_a_step_in_flight_keeps_what_it_started_with() -> None:
    run = Run(step("a", out="o", properties={"v": 1}), step("b", properties={"v": 1}))
    one = run.start()
    (task,) = one.advance(run.now)
    assert isinstance(task, tasks.Execute)
    one.keep(task, {"template": "t1"})
    one.finished(task, WAIT, run.now)
    run.keep(one.conclude(run.now))
    run.steps = [step("a", type="other", properties={"v": 2}), step("b", properties={"v": 2})]
    run.wait()
    run.go(a=result.Succeeded({"o": 1}))
    first, second = run.executed
    assert (first.started, first.step.type, first.parameters) == ({"template": "t1"}, "work", {"v": 1})
    assert (second.started, second.parameters) == (None, {"v": 2})
    assert run.values == {"o": 1}


def test_a_running_step_that_was_removed_is_finished_first() -> None:
    run = Run(step("a"), step("b"))
    run.go(a=WAIT)
    run.steps = [step("b")]
    run.wait()
    run.go()
    assert run.shown() == ['a: running/Wait "not yet"'], "b waits for it"
    run.wait()
    run.go(a=fail())
    assert run.shown() == ["b: succeeded", 'a: failed/Action "oops"']
    assert run.phase == "succeeded", "what became of a removed step does not count"


def test_a_removed_group_is_finished_with_what_runs_in_it() -> None:
    run = Run(step("g", subs=[step("x"), step("y", depends="x"), step("z")]), step("b"))
    run.go(x=WAIT)
    run.steps = [step("b")]
    run.wait()
    run.go(x=result.Succeeded())
    assert run.shown() == ["b: succeeded", "g: succeeded", "x: succeeded", "z: succeeded"]
    assert run.phase == "succeeded"


def test_a_pending_step_that_was_removed_is_forgotten_and_a_finished_one_stays() -> None:
    run = Run(step("a"), step("b"), step("c", depends="b"), mode="DAG")
    run.go(b=WAIT)
    run.steps = [step("b")]
    run.go()
    assert run.shown() == ['b: running/Wait "not yet"', "a: succeeded"]


def test_progress_and_current_step() -> None:
    run = Run(step("a"), step("b"), step("c"))
    run.go(b=WAIT)
    assert (run.status["progress"], run.status["currentStep"]) == ("1/3", "b")
    since = run.status["currentStepSince"]
    run.wait()
    run.go(b=fail())
    assert (run.status["progress"], run.status["currentStep"], run.status["currentStepSince"]) == ("3/3", "b", since)
    run = Run(step("a"))
    run.go()
    assert "currentStep" not in run.status


@pytest.mark.parametrize(
    ("said", "told"),
    [
        pytest.param("", 'step "a" is waiting', id="nothing"),
        pytest.param("not yet", 'step "a" is waiting: not yet', id="something"),
        pytest.param("waiting for Job x", 'step "a" is waiting for Job x', id="the-same-word"),
        pytest.param("waiting", 'step "a" is waiting', id="only-the-same-word"),
    ],
)
def test_a_wait_is_told_in_one_sentence(said: str, told: str) -> None:
    run = Run(step("a"))
    found = [*run.go(a=result.Waiting(said)).transitions]
    while not any(one.reason is EventReason.STEP_WAITING for one in found):
        run.wait()
        found += run.go().transitions
    assert [one.message for one in found if one.reason is EventReason.STEP_WAITING] == [told]


def test_transitions_tell_each_thing_once() -> None:
    run = Run(step("a"), step("b"))
    told = [t.reason for t in run.go(a=WAIT).transitions]
    assert told == [EventReason.START]
    for _ in range(9):
        run.wait()
        told += [t.reason for t in run.go().transitions]
    assert told == [EventReason.START, EventReason.STEP_WAITING]
    run.wait()
    end = run.go(a=fail()).transitions
    assert [(t.reason, t.warning) for t in end] == [(EventReason.STEP_FAILED, True), (EventReason.EXECUTE, True)]
    assert end[0].message == 'step "a" failed (Action): oops'
    assert end[1].message == "WorkflowRun finished with failure"
    assert run.go().transitions == ()


def test_conditions_follow_the_phase_and_keep_their_times() -> None:
    run = Run(step("a"), step("b"), generation=1)
    run.status = {"conditions": [{"type": "Mine", "status": "True"}]}
    run.go(a=WAIT, b=SUSPEND)
    succeeded = run.condition("Succeeded")
    assert succeeded is not None
    assert (succeeded["status"], succeeded["reason"]) == ("Unknown", "Executing")
    assert run.condition("WorkflowRun") is None
    assert run.condition("Mine") == {"type": "Mine", "status": "True"}
    run.wait(5)
    run.go(a=result.Succeeded())
    later = run.condition("Succeeded")
    assert later is not None
    assert (later["reason"], later["lastTransitionTime"]) == ("Suspending", succeeded["lastTransitionTime"])
    run.edit({"suspend": False})
    run.go(b=fail())
    failed = run.condition("Succeeded")
    assert failed is not None
    assert (failed["status"], failed["reason"]) == ("False", "Failed")
    assert failed["lastTransitionTime"] != succeeded["lastTransitionTime"]
    assert failed["message"] == 'step "b" failed (Action): oops'


def test_a_finished_run_is_left_alone() -> None:
    run = Run(step("a"))
    run.go()
    before = dict(run.status)
    run.steps.append(step("b"))
    run.wait(60)
    conclusion = run.go()
    assert (conclusion.status, conclusion.requeue_after, run.log) == (before, None, ["a"])


def test_a_checkpoint_in_the_middle_shows_what_runs() -> None:
    run = Run(step("a"), step("b"), mode="DAG")
    one = run.start()
    first, second = one.advance(run.now)
    assert isinstance(first, tasks.Execute)
    one.finished(first, result.Succeeded(), run.now)
    middle = one.conclude(run.now)
    assert [entry["phase"] for entry in middle.status["steps"]] == ["succeeded", "running"]
    assert middle.status["steps"][1]["id"] == second.id
    assert middle.in_flight == {second.id}
    assert not middle.status["finished"]


def test_an_answer_that_was_not_asked_for_is_a_bug() -> None:
    run = Run(step("a"))
    one = run.start()
    (task,) = one.advance(run.now)
    assert isinstance(task, tasks.Execute)
    one.finished(task, result.Succeeded(), run.now)
    with pytest.raises(ValueError, match="twice"):
        one.finished(task, result.Succeeded(), run.now)


def test_a_status_of_the_go_controller_is_continued() -> None:
    """Its ids are kept, its suspended step can be resumed although there is no state."""
    run = Run(step("a"), step("s"), step("b"))
    run.status = {
        "mode": {"steps": "StepByStep", "subSteps": "DAG"},
        "status": "suspending",
        "suspend": True,
        "terminated": False,
        "finished": False,
        "startTime": "2025-12-31T23:59:00Z",
        "endTime": None,
        "steps": [
            {
                "id": "aaaaaaaaaa",
                "name": "a",
                "type": "work",
                "phase": "succeeded",
                "firstExecuteTime": "2025-12-31T23:59:00Z",
            },
            {
                "id": "ssssssssss",
                "name": "s",
                "type": "suspend",
                "phase": "suspending",
                "reason": "Suspend",
                "message": "Suspended by field suspend",
                "firstExecuteTime": "2025-12-31T23:59:00Z",
            },
        ],
    }
    run.go(s=lambda task: result.Succeeded() if task.resumed else SUSPEND)
    assert run.phase == "suspending"
    run.edit({"suspend": False})
    run.go()
    assert run.phase == "succeeded"
    assert [entry["id"] for entry in run.status["steps"]][:2] == ["aaaaaaaaaa", "ssssssssss"]
    assert run.log == ["s", "s", "b"], "the template is asked once whether there is an end to the suspend"


def test_a_thousand_steps_are_planned_and_run_in_reasonable_time() -> None:
    """A guard against quadratic loops over steps: the bound is generous, a quadratic one takes minutes."""
    import time

    count = 1000
    steps = [step(f"s{i}", out=f"o{i}", **({"takes": f"o{i - 1}"} if i % 10 else {})) for i in range(count)]
    begun = time.process_time()
    plan = Plan.build(steps, {"steps": "DAG"})
    assert plan.problems == ()
    assert time.process_time() - begun < 5
