"""What a plan finds wrong, one row each: the steps, the paths of the problems and a part of each message."""

from __future__ import annotations

from typing import Any

import pytest
from engine_driver import step
from hypothesis import given
from hypothesis import strategies as st

from vela_workflow.api.constants import Mode
from vela_workflow.engine.plan import Plan

PROBLEMS: list[tuple[str, list[Any], list[tuple[str, str]]]] = [
    ("good", [step("a", out="o"), step("b", depends="a", takes="o", timeout="1d")], []),
    ("no type", [{"name": "a"}], [("steps[0].type", "no type")]),
    ("not an object", ["a"], [("steps[0]", "must be an object"), ("steps[0].type", "no type")]),
    (
        "wrong types",
        [{"name": 1, "type": "x", "dependsOn": "b"}],
        [("steps[0].name", "must be a string, not a number"), ("steps[0].dependsOn", "must be a list")],
    ),
    ("duplicates", [step("a"), step("a")], [("steps[1].name", "duplicated step name")]),
    (
        "duplicate in a group",
        [step("a"), step("g", subs=[step("a")])],
        [("steps[1].subSteps[0].name", "duplicated step name")],
    ),
    ("default name taken", [step("step-1"), {"type": "x"}], [("steps[1].name", "duplicated step name")]),
    ("timeout without unit", [step("a", timeout="10")], [("steps[0].timeout", "a bare number has no unit")]),
    (
        "timeout of a sub step",
        [step("g", subs=[step("x", timeout="1y")])],
        [("steps[0].subSteps[0].timeout", "unknown unit")],
    ),
    (
        "unknown dependency",
        [step("a", depends="x y")],
        [("steps[0].dependsOn[0]", 'no step "x"'), ("steps[0].dependsOn[1]", 'no step "y"')],
    ),
    ("on itself", [step("a", depends="a")], [("steps[0].dependsOn[0]", "a → a")]),
    (
        "on a later step",
        [step("a", depends="b"), step("b")],
        [("steps[0].dependsOn[0]", '"b" runs only after it; put "b" before it')],
    ),
    (
        "on its own group",
        [step("g", subs=[step("x", depends="g")])],
        [("steps[0].subSteps[0].dependsOn[0]", "x → g → x")],
    ),
    ("group on its sub step", [step("g", depends="x", subs=[step("x")])], [("steps[0].dependsOn[0]", "g → x → g")]),
    ("its own output", [step("a", out="o", takes="o")], [("steps[0].inputs[0].from", "a → a")]),
    ("no from", [step("a", inputs=[{"parameterKey": "x"}])], [("steps[0].inputs[0]", "from is required")]),
    (
        "bad key",
        [step("a", inputs=[{"from": "context.name", "parameterKey": "a[x]"}])],
        [("steps[0].inputs[0].parameterKey", "is not a path")],
    ),
    ("output without name", [step("a", outputs=[{"valueFrom": "x"}])], [("steps[0].outputs[0]", "name is required")]),
    ("output without source", [step("a", outputs=[{"name": "x"}])], [("steps[0].outputs[0]", "valueFrom is required")]),
    (
        "output with a wrong name",
        [step("a", outputs=[{"name": "x[", "valueFrom": "x"}])],
        [("steps[0].outputs[0].name", "is not a path")],
    ),
    (
        "retry",
        [step("a", retry={"limit": -1, "on": ["luck"], "backoff": {"factor": 0.5, "duration": 3}})],
        [
            ("steps[0].retry.limit", "whole number"),
            ("steps[0].retry.backoff.factor", "1 or more"),
            ("steps[0].retry.backoff.duration", "must be a string"),
            ("steps[0].retry.on", 'unknown "luck"'),
        ],
    ),
]


@pytest.mark.parametrize(("steps", "problems"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS])
def test_problems(steps: list[Any], problems: list[tuple[str, str]]) -> None:
    plan = Plan.build(steps)
    assert [problem.path for problem in plan.problems] == [path for path, _ in problems]
    for problem, (_, part) in zip(plan.problems, problems, strict=True):
        assert part in problem.message


