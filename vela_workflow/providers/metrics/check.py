"""From one measurement to the verdict of ``#PromCheck``: a small state machine over time (ops 3.7).

The state is one time stamp: since when the condition holds, or since when it does not. The other of the two is always
cleared. The check has passed when the condition has held for ``duration`` and has failed when it has not held for
``failDuration``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from vela_workflow.api import durations


@dataclass(frozen=True, slots=True)
class Rule:
    """What is checked: the condition and the two spans as the template wrote them, and their lengths."""

    condition: str
    duration: str
    fail_duration: str
    success_span: timedelta
    fail_span: timedelta


@dataclass(frozen=True, slots=True)
class State:
    """Unix seconds since when the condition holds or does not hold; 0 means that it is otherwise."""

    success: int = 0
    failure: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The new state, and the result for the template. ``remaining`` is how long the verdict can still stay open."""

    state: State
    message: str
    result: bool
    failed: bool
    remaining: timedelta


def judge(rule: Rule, state: State, *, value: str, holds: bool, now: int) -> Verdict:
    """The verdict on one measurement at ``now`` (Unix seconds)."""
    if holds:
        return _good(rule, state, value, now)
    return _bad(rule, state, value, now)


def _good(rule: Rule, state: State, value: str, now: int) -> Verdict:
    since = state.success or now
    persisted = timedelta(seconds=now - since)
    message = f"The healthy condition should be {rule.condition}, and the query result is {value}, indicating success."
    passed = bool(state.success) and persisted >= rule.success_span
    if passed:
        message = "The metric check has passed successfully."
    elif state.success:
        message += (
            f" The success has persisted for {durations.format(persisted)}, "
            f"with success duration being {rule.duration}."
        )
    remaining = max(rule.success_span - persisted, timedelta(0))
    return Verdict(State(success=since), message, result=passed, failed=False, remaining=remaining)


def _bad(rule: Rule, state: State, value: str, now: int) -> Verdict:
    since = state.failure or now
    persisted = timedelta(seconds=now - since)
    message = f"The healthy condition should be {rule.condition}, but the query result is {value}, indicating failure"
    failed = bool(state.failure) and persisted >= rule.fail_span
    if state.failure:
        message += (
            f". The failure has persisted for {durations.format(persisted)}, "
            f"with the failure duration being {rule.fail_duration}."
        )
    else:
        message += f", with the failure duration being {rule.fail_duration}. This is first failed checking."
    if failed:
        message += " The check has terminated."
    remaining = max(rule.fail_span - persisted, timedelta(0))
    return Verdict(State(failure=since), message, result=False, failed=failed, remaining=remaining)
