"""The rules of admission that need no cluster: one row per rule."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.operator import admission_rules as rules

JSON = dict[str, Any]
AT = "spec.workflowSpec.steps"


def run_of(steps: str, **spec: Any) -> JSON:
    return {
        "apiVersion": constants.WORKFLOW_RUN.api_version,
        "kind": constants.WORKFLOW_RUN.kind,
        "metadata": {"name": "run", "namespace": "default"},
        "spec": {"workflowSpec": {"steps": yaml.safe_load(steps)}, **spec},
    }


def told(problems: tuple[errors.Problem, ...]) -> list[str]:
    return sorted(str(problem) for problem in problems)


@dataclasses.dataclass(frozen=True)
class Row:
    """Steps and what is said of them; ``problems`` and ``warnings`` are texts by field path below the steps."""

    reason: str
    steps: str
    problems: Mapping[str, str] = dataclasses.field(default_factory=dict)
    warnings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    mode: Mapping[str, str] | None = None
    variables_open: bool = False


ROWS = [
    Row("nothing-wrong", "[{name: a, type: t, timeout: 1d, if: always}, {name: b, type: t, dependsOn: [a]}]"),
    Row(
        "missing-names",
        "[{type: t}, {name: g, type: step-group, subSteps: [{type: t}]}]",
        {"[0].name": "has no name", "[1].subSteps[0].name": "would be step-1-0"},
    ),
    Row(
        "duplicates-among-steps-and-sub-steps",
        "[{name: a, type: t}, {name: a, type: t}, {name: g, type: step-group, subSteps: [{name: a, type: t}]}]",
        {"[1].name": 'duplicated step name "a"', "[2].subSteps[0].name": 'duplicated step name "a"'},
    ),
    Row(
        "bad-timeouts-also-of-sub-steps",
        "[{name: a, type: t, timeout: '10'}, "
        "{name: g, type: step-group, subSteps: [{name: b, type: t, timeout: 3min}]}]",
        {"[0].timeout": "", "[1].subSteps[0].timeout": ""},
    ),
    Row(
        "unknown-depends-on",
        "[{name: a, type: t, dependsOn: [b, c]}]",
        {"[0].dependsOn[0]": 'there is no step "b"', "[0].dependsOn[1]": 'there is no step "c"'},
    ),
    Row(
        "cycle",
        "[{name: a, type: t, dependsOn: [b]}, {name: b, type: t, dependsOn: [a]}]",
        {"[0].dependsOn[0]": "would wait for itself", "[1].dependsOn[0]": "would wait for itself"},
        mode={"steps": "DAG"},
    ),
    Row(
        "input-that-nobody-gives",
        "[{name: a, type: t, inputs: [{from: x.y, parameterKey: v}]}]",
        {"[0].inputs[0].from": 'no step has an output "x.y", and no template here sets it'},
    ),
    Row(
        "input-that-a-template-may-set",
        "[{name: a, type: t, inputs: [{from: x.y, parameterKey: v}]}]",
        warnings={"[0].inputs[0].from": 'no step has an output "x.y"'},
        variables_open=True,
    ),
    Row("input-of-the-context", "[{name: a, type: t, inputs: [{from: context.name, parameterKey: v}]}]"),
    Row(
        "expressions-that-are-none",
        "[{name: a, type: t, if: 'status.b.failed &&& (', outputs: [{name: o, valueFrom: 'x: {'}]}]",
        {"[0].if": "is not a CUE expression", "[0].outputs[0].valueFrom": "is not a CUE expression"},
        warnings={"[0].if": 'there is no step "b"'},
    ),
    Row(
        "no-type",
        "[{name: a}]",
        {"[0].type": "the step has no type"},
    ),
    Row(
        "unknown-mode-of-a-group",
        "[{name: g, type: step-group, mode: Fast, subSteps: [{name: a, type: t}]}]",
        warnings={"[0].mode": 'unknown mode "Fast"'},
    ),
    Row(
        "sub-steps-that-nobody-runs",
        "[{name: a, type: t, subSteps: [{name: b, type: t}]}]",
        warnings={"[0].subSteps": "only the type step-group runs sub steps"},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.reason)
def test_steps(row: Row) -> None:
    steps = yaml.safe_load(row.steps)
    _, review = rules.judge_steps(steps, row.mode, AT, variables_open=row.variables_open)
    for wanted, found in ((row.problems, review.problems), (row.warnings, review.warnings)):
        assert {problem.path for problem in found} == {f"{AT}{path}" for path in wanted}, told(found)
        for path, text in wanted.items():
            assert any(text in problem.message for problem in found if problem.path == f"{AT}{path}"), told(found)


@pytest.mark.parametrize(
    ("mode", "paths"),
    [
        pytest.param(None, [], id="none"),
        pytest.param({"steps": "DAG", "subSteps": "StepByStep"}, [], id="known"),
        pytest.param({"steps": "", "subSteps": ""}, [], id="empty"),
        pytest.param({"steps": "dag", "subSteps": "x"}, ["spec.mode.steps", "spec.mode.subSteps"], id="unknown"),
    ],
)
def test_unknown_modes_of_a_workflow_are_warnings(mode: Any, paths: list[str]) -> None:
    review = rules.unknown_modes(mode, "spec.mode")
    assert [problem.path for problem in review.warnings] == paths
    assert review.problems == ()


@pytest.mark.parametrize(
    ("owner", "place", "paths"),
    [
        pytest.param({"workflowSpec": {"steps": [1]}}, "spec.", [], id="steps"),
        pytest.param({"workflowRef": "w"}, "spec.", [], id="reference"),
        pytest.param({"workflowRef": "w", "workflowSpec": {"steps": [1]}}, "spec.", ["spec.workflowRef"], id="both"),
        pytest.param({"workflowSpec": {"steps": []}}, "spec.", ["spec.workflowSpec.steps"], id="no-steps"),
        pytest.param({"workflowSpec": {}}, "spec.", ["spec.workflowSpec.steps"], id="no-field-steps"),
        pytest.param({"steps": []}, "", ["steps"], id="a-workflow-without-steps"),
        pytest.param({"steps": None, "workflowSpec": 3}, "", [], id="of-another-form"),
    ],
)
def test_what_comes_to_nothing_is_a_warning(owner: Any, place: str, paths: list[str]) -> None:
    review = rules.without_effect(owner, place)
    assert [problem.path for problem in review.warnings] == paths
    assert review.problems == ()


@pytest.mark.parametrize(("name", "warns"), [("suspend", True), ("step-group", True), ("mine", False)])
def test_definitions_of_built_in_names(name: str, warns: bool) -> None:
    review = rules.definition_name(name)
    assert bool(review.warnings) is warns
    assert review.problems == ()


def test_form_tells_everything_and_leaves_the_status_alone() -> None:
    body = run_of("[{name: 3, type: t, dependsOn: x}]", ttlSecondsAfterFinished=-1)
    body["status"] = {"steps": "nonsense"}
    paths = {problem.path for problem in rules.structure("WorkflowRun", body).problems}
    assert paths == {f"{AT}[0].name", f"{AT}[0].dependsOn", "spec.ttlSecondsAfterFinished"}


def test_an_endless_object_is_not_walked_through() -> None:
    body = run_of("[]")
    deep: JSON = {}
    body["spec"]["context"] = deep
    for _ in range(3000):
        deep["x"] = {}
        deep = deep["x"]
    review = rules.endless(body)
    assert review is not None
    assert "levels deep" in review.refusal
    assert rules.endless(run_of("[]")) is None


# What is looked at.


NEW = run_of("[{name: a, type: t}]")


@pytest.mark.parametrize(
    ("change", "judged"),
    [
        pytest.param({}, False, id="nothing"),
        pytest.param({"status": {"finished": True}}, False, id="status"),
        pytest.param({"metadata": {"name": "run", "annotations": {"a": "b"}}}, False, id="annotations"),
        pytest.param({"spec": {"workflowSpec": {"steps": []}}}, True, id="spec"),
        pytest.param({"spec": {}, "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, False, id="deleted"),
    ],
)
def test_only_changes_of_what_is_wanted_are_judged(change: JSON, judged: bool) -> None:
    assert rules.is_judged({**NEW, **change}, NEW) is judged


def test_what_is_created_is_judged() -> None:
    assert rules.is_judged(NEW, None)


def test_a_workflow_is_judged_by_its_own_fields() -> None:
    workflow = {"kind": "Workflow", "metadata": {"name": "w"}, "steps": [{"name": "a", "type": "t"}]}
    assert rules.steps_of(workflow) == (workflow["steps"], "steps")
    assert rules.is_judged({**workflow, "mode": {"steps": "DAG"}}, workflow)


# What is filled in.


@pytest.mark.parametrize(
    ("steps", "after"),
    [
        pytest.param("[{name: a, type: t}]", None, id="nothing-to-do"),
        pytest.param(
            "[{type: t}, {name: '', type: t}, {name: null, type: t}]",
            "[{name: step-0, type: t}, {name: step-1, type: t}, {name: step-2, type: t}]",
            id="names",
        ),
        pytest.param(
            "[{name: a, type: t}, {name: g, type: step-group, subSteps: [{name: b, type: t}, {type: t}]}]",
            "[{name: a, type: t}, "
            "{name: g, type: step-group, subSteps: [{name: b, type: t}, {name: step-1-1, type: t}]}]",
            id="names-of-sub-steps",
        ),
        pytest.param(
            "[{name: a, type: t, retry: {limit: 2, 'true': [fail]}}]",
            "[{name: a, type: t, retry: {limit: 2, 'on': [fail]}}]",
            id="on-that-yaml-misread",
        ),
        pytest.param("[{name: a, type: t, retry: {'true': [fail], 'on': [error]}}]", None, id="on-wins"),
        pytest.param("[5, {name: a, type: t, subSteps: 7}]", None, id="not-even-steps"),
    ],
)
def test_completion(steps: str, after: str | None) -> None:
    body = run_of(steps)
    patch = rules.completion(body)
    if after is None:
        assert patch == {}
    else:
        assert patch == {"spec": {"workflowSpec": {"steps": yaml.safe_load(after)}}}
    assert body == run_of(steps), "the object itself is not changed"


def test_a_workflow_is_completed_at_the_top() -> None:
    assert rules.completion({"kind": "Workflow", "steps": [{"type": "t"}]}) == {
        "steps": [{"type": "t", "name": "step-0"}]
    }


def test_a_run_of_a_workflow_has_nothing_to_complete() -> None:
    assert rules.completion({"kind": "WorkflowRun", "spec": {"workflowRef": "w"}}) == {}


# How it is said.


def test_one_problem_is_one_line_and_many_are_a_list() -> None:
    one, two = errors.Problem("is wrong", "a"), errors.Problem("is wrong too", "b")
    assert rules.Review().refusal == ""
    assert rules.Review((one,)).refusal == "a: is wrong"
    assert (rules.Review((one,)) + rules.Review((one, two))).refusal == "2 problems:\n- a: is wrong\n- b: is wrong too"


def test_a_flood_of_problems_and_warnings_is_cut() -> None:
    many = tuple(errors.Problem("x" * 1000, str(number)) for number in range(100))
    review = rules.Review(many, many)
    assert review.refusal.endswith("and 50 more problems")
    assert len(review.notes) == rules.WARNINGS
    assert max(len(note.encode()) for note in review.notes) <= rules.WARNING_BYTES
    assert review.notes[-1] == "and 85 more warnings"
