"""The rules of engine 3 to 6 and of the decisions, one row each: a workflow, what its steps come to, what it shows."""

from __future__ import annotations

from typing import Any

import pytest
from engine_driver import Run, error, fail, step

from vela_workflow.api.constants import Reason
from vela_workflow.engine import result

WAIT = result.Waiting("not yet")
SUSPEND = result.Suspended()
BREAK = result.Broken("enough")
PURE = result.Failed(Reason.EXECUTE, "conflict")

TOO_LATE = 'the step would wait for itself: "b" runs only after it; put "b" before it, or let the steps run as a DAG'

ONE_PASS: list[tuple[str, list[dict[str, Any]], str, dict[str, Any], list[str], str]] = [
    ("2.3 no steps at all succeed", [], "", {}, [], "succeeded"),
    (
        "3.3 unknown mode is step by step",
        [step("a"), step("b")],
        "parallel",
        {"a": WAIT},
        ['a: running/Wait "not yet"'],
        "executing",
    ),
    (
        "3.3 DAG starts all",
        [step("a"), step("b")],
        "DAG",
        {"a": WAIT},
        ['a: running/Wait "not yet"', "b: succeeded"],
        "executing",
    ),
    (
        "3.3 step by step stops at a suspend",
        [step("a"), step("b")],
        "",
        {"a": SUSPEND},
        ['a: suspending/Suspend "Suspended by field suspend"'],
        "suspending",
    ),
    (
        "3.4 depends on an alias",
        [step("a", properties={"name": "web"}), step("b", depends="web")],
        "DAG",
        {},
        ["a: succeeded", "b: succeeded"],
        "succeeded",
    ),
    (
        "3.4 depends on nobody fails",
        [step("a", depends="ghost"), step("b", depends="a"), step("c")],
        "DAG",
        {},
        ['a: failed/DependsOn "depends on "ghost", but there is no such step"', "b: skipped/Skip", "c: succeeded"],
        "failed",
    ),
    (
        "3.4 depends on a name that is nearly one",
        [step("build-image", depends="bild-image")],
        "DAG",
        {},
        [
            'build-image: failed/DependsOn "depends on "bild-image", but there is no such step; '
            'did you mean build-image?"'
        ],
        "failed",
    ),
    (
        "3.4 a cycle fails",
        [step("a", depends="b"), step("b", depends="a"), step("c")],
        "DAG",
        {},
        [
            'a: failed/DependsOn "the step would wait for itself: a → b → a"',
            'b: failed/DependsOn "the step would wait for itself: b → a → b"',
            "c: succeeded",
        ],
        "failed",
    ),
    (
        "3.4 step by step cannot wait for a later step",
        [step("a", depends="b"), step("b")],
        "",
        {},
        [f'a: failed/DependsOn "{TOO_LATE}"', "b: skipped/Skip"],
        "failed",
    ),
    (
        "3.4 inputs order a DAG",
        [step("b", takes="o"), step("a", out="o")],
        "DAG",
        {},
        ["b: succeeded", "a: succeeded"],
        "succeeded",
    ),
    (
        "3.4 an input nobody gives fails when nothing else moves",
        [step("a", takes="x"), step("b")],
        "DAG",
        {},
        ['a: failed/Input "get input from [x]: no step provides it"', "b: succeeded"],
        "failed",
    ),
    (
        "3.4 an input that is nearly one of those that are given",
        [step("a", takes="imgae"), step("b", out="image")],
        "DAG",
        {},
        ['a: failed/Input "get input from [imgae]: no step provides it; did you mean image?"', "b: succeeded"],
        "failed",
    ),
    (
        "3.4 … and is waited for while something moves",
        [step("a", takes="x"), step("b")],
        "DAG",
        {"b": WAIT},
        ['a: pending "Pending on Input: x"', 'b: running/Wait "not yet"'],
        "executing",
    ),
    (
        "3.4 an input of a later step fails in step by step",
        [step("a", takes="o"), step("b", out="o")],
        "",
        {},
        [f'a: failed/Input "{TOO_LATE}"', "b: skipped/Skip"],
        "failed",
    ),
    (
        "3.6 if always runs after a failure, plain ones after it do not",
        [step("a"), step("b", if_="always"), step("c")],
        "",
        {"a": fail()},
        ['a: failed/Action "oops"', "b: succeeded", "c: skipped/Skip"],
        "failed",
    ),
    (
        "3.6 DAG: a failed ancestor skips all descendants",
        [step("a"), step("b", depends="a", if_="always"), step("c", depends="b")],
        "DAG",
        {"a": fail()},
        ['a: failed/Action "oops"', "b: succeeded", "c: skipped/Skip"],
        "failed",
    ),
    (
        "3.6 DAG: inputs alone do not skip",
        [step("a", out="o"), step("b", takes="o")],
        "DAG",
        {"a": fail()},
        ['a: failed/Action "oops"', "b: succeeded"],
        "failed",
    ),
    (
        "3.6 if of a step that cannot exist",
        [step("a", if_="status.nope.failed"), step("b")],
        "",
        {},
        ['a: failed/Rendering "if: undefined field: status.nope; there is no step "nope""', "b: skipped/Skip"],
        "failed",
    ),
    (
        "3.6 if that is no bool",
        [step("a", if_="context.name")],
        "",
        {},
        ['a: failed/Rendering "if: cannot use value "run" (type a string) as bool"'],
        "failed",
    ),
    (
        "3.6 if of a step not reached yet is false",
        [step("a", if_="status.b.succeeded"), step("b")],
        "",
        {},
        ["a: skipped/Skip", "b: succeeded"],
        "succeeded",
    ),
    (
        "3.6 bad timeout",
        [step("a", timeout="10")],
        "",
        {},
        ['a: failed/Rendering "timeout: invalid duration "10": a bare number has no unit; write 10s, 10m or 10h"'],
        "failed",
    ),
    (
        "B.9 a pure error is not tried again",
        [step("a"), step("b")],
        "",
        {"a": PURE},
        ['a: failed/Execute "conflict"', "b: skipped/Skip"],
        "failed",
    ),
    (
        "B.9 an output that does not exist",
        [step("a", out="o"), step("b", takes="o")],
        "",
        {"a": result.Succeeded()},
        ['a: failed/Output "the step succeeded without its output "o""', "b: skipped/Skip"],
        "failed",
    ),
    (
        "B.13 break: done, the rest does not run, always does",
        [step("a"), step("b"), step("c", if_="always"), step("d", if_="status.a.succeeded")],
        "",
        {"a": BREAK},
        ['a: succeeded/Terminate "enough"', "b: skipped/Skip", "c: succeeded", "d: succeeded"],
        "terminated",
    ),
    (
        "B.13 break in a group ends the run too",
        [step("g", subs=[step("x"), step("y", depends="x")]), step("z")],
        "",
        {"x": BREAK},
        ["g: succeeded", 'x: succeeded/Terminate "enough"', "y: skipped/Skip", "z: skipped/Skip"],
        "terminated",
    ),
    ("4.3 empty group", [step("g", subs=[])], "", {}, ["g: succeeded"], "succeeded"),
    (
        "4.3 group inside a group runs nothing",
        [step("g", subs=[step("h", type="step-group", subs=[step("x")])])],
        "",
        {},
        ["g: succeeded", "h: succeeded"],
        "succeeded",
    ),
    (
        "4.3 skipped group skips its steps",
        [step("g", if_="false", subs=[step("x"), step("y", if_="always")])],
        "",
        {},
        ["g: skipped/Skip", "x: skipped/Skip", "y: skipped/Skip"],
        "succeeded",
    ),
    (
        "4.3 all skipped",
        [step("g", subs=[step("x", if_="false")])],
        "",
        {},
        ["g: skipped/Skip", "x: skipped/Skip"],
        "succeeded",
    ),
    (
        "4.3 wrong if of a group runs nothing",
        [step("g", if_="nope", subs=[step("x")])],
        "",
        {},
        ['g: failed/Rendering "if: undefined field: nope"', "x: skipped/Skip"],
        "failed",
    ),
    (
        "4.3 group shows suspending",
        [step("g", subs=[step("x"), step("y")])],
        "",
        {"x": SUSPEND, "y": WAIT},
        ["g: suspending", 'x: suspending/Suspend "Suspended by field suspend"', 'y: running/Wait "not yet"'],
        "suspending",
    ),
    (
        "4.3 reason by priority",
        [step("g", subs=[step("x"), step("y", retry={"limit": 0})])],
        "",
        {"x": fail(), "y": error()},
        [
            'g: failed/FailedAfterRetries "sub step "y" failed: broken"',
            'x: failed/Action "oops"',
            'y: failed/FailedAfterRetries "broken"',
        ],
        "failed",
    ),
    (
        "4.3 group whose sub step failed purely ends",
        [step("g", subs=[step("x")])],
        "",
        {"x": PURE},
        ['g: failed/FailedAfterRetries "sub step "x" failed: conflict"', 'x: failed/Execute "conflict"'],
        "failed",
    ),
    (
        "4.3 sub step depends on a step outside",
        [step("g", subs=[step("x", depends="b")]), step("b")],
        "DAG",
        {},
        ["g: succeeded", "x: succeeded", "b: succeeded"],
        "succeeded",
    ),
    (
        "4.3 sub step that depends on its own group",
        [step("g", subs=[step("x", depends="g")])],
        "",
        {},
        [
            'g: failed/DependsOn "sub step "x" failed: the step would wait for itself: x → g → x"',
            'x: failed/DependsOn "the step would wait for itself: x → g → x"',
        ],
        "failed",
    ),
    (
        "5.1 outputs of a group",
        [step("g", subs=[], out="o"), step("b", takes="o")],
        "",
        {},
        ["g: succeeded", "b: succeeded"],
        "succeeded",
    ),
    (
        "5.1 wrong output of a group",
        [step("g", subs=[step("x")], out="o")],
        "",
        {"g": result.Failed(Reason.OUTPUT, "output error: no")},
        ['g: failed/Output "output error: no"', "x: succeeded"],
        "failed",
    ),
    (
        "5.2 an input that does not fit",
        [step("a", inputs=[{"from": "context.name", "parameterKey": "s.x"}], properties={"s": "text"})],
        "",
        {},
        ['a: failed/Input "parameterKey: s is a string, not an object with the field "x""'],
        "failed",
    ),
    (
        "5.2 a path of the context that is not there",
        [step("a", inputs=[{"from": "context.nope"}])],
        "",
        {},
        ['a: failed/Input "get input from [context.nope]: failed to lookup value: var(path=context.nope) not exist"'],
        "failed",
    ),
    (
        "5.2 a scripted input that is wrong",
        [step("a", inputs=[{"from": "1 + context.x", "parameterKey": "k"}])],
        "",
        {},
        ['a: failed/Input "get input from [1 + context.x]: no such thing"'],
        "failed",
    ),
    (
        "36 unnamed steps",
        [{"type": "work"}, {"type": "step-group", "subSteps": [{"type": "work"}]}],
        "",
        {},
        ["step-0: succeeded", "step-1: succeeded", "step-1-0: succeeded"],
        "succeeded",
    ),
    (
        "9 a repeated name fails",
        [step("a"), step("a")],
        "DAG",
        {},
        ["a: succeeded", 'a: failed/Rendering "duplicated step name "a""'],
        "failed",
    ),
    ("9 no type", [{"name": "a"}], "", {}, ['a: failed/Rendering "the step has no type"'], "failed"),
]


@pytest.mark.parametrize(
    ("steps", "mode", "script", "shown", "phase"), [row[1:] for row in ONE_PASS], ids=[row[0] for row in ONE_PASS]
)
def test_one_pass(steps: list[dict[str, Any]], mode: str, script: dict[str, Any], shown: list[str], phase: str) -> None:
    run = Run(*steps, mode=mode)
    run.go(**script)
    assert run.shown() == shown
    assert run.phase == phase
    if phase in {"succeeded", "failed", "terminated"}:
        assert run.status["finished"] is True
        assert run.status["progress"] == f"{len(steps)}/{len(steps)}"
