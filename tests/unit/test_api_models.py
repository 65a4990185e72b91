from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vela_workflow import errors
from vela_workflow.api import json_tree, model, package, status, step, stepdefinition, workflow, workflowrun

JSON = dict[str, Any]


def run_with(**fields: Any) -> JSON:
    """A run of one step with these fields."""
    return {
        "apiVersion": "core.oam.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": "r", "namespace": "default"},
        "spec": {"workflowSpec": {"steps": [{"name": "a", "type": "suspend"} | fields]}},
    }


STEP = "spec.workflowSpec.steps[0]"

FULL_RUN: JSON = {
    "apiVersion": "core.oam.dev/v1alpha1",
    "kind": "WorkflowRun",
    "metadata": {
        "name": "full",
        "namespace": "default",
        "labels": {"pipeline.oam.dev/name": "p"},
        "creationTimestamp": "2026-11-22T02:28:02Z",
        "managedFields": [{"manager": "kubectl"}],
    },
    "spec": {
        "context": {"foo-bar": 1, "deep": {"list": [1, None, 2.5, "x", True]}},
        "mode": {"steps": "DAG", "subSteps": "StepByStep"},
        "workflowRef": "other",
        "ttlSecondsAfterFinished": 3600,
        "workflowSpec": {
            "steps": [
                {
                    "name": "group",
                    "type": "step-group",
                    "mode": None,
                    "meta": {"alias": "The group"},
                    "if": "always",
                    "subSteps": [
                        {
                            "name": "sub",
                            "type": "request",
                            "timeout": "1.5h",
                            "dependsOn": ["before"],
                            "inputs": [{"from": "x", "parameterKey": "a.b"}],
                            "outputs": [
                                {"name": "o", "valueFrom": "output.x"},
                                {"name": "old", "exportKey": "dbConn"},
                            ],
                            "properties": {"url": "http://x", "anything": {"goes": [1]}},
                            "retry": {
                                "limit": 3,
                                "backoff": {"duration": "1s", "factor": 1.5, "cap": "5m"},
                                "on": ["error", "fail", "timeout"],
                            },
                            "inAFutureVersion": {"kept": True},
                        }
                    ],
                }
            ]
        },
    },
    "status": {
        "mode": {"steps": "DAG", "subSteps": "StepByStep"},
        "status": "executing",
        "observedGeneration": 1,
        "suspend": False,
        "terminated": False,
        "finished": False,
        "progress": "0/1",
        "currentStep": "group",
        "currentStepSince": "2026-11-22T02:28:02Z",
        "startTime": "2026-11-22T02:28:02.333Z",
        "endTime": None,
        "contextBackend": {"apiVersion": "v1", "kind": "ConfigMap", "name": "workflow-full-context", "uid": "u"},
        "conditions": [
            {
                "type": "Succeeded",
                "status": "Unknown",
                "reason": "Executing",
                "lastTransitionTime": "2026-11-22T02:28:02Z",
            }
        ],
        "steps": [
            {
                "id": "a1b2c3d4e5",
                "name": "group",
                "type": "step-group",
                "phase": "running",
                "firstExecuteTime": "2026-11-22T02:28:02Z",
                "lastExecuteTime": None,
                "subSteps": [{"id": "x", "name": "sub", "phase": "pending", "message": "Pending on Input: x"}],
            }
        ],
    },
}

CORPUS = [
    pytest.param(workflowrun.WorkflowRun, FULL_RUN, id="run-with-every-field"),
    pytest.param(workflowrun.WorkflowRun, run_with(), id="small-run"),
    pytest.param(
        workflow.Workflow,
        {
            "apiVersion": "core.oam.dev/v1alpha1",
            "kind": "Workflow",
            "metadata": {"name": "w"},
            "mode": {"steps": "DAG"},
            "steps": [{"type": "suspend", "properties": {"duration": "3s"}}],
        },
        id="workflow",
    ),
    pytest.param(
        stepdefinition.WorkflowStepDefinition,
        {
            "apiVersion": "core.oam.dev/v1beta1",
            "kind": "WorkflowStepDefinition",
            "metadata": {"name": "d", "annotations": {"definition.oam.dev/description": "Does it."}},
            "spec": {
                "schematic": {
                    "cue": {"template": 'import "vela/op"\n'},
                    "terraform": {"configuration": "x", "providerRef": {"name": "p"}},
                    "helm": {"release": {}},
                }
            },
            "status": {"latestRevision": {"name": "d-v1", "revision": 1}},
        },
        id="definition",
    ),
    pytest.param(
        package.Package,
        {
            "apiVersion": "cue.oam.dev/v1alpha1",
            "kind": "Package",
            "metadata": {"name": "my-sql"},
            "spec": {
                "path": "ext/db",
                "templates": {"db.cue": "package db\n"},
                "provider": {"protocol": "http", "endpoint": "http://x", "header": {"X-A": "b"}},
            },
        },
        id="package",
    ),
]


