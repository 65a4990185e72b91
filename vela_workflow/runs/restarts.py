"""Restarts that users ask for: by an annotation, or by taking steps or all out of the status (decisions 27)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.engine import restart
from vela_workflow.engine.plan import Plan
from vela_workflow.runs.contract import Reporter
from vela_workflow.runs.newness import looks_new, was_emptied
from vela_workflow.runs.record import RunRecord

_RESTARTED = "vela-workflow.restarted"
"""The memo that says which restart was carried out last, by its id in the annotation."""


async def carry_out(record: RunRecord, plan: Plan, reporter: Reporter, clock: Callable[[], datetime]) -> None:
    """Carry out a restart if a user asked for one; a wrong wish is told as a warning and dropped."""
    asked = (record.body["metadata"].get("annotations") or {}).get(constants.ANNOTATION_RESTART)
    try:
        found = _asked(record, plan, asked, clock()) if asked else None
    except errors.WorkflowError as error:
        reporter.warnings(record.body, "", (f"restart {asked}: {error}",))
        await record.drop_annotation(constants.ANNOTATION_RESTART)
        return
    if found is None:
        found = _recognised(record, plan)
    if found is not None:
        # The context was read after the run: what another process has done in between looks like a wish, too.
        await record.check_current()
        await _apply(record, found)
    if asked:
        await record.drop_annotation(constants.ANNOTATION_RESTART)


def _asked(record: RunRecord, plan: Plan, asked: str, now: datetime) -> restart.Restart | None:
    """The restart that an annotation asks for, or what is left to do of it; nothing when it was carried out already."""
    step, _, asked_id = asked.partition("#")
    again = bool(asked_id) and record.context.memos.get(_RESTARTED) == asked_id
    if again and not restart.is_half_done(record.status, record.context.engine):
        return None
    if step.strip() in ("", "*", "true"):
        found = restart.restart_run(record.status, record.context.engine, record.name)
    else:
        found = restart.restart_step(plan, record.status, record.context.engine, record.name, step.strip(), now=now)
    if asked_id:
        record.context.memos[_RESTARTED] = asked_id
    # What is in the state already is not counted a second time.
    return dataclasses.replace(found, state=record.context.engine) if again else found


def _recognised(record: RunRecord, plan: Plan) -> restart.Restart | None:
    """A restart that a user asked for by taking steps, or everything, out of the status."""
    state, new = record.context.engine, looks_new(record.status)
    emptied = was_emptied(record.status) or (new and record.context.has_acted)
    begun = record.memory.written or emptied
    # Steps that are missing because our own write was lost were taken out by nobody.
    sure = emptied or (record.memory.written and not record.memory.doubtful)
    found = restart.recognise(plan, record.status, state, written=sure)
    if found is None and begun and new and not state:
        # It had a status and has none, and nothing else was kept of it: only its steps need other ids.
        found = restart.restart_run(record.status, state, record.name)
        found = dataclasses.replace(found, patch={})
    return found


async def _apply(record: RunRecord, found: restart.Restart) -> None:
    context, memory = record.context, record.memory
    context.engine = found.state
    if found.everything:
        context.memos = {key: value for key, value in context.memos.items() if key == _RESTARTED}
        context.variables.clear()
        memory.succeeded.clear()
    for path in found.drop:
        context.variables.drop(path)
    for step_id in found.removed:
        memory.succeeded.pop(step_id, None)
        memory.interests.pop(step_id, None)
        memory.guards.pop(step_id, None)
    kept = await record.keep()
    patch = dict(found.patch)
    if found.everything and kept:
        patch["contextBackend"] = record.backend
    if patch:
        await record.patch(patch)
