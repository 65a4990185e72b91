"""A stored state that somebody has edited: what fits is used, and no rubbish reaches the engine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from vela_workflow.engine import plan as plans
from vela_workflow.engine import recall, restart, result, run_pass, scope, tasks, variables

JSON = dict[str, Any]

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BEGUN = "2026-01-01T00:00:00Z"
STEPS: list[JSON] = [
    {"name": "a", "type": "echo", "timeout": "1h"},
    {"name": "s", "type": "suspend"},
    {"name": "z", "type": "echo", "if": "always"},
]
PHASES = (("running", "Wait"), ("failed", "Execute"), ("suspending", "Suspend"))

ROWS: dict[str, tuple[Any, JSON]] = {
    "no object": ("text", {}),
    "flags that are texts": ({"hold": "yes", "suspend": 1, "terminated": None, "stopped": True}, {"stopped": True}),
    "memories that are none": ({"steps": {"x": 1, "y": {"at": 1.5}}}, {"steps": {"y": {"at": 1.5}}}),
    "fields of other types": (
        {"steps": {"x": {"at": "soon", "failures": 1.5, "rounds": -1, "resumed": "f", "final": 1, "until": 3}}},
        {"steps": {"x": {"until": 3}}},
    ),
    "truth for a number": ({"steps": {"x": {"at": True, "failures": False}}}, {"steps": {"x": {}}}),
    "counters below zero": ({"restarts": {"*": -1}}, {}),
    "what is known in other forms": (
        {"known": {"before": [1], "after": "a", "terminated": False}},
        {"known": {"terminated": False}},
    ),
    "keys of somebody else": ({"more": [1], "steps": {"x": {"new": "n"}}}, {"more": [1], "steps": {"x": {"new": "n"}}}),
}


@pytest.mark.parametrize(("stored", "used"), ROWS.values(), ids=ROWS.keys())
def test_what_is_used(stored: Any, used: JSON) -> None:
    assert recall.usable(stored) == used


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ({}, True),
        ({"restarts": {"*": 2}}, True),
        ({"restarts": {"*": "2"}}, False),
        ({"restarts": []}, False),
        (1, False),
    ],
)
def test_whether_restarts_are_told(stored: Any, told: bool) -> None:
    assert recall.tells_restarts(stored) is told


JUNK = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats()
    | strategies.text(max_size=3),
    lambda inner: strategies.lists(inner, max_size=2) | strategies.dictionaries(strategies.text(max_size=3), inner),
    max_leaves=4,
)
MEMORY_KEYS = (
    *("spec", "started", "since", "at", "failures", "delay", "rounds", "waiting", "after"),
    *("told", "suspended", "until", "resumed", "final", "exhausted", "again"),
)
MEMORIES = strategies.fixed_dictionaries({}, optional=dict.fromkeys(MEMORY_KEYS, JUNK)) | JUNK
STATES = strategies.fixed_dictionaries(
    {"steps": strategies.fixed_dictionaries({"ida": MEMORIES, "ids": MEMORIES})},
    optional=dict.fromkeys(("suspend", "hold", "stopped", "terminated", "restarts", "known"), JUNK),
)


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(state=STATES, first=strategies.sampled_from(PHASES), suspended=strategies.booleans())
def test_no_rubbish_ends_a_pass_in_an_error(state: JSON, first: tuple[str, str], suspended: bool) -> None:
    state = recall.usable(state)
    plan = plans.Plan.build(STEPS, None, None, field_path="steps")
    entry = {"name": "a", "id": "ida", "phase": first[0], "reason": first[1], "firstExecuteTime": BEGUN}
    status: JSON = {"steps": [entry], "startTime": BEGUN, "progress": "0/3", "suspend": suspended}
    restart.recognise(plan, status, state)
    who = scope.Identity(name="r", namespace="n", uid="u", generation=1, custom={})
    current = run_pass.Pass(plan, who, status, state, variables=variables.Variables(), woken=("*",))
    todo = current.advance(NOW)
    while todo:
        task = todo.pop()
        assert isinstance(task, tasks.Execute)
        current.finished(task, result.Succeeded(), NOW)
        todo += current.advance(NOW)
    conclusion = current.conclude(NOW)
    assert conclusion.status["finished"] or conclusion.status["suspend"] or conclusion.requeue_after is not None