@pytest.mark.parametrize(("kind", "document"), CORPUS)
def test_nothing_is_lost_on_the_way_through_a_model(kind: type[model.Resource], document: JSON) -> None:
    assert model.parse(kind, document).to_object() == document


@pytest.mark.parametrize(("kind", "document"), CORPUS)
def test_models_read_their_own_output(kind: type[model.Resource], document: JSON) -> None:
    once = model.parse(kind, document)
    assert model.parse(kind, once.to_object()) == once


def test_defaults_are_not_written_into_an_object() -> None:
    assert model.parse(workflowrun.WorkflowRun, {"metadata": {"name": "r"}}).to_object() == {
        "apiVersion": "core.oam.dev/v1alpha1",
        "kind": "WorkflowRun",
        "metadata": {"name": "r"},
    }


def test_programs_may_use_python_names() -> None:
    made = step.Step(name="a", type="suspend", if_="always", depends_on=["b"])
    assert made.to_object() == {"name": "a", "type": "suspend", "if": "always", "dependsOn": ["b"]}


def test_null_is_absent_where_the_api_server_has_it_so() -> None:
    document = run_with(timeout=None, dependsOn=None, inputs=None, properties=None, retry=None)
    read = model.parse(workflowrun.WorkflowRun, document).spec.workflow_spec
    assert read is not None
    assert (read.steps[0].timeout, read.steps[0].depends_on, read.steps[0].inputs) == ("", [], [])


def test_times_are_points_in_time() -> None:
    read = model.parse(status.WorkflowRunStatus, {"startTime": "2026-11-22T03:28:02+01:00", "endTime": None})
    assert read.start_time == datetime(2026, 11, 22, 2, 28, 2, tzinfo=UTC)
    assert read.to_object() == {"startTime": "2026-11-22T02:28:02Z", "endTime": None}


PROBLEMS = [
    pytest.param(run_with(type=None), f"{STEP}.type", "is required", id="required-field-null"),
    pytest.param(run_with(name=5), f"{STEP}.name", "must be a string, not a number", id="no-coercion-to-string"),
    pytest.param(run_with(name=True), f"{STEP}.name", "must be a string, not a boolean", id="bool-is-no-string"),
    pytest.param(run_with(dependsOn="b"), f"{STEP}.dependsOn", "must be a list, not a string", id="string-for-list"),
    pytest.param(run_with(dependsOn=["b", 3]), f"{STEP}.dependsOn[1]", "must be a string", id="index-in-path"),
    pytest.param(run_with(properties=[1]), f"{STEP}.properties", "must be an object, not a list", id="free-form"),
    pytest.param(run_with(subSteps=[{"type": 3}]), f"{STEP}.subSteps[0].type", "must be a string", id="sub-step"),
    pytest.param(run_with(timeout=60), f"{STEP}.timeout", "write 60s, 60m or 60h", id="timeout-number"),
    pytest.param(run_with(timeout=0), f"{STEP}.timeout", "bare number", id="timeout-zero-as-number"),
    pytest.param(run_with(timeout="60"), f"{STEP}.timeout", "write 60s, 60m or 60h", id="timeout-bare"),
    pytest.param(run_with(timeout="1min"), f"{STEP}.timeout", 'unknown unit "min"', id="timeout-unit"),
    pytest.param(run_with(timeout=True), f"{STEP}.timeout", "must be a string, not a boolean", id="timeout-bool"),
    pytest.param(run_with(inputs=[{}]), f"{STEP}.inputs[0].from", "is required", id="input-from"),
    pytest.param(run_with(outputs=[{"name": "x"}]), f"{STEP}.outputs[0]", "valueFrom and exportKey", id="output"),
    pytest.param(run_with(retry={"limit": -1}), f"{STEP}.retry.limit", "must be at least 0", id="retry-limit"),
    pytest.param(run_with(retry={"limit": 2**40}), f"{STEP}.retry.limit", "must be at most", id="retry-limit-big"),
    pytest.param(run_with(retry={"limit": 1.5}), f"{STEP}.retry.limit", "must be an integer", id="retry-fraction"),
    pytest.param(run_with(retry={"on": ["x"]}), f"{STEP}.retry.on[0]", "must be 'error', 'fail' or", id="retry-on"),
    pytest.param(run_with(retry={"backoff": {"cap": "5"}}), f"{STEP}.retry.backoff.cap", "bare number", id="cap"),
    pytest.param(run_with(retry={True: ["fail"]}), f"{STEP}.retry", "in quotes", id="yaml-made-a-boolean-of-on"),
    pytest.param(run_with(properties={1: 2}), f"{STEP}.properties", 'write it as "1"', id="key-no-string"),
    pytest.param(run_with(properties={"d": date(2026, 1, 2)}), f"{STEP}.properties.d", "in quotes", id="yaml-date"),
    pytest.param(run_with(properties={"a.b": {"x": float("nan")}}), f'{STEP}.properties["a.b"].x', "nan", id="nan"),
    pytest.param(run_with(properties={"s": "\ud800"}), f"{STEP}.properties.s", "UTF-8", id="half-a-surrogate"),
    pytest.param(run_with(unknown={"s": {1}}), f"{STEP}.unknown.s", "Python set", id="unknown-fields-are-JSON-too"),
    pytest.param({"spec": {"workflow_ref": "w"}}, "spec", "write workflowRef", id="python-name"),
    pytest.param({"kind": "Workflow"}, "kind", "must be 'WorkflowRun'", id="other-kind"),
    pytest.param({"spec": 7}, "spec", "must be an object, not a number", id="spec-no-object"),
    pytest.param({"status": {"startTime": 1}}, "status.startTime", "must be a time", id="time-number"),
    pytest.param({"status": {"startTime": "2026-11-22T02:28:02"}}, "status.startTime", "no time zone", id="no-zone"),
    pytest.param({"status": {"suspend": "yes"}}, "status.suspend", "must be true or false", id="bool"),
    pytest.param([], "", "must be an object, not a list", id="no-object"),
    pytest.param("text", "", "must be an object, not a string", id="text"),
    pytest.param(None, "", "must be an object, not null", id="nothing"),
]


