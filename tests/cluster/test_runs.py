"""Runs that end by themselves: order, data, conditions and outcomes, one row per rule.

All runs of the table are started together and looked at one after another, as they would be on a busy cluster.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.cluster import operator_fixture as fixture

JSON = dict[str, Any]
DAG = {"steps": "DAG"}


@dataclasses.dataclass(frozen=True)
class Row:
    """A run and what becomes of it; ``steps`` say phase and reason by name, ``told`` the messages that matter."""

    reason: str
    text: str
    phase: str
    steps: Mapping[str, str]
    spec: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    told: Mapping[str, str] = dataclasses.field(default_factory=dict)
    variables: Mapping[str, Any] | None = None


ORDER = [
    Row(
        "step-by-step",
        """
        - {name: a, type: touch, properties: {name: step-by-step}}
        - {name: b, type: need, properties: {name: step-by-step}}
        """,
        "succeeded",
        {"a": "succeeded", "b": "succeeded"},
    ),
    Row(
        "dag-starts-all-at-once",
        """
        - {name: a, type: await, properties: {name: dag-at-once}}
        - {name: b, type: touch, properties: {name: dag-at-once}}
        """,
        "succeeded",
        {"a": "succeeded", "b": "succeeded"},
        {"mode": DAG},
    ),
    Row(
        "dag-follows-depends-on",
        """
        - {name: a, type: need, properties: {name: dag-depends}, dependsOn: [b]}
        - {name: b, type: touch, properties: {name: dag-depends}}
        """,
        "succeeded",
        {"a": "succeeded", "b": "succeeded"},
        {"mode": DAG},
    ),
    Row(
        "dag-follows-inputs",
        """
        - {name: a, type: echo, inputs: [{from: o, parameterKey: value}], outputs: [{name: p, valueFrom: result}]}
        - {name: b, type: echo, properties: {value: 7}, outputs: [{name: o, valueFrom: result}]}
        """,
        "succeeded",
        {"a": "succeeded", "b": "succeeded"},
        {"mode": DAG},
        variables={"o": 7, "p": 7},
    ),
    Row(
        "sub-steps-start-all-at-once",
        """
        - name: group
          type: step-group
          subSteps:
            - {name: a, type: await, properties: {name: sub-at-once}}
            - {name: b, type: touch, properties: {name: sub-at-once}}
        - {name: after, type: echo}
        """,
        "succeeded",
        {"group": "succeeded", "a": "succeeded", "b": "succeeded", "after": "succeeded"},
    ),
    Row(
        "mode-of-a-group",
        """
        - name: group
          type: step-group
          mode: StepByStep
          subSteps:
            - {name: a, type: touch, properties: {name: mode-of-a-group}}
            - {name: b, type: need, properties: {name: mode-of-a-group}}
        """,
        "succeeded",
        {"group": "succeeded", "a": "succeeded", "b": "succeeded"},
    ),
    Row(
        "mode-of-all-groups",
        """
        - name: group
          type: step-group
          subSteps:
            - {name: a, type: touch, properties: {name: mode-of-all-groups}}
            - {name: b, type: need, properties: {name: mode-of-all-groups}}
        """,
        "succeeded",
        {"group": "succeeded", "a": "succeeded", "b": "succeeded"},
        {"mode": {"subSteps": "StepByStep"}},
    ),
    Row(
        "depends-on-a-sub-step-and-a-group",
        """
        - {name: x, type: need, properties: {name: depends-on-sub}, dependsOn: [a]}
        - {name: y, type: need, properties: {name: depends-on-sub}, dependsOn: [group]}
        - name: group
          type: step-group
          subSteps: [{name: a, type: touch, properties: {name: depends-on-sub}}]
        """,
        "succeeded",
        {"x": "succeeded", "y": "succeeded", "group": "succeeded", "a": "succeeded"},
        {"mode": DAG},
    ),
    Row(
        "unnamed-steps",
        """
        - {type: echo}
        - {type: step-group, subSteps: [{type: echo}, {type: echo}]}
        - {type: echo}
        """,
        "succeeded",
        dict.fromkeys(("step-0", "step-1", "step-1-0", "step-1-1", "step-2"), "succeeded"),
    ),
    Row("no-steps", "[]", "succeeded", {}),
]

DATA = [
    Row(
        "output-to-nested-keys",
        """
        - {name: a, type: echo, properties: {value: {deep: [1, {k: v}]}}, outputs: [{name: o, valueFrom: result.deep}]}
        - name: b
          type: echo
          properties: {value: {list: [p, {k: old}], "dash-key": old, kept: true}}
          inputs:
            - {from: o, parameterKey: value.x.y}
            - {from: "o[1].k", parameterKey: "value.list[1].k"}
            - {from: context.name, parameterKey: value.dash-key}
          outputs: [{name: all, valueFrom: result}]
        """,
        "succeeded",
        {"a": "succeeded", "b": "succeeded"},
        variables={
            "o": [1, {"k": "v"}],
            "all": {
                "list": ["p", {"k": "v"}],
                "dash-key": "output-to-nested-keys",
                "kept": True,
                "x": {"y": [1, {"k": "v"}]},
            },
        },
    ),
    Row(
        "outputs-by-expression",
        """
        - name: a
          type: echo
          properties: {value: hello}
          outputs:
            - {name: loud, valueFrom: "import \\"strings\\"\\nstrings.ToUpper(result)"}
            - {name: length, valueFrom: "len(parameter.value) + 1"}
            - {name: text, valueFrom: '"\\(context.stepName) says \\(result)"'}
            - {name: in.side, valueFrom: result}
            - {name: older, exportKey: result}
        """,
        "succeeded",
        {"a": "succeeded"},
        variables={"loud": "HELLO", "length": 6, "text": "a says hello", "in": {"side": "hello"}, "older": "hello"},
    ),
    Row(
        "inputs-by-expression-and-from-context",
        """
        - name: a
          type: echo
          inputs:
            - {from: "import \\"strings\\"\\nstrings.Repeat(context.word, 2)", parameterKey: value.twice}
            - {from: "context.list[1]", parameterKey: value.second}
          outputs: [{name: o, valueFrom: result}]
        """,
        "succeeded",
        {"a": "succeeded"},
        {"context": {"word": "ab", "list": [1, 2]}},
        variables={"o": {"twice": "abab", "second": 2}},
    ),
    Row(
        "input-wins-over-property",
        """
        - {name: a, type: echo, properties: {value: input}, outputs: [{name: o, valueFrom: result}]}
        - name: b
          type: echo
          properties: {value: property}
          inputs: [{from: o, parameterKey: value}]
          outputs: [{name: p, valueFrom: result}]
        """,
        "succeeded",
        {"a": "succeeded", "b": "succeeded"},
        variables={"o": "input", "p": "input"},
    ),
    Row(
        "either-or",
        """
        - {name: a, type: echo, if: "false", properties: {value: 1}, outputs: [{name: o, valueFrom: result}]}
        - {name: b, type: echo, properties: {value: 2}, outputs: [{name: o, valueFrom: result}]}
        - {name: c, type: echo, inputs: [{from: o, parameterKey: value}], outputs: [{name: p, valueFrom: result}]}
        """,
        "succeeded",
        {"a": "skipped/Skip", "b": "succeeded", "c": "succeeded"},
        variables={"o": 2, "p": 2},
    ),
    Row(
        "output-of-what-was-applied",
        """
        - name: a
          type: touch
          properties: {name: output-of-applied, data: {k: v}}
          outputs:
            - {name: full, valueFrom: output.$returns.value.kind}
            - {name: older, valueFrom: output.value.data.k}
        """,
        "succeeded",
        {"a": "succeeded"},
        variables={"full": "ConfigMap", "older": "v"},
    ),
    Row(
        "variables-of-templates",
        """
        - {name: a, type: put-variable, properties: {path: x.y, value: 5}}
        - {name: b, type: get-variable, properties: {path: x.y}, outputs: [{name: o, valueFrom: result}]}
        """,
        "succeeded",
        {"a": "succeeded", "b": "succeeded"},
        variables={"x": {"y": 5}, "o": 5},
    ),
    Row(
        "context-is-the-runs",
        """
        - {name: a, type: seen-context, outputs: [{name: seen, valueFrom: result}]}
        """,
        "succeeded",
        {"a": "succeeded"},
        {"context": {"stepName": "override", "foo-bar": 1}},
    ),
    Row(
        "group-outputs",
        """
        - name: group
          type: step-group
          subSteps: [{name: a, type: echo}]
          outputs: [{name: o, valueFrom: context.name}]
        """,
        "succeeded",
        {"group": "succeeded", "a": "succeeded"},
        variables={"o": "group-outputs"},
    ),
]

CONDITIONS = [
    Row(
        "if-in-all-forms",
        """
        - {name: a-a, type: echo, properties: {value: "yes"}, outputs: [{name: o, valueFrom: result}]}
        - {name: status, type: echo, if: 'status["a-a"].succeeded'}
        - {name: not-status, type: echo, if: 'status["a-a"].failed'}
        - {name: no-message, type: echo, if: 'status["a-a"].message == "not found" || status["a-a"].reason == "Skip"'}
        - {name: input, type: echo, if: 'inputs["o"] == "yes"', inputs: [{from: o}]}
        - {name: context, type: echo, if: 'context.stage == "test" && context.name != ""'}
        - {name: parameter, type: echo, if: parameter.value > 3, properties: {value: 4}}
        - {name: plain, type: echo}
        - {name: always, type: echo, if: always}
        """,
        "succeeded",
        {
            "a-a": "succeeded",
            "status": "succeeded",
            "not-status": "skipped/Skip",
            "no-message": "skipped/Skip",
            "input": "succeeded",
            "context": "succeeded",
            "parameter": "succeeded",
            "plain": "succeeded",
            "always": "succeeded",
        },
        {"context": {"stage": "test"}},
    ),
    Row(
        "if-of-an-input-that-builds-upon-another",
        """
        - {name: a, type: echo, properties: {value: 2}, outputs: [{name: o, valueFrom: result}]}
        - name: b
          type: echo
          if: 'inputs["parameter.value.x + 1"] == 3 && parameter.value.x == 0'
          properties: {value: {x: 0}}
          inputs: [{from: o, parameterKey: value.x}, {from: parameter.value.x + 1, parameterKey: value.y}]
          outputs: [{name: p, valueFrom: result}]
        """,
        "succeeded",
        {"a": "succeeded", "b": "succeeded"},
        variables={"o": 2, "p": {"x": 2, "y": 3}},
    ),
    Row(
        "an-input-that-fails-is-not-the-fault-of-the-if",
        """
        - {name: a, type: echo, if: 'inputs["context.stage + 1"] == 2', inputs: [{from: context.stage + 1}]}
        """,
        "failed",
        {"a": "failed/Input"},
        {"context": {"stage": "test"}},
        told={"a": "get input from [context.stage + 1]: "},
    ),
    Row(
        "after-a-failure",
        """
        - {name: a, type: fail}
        - {name: b, type: echo}
        - {name: c, type: echo, if: always}
        - {name: d, type: echo, if: status.a.failed}
        """,
        "failed",
        {"a": "failed/Action", "b": "skipped/Skip", "c": "succeeded", "d": "succeeded"},
        told={"a": "oops"},
    ),
    Row(
        "depends-on-what-succeeded",
        """
        - {name: a, type: echo}
        - {name: b, type: fail}
        - {name: c, type: echo, dependsOn: [a]}
        - {name: d, type: echo}
        """,
        "failed",
        {"a": "succeeded", "b": "failed/Action", "c": "succeeded", "d": "skipped/Skip"},
    ),
    Row(
        "after-a-skipped-step",
        """
        - {name: a, type: echo, if: "false"}
        - {name: b, type: echo, dependsOn: [a]}
        - {name: c, type: echo}
        """,
        "succeeded",
        {"a": "skipped/Skip", "b": "skipped/Skip", "c": "succeeded"},
    ),
    Row(
        "a-group-that-fails",
        """
        - name: group
          type: step-group
          mode: StepByStep
          subSteps:
            - {name: a, type: fail}
            - {name: b, type: echo}
            - {name: c, type: echo, if: always}
        - {name: sub, type: echo, if: status.a.failed}
        - {name: whole, type: echo, if: status.group.failed}
        """,
        "failed",
        {
            "group": "failed/Action",
            "a": "failed/Action",
            "b": "skipped/Skip",
            "c": "succeeded",
            "sub": "succeeded",
            "whole": "succeeded",
        },
    ),
    Row(
        "a-group-that-is-skipped",
        """
        - name: group
          type: step-group
          if: "false"
          subSteps: [{name: a, type: fail}]
        """,
        "succeeded",
        {"group": "skipped/Skip", "a": "skipped/Skip"},
    ),
    Row(
        "dag-skips-descendants",
        """
        - {name: a, type: fail}
        - {name: b, type: echo, dependsOn: [a]}
        - {name: c, type: echo, dependsOn: [b]}
        - {name: d, type: echo}
        """,
        "failed",
        {"a": "failed/Action", "b": "skipped/Skip", "c": "skipped/Skip", "d": "succeeded"},
        {"mode": DAG},
    ),
]

ENDS = [
    Row(
        "break",
        """
        - {name: a, type: break}
        - {name: b, type: echo}
        - {name: c, type: echo, if: always}
        """,
        "terminated",
        {"a": "succeeded/Terminate", "b": "skipped/Skip", "c": "succeeded"},
        told={"a": "enough"},
    ),
    Row(
        "message",
        "[{name: a, type: print-message-in-status, properties: {message: hello}}]",
        "succeeded",
        {"a": "succeeded"},
        told={"a": "hello"},
    ),
    Row(
        "timeout-of-a-sub-step",
        """
        - name: group
          type: step-group
          subSteps:
            - {name: a, type: await, timeout: 1s, properties: {name: never}}
            - {name: b, type: echo}
        """,
        "failed",
        {"group": "failed/Timeout", "a": "failed/Timeout", "b": "succeeded"},
    ),
    Row(
        "timeout-of-a-group",
        """
        - name: group
          type: step-group
          timeout: 1s
          subSteps: [{name: a, type: await, properties: {name: never}}]
        """,
        "failed",
        {"group": "failed/Timeout", "a": "failed/Timeout"},
    ),
    Row(
        "timeout-while-suspended",
        "[{name: a, type: suspend, timeout: 1s}]",
        "failed",
        {"a": "failed/Timeout"},
    ),
    Row(
        "timed-suspend",
        """
        - {name: a, type: suspend, properties: {duration: 1s}}
        - {name: b, type: echo}
        """,
        "succeeded",
        {"a": "succeeded", "b": "succeeded"},
    ),
    Row(
        "timed-suspend-of-a-sub-step",
        """
        - name: group
          type: step-group
          subSteps:
            - {name: a, type: suspend, properties: {duration: 1s}}
            - {name: b, type: touch, properties: {name: beside-a-suspend}}
        - {name: c, type: echo}
        """,
        "succeeded",
        {"group": "succeeded", "a": "succeeded", "b": "succeeded", "c": "succeeded"},
    ),
    Row(
        "retries-run-out",
        """
        - name: a
          type: apply-object
          retry: {limit: 2, backoff: {duration: 100ms, factor: 1}}
          properties: {value: {apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: no-such-namespace}}}
        - {name: b, type: echo}
        """,
        "failed",
        {"a": "failed/FailedAfterRetries", "b": "skipped/Skip"},
        told={"a": "no-such-namespace"},
    ),
    Row(
        "a-failure-that-is-tried-again-when-asked",
        """
        - {name: a, type: fail, retry: {limit: 1, backoff: {duration: 100ms}, on: [fail]}}
        """,
        "failed",
        {"a": "failed/Action"},
        told={"a": "oops"},
    ),
]

ROWS = [*ORDER, *DATA, *CONDITIONS, *ENDS]


@pytest.fixture(scope="module")
def started(shared_runs: fixture.Runs) -> dict[str, fixture.Run]:
    """All runs of the table, under way together."""
    return {row.reason: shared_runs.start(row.text, name=row.reason, **row.spec) for row in ROWS}


@pytest.mark.parametrize("row", [pytest.param(row, id=row.reason) for row in ROWS])
def test_a_run(started: dict[str, fixture.Run], row: Row) -> None:
    run = started[row.reason]
    status = run.ended(row.phase)
    assert fixture.brief(status) == row.steps
    for name, text in row.told.items():
        assert text in fixture.step(status, name).get("message", "")
    if row.variables is not None:
        assert run.variables() == row.variables


def test_step_entries_are_in_the_order_of_the_spec(started: dict[str, fixture.Run]) -> None:
    status = started["dag-follows-depends-on"].ended("succeeded")
    assert [entry["name"] for entry in status["steps"]] == ["a", "b"]


def test_a_template_sees_the_context_that_the_run_gives(started: dict[str, fixture.Run]) -> None:
    run = started["context-is-the-runs"]
    status = run.ended("succeeded")
    seen = json.loads(run.variables()["seen"])
    assert seen["stepName"] == "override"
    assert seen["foo-bar"] == 1
    assert (seen["name"], seen["namespace"]) == (run.name, run.namespace)
    assert seen["stepSessionID"] == fixture.step(status, "a")["id"]


def test_the_status_says_where_the_context_is(runs: fixture.Runs, started: dict[str, fixture.Run]) -> None:
    run = started["variables-of-templates"]
    backend = run.ended("succeeded")["contextBackend"]
    context = runs.get("ConfigMap", backend["name"])
    assert context is not None
    assert backend == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": f"workflow-{run.name}-context",
        "namespace": run.namespace,
        "uid": context["metadata"]["uid"],
    }


def test_retries_follow_the_wanted_back_off(started: dict[str, fixture.Run]) -> None:
    run = started["retries-run-out"]
    run.ended("failed")
    seen = [fixture.step(body.get("status") or {}, "a").get("reason") for body in run.versions]
    assert "Execute" in seen
    assert seen[-1] == "FailedAfterRetries"
    assert seen.count("FailedAfterRetries") == 1


def test_a_time_out_says_what_was_waited_for(runs: fixture.Runs) -> None:
    run = runs.start("""
    - {name: a, type: await, timeout: 3s, properties: {name: never, message: waits for never}}
    - {name: b, type: echo}
    - {name: c, type: echo, if: status.a.timeout}
    """)
    status = run.ended("failed")
    assert fixture.brief(status) == {"a": "failed/Timeout", "b": "skipped/Skip", "c": "succeeded"}
    assert fixture.step(status, "a")["message"] == "timed out after 3s: waits for never"


def test_a_short_run_is_written_once(runs: fixture.Runs) -> None:
    name = fixture.unique("short")
    steps = [{"name": kind, "type": kind, "properties": {"name": name}} for kind in ("touch", "need")]
    run = runs.start(steps)
    run.ended("succeeded")
    # Created, and its end: everything in one reconcile, and no context as there is nothing to keep.
    assert len(run.versions) == 2
    assert run.context() == {}
