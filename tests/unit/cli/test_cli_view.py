from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from vela_workflow.cli import view

JSON = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def run(status: JSON | None = None, steps: list[JSON] | None = None, **metadata: Any) -> JSON:
    return {
        "metadata": {"name": "r", "namespace": "n", **metadata},
        "spec": {"workflowSpec": {"steps": steps or []}},
        "status": status or {},
    }


STEPS: list[JSON] = [
    {"name": "a", "type": "x"},
    {"type": "suspend"},
    {"name": "g", "type": "step-group", "subSteps": [{"name": "g1", "type": "x"}, {"type": "y"}]},
]


def test_steps_are_in_the_order_of_the_spec_with_what_the_status_says() -> None:
    entries = [
        {"name": "gone", "id": "4", "phase": "succeeded", "type": "z"},
        {"name": "g", "phase": "running", "type": "step-group", "subSteps": [{"name": "step-2-1", "phase": "running"}]},
        {"name": "a", "phase": "succeeded", "type": "x"},
    ]
    found = view.read(run({"steps": entries}, STEPS))
    shown = [(step.name, step.type, step.phase) for step in found.walk()]
    assert shown == [
        ("a", "x", "succeeded"),
        ("step-1", "suspend", ""),
        ("g", "step-group", "running"),
        ("g1", "x", ""),
        ("step-2-1", "y", "running"),
        ("gone", "z", "succeeded"),
    ]


def test_what_the_operator_says_of_progress_is_taken_over() -> None:
    status = {"progress": "2/5", "currentStep": "b", "currentStepSince": "2026-01-01T11:59:00Z"}
    found = view.read(run(status))
    assert (found.progress, found.current, view.since(found.since, NOW)) == ("2/5", "b", "1m")


@pytest.mark.parametrize(
    ("status", "progress", "current"),
    [
        pytest.param({}, "0/3", "", id="not-started"),
        pytest.param({"steps": [{"name": "a", "phase": "running"}]}, "0/3", "a", id="running"),
        pytest.param(
            {"steps": [{"name": "a", "phase": "failed", "reason": "Execute"}]}, "0/3", "a", id="failed-and-tried-again"
        ),
        pytest.param(
            {
                "status": "failed",
                "steps": [
                    {"name": "a", "phase": "failed", "reason": "Action"},
                    {"name": "step-1", "phase": "skipped", "reason": "Skip"},
                ],
            },
            "2/3",
            "a",
            id="failed",
        ),
        pytest.param({"steps": [{"name": "a", "phase": "pending"}]}, "0/3", "", id="pending"),
    ],
)
def test_progress_of_runs_that_do_not_say_it(status: JSON, progress: str, current: str) -> None:
    found = view.read(run(status, STEPS))
    assert (found.progress, found.current) == (progress, current)


@pytest.mark.parametrize(
    ("status", "annotations", "suspended", "restarting"),
    [
        pytest.param({"status": "suspending", "suspend": True}, {}, True, False, id="suspended"),
        pytest.param({"status": "suspending", "suspend": False}, {}, False, False, id="resumed-but-not-yet-going-on"),
        pytest.param({"status": "executing", "suspend": True}, {}, False, False, id="suspended-but-not-yet-standing"),
        pytest.param({"status": "failed"}, {"workflowrun.oam.dev/restart": "*"}, False, True, id="restart-asked-for"),
    ],
)
def test_what_was_asked_for_but_not_done_yet(
    status: JSON, annotations: JSON, suspended: bool, restarting: bool
) -> None:
    found = view.read(run(status, annotations=annotations))
    assert (found.suspended, found.restarting) == (suspended, restarting)


@pytest.mark.parametrize(
    ("entry", "seconds"),
    [
        pytest.param({"phase": "running"}, None, id="no-start"),
        pytest.param({"phase": "pending", "firstExecuteTime": "2026-01-01T11:00:00Z"}, None, id="pending"),
        pytest.param({"phase": "running", "firstExecuteTime": "2026-01-01T11:59:00Z"}, 60, id="running"),
        pytest.param(
            {
                "phase": "succeeded",
                "firstExecuteTime": "2026-01-01T11:00:00Z",
                "lastExecuteTime": "2026-01-01T11:00:05Z",
            },
            5,
            id="ended",
        ),
        pytest.param(
            {
                "phase": "failed",
                "reason": "Execute",
                "firstExecuteTime": "2026-01-01T11:00:00Z",
                "lastExecuteTime": "2026-01-01T11:00:05Z",
            },
            3600,
            id="tried-again",
        ),
    ],
)
def test_how_long_a_step_takes(entry: JSON, seconds: float | None) -> None:
    (step,) = view.read(run({"steps": [{"name": "a", **entry}]})).steps
    assert step.seconds(NOW) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (-5, "0s"),
        (0.9, "0s"),
        (45, "45s"),
        (60, "1m"),
        (192, "3m12s"),
        (725, "12m"),
        (3600, "1h"),
        (3661, "1h1m"),
        (40_000, "11h"),
        (90_000, "1d1h"),
        (86_400 * 40, "40d"),
        (86_400 + 5, "1d"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert view.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        pytest.param("2026-01-01T12:00:00Z", NOW, id="rfc-3339"),
        pytest.param("2026-01-01T14:00:00.123+02:00", NOW.replace(microsecond=123_000), id="offset-and-fraction"),
        pytest.param("2026-01-01T12:00:00", NOW, id="no-zone-means-utc"),
        pytest.param(NOW.timestamp(), NOW, id="seconds-since-the-epoch"),
        pytest.param(None, None, id="none"),
        pytest.param("yesterday", None, id="no-time"),
        pytest.param(True, None, id="a-bool"),
        pytest.param(1e300, None, id="beyond-the-calendar"),
    ],
)
def test_times(value: Any, moment: datetime | None) -> None:
    assert view.time(value) == moment


FAILED_ONCE = {"name": "a", "phase": "failed", "reason": "Execute", "firstExecuteTime": "2026-01-01T11:59:00Z"}


@pytest.mark.parametrize(
    ("status", "retried"),
    [
        pytest.param({"steps": [FAILED_ONCE]}, True, id="executing"),
        pytest.param({"finished": True, "steps": [FAILED_ONCE]}, False, id="the-run-has-ended"),
        pytest.param(
            {"mode": {"steps": "StepByStep"}, "steps": [FAILED_ONCE, {"name": "b", "phase": "running"}]},
            False,
            id="the-next-one-has-begun",
        ),
        pytest.param(
            {"mode": {"steps": "StepByStep"}, "steps": [FAILED_ONCE, {"name": "b", "phase": "pending"}]},
            True,
            id="the-next-one-has-not",
        ),
        pytest.param(
            {"mode": {"steps": "DAG"}, "steps": [FAILED_ONCE, {"name": "b", "phase": "running"}]},
            True,
            id="another-at-the-same-time",
        ),
        pytest.param({"finished": True, "steps": [{"name": "g", "subSteps": [FAILED_ONCE]}]}, False, id="in-a-group"),
    ],
)
def test_whether_a_step_that_failed_is_tried_again(status: dict[str, Any], retried: bool) -> None:
    run = view.read({"metadata": {"name": "r"}, "status": status})
    step = next(step for step in run.walk() if step.name == "a")
    assert (step.retried, step.finished) == (retried, not retried)
