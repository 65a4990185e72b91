"""When to look again: delays of retries and of waiting steps, and times as the status writes them (engine 3.8).

The delay after failed attempt n comes from how often the step failed. The delay of a waiting step comes from how long
it has waited with the same message, which gives the same sequence (1, 1, 1, 1, 1, 1, 3, 6, 12, 25, … seconds) without a
counter that would have to be written down at every look; it is only the safety net for the watch that wakes the step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vela_workflow.api import constants
from vela_workflow.api.constants import StepPhase
from vela_workflow.engine import steps as model


def backoff(attempt: int, cap: float) -> float:
    """Seconds to the next attempt after unsuccessful attempt number ``attempt`` (from 1)."""
    exponent = min(max(attempt - 1, 0), constants.BACKOFF_COUNT_CAP)
    delay = math.floor(2**exponent * constants.BACKOFF_COEFFICIENT)
    return float(min(max(delay, constants.BACKOFF_MIN), cap))


def retry_delay(retry: model.Retry | None, failures: int) -> float:
    """Seconds to the next attempt after that many failures, by the step's own ``retry`` or the default."""
    if retry is None:
        return backoff(failures, constants.BACKOFF_MAX_FAILED)
    if retry.factor <= 1 or retry.duration <= 0:
        return min(retry.duration, retry.cap)
    # Compared as logarithms: the power of a large number of failures would not fit a float.
    steps_to_cap = math.log(max(retry.cap / retry.duration, 1.0), retry.factor)
    return (
        retry.cap if failures - 1 >= steps_to_cap else min(retry.cap, retry.duration * retry.factor ** (failures - 1))
    )


def waiting_delay(waited: float) -> float:
    """Seconds to the next look at a step that has waited that many seconds."""
    total, attempt = 0.0, 1
    cap = float(constants.BACKOFF_MAX_WAITING)
    while (delay := backoff(attempt, cap)) < cap:
        if total >= waited:
            return delay
        total += delay
        attempt += 1
    return cap


def stamp(moment: datetime) -> str:
    """A time as the status writes it: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def read(text: object) -> datetime | None:
    """A time of a status; ``None`` when there is none or it cannot be read."""
    if not isinstance(text, str) or not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def moment(seconds: float) -> datetime:
    """A number of seconds since the epoch as a time; what no calendar holds becomes the end of time."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return datetime.max.replace(tzinfo=UTC) if seconds > 0 else datetime.min.replace(tzinfo=UTC)


def due(phase: str, memory: Mapping[str, Any], now: datetime, *, woken: bool) -> bool:
    """Whether a step in flight is to be looked at now."""
    at = next_time(phase, memory)
    if at is None:
        return False
    if woken and phase == StepPhase.RUNNING:
        return True
    # After the clock was set back, what was planned for a time far ahead is done rather than never.
    return now.timestamp() >= at or (phase != StepPhase.SUSPENDING and now.timestamp() < memory.get("at", 0.0))


def next_time(phase: str, memory: Mapping[str, Any]) -> float | None:
    """When a step in flight is to be looked at by itself, in seconds since the epoch; ``None`` when never.

    ``memory`` is that of ``board.Node``. What was never looked at, or was resumed, is due since ever.
    """
    if phase == StepPhase.SUSPENDING:
        if "suspended" not in memory:
            # The state is lost, or another controller suspended the step: its template knows whether there is an end.
            return 0.0
        until = memory.get("until")
        return None if until is None else float(until)
    at = memory.get("at")
    if at is None:
        return 0.0
    if phase == StepPhase.FAILED:
        return float(at) + float(memory.get("delay", 0.0))
    after = memory.get("after")
    if after is None:
        after = waiting_delay(max(0.0, at - memory.get("waiting", at)))
    return float(at) + float(after)
