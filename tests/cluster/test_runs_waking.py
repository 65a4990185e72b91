"""What makes a run go on: changes of objects and of definitions, without a poll; and what they must not disturb."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.cluster import operator_fixture as fixture

QUICK = 20.0
"""Seconds; a wake takes a hundredth of that where a core is free, the safety net looks after 60 s."""

WAIT_THEN_APPLY = """
import (
	"vela/kube"
	"vela/builtin"
)

read: kube.#Read & {$params: value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: parameter.name}}
wait: builtin.#ConditionalWait & {$params: continue: read.$returns.value.data.ready == "yes"}
result: "%s"
parameter: name: string
"""

DEPLOYMENT = """
- name: %(name)s
  type: apply-deployment
  properties: {image: nginx}
- {name: after, type: echo}
"""


def waiting(runs: fixture.Runs, step_type: str = "await", **extra: object) -> tuple[fixture.Run, str]:
    """A run whose step waits for an object that is not there."""
    name = fixture.unique("object")
    run = runs.start([{"name": "a", "type": step_type, "properties": {"name": name}, **extra}])
    run.until_step("a", "running", "Wait")
    return run, name


@pytest.mark.parametrize("existing", [True, False], ids=["changed", "created"])
def test_a_waiting_step_goes_on_when_its_object_is_ready(runs: fixture.Runs, existing: bool) -> None:
    run, name = waiting(runs)
    if existing:
        runs.config_map(name, {"ready": "no"})
    changed = time.monotonic()
    runs.config_map(name, {"ready": "yes"})
    run.ended("succeeded")
    assert time.monotonic() - changed < QUICK


def test_many_runs_wake_together(runs: fixture.Runs) -> None:
    name = fixture.unique("gate")
    many = [runs.start([{"name": "a", "type": "await", "properties": {"name": name}}]) for _ in range(30)]
    for run in many:
        run.until_step("a", "running", "Wait")
    runs.config_map(name, {"ready": "yes"})
    for run in many:
        run.ended("succeeded", timeout=30)


def test_a_deployment_is_awaited_by_its_own_progress(runs: fixture.Runs) -> None:
    name = fixture.unique("web")
    run = runs.start(DEPLOYMENT % {"name": name})
    assert fixture.brief(run.ended("succeeded")) == {name: "succeeded", "after": "succeeded"}
    found = runs.get("Deployment", name, api_version="apps/v1")
    assert found is not None
    assert found["status"]["readyReplicas"] == 1
    retried = [fixture.step(body.get("status") or {}, name).get("reason") for body in run.versions]
    assert "Execute" not in retried  # a field that does not exist yet is no failure


def test_a_definition_that_changes_does_not_disturb_a_step_in_flight(runs: fixture.Runs) -> None:
    kind = fixture.unique("type")
    runs.definition(kind, WAIT_THEN_APPLY % "old")
    run, name = waiting(runs, kind, outputs=[{"name": "o", "valueFrom": "result"}])
    runs.definition(kind, WAIT_THEN_APPLY % "new")
    fresh, other = waiting(runs, kind, outputs=[{"name": "o", "valueFrom": "result"}])
    for object_name in (name, other):
        runs.config_map(object_name, {"ready": "yes"})
    run.ended("succeeded")
    fresh.ended("succeeded")
    assert (run.variables()["o"], fresh.variables()["o"]) == ("old", "new")


def test_a_definition_that_is_deleted_does_not_disturb_a_step_in_flight(
    runs: fixture.Runs, operator: fixture.OperatorProcess
) -> None:
    kind = fixture.unique("type")
    runs.definition(kind, WAIT_THEN_APPLY % "old")
    run, name = waiting(runs, kind, outputs=[{"name": "o", "valueFrom": "result"}])
    runs.api.delete(fixture.DEFINITION.api_version, fixture.DEFINITION.kind, kind, runs.namespace)
    operator.kill()  # nor does a restart of the operator, which cannot have the template in memory
    operator.start()
    runs.config_map(name, {"ready": "yes"})
    run.ended("succeeded")
    assert run.variables() == {"o": "old"}


def test_a_definition_that_is_made_anew_does_not_disturb_a_step_in_flight(runs: fixture.Runs) -> None:
    kind = fixture.unique("type")
    runs.definition(kind, WAIT_THEN_APPLY % "old")
    run, name = waiting(runs, kind, outputs=[{"name": "o", "valueFrom": "result"}])
    later = [
        {"name": "late", "type": kind, "properties": {"name": name}, "outputs": [{"name": "p", "valueFrom": "result"}]}
    ]
    run.patch({"spec": {"workflowSpec": {"steps": [*run.body["spec"]["workflowSpec"]["steps"], *later]}}})
    runs.api.delete(fixture.DEFINITION.api_version, fixture.DEFINITION.kind, kind, runs.namespace)
    runs.definition(kind, WAIT_THEN_APPLY % "new")
    runs.config_map(name, {"ready": "yes"})
    run.ended("succeeded")
    assert run.variables() == {"o": "old", "p": "new"}


def test_an_edited_spec_changes_only_steps_that_have_not_started(runs: fixture.Runs) -> None:
    run, name = waiting(runs)
    steps = [
        {"name": "a", "type": "await", "properties": {"name": "something-else"}},
        {"name": "b", "type": "touch", "properties": {"name": f"{name}-b"}},
    ]
    run.patch({"spec": {"workflowSpec": {"steps": steps}}})
    runs.config_map(name, {"ready": "yes"})
    assert fixture.brief(run.ended("succeeded")) == {"a": "succeeded", "b": "succeeded"}
    assert runs.get("ConfigMap", f"{name}-b") is not None


def test_a_run_waits_for_a_definition_and_goes_on_when_it_appears(runs: fixture.Runs) -> None:
    kind = fixture.unique("type")
    touched = fixture.unique("touched")
    run = runs.start([
        {"name": "a", "type": "touch", "properties": {"name": touched}},
        {"name": "b", "type": kind},
    ])  # fmt: skip
    status = run.until_phase("initializing")
    assert "b" in status["message"]
    assert kind in status["message"]
    condition = next(one for one in status["conditions"] if one["type"] == "WorkflowRun")
    assert (condition["status"], condition["reason"]) == ("False", "ReconcileError")
    assert runs.get("ConfigMap", touched) is None
    appeared = time.monotonic()
    runs.definition(kind, "parameter: {}")
    status = run.ended("succeeded")
    assert time.monotonic() - appeared < QUICK
    condition = next(one for one in status["conditions"] if one["type"] == "WorkflowRun")
    assert (condition["status"], condition["reason"]) == ("True", "Available")


def concurrent_workflow(name: str) -> dict[str, Any]:
    """A Workflow that comes to its end only in mode DAG: the first step waits for what the second one makes."""
    return {
        "apiVersion": "core.oam.dev/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name},
        "mode": {"steps": "DAG"},
        "steps": [
            {"name": "a", "type": "await", "properties": {"name": name}},
            {"name": "b", "type": "touch", "properties": {"name": name}},
        ],
    }


def test_a_workflow_by_reference(runs: fixture.Runs) -> None:
    name = fixture.unique("shared")
    runs.api.apply(concurrent_workflow(name), runs.namespace)
    run = runs.start(None, workflowRef=name)
    status = run.ended("succeeded")
    assert status["mode"] == {"steps": "DAG", "subSteps": "DAG"}
    other = runs.start(None, workflowRef=name, mode={"subSteps": "StepByStep"})
    assert other.ended("succeeded")["mode"] == {"steps": "StepByStep", "subSteps": "StepByStep"}


def test_a_run_waits_for_its_workflow_and_begins_in_the_mode_of_that(runs: fixture.Runs) -> None:
    name = fixture.unique("late")
    run = runs.start(None, workflowRef=name)
    status = run.until_phase("initializing")
    assert name in status["message"]
    assert status["mode"] == {}
    appeared = time.monotonic()
    runs.api.apply(concurrent_workflow(name), runs.namespace)
    assert run.ended("succeeded")["mode"] == {"steps": "DAG", "subSteps": "DAG"}
    assert time.monotonic() - appeared < QUICK
