"""A status that a user has edited to what no program writes: the run goes on, and comes to an end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from vela_workflow.engine import plan as plans
from vela_workflow.engine import result, run_pass, scope, tasks, variables

JSON = dict[str, Any]

NOW = datetime(2026, 1, 2, tzinfo=UTC)
STEPS: list[JSON] = [
    {"name": "a", "type": "echo"},
    {"name": "g", "type": "step-group", "subSteps": [{"name": "s", "type": "echo"}]},
    {"name": "z", "type": "echo", "if": "always"},
]
BEGUN = "2026-01-01T00:00:00Z"

STATUSES: dict[str, tuple[JSON, JSON]] = {
    "a sub step failed for a reason that there is not": (
        {"steps": [{"name": "g", "subSteps": [{"name": "s", "phase": "failed", "reason": "Odd"}]}]},
        {},
    ),
    "phases that there are not": (
        {"steps": [{"name": "a", "phase": "odd"}, {"name": "g", "phase": "Running", "firstExecuteTime": BEGUN}]},
        {},
    ),
    "an entry without a name has a sub step of the name of a step": (
        {"steps": [{"phase": "running", "subSteps": [{"name": "a", "phase": "skipped"}]}]},
        {},
    ),
    "a step that is no group and not in the spec has sub steps": (
        {
            "steps": [
                {
                    "name": "y",
                    "phase": "succeeded",
                    "type": "echo",
                    "subSteps": [{"name": "s", "phase": "suspending", "firstExecuteTime": BEGUN}],
                }
            ]
        },
        {},
    ),
    "a step that is no group has sub steps": (
        {
            "steps": [
                {
                    "name": "a",
                    "phase": "succeeded",
                    "subSteps": [{"name": "s", "phase": "suspending", "firstExecuteTime": BEGUN}],
                }
            ]
        },
        {},
    ),
    "a step of one name twice": (
        {"steps": [{"name": "a", "phase": "succeeded"}, {"name": "a", "phase": "failed"}]},
        {},
    ),
    "a suspend whose end is known and whose field is not": (
        {"steps": [{"name": "a", "id": "x", "phase": "suspending", "reason": "Suspend", "firstExecuteTime": BEGUN}]},
        {"steps": {"x": {"until": 0.0, "suspended": None}}},
    ),
    "a suspend that nobody remembers": (
        {"steps": [{"name": "a", "id": "x", "phase": "suspending", "reason": "Suspend", "firstExecuteTime": BEGUN}]},
        {"steps": {"x": {"until": 0.0}}},
    ),
    "counters below zero": (
        {"steps": [{"name": "a", "id": "x", "phase": "failed", "reason": "Execute", "firstExecuteTime": BEGUN}]},
        {"steps": {"x": {"failures": -5, "rounds": -1, "delay": -3.0, "at": 1.0}}, "restarts": {"*": -1}},
    ),
}


@pytest.mark.parametrize(("status", "state"), STATUSES.values(), ids=STATUSES.keys())
def test_a_run_with_rubbish_in_its_status_ends(status: JSON, state: JSON) -> None:
    plan = plans.Plan.build(STEPS, None, None, field_path="steps")
    who = scope.Identity(name="r", namespace="n", uid="u", generation=1, custom={})
    current = run_pass.Pass(plan, who, status, state, variables=variables.Variables())
    executed: list[str] = []
    todo = current.advance(NOW)
    while todo:
        task = todo.pop()
        assert isinstance(task, tasks.Execute)
        executed.append(task.step.path)
        current.finished(task, result.Succeeded(), NOW)
        todo += current.advance(NOW)
    assert len(executed) == len(set(executed))
    assert "z" in executed
    assert current.conclude(NOW).status["finished"]
