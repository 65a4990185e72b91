"""From status and state to the board of a pass, with what users asked for by editing the status (engine 7).

Suspend, resume and terminate are edits of the status. Some tools change the entries of steps too, others (and people
with kubectl) only the flag; both are understood. What the last pass wrote is remembered in the state (``suspend``,
``hold``, ``stopped``, ``terminated``, and in the memory of each step ``suspended``), so an edit is told from our own
writing:

- a suspended step that is ``running`` now was resumed; ``suspend`` that was true and is false, with no step resumed by
  itself, resumes all;
- ``suspend`` that is not explained by a template that suspended, or steps that a user suspended, hold the run; with the
  flag alone, all that is running is shown as suspended;
- a step that has used up its retries suspends the run where that is set (``suspend_on_failure``); it is resumed like
  what is suspended, by itself or with all, and then starts anew;
- ``terminated`` that was not written here ends what is running, once. It is written here only for a user who asked and
  when a run has ended, so that nobody sets a flag that is set already. The Go implementation writes it as soon as a
  step has failed: in a status of its, a failed step explains the flag.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from vela_workflow.api import constants
from vela_workflow.api.constants import Reason, StepPhase
from vela_workflow.engine import board as boards
from vela_workflow.engine import ids, outcome, read, scope
from vela_workflow.engine import plan as plans
from vela_workflow.engine import steps as model
from vela_workflow.engine import variables as variables_

JSON = dict[str, Any]

MANUAL_STATE = "manual"
"""``status.suspendState`` of a run that a user suspended while a template had suspended it already."""

ANY_FIELD = "*"
"""Stands for the field of a resumed suspend when the state that knew it is lost."""


def load(
    plan: plans.Plan,
    identity: scope.Identity,
    status: Mapping[str, Any],
    state: Mapping[str, Any],
    variables: variables_.Variables,
    *,
    suspend_on_failure: bool = False,
) -> boards.Board:
    """Put the board of a pass together; ``status`` and ``state`` are not changed."""
    restarts = state.get("restarts") or {}
    board = boards.Board(plan, identity, variables, status, state, restarts, suspend_on_failure=suspend_on_failure)
    _Loader(board, state.get("steps") or {}).load()
    board.givers = model.OutputIndex((node.step, node) for node in board.nodes)
    board.broken = any(boards.is_broken(node.entry) for node in board.nodes)
    _terminated(board)
    if board.over:
        outcome.give_up(board)
    _resumed(board)
    _held(board)
    return board


def entries_by_path(entries: Iterable[Any], parent: str = "") -> dict[str, JSON]:
    """The entries of a status (or of the ``subSteps`` of one) by the paths that a plan gives them."""
    found: dict[str, JSON] = {}
    for entry in entries:
        if isinstance(entry, dict) and entry.get("name"):
            found[model.unique_path(parent, str(entry.get("name") or ""), found)] = entry
    return found


class _Loader:
    """Makes the nodes; entries and memories are copied, since the pass changes them."""

    def __init__(self, board: boards.Board, memories: Mapping[str, Any]) -> None:
        self._board = board
        self._memories = memories

    def load(self) -> None:
        board = self._board
        entries = entries_by_path(board.status.get("steps") or ())
        for step in board.plan.steps:
            board.roots.append(self._node(step, entries.pop(step.path, None), None))
        for path, entry in entries.items():
            self._removed(path, entry, None)

    def _node(self, step: model.StepPlan, entry: JSON | None, parent: boards.Node | None) -> boards.Node:
        board = self._board
        shown = {key: value for key, value in (entry or {}).items() if key != "subSteps"}
        id_ = str(shown.get("id") or "") or ids.step_id(board.identity.uid, step.path, board.restarts)
        memory = copy.deepcopy(dict(self._memories.get(id_) or {}))
        shown.update(id=id_, name=step.name, type=shown.get("type") or step.type)
        node = boards.Node(step, id_, shown, memory, parent, before=dict(shown) if entry else {})
        if node.started and not step.is_group:
            node.step = self._as_started(step, memory)
        if not node.started and not node.finished:
            shown["type"] = step.type
        self._mark_exhausted(node)
        node.condition = True if memory.get("again") else None
        board.by_path[step.path] = node
        subs = entries_by_path(((entry or {}).get("subSteps") or ()) if step.is_group else (), step.path)
        for sub in step.sub_steps:
            node.children.append(self._node(sub, subs.pop(sub.path, None), node))
        for path, sub_entry in subs.items():
            self._removed(path, sub_entry, node)
        return node

    def _mark_exhausted(self, node: boards.Node) -> None:
        """Tell whether the step may be resumed after its last failure; where the state is lost, the status says so."""
        board, used_up = self._board, (StepPhase.FAILED, Reason.FAILED_AFTER_RETRIES)
        if node.step.is_group or (node.phase, node.reason) != used_up:
            return
        if not board.suspend_on_failure:
            # The setting was taken back: the step has failed for good, whatever is set later.
            node.memory = {}
            return
        if board.forgotten and board.status.get("message") == constants.SUSPENDED_ON_FAILURE:
            node.memory["exhausted"] = True
        node.exhausted = bool(node.memory.get("exhausted"))

    def _as_started(self, step: model.StepPlan, memory: Mapping[str, Any]) -> model.StepPlan:
        """The step as it was when it started (decisions 23)."""
        spec = memory.get("spec")
        if not isinstance(spec, dict) or spec == {k: v for k, v in step.source.items() if k != "subSteps"}:
            return step
        return read.kept_step(spec, step.path, step.name, step.parent, self._board.plan.sub_mode)

    def _removed(self, path: str, entry: JSON, parent: boards.Node | None) -> None:
        """An entry whose step left the spec: finished ones stay, running ones are finished, others are forgotten."""
        name, type_ = str(entry.get("name") or ""), str(entry.get("type") or "")
        step = model.StepPlan(name=name, type=type_, path=path, parent=parent.step.path if parent else "")
        known = set(self._board.by_path)
        node = self._node(step, entry, parent)
        node.orphan = True
        if node.memory.get("exhausted"):
            # Nobody can resume what is no longer there, but where only the steps cannot be had now, it is there again.
            node.exhausted = False
            node.show(StepPhase.FAILED, Reason.FAILED_AFTER_RETRIES, node.message)
        if node.started or node.memory.get("exhausted") or (node.finished and not node.settled):
            (parent.children if parent else self._board.roots).append(node)
            return
        for added in set(self._board.by_path) - known:
            del self._board.by_path[added]
        if node.finished:
            (parent.past if parent else self._board.past).append(entry)


def _ordinary(board: boards.Board) -> list[boards.Node]:
    return [node for node in board.nodes if not node.step.is_group]


def _terminated(board: boards.Board) -> None:
    """Carry out a user's terminate (engine 7.3, decisions 14)."""
    if not board.status.get("terminated"):
        return
    if board.state.get("terminated"):
        board.terminated = True
        return
    if not _asked_to_end(board):
        return
    board.terminated = True
    for node in _ordinary(board):
        if node.started and not node.exhausted:
            node.show(StepPhase.FAILED, Reason.TERMINATE, node.message)
    for node in board.nodes:
        if node.phase == StepPhase.SUSPENDING:
            node.show(StepPhase.RUNNING if node.started else StepPhase.PENDING)