@pytest.mark.parametrize(("document", "path", "words"), PROBLEMS)
def test_a_problem_has_its_path_and_a_reason(document: object, path: str, words: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        model.parse(workflowrun.WorkflowRun, document)
    assert [problem.path for problem in caught.value.problems] == [path]
    assert words in caught.value.problems[0].message


def test_all_problems_are_told_at_once() -> None:
    document = run_with(timeout="1", name=5, retry={"on": ["x"]}, properties={"d": date(2026, 1, 2)})
    document["spec"]["ttlSecondsAfterFinished"] = -1
    document["status"] = {"finished": "no"}
    with pytest.raises(errors.Invalid) as caught:
        model.parse(workflowrun.WorkflowRun, document)
    assert {problem.path for problem in caught.value.problems} == {
        f"{STEP}.timeout",
        f"{STEP}.name",
        f"{STEP}.retry.on[0]",
        f"{STEP}.properties.d",
        "spec.ttlSecondsAfterFinished",
        "status.finished",
    }
    assert str(caught.value).startswith("not a valid WorkflowRun: ")


def test_very_many_problems_are_not_all_told() -> None:
    with pytest.raises(errors.Invalid) as caught:
        model.parse(workflowrun.WorkflowRun, run_with(dependsOn=[1] * 1000))
    assert len(caught.value.problems) == json_tree.PROBLEM_LIMIT + 1
    assert caught.value.problems[-1].message == "and 950 more problems"


def cyclic() -> JSON:
    """What YAML makes of ``properties: &a {self: [*a, *a]}``."""
    loop: JSON = {}
    loop["self"] = [loop, loop]
    return loop


def bomb() -> JSON:
    """A few lines of YAML aliases that stand for ten to the power of nine values."""
    value: Any = "lol"
    for _ in range(9):
        value = [value] * 10
    return {"lol": value}


def deep() -> JSON:
    """Brackets within brackets."""
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    return {"deep": value}


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        pytest.param(cyclic(), "contains itself", id="cycle"),
        pytest.param(deep(), "levels deep", id="depth"),
        pytest.param(bomb(), "more than 500000 values", id="aliases"),
    ],
)
def test_what_nobody_should_walk_through_is_refused(properties: JSON, words: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        model.parse(workflowrun.WorkflowRun, run_with(properties=properties))
    assert words in caught.value.message
    assert len(caught.value.problems) == 1


def test_the_same_object_in_two_places_is_no_cycle() -> None:
    shared = {"x": [1]}
    document = run_with(properties={"a": shared, "b": shared})
    assert model.parse(workflowrun.WorkflowRun, document).to_object() == document


def test_on_without_quotes_is_understood() -> None:
    read = model.parse(workflowrun.WorkflowRun, run_with(retry={"true": ["fail"]})).spec.workflow_spec
    assert read is not None
    assert read.steps[0].retry is not None
    assert read.steps[0].retry.on_unquoted == ["fail"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text() | st.integers(), children, max_size=3),
    max_leaves=10,
)
field_names = st.sampled_from(["spec", "status", "metadata", "workflowSpec", "steps", "type", "timeout", "subSteps"])
shaped = st.recursive(
    json_values,
    lambda children: st.lists(children, max_size=2) | st.dictionaries(field_names, children, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(field_names, shaped, max_size=4))
def test_hostile_documents_are_read_or_refused(document: JSON) -> None:
    try:
        read = model.parse(workflowrun.WorkflowRun, document)
    except errors.Invalid as error:
        assert error.problems
    else:
        assert not json_tree.check(read.to_object())