WARNINGS: list[tuple[str, list[Any], list[tuple[str, str]]]] = [
    (
        "input that only a template could set",
        [step("a", takes="x")],
        [("steps[0].inputs[0].from", 'no step has an output "x"')],
    ),
    ("unknown mode", [step("g", mode="parallel", subs=[])], [("steps[0].mode", "counts as DAG")]),
    ("sub steps of another type", [step("a", subSteps=[step("x")])], [("steps[0].subSteps", "ignores them")]),
    (
        "group in a group",
        [step("g", subs=[step("h", subs=[step("x")])])],
        [("steps[0].subSteps[0].subSteps", "inside a group")],
    ),
    ("retry of a group", [step("g", subs=[], retry={"limit": 1})], [("steps[0].retry", "not retried as a whole")]),
]


@pytest.mark.parametrize(("steps", "warnings"), [row[1:] for row in WARNINGS], ids=[row[0] for row in WARNINGS])
def test_warnings(steps: list[Any], warnings: list[tuple[str, str]]) -> None:
    plan = Plan.build(steps)
    assert plan.problems == ()
    found = [*plan.warnings, *plan.orphans]
    assert [warning.path for warning in found] == [path for path, _ in warnings]
    assert all(part in warning.message for warning, (_, part) in zip(found, warnings, strict=True))


MODES: list[tuple[Any, Any, Any, Mode, Mode]] = [
    (None, None, None, Mode.STEP_BY_STEP, Mode.DAG),
    ({"steps": "DAG"}, None, None, Mode.DAG, Mode.DAG),
    ({"steps": "dag"}, None, None, Mode.STEP_BY_STEP, Mode.DAG),
    ({"subSteps": "StepByStep"}, None, None, Mode.STEP_BY_STEP, Mode.STEP_BY_STEP),
    ({"subSteps": "StepByStep"}, None, "DAG", Mode.STEP_BY_STEP, Mode.DAG),
    ({"subSteps": "StepByStep"}, None, "other", Mode.STEP_BY_STEP, Mode.DAG),
    ({"steps": "DAG"}, {"steps": "StepByStep", "subSteps": "DAG"}, "StepByStep", Mode.STEP_BY_STEP, Mode.STEP_BY_STEP),
]


@pytest.mark.parametrize(("mode", "frozen", "own", "top", "sub"), MODES)
def test_modes(mode: Any, frozen: Any, own: Any, top: Mode, sub: Mode) -> None:
    """Engine 3.3: the top level from the status, then the spec; sub steps from the group, then the spec."""
    group = step("g", subs=[step("x")], **({"mode": own} if own else {}))
    plan = Plan.build([group], mode, frozen)
    assert (plan.mode, plan.by_path["g"].mode) == (top, sub)


def test_names_win_over_aliases_and_the_first_alias_counts() -> None:
    plan = Plan.build(
        [
            step("a", properties={"name": "b"}),
            step("b", properties={"component": "web"}),
            step("c", properties={"name": "web", "component": "unused"}),
            step("g", subs=[step("x", properties={"name": "inner"})]),
        ]
    )
    assert plan.names == {"a": "a", "b": "b", "c": "c", "g": "g", "x": "g/x", "web": "b"}


def test_export_key_is_value_from() -> None:
    plan = Plan.build(
        [step("a", outputs=[{"name": "o", "exportKey": "x.y"}, {"name": "p", "valueFrom": "v", "exportKey": "k"}])]
    )
    assert [output.value_from for output in plan.steps[0].outputs] == ["x.y", "v"]


def test_the_place_of_problems_can_be_said() -> None:
    plan = Plan.build([{"name": "a"}], field_path="spec.workflowSpec.steps")
    assert str(plan.problems[0]) == "spec.workflowSpec.steps[0].type: the step has no type"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["name", "type", "if", "timeout", "dependsOn", "inputs", "outputs", "properties", "mode", "subSteps", "retry"]


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), json_values) | json_values, max_size=4))
def test_no_steps_whatever_break_the_plan(steps: list[Any]) -> None:
    plan = Plan.build(steps)
    assert len(plan.steps) == len(steps)
    assert all(problem.path and problem.message for problem in plan.problems)
