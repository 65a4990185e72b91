"""What becomes of a step: the rules from results, deadlines and users to phase and reason (engine 4, decisions 9).

Everything here changes one node (a group also its sub steps) and the variables. A step that has ended is not touched
again by any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from vela_workflow.api import constants, durations
from vela_workflow.api.constants import Reason, StepPhase
from vela_workflow.engine import board as boards
from vela_workflow.engine import result as results
from vela_workflow.engine import timing

RETRY_KINDS: Final[dict[Reason, constants.RetryOn]] = {
    Reason.EXECUTE: constants.RetryOn.ERROR,
    Reason.ACTION: constants.RetryOn.FAIL,
    Reason.TIMEOUT: constants.RetryOn.TIMEOUT,
}
"""Which part of ``retry.on`` answers a failure with this reason (decisions 16)."""

GROUP_REASONS: Final = (Reason.FAILED_AFTER_RETRIES, Reason.TIMEOUT, Reason.ACTION, Reason.TERMINATE)
"""The reason of a failed group is the first of these that a sub step has (engine 4.3)."""


def skip(board: boards.Board, node: boards.Node, message: str = "") -> None:
    """The step is not run (engine 3.6)."""
    node.show(StepPhase.SKIPPED, Reason.SKIP, message)
    _end(board, node)


def fail(board: boards.Board, node: boards.Node, reason: Reason, message: str, now: datetime) -> None:
    """The step has failed for good."""
    node.show(StepPhase.FAILED, reason, message, at=now if node.started else None)
    _end(board, node)
    if reason is Reason.EXECUTE:
        # The status alone would say that this is tried again.
        node.memory["final"] = True


def give_up(board: boards.Board) -> None:
    """The run is over: no exhausted step is resumed any more, and their failures are for good."""
    for node in [node for node in board.nodes if node.exhausted]:
        _give_up(board, node)


def _give_up(board: boards.Board, node: boards.Node) -> None:
    node.exhausted = False
    _end(board, node)


def apply(board: boards.Board, node: boards.Node, result: results.Result, now: datetime) -> None:
    """What an attempt that has just ended makes of the step (engine 4.2)."""
    deadline = effective_deadline(node)
    match result:
        case results.Succeeded():
            _succeed(board, node, result, now)
        case results.Broken():
            _store(board, node, result.outputs, sensitive=result.sensitive)
            node.show(StepPhase.SUCCEEDED, Reason.TERMINATE, result.message, at=now)
            board.broken = True
            _end(board, node)
            give_up(board)
        case results.Failed() if not _too_late(result, deadline, now):
            _failed(board, node, result, now)
        case _ if deadline is not None and now >= deadline:
            own = node.deadline()
            time_out(board, node, now, own=own is not None and now >= own, last=result.message)
        case results.Waiting():
            _wait(node, result, now)
        case results.Suspended():
            _suspend(node, result, now)


def _too_late(result: results.Failed, deadline: datetime | None, now: datetime) -> bool:
    """Whether the deadline rather than this failure ends the step: it does when the failure alone would not."""
    return deadline is not None and now >= deadline and result.retriable


def effective_deadline(node: boards.Node) -> datetime | None:
    """When the step has to stop: its own deadline or that of its group, whichever is first."""
    own = node.deadline()
    groups = node.parent.deadline() if node.parent is not None else None
    return min((moment for moment in (own, groups) if moment is not None), default=None)


def _succeed(board: boards.Board, node: boards.Node, result: results.Succeeded, now: datetime) -> None:
    missing = [output.name for output in node.step.outputs if output.name not in result.outputs]
    _store(board, node, result.outputs, sensitive=result.sensitive)
    if missing:
        names = ", ".join(f'"{name}"' for name in missing)
        fail(board, node, Reason.OUTPUT, f"the step succeeded without its output {names}", now)
        return
    node.show(StepPhase.SUCCEEDED, "", result.message, at=now)
    _end(board, node)


def _wait(node: boards.Node, result: results.Waiting, now: datetime) -> None:
    same = node.phase == StepPhase.RUNNING and node.reason == Reason.WAIT and node.message == result.message
    node.show(StepPhase.RUNNING, Reason.WAIT, result.message, at=now)
    if not same or "waiting" not in node.memory:
        node.memory["waiting"] = now.timestamp()
    node.memory["at"] = now.timestamp()
    _remember(node, "after", result.after)


def _suspend(node: boards.Node, result: results.Suspended, now: datetime) -> None:
    message = result.message or f"Suspended by field {result.field}"
    node.show(StepPhase.SUSPENDING, Reason.SUSPEND, message, at=now)
    node.memory["suspended"] = result.field
    _remember(node, "until", result.until.timestamp() if result.until is not None else None)


def _remember(node: boards.Node, key: str, value: float | None) -> None:
    if value is None:
        node.memory.pop(key, None)
    else:
        node.memory[key] = value


def _failed(board: boards.Board, node: boards.Node, result: results.Failed, now: datetime) -> None:
    """Try again while the budget lasts, else fail (engine 3.8, decisions 9 and 16)."""
    kind = RETRY_KINDS.get(result.reason, constants.RetryOn.ERROR if result.retriable else None)
    wanted = kind is not None and kind in node.step.retries_on
    if kind is constants.RetryOn.ERROR and not result.retriable:
        wanted = False
    failures = int(node.memory.get("failures", 0)) + 1
    if not wanted or failures > node.step.retry_limit:
        if kind is constants.RetryOn.ERROR and result.retriable:
            _exhaust(board, node, result.message, failures, now)
        else:
            fail(board, node, result.reason, result.message, now)
        return
    node.show(StepPhase.FAILED, Reason.EXECUTE, result.message, at=now)
    node.entry["lastExecuteTime"] = timing.stamp(now)
    for key in ("waiting", "after", "suspended", "until"):
        node.memory.pop(key, None)
    delay = max(timing.retry_delay(node.step.retry, failures), result.after)
    node.memory.update(failures=failures, at=now.timestamp(), delay=delay)
    if kind is not constants.RetryOn.ERROR:
        node.memory["rounds"] = int(node.memory.get("rounds", 0)) + 1


def _exhaust(board: boards.Board, node: boards.Node, message: str, failures: int, now: datetime) -> None:
    """No retry is left. That is the end of the step, unless it suspends the run and the run is not over."""
    if not board.suspend_on_failure or board.over:
        fail(board, node, Reason.FAILED_AFTER_RETRIES, message, now)
        return
    node.show(StepPhase.FAILED, Reason.FAILED_AFTER_RETRIES, message, at=now)
    node.entry["lastExecuteTime"] = timing.stamp(now)
    # How often it failed is kept for whoever asks, and so that a status that is not written costs one attempt only.
    kept = {"rounds": node.memory["rounds"]} if "rounds" in node.memory else {}
    node.memory = {**kept, "exhausted": True, "failures": failures}
    node.exhausted = True


def time_out(board: boards.Board, node: boards.Node, now: datetime, *, own: bool = True, last: str = "") -> None:
    """The deadline of the step passed (``own``) or that of its group; it is not executed again (decisions 12).

    ``last`` is what the step said last, so that a time-out tells what was waited for.
    """
    limit = node.step.timeout if own or node.parent is None else node.parent.step.timeout
    whose = "timed out" if own or node.parent is None else f'the group "{node.parent.step.name}" timed out'
    message = f"{whose} after {durations.format(timedelta(seconds=limit or 0))}"
    said = last or node.message
    message = f"{message}: {said}" if said else message
    if own:
        _failed(board, node, results.Failed(Reason.TIMEOUT, message), now)
    else:
        fail(board, node, Reason.TIMEOUT, message, now)


def time_out_group(board: boards.Board, group: boards.Node, now: datetime) -> None:
    """The deadline of a group passed: it fails with all that is not finished in it (engine 4.3)."""
    limit = durations.format(timedelta(seconds=group.step.timeout or 0))
    fail(board, group, Reason.TIMEOUT, f"timed out after {limit}", now)
    for child in group.children:
        if child.exhausted:
            _give_up(board, child)
        elif child.started:
            time_out(board, child, now, own=False)


def after_group(board: boards.Board, node: boards.Node, group: boards.Node, now: datetime) -> None:
    """A sub step that had not started when its group ended (engine 3.6 and 4.3)."""
    if group.reason == Reason.TIMEOUT and node.step.condition:
        time_out(board, node, now, own=False)
    else:
        skip(board, node)


def show_group(group: boards.Node, now: datetime) -> None:
    """What an unfinished group shows, from its sub steps."""
    suspended = any(child.phase == StepPhase.SUSPENDING for child in group.children)
    group.show(StepPhase.SUSPENDING if suspended else StepPhase.RUNNING, at=now)


def group_result(board: boards.Board, group: boards.Node) -> tuple[StepPhase, Reason | None, str]:
    """Phase, reason and message of a group whose sub steps have all ended (engine 4.3)."""
    failed = [child for child in group.children if child.failed]
    if failed:
        order = (Reason.TERMINATE,) if board.terminated else GROUP_REASONS
        worst = next((child for reason in order for child in failed if child.reason == reason), failed[0])
        said = f": {worst.message}" if worst.message else ""
        # A reason that there is not was written by a user.
        reason = Reason(worst.reason) if worst.reason in set(Reason) else Reason.FAILED_AFTER_RETRIES
        return StepPhase.FAILED, reason, f'sub step "{worst.step.name}" failed{said}'
    if group.children and all(child.phase == StepPhase.SKIPPED for child in group.children):
        return StepPhase.SKIPPED, Reason.SKIP, ""
    return StepPhase.SUCCEEDED, None, ""


def end_group(board: boards.Board, group: boards.Node, now: datetime) -> None:
    """End a group by what became of its sub steps; its outputs, if it succeeded, are told as a result instead."""
    phase, reason, message = group_result(board, group)
    if phase is StepPhase.FAILED and reason is not None:
        # A pure error of a sub step is final; the group says so with a reason that no one takes for "tried again".
        fail(board, group, Reason.FAILED_AFTER_RETRIES if reason is Reason.EXECUTE else reason, message, now)
    else:
        group.show(phase, reason or "", message, at=now)
        _end(board, group)


def _store(board: boards.Board, node: boards.Node, outputs: Mapping[str, Any], *, sensitive: bool) -> None:
    """Put the outputs of a step that ran into the variables; the later writer wins (decisions 15)."""
    for output in node.step.outputs:
        if output.name not in outputs:
            continue
        value = outputs[output.name]
        others = [other for other in board.givers.of(output.path) if other is not node and _ran(other)]
        if others and board.variables.has(output.path) and board.variables.at(output.path) != value:
            names = ", ".join(f'"{other.step.name}"' for other in others)
            board.replaced.append(f'output "{output.name}" of step "{node.step.name}" replaces that of step {names}')
        board.variables.set(output.path, value, sensitive=sensitive)


def _ran(node: boards.Node) -> bool:
    return node.phase == StepPhase.SUCCEEDED


def _end(board: boards.Board, node: boards.Node) -> None:
    """Tidy up after a step that has ended: outputs that nobody else can still give are null (decisions 15)."""
    node.memory = {}
    node.pending_on = None
    for output in node.step.outputs:
        others = (other for other in board.givers.of(output.path) if other is not node)
        if not board.variables.has(output.path) and all(other.finished for other in others):
            board.variables.set(output.path, None)