def _asked_to_end(board: boards.Board) -> bool:
    """Whether a user set the flag, and not the program that wrote the status last."""
    written = (board.state.get("known") or {}).get("terminated")
    if written is not None:
        return not written
    if board.forgotten and "progress" in board.status:
        return True  # The status is of ours, the flag is not: a run that ends otherwise than well leaves no open state.
    entries = [node.entry for node in board.nodes] + board.past
    if any(entry.get("phase") == StepPhase.FAILED and entry.get("reason") == Reason.TERMINATE for entry in entries):
        return True
    return not (board.broken or any(map(_explains, board.nodes)) or any(map(_ended_run, board.past)))


def _explains(node: boards.Node) -> bool:
    """Whether a step failed for good; one that is tried again is remembered, unless the state is lost."""
    return node.failed or (node.phase == StepPhase.FAILED and not node.memory)


def _ended_run(entry: Mapping[str, Any]) -> bool:
    return entry.get("phase") == StepPhase.FAILED or boards.is_broken(entry)


def _resume(node: boards.Node) -> None:
    suspended = node.memory.pop("suspended", None)
    node.memory.pop("until", None)
    node.memory.pop("at", None)
    if node.reason == Reason.SUSPEND:
        field = suspended if isinstance(suspended, str) else ANY_FIELD
        node.memory["resumed"] = [*node.memory.get("resumed", ()), field]


