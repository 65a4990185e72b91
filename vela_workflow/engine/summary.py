"""What a pass leaves behind: the new status, the new state, when to look again, what to tell in Events.

The status has its entries in the order of the spec (decisions 17), steps that left the spec last. Fields of status and
state that the engine does not know are passed on. Nothing here changes the board.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.api.constants import ConditionType, EventReason, Reason, RunPhase
from vela_workflow.engine import board as boards
from vela_workflow.engine import intake, timing

JSON = dict[str, Any]

ENTRY_FIELDS: Final = ("id", "name", "type", "phase", "reason", "message", "firstExecuteTime", "lastExecuteTime")
"""Fields of an entry of ``status.steps``, in the order they are written."""

ENDINGS: Final[dict[RunPhase, str]] = {
    RunPhase.SUCCEEDED: "WorkflowRun finished successfully",
    RunPhase.FAILED: "WorkflowRun finished with failure",
    RunPhase.TERMINATED: "WorkflowRun finished with termination",
}
"""Messages of the Event at the end of a run (engine 2.4)."""

OWN_STATE: Final = ("suspend", "hold", "stopped", "terminated", "steps", "restarts", "known")
"""Keys of the state that are the engine's."""

_LASTING: Final = frozenset({"final", "exhausted", "again"})
"""What is remembered of a step also while it is not in flight."""


