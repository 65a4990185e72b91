"""What users asked for while a pass was busy, folded into the status that the pass made (decisions 25).

The write of a status is refused when somebody has changed the object since it was read. Then three statuses meet: what
the pass started from (``base``), what it made (``ours``) and what is there now (``theirs``). What differs between base
and theirs is what users asked for: suspend, resume, terminate and restart win, but what a step came to in this pass is
kept. The next pass acts on the result; no effect is carried out again because of it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from vela_workflow.api.constants import RunPhase, StepPhase
from vela_workflow.engine import board as boards
from vela_workflow.engine import intake

JSON = dict[str, Any]

FLAGS = ("suspend", "suspendState", "terminated")
"""Fields by which users ask for something."""

OURS_ALONE = frozenset({StepPhase.SUCCEEDED, StepPhase.SKIPPED})
"""Phases that users do not write."""

UNFINISHED = {"finished": False, "status": str(RunPhase.EXECUTING)}


def fold(base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> JSON:
    """The status to write instead of ``ours``; none of the three is changed."""
    if base.get("startTime") and not theirs.get("startTime"):
        return copy.deepcopy(dict(theirs))  # restarted whole: nothing of this pass counts any more
    result = copy.deepcopy(dict(ours))
    removed = _fold_level(base, theirs, result, "steps", "")
    if removed or (base.get("finished") and not theirs.get("finished")):
        # Restarted from a step: the run has not ended, whatever this pass thought.
        result.update(UNFINISHED)
        result.pop("endTime", None)
        result["terminated"] = bool(theirs.get("terminated"))
    if not result.get("finished"):
        for key in FLAGS:
            if (theirs.get(key) or None) != (base.get(key) or None):
                result[key] = theirs.get(key)
        if result.get("suspendState") is None:
            result.pop("suspendState", None)
    return result


def is_by_another_process(base: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether what differs is not what users write, but what carrying the run out does: another process is at it too.

    Users take entries out and set phases by which they ask for something; they add no entries and let no step succeed.
    """
    if theirs.get("startTime") and not base.get("startTime"):
        return True
    if theirs.get("contextBackend") and theirs.get("contextBackend") != base.get("contextBackend"):
        return True
    if theirs.get("finished") and not base.get("finished"):
        return True
    return _has_gone_on(base.get("steps") or (), theirs.get("steps") or ())


def _has_gone_on(before: Any, after: Any) -> bool:
    known = intake.entries_by_path(before)
    for path, entry in intake.entries_by_path(after).items():
        if path not in known:
            return True
        if entry.get("phase") != known[path].get("phase") and entry.get("phase") in OURS_ALONE:
            return True
        if _has_gone_on(known[path].get("subSteps") or (), entry.get("subSteps") or ()):
            return True
    return False


def _fold_level(base: Mapping[str, Any], theirs: Mapping[str, Any], result: JSON, key: str, parent: str) -> bool:
    """Fold the entries of one level in place; tells whether users took any out."""
    before = intake.entries_by_path(base.get(key) or (), parent)
    wanted = intake.entries_by_path(theirs.get(key) or (), parent)
    made = intake.entries_by_path(result.get(key) or (), parent)
    removed = [path for path in before if path not in wanted]
    any_removed = bool(removed)
    for path in removed:
        made.pop(path, None)
    for path, entry in made.items():
        if path not in before:
            continue
        _fold_entry(before[path], entry, wanted[path])
        if not parent:
            any_removed |= _fold_level(before[path], wanted[path], entry, "subSteps", path)
    if key in result or made:
        result[key] = list(made.values())
    return any_removed


def _fold_entry(before: Mapping[str, Any], made: JSON, wanted: Mapping[str, Any]) -> None:
    asked = (wanted.get("phase"), wanted.get("reason") or None)
    if asked == (before.get("phase"), before.get("reason") or None):
        return
    if boards.is_finished(made) and not boards.is_finished(before):
        return
    if wanted.get("phase") == StepPhase.SUSPENDING:
        # The reason stays that of this pass: it tells a user's suspend from a template's.
        made["phase"] = str(StepPhase.SUSPENDING)
        return
    made["phase"] = wanted.get("phase")
    if wanted.get("reason"):
        made["reason"] = wanted["reason"]
    else:
        made.pop("reason", None)