def _resumed(board: boards.Board) -> None:
    """Let steps go on that a user resumed (engine 7.2, decisions 26)."""
    if board.terminated:
        return
    by_name, again = False, False
    for node in _ordinary(board):
        if node.phase == StepPhase.RUNNING and node.memory.get("exhausted"):
            _start_anew(node)
            by_name = again = True
        elif node.phase == StepPhase.RUNNING and (node.memory.get("suspended") or _newly_resumed(node)):
            _resume(node)
            by_name = True
    was_suspended = board.state.get("suspend", board.forgotten)
    if board.status.get("suspend") or not was_suspended:
        return
    if not by_name:
        _resume_all(board)
    if not again and not any(node.phase == StepPhase.SUSPENDING for node in _ordinary(board)):
        # Nobody was asked for in particular, and nothing stays suspended: the run as a whole was resumed.
        for node in board.nodes:
            if node.exhausted:
                _start_anew(node)


def _resume_all(board: boards.Board) -> None:
    for node in board.nodes:
        if node.phase == StepPhase.SUSPENDING:
            if not node.step.is_group:
                _resume(node)
            reason = node.reason if node.started else ""
            node.show(StepPhase.RUNNING if node.started else StepPhase.PENDING, reason, node.message)


def _start_anew(node: boards.Node) -> None:
    """Let a step that had used up its retries start as it is in the spec now, with all its retries."""
    node.rewind()
    node.memory["again"] = node.condition = True
    node.entry["type"] = node.step.type
    node.show(StepPhase.PENDING)


def _newly_resumed(node: boards.Node) -> bool:
    """A template's suspend was resumed and the state that knew of it is lost."""
    return node.reason == Reason.SUSPEND and not node.memory.get("resumed")


def _held(board: boards.Board) -> None:
    """Decide whether a user's suspend holds the run (engine 3.1 step 5, decisions 26)."""
    if board.terminated or not board.status.get("suspend"):
        return
    held = [node for node in board.nodes if node.held]
    new = any(node.memory.get("suspended") is not boards.MANUAL for node in held)
    by_template = any(node.template_suspended for node in board.nodes)
    manual = board.status.get("suspendState") == MANUAL_STATE
    held_before = bool(board.state.get("hold"))
    explained = by_template or _stopped_before(board)
    board.hold = manual or new or not explained or held_before
    if board.hold and not held and not held_before:
        _show_suspended(board)


def _stopped_before(board: boards.Board) -> bool:
    """Whether the flag was set because of steps that had used up their retries."""
    if board.forgotten:
        return any(node.exhausted for node in board.nodes)
    return bool(board.state.get("stopped"))


def _show_suspended(board: boards.Board) -> None:
    """Show what is running as suspended, as the commands do, for a user who set nothing but the flag."""
    for node in _ordinary(board):
        if node.phase == StepPhase.RUNNING:
            # With the reason of a template's suspend it would be taken for one.
            reason = "" if node.reason == Reason.SUSPEND else node.reason
            node.show(StepPhase.SUSPENDING, reason, node.message)