@dataclass(frozen=True, slots=True)
class Transition:
    """Something that happened, for an Event; the message names the step that it concerns (decisions 35)."""

    reason: EventReason
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What to write after a pass and what to do next.

    ``requeue_after`` is in seconds, ``None`` when no timer is needed (finished, or suspended without an end).
    ``state_changed`` is false when what changed in ``state`` need not survive the process; ``state_needed`` is false
    when a restart of the operator would lose nothing without it. ``in_flight`` are the ids of steps that were started
    and have not ended.
    """

    status: JSON
    state: JSON
    state_changed: bool
    state_needed: bool
    requeue_after: float | None
    transitions: tuple[Transition, ...]
    in_flight: frozenset[str]


def conclude(board: boards.Board, now: datetime, blocked: str) -> Conclusion:
    """Sum a pass up; ``blocked`` is why the run could not be carried out, if it could not."""
    in_flight = frozenset(node.id for node in board.nodes if node.started and not node.exhausted)
    if board.status.get("finished"):
        return Conclusion(dict(board.status), dict(board.state), False, False, None, (), in_flight)
    waiting = _long_waiting(board, now)
    status = _status(board, now, blocked)
    state = _state(board, status, told={node.id for node in waiting})
    return Conclusion(
        status=status,
        state=state,
        state_changed=_durable(state) != _durable(board.state),
        state_needed=_needed(state),
        requeue_after=None if status["finished"] else requeue_after(board, now, blocked=bool(blocked)),
        transitions=tuple(_transitions(board, status, blocked, waiting)),
        in_flight=in_flight,
    )


def requeue_after(board: boards.Board, now: datetime, *, blocked: bool) -> float | None:
    """Seconds until something is to be looked at again, 0 when it is overdue; ``None`` when nothing is."""
    times: list[float] = []
    for node in board.nodes:
        deadline = None if node.busy else node.deadline()
        if deadline is not None:
            times.append(deadline.timestamp())
        if node.step.is_group or not node.started or node.exhausted or node.task is not None or node.blocked:
            continue
        if board.hold or node.held:
            continue
        planned = timing.next_time(node.phase, node.memory)
        if planned is not None:
            times.append(planned)
        if planned is not None and _is_quiet_wait(node):
            # The Event about a long wait does not have to wait for the next look where that is far away.
            telling = node.memory["waiting"] + constants.WAITING_EVENT_AFTER
            if now.timestamp() < telling < planned - constants.WAITING_EVENT_AFTER:
                times.append(telling)
    if blocked:
        times.append(now.timestamp() + constants.BACKOFF_MAX_WAITING)
    return max(0.0, min(times) - now.timestamp()) if times else None


def _status(board: boards.Board, now: datetime, blocked: str) -> JSON:
    status = dict(board.status)
    phase = _phase(board, blocked)
    suspended = board.hold or board.stopped or any(node.template_suspended for node in board.nodes)
    steps = [*(_entry(node) for node in board.roots if _shown(node)), *board.past]
    status.update(
        mode={} if blocked and not steps else _mode(board),
        status=str(phase),
        message=_message(board, phase, blocked),
        suspend=suspended and not phase.is_final,
        terminated=_is_terminated(board, phase),
        finished=phase.is_final,
        steps=steps,
        startTime=status.get("startTime") or _first_start(board) or timing.stamp(now),
    )
    if not status["suspend"]:
        status.pop("suspendState", None)
    if phase.is_final:
        status["endTime"] = timing.stamp(now)
    else:
        status.pop("endTime", None)
    if board.identity.generation is not None:
        status["observedGeneration"] = board.identity.generation
    _add_progress(board, status, phase, now)
    status["conditions"] = _conditions(board, phase, status["message"], blocked, now)
    return status


def _mode(board: boards.Board) -> JSON:
    """The mode that holds to the end: the one in which the run began (engine 3.3).

    A run that is blocked before its first step has not begun: its Workflow, which may say another mode, may be the very
    thing that it lacks.
    """
    frozen = board.status.get("mode") or {}
    return {
        "steps": frozen.get("steps") or str(board.plan.mode),
        "subSteps": frozen.get("subSteps") or str(board.plan.sub_mode),
    }


def _first_start(board: boards.Board) -> str:
    """When the first step started: a long pass is written after that; times of status sort as texts."""
    starts = (str(node.entry.get("firstExecuteTime") or "") for node in board.nodes)
    return min((start for start in starts if start), default="")


def _phase(board: boards.Board, blocked: str) -> RunPhase:
    """The phase of the run (engine 3.10 and 3.11, decisions 13 and 14)."""
    done = board.done and not blocked  # whose steps cannot be had has none to go by, which is not the same as none left
    failed = any(node.failed and not node.orphan for node in board.nodes)
    if done and board.over:
        return RunPhase.TERMINATED
    if done and failed:
        return RunPhase.FAILED
    if board.hold or board.stopped or any(node.template_suspended or node.held for node in board.nodes):
        return RunPhase.SUSPENDING
    if done:
        return RunPhase.SUCCEEDED
    begun = any(node.started or node.finished for node in board.nodes)
    return RunPhase.INITIALIZING if blocked and not begun else RunPhase.EXECUTING


def _is_terminated(board: boards.Board, phase: RunPhase) -> bool:
    """Whether the flag is set: a user asked to end the run, or it has ended otherwise than well.

    Not as soon as a step has failed (engine 3.7): while others go on, it is by this flag that users end them.
    """
    return board.terminated or phase in {RunPhase.FAILED, RunPhase.TERMINATED}


def _message(board: boards.Board, phase: RunPhase, blocked: str) -> str:
    if blocked:
        return errors.bounded(blocked)
    if phase is RunPhase.FAILED:
        node = next(node for node in board.nodes if node.failed and not node.orphan)
        return errors.bounded(_told(node))
    if phase is RunPhase.SUSPENDING and board.stopped:
        return constants.SUSPENDED_ON_FAILURE
    if phase is RunPhase.SUSPENDING:
        node_ = next((node for node in board.nodes if node.template_suspended), None)
        return errors.bounded(f'step "{node_.step.name}": {node_.message}') if node_ else "suspended by a user"
    return ""


def _told(node: boards.Node) -> str:
    said = f": {node.message}" if node.message else ""
    return f'step "{node.step.name}" failed ({node.reason}){said}'


def _shown(node: boards.Node) -> bool:
    """Whether a step has a status: it was reached, or something in it was."""
    return bool(node.phase) or any(child.phase for child in node.children) or bool(node.past)


def _entry(node: boards.Node) -> JSON:
    entry = {key: node.entry[key] for key in ENTRY_FIELDS if node.entry.get(key)}
    subs = [*(_entry(child) for child in node.children if _shown(child)), *node.past]
    return {**entry, "subSteps": subs} if subs else entry


def _add_progress(board: boards.Board, status: JSON, phase: RunPhase, now: datetime) -> None:
    roots = [root for root in board.roots if not root.orphan]
    status["progress"] = f"{sum(root.settled for root in roots)}/{len(roots)}"
    current = next((root for root in board.roots if root.started), None)
    if phase is RunPhase.FAILED:
        current = next((root for root in roots if root.failed), None)
    if current is None:
        status.pop("currentStep", None)
        status.pop("currentStepSince", None)
    elif status.get("currentStep") != current.step.name or not status.get("currentStepSince"):
        status["currentStep"] = current.step.name
        status["currentStepSince"] = current.entry.get("firstExecuteTime") or timing.stamp(now)


def _conditions(board: boards.Board, phase: RunPhase, message: str, blocked: str, now: datetime) -> list[JSON]:
    """The conditions of the run; those of other types are passed on (engine 2.5, decisions 34)."""
    old = {item.get("type"): item for item in board.status.get("conditions") or () if isinstance(item, dict)}
    new: dict[Any, JSON] = {type_: item for type_, item in old.items() if type_ not in set(ConditionType)}
    verdict, reason = constants.SUCCEEDED_CONDITION[phase]
    wanted = {ConditionType.SUCCEEDED: (str(verdict), str(reason), message)}
    if blocked:
        problem = (str(constants.ConditionStatus.FALSE), str(constants.ConditionReason.RECONCILE_ERROR), message)
        wanted[ConditionType.WORKFLOW_RUN] = problem
    elif phase is RunPhase.SUCCEEDED:
        good = (str(constants.ConditionStatus.TRUE), str(constants.ConditionReason.AVAILABLE), "")
        wanted[ConditionType.WORKFLOW_RUN] = good
    for type_, (status, why, text) in wanted.items():
        before = old.get(str(type_), {})
        same = before.get("status") == status
        since = before.get("lastTransitionTime") if same else None
        condition = {
            "type": str(type_),
            "status": status,
            "reason": why,
            "lastTransitionTime": since or timing.stamp(now),
        }
        if text:
            condition["message"] = text
        if board.identity.generation is not None:
            condition["observedGeneration"] = board.identity.generation
        new[str(type_)] = condition
    return list(new.values())


def _long_waiting(board: boards.Board, now: datetime) -> list[boards.Node]:
    """Steps that have waited long and whose Event is still to be sent, once for each step (decisions 35)."""
    return [
        node
        for node in board.nodes
        if _is_quiet_wait(node) and now.timestamp() - node.memory["waiting"] >= constants.WAITING_EVENT_AFTER
    ]


def _is_quiet_wait(node: boards.Node) -> bool:
    """Whether a step waits and no Event has told so yet."""
    return node.reason == Reason.WAIT and "waiting" in node.memory and not node.memory.get("told")


def _transitions(board: boards.Board, status: JSON, blocked: str, waiting: list[boards.Node]) -> Iterator[Transition]:
    old = board.status
    if not old.get("startTime"):
        yield Transition(EventReason.START, "WorkflowRun started")
    if blocked and old.get("message") != status["message"]:
        yield Transition(EventReason.GENERATE, f"fail to generate workflow runners: {blocked}", warning=True)
    for node in board.nodes:
        was = (node.before.get("phase"), node.before.get("reason"))
        if (node.failed or node.exhausted) and was != (node.phase, node.reason):
            yield Transition(EventReason.STEP_FAILED, _told(node), warning=True)
    for node in waiting:
        said = node.message.removeprefix("waiting")
        colon = ": " if said and said == node.message else ""
        message = f'step "{node.step.name}" is waiting{colon}{said}'
        yield Transition(EventReason.STEP_WAITING, message)
    for message in board.replaced:
        yield Transition(EventReason.OUTPUT_REPLACED, message, warning=True)
    if status["status"] == RunPhase.SUSPENDING and old.get("status") != RunPhase.SUSPENDING:
        yield Transition(EventReason.SUSPEND, f"WorkflowRun suspended: {status['message']}")
    phase = RunPhase(status["status"])
    if phase.is_final:
        yield Transition(EventReason.EXECUTE, ENDINGS[phase], warning=phase is not RunPhase.SUCCEEDED)


def _state(board: boards.Board, status: JSON, told: set[str]) -> JSON:
    """What is to be remembered beside the status; see ``board`` and ``intake`` for the keys."""
    state = {key: value for key, value in board.state.items() if key not in OWN_STATE}
    steps: JSON = {}
    for node in board.nodes:
        memory = dict(node.memory)
        if node.id in told:
            memory["told"] = True
        if node.held:
            memory["suspended"] = boards.MANUAL
        if memory and (node.started or node.held or _LASTING & memory.keys()):
            steps[node.id] = memory
    if board.restarts:
        state["restarts"] = dict(board.restarts)
    if steps:
        state["steps"] = steps
    if status["suspend"]:
        state["suspend"] = True
    if board.hold:
        state["hold"] = True
    if board.stopped:
        state["stopped"] = True
    if board.terminated:
        state["terminated"] = True
    state["known"] = {
        "before": digest(board.status),
        "after": list(paths_of(status)),
        "terminated": status["terminated"],
    }
    return state


def paths_of(status: Mapping[str, Any]) -> Iterator[str]:
    """The paths of all entries of a status."""
    for path, entry in intake.entries_by_path(status.get("steps") or ()).items():
        yield path
        yield from intake.entries_by_path(entry.get("subSteps") or (), path)


def digest(status: Mapping[str, Any]) -> str:
    """A short text that tells whether two statuses have entries for the same steps."""
    return hashlib.sha256("\n".join(sorted(paths_of(status))).encode()).hexdigest()[:12]


def _needed(state: Mapping[str, Any]) -> bool:
    return any(key in state for key in ("steps", "restarts", "hold", "terminated"))


def _durable(state: Mapping[str, Any]) -> JSON:
    """The state without what may be lost with the process: the last look at a step, what was before the last write."""
    steps = state.get("steps") or {}
    kept = {id_: {key: value for key, value in memory.items() if key != "at"} for id_, memory in steps.items()}
    return {**state, "steps": kept, "known": (state.get("known") or {}).get("after")}
