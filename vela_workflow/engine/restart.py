"""Running steps again: the whole run, from a step on, or what a user took out of the status (engine 7.4 and 7.5).

A restart takes entries out of the status, drops the outputs of their steps and counts each of them in the state, so
that the steps get other ids and no effect of theirs is taken for one that was carried out already (decisions 19, 20,
27). Write variables and state first, then the patch of the status; a crash in between only means that the restart,
which is still asked for, is done again.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vela_workflow.api import constants
from vela_workflow.api.constants import StepPhase
from vela_workflow.engine import board as boards
from vela_workflow.engine import commands, ids, intake, paths, summary, timing
from vela_workflow.engine import plan as plans
from vela_workflow.engine import steps as model

JSON = dict[str, Any]

RESET: JSON = {"terminated": False, "suspend": False, "suspendState": None, "finished": False, "endTime": None}
"""What a restart from a step sets in the status, beside the steps."""


@dataclass(frozen=True, slots=True)
class Restart:
    """What to change for a restart.

    ``patch`` is a merge patch of the status, ``state`` the whole new state. ``drop`` are the paths of variables to
    forget; with ``everything`` all variables and all that was remembered in the context of the run is to be forgotten.
    ``removed`` are the ids of the executions that end by this.
    """

    patch: JSON
    state: JSON
    drop: tuple[paths.Path, ...]
    removed: tuple[str, ...]
    everything: bool
    message: str


def restart_run(status: Mapping[str, Any], state: Mapping[str, Any], run: str) -> Restart:
    """Start a run all over, in whatever phase it is (engine 7.4)."""
    restarts = state.get("restarts") or {}
    kept = {ids.FROM_STEP: restarts[ids.FROM_STEP]} if ids.FROM_STEP in restarts else {}
    return Restart(
        patch=dict.fromkeys(status),
        state={
            "restarts": {ids.WHOLE_RUN: restarts.get(ids.WHOLE_RUN, 0) + 1, **kept},
            "known": {"before": summary.digest(status), "after": []},
        },
        drop=(),
        removed=tuple(str(entry.get("id")) for entry in _entries(status).values() if entry.get("id")),
        everything=True,
        message=f"Successfully restart workflow: {run}",
    )


def restart_step(
    plan: plans.Plan, status: Mapping[str, Any], state: Mapping[str, Any], run: str, step: str, *, now: datetime
) -> Restart:
    """Run a step that has ended, and all that comes after it, again (engine 7.5, decisions 27).

    What comes after is decided by the modes of the plan: later siblings in step-by-step mode, and whoever depends on
    or takes an input from a step that is run again. Raises ``commands.Refused``.
    """
    if not step:
        raise commands.Refused("step can not be empty")
    path = plan.names.get(step)
    entries = _entries(status)
    if path is None or path not in entries:
        raise commands.Refused(f"failed step {step} not found")
    finished = boards.is_finished(entries[path]) or status.get("finished") or _is_final(state, entries[path])
    if not finished:
        raise commands.Refused(
            f"can not restart from step {step}: it has not ended, it is {entries[path].get('phase')}"
        )
    again, reopened = _after(plan, path)
    steps = _remaining(status, again, reopened, now)
    removed = {gone: entry for gone, entry in entries.items() if gone in again or _group(gone, entries) in again}
    return Restart(
        patch={**RESET, "steps": steps},
        # Those that are yet to begin are counted too: whatever is known of them is of before.
        state=_state(state, status, {**dict.fromkeys(again), **removed}, steps, ended=bool(status.get("finished"))),
        drop=_outputs(plan, again),
        removed=tuple(str(entry.get("id")) for entry in removed.values() if entry.get("id")),
        everything=False,
        message=f"Successfully restart workflow {run} from step {step}",
    )


def recognise(
    plan: plans.Plan, status: Mapping[str, Any], state: Mapping[str, Any], *, written: bool = False
) -> Restart | None:
    """Tell whether a user restarted by taking steps out of the status, and what else has to change then.

    The patch of the result is empty: the user has done that part. ``written`` says that this process knows that the
    last status it made was written; otherwise a status that is as it was before the last write is taken for a write
    that was lost in a crash, and nothing is restarted.
    """
    known = state.get("known") or {}
    entries = _entries(status)
    missing = [path for path in known.get("after") or () if path not in entries]
    if not missing or (not written and _is_from_before(status, known.get("before"))):
        return None
    if not entries and not status.get("startTime"):
        whole = restart_run(status, state, "")
        return Restart({}, whole.state, (), (), everything=True, message="")
    return Restart(
        patch={},
        # The edit that took steps out has made the run unfinished too.
        state=_state(state, status, missing, status.get("steps") or (), ended=True),
        drop=_outputs(plan, set(missing)),
        removed=(),
        everything=False,
        message="",
    )


def is_half_done(status: Mapping[str, Any], state: Mapping[str, Any]) -> bool:
    """Whether a restart is in the state and not in the status: the write of the status was lost."""
    known = state.get("known") or {}
    more = _entries(status).keys() - set(known.get("after") or ())
    return bool(more) and _is_from_before(status, known.get("before"))


def _is_from_before(status: Mapping[str, Any], before: Any) -> bool:
    """Whether a status is one that the last write, which may have been lost, would have been made upon."""
    return summary.digest(status) in (before if isinstance(before, list) else [before])


def _entries(status: Mapping[str, Any]) -> dict[str, JSON]:
    """All entries of a status, also those of sub steps, by path."""
    found: dict[str, JSON] = {}
    for path, entry in intake.entries_by_path(status.get("steps") or ()).items():
        found[path] = entry
        found.update(intake.entries_by_path(entry.get("subSteps") or (), path))
    return found


def _group(path: str, entries: Mapping[str, JSON]) -> str:
    """The path of the group that an entry is in, ``""`` for one of the top level."""
    return next((other for other in entries if path.startswith(f"{other}/")), "")


def _is_final(state: Mapping[str, Any], entry: Mapping[str, Any]) -> bool:
    memory = (state.get("steps") or {}).get(str(entry.get("id"))) or {}
    return bool(memory.get("final"))


def _after(plan: plans.Plan, first: str) -> tuple[set[str], set[str]]:
    """The steps to run again, and the groups that are not run again themselves but have to go on."""
    again = {first}
    givers = model.OutputIndex((step, step.path) for step in plan.by_path.values())
    while True:
        reopened = {plan.by_path[path].parent for path in again} - again - {""}
        more = {
            step.path
            for step in plan.by_path.values()
            if step.path not in again and _comes_after(plan, givers, step, again | reopened, again)
        }
        if not more:
            return again, reopened
        again |= more


def _comes_after(
    plan: plans.Plan, givers: model.OutputIndex[str], step: model.StepPlan, touched: set[str], again: set[str]
) -> bool:
    if step.parent in again or any(plan.names.get(name) in touched for name in step.depends_on):
        return True
    if any(item.path is not None and not again.isdisjoint(givers.of(item.path)) for item in step.inputs):
        return True
    siblings, mode = plan.scope_of(step.parent)
    if mode is constants.Mode.DAG:
        return False
    earlier = siblings[: siblings.index(step)]
    return any(sibling.path in touched for sibling in earlier)


def _remaining(status: Mapping[str, Any], again: set[str], reopened: set[str], now: datetime) -> list[JSON]:
    steps = []
    for path, entry in intake.entries_by_path(status.get("steps") or ()).items():
        if path in again:
            continue
        kept = copy.deepcopy(entry)
        if kept.get("subSteps"):
            subs = intake.entries_by_path(kept["subSteps"], path)
            kept["subSteps"] = [sub for sub_path, sub in subs.items() if sub_path not in again]
        if path in reopened:
            # Its timeout counts anew, else it would be over at once.
            kept.update(phase=str(StepPhase.RUNNING), reason="", message="", firstExecuteTime=timing.stamp(now))
        steps.append(kept)
    return steps


def _outputs(plan: plans.Plan, again: set[str]) -> tuple[paths.Path, ...]:
    """The variables of all steps that run again; those of the sub steps of a group are among them."""
    gone = (step for step in plan.by_path.values() if step.path in again or step.parent in again)
    return tuple(dict.fromkeys(output.path for step in gone for output in step.outputs))


def _state(
    state: Mapping[str, Any],
    status: Mapping[str, Any],
    removed: Iterable[str],
    remaining: Iterable[JSON],
    *,
    ended: bool,
) -> JSON:
    """The state without the removed steps, which are counted, as is that the run goes on after it had ``ended``."""
    removed = list(removed)
    new = {key: value for key, value in state.items() if key not in {"terminated", "hold", "stopped", "suspend"}}
    restarts = dict(state.get("restarts") or {})
    for path in (*removed, *((ids.FROM_STEP,) if ended else ())):
        restarts[path] = restarts.get(path, 0) + 1
    new["restarts"] = restarts
    left = {"steps": list(remaining)}
    kept = {str(entry.get("id")) for entry in _entries(left).values()}
    new["steps"] = {id_: memory for id_, memory in (state.get("steps") or {}).items() if id_ in kept}
    new["known"] = {"before": summary.digest(status), "after": list(summary.paths_of(left))}
    return new
