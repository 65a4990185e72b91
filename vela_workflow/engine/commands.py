"""What users ask of a run, as functions from its status to a patch of its status (engine 7, decisions 26 and 27).

The command line sends these patches; anybody may make the same edits by hand. What the operator makes of them is in
``intake``. A patch is a JSON merge patch of ``status``, to be sent with the ``resourceVersion`` of what was read.
Restarts are in ``restart``. A step that has ended is never rewritten.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.api.constants import Reason, StepPhase
from vela_workflow.engine import board as boards
from vela_workflow.engine import intake

JSON = dict[str, Any]


class Refused(errors.WorkflowError):
    """The command makes no sense for this run; the text says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """A patch of the status, empty when there is nothing to change, and what to tell the user."""

    patch: JSON
    message: str


def suspend(status: Mapping[str, Any], run: str, step: str | None = None) -> Command:
    """Suspend a run, or one step of it by name (which also holds the run); raises ``Refused`` (engine 7.1).

    Whole: every running step with all its unfinished sub steps, and every running sub step. By name: any step that has
    not ended. Reasons stay, which tells a user's suspend from a template's.
    """
    _check_name(step)
    if status.get("terminated"):
        raise Refused("can not suspend a terminated workflow")
    if status.get("finished"):
        raise Refused("can not suspend a finished workflow")
    steps = _steps(status)
    if step is None:
        for entry, _ in _walk(steps):
            if entry.get("phase") == StepPhase.RUNNING:
                _suspend(entry)
    else:
        entry = _named(steps, step)
        if boards.is_finished(entry):
            raise Refused(f"can not find step {step} among those that can be suspended: it is {entry.get('phase')}")
        _suspend(entry)
    patch: JSON = {"suspend": True, "suspendState": intake.MANUAL_STATE}
    return Command(_with_steps(patch, status, steps), _done("suspend", run, step))


def resume(status: Mapping[str, Any], run: str, step: str | None = None) -> Command:
    """Resume a run, or one step of it by name; a run that is not suspended is left alone (engine 7.2).

    Where steps that have used up their retries suspend the run, such a step is named like a suspended one, and resuming
    the whole run means all of them. Raises ``Refused``. A terminated run is refused, unless it still waits for a step
    that is suspended.
    """
    _check_name(step)
    steps = _steps(status)
    suspended = any(entry.get("phase") == StepPhase.SUSPENDING for entry, _ in _walk(steps))
    if status.get("terminated") and not suspended:
        raise Refused("can not resume a terminated workflow")
    if not status.get("suspend") and not suspended:
        return Command({}, f"nothing to do: {run} is not suspended")
    if step is None:
        for entry, _ in _walk(steps):
            _resume(entry)
    else:
        entry = _named(steps, step)
        exhausted = _exhausted(status, entry)
        for one in exhausted:
            one.update(phase=str(StepPhase.RUNNING))
        if entry.get("phase") != StepPhase.SUSPENDING and not exhausted:
            raise Refused(f"can not find step {step} among those that are suspended: it is {entry.get('phase')}")
        _resume(entry)
        if entry.get("subSteps"):
            for sub in entry["subSteps"]:
                _resume(sub)
    patch: JSON = {"suspend": False, "suspendState": None}
    return Command(_with_steps(patch, status, steps), _done("resume", run, step))


def terminate(status: Mapping[str, Any], run: str) -> Command:
    """End a run: what runs, is suspended or is tried again fails with reason Terminate (engine 7.3, decisions 14)."""
    if status.get("finished"):
        return Command({}, f"nothing to do: {run} has ended already ({status.get('status')})")
    steps = _steps(status)
    for entry, _ in _walk(steps):
        phase = entry.get("phase")
        if phase == StepPhase.SUSPENDING and not entry.get("firstExecuteTime"):
            entry.update(phase=str(StepPhase.PENDING))
        elif phase in {StepPhase.RUNNING, StepPhase.SUSPENDING, StepPhase.FAILED} and not boards.is_finished(entry):
            entry.update(phase=str(StepPhase.FAILED), reason=str(Reason.TERMINATE))
    patch: JSON = {"terminated": True, "suspend": False, "suspendState": None}
    return Command(_with_steps(patch, status, steps), _done("terminate", run, None))


def rollback(run: str) -> Command:
    """A run cannot be rolled back; always raises ``Refused`` (engine 7)."""
    raise Refused(f"can not rollback a WorkflowRun: {run}")


def _check_name(step: str | None) -> None:
    if step == "":
        raise Refused("step can not be empty")


def _steps(status: Mapping[str, Any]) -> list[JSON]:
    return [copy.deepcopy(entry) for entry in status.get("steps") or () if isinstance(entry, dict)]


def _walk(steps: list[JSON]) -> Iterator[tuple[JSON, JSON | None]]:
    """Each entry with the entry of its group, groups first."""
    for entry in steps:
        yield entry, None
        for sub in entry.get("subSteps") or ():
            yield sub, entry


def _named(steps: list[JSON], name: str) -> JSON:
    """The entry of a step, those of the top level first; raises ``Refused``."""
    found = [entry for entry, group in _walk(steps) if entry.get("name") == name and group is None]
    found += [entry for entry, group in _walk(steps) if entry.get("name") == name and group is not None]
    if not found:
        there = ", ".join(str(entry.get("name")) for entry, _ in _walk(steps)) or "none yet"
        raise Refused(f"can not find step {name} among those that were reached (there are: {there})")
    return found[0]


def _suspend(entry: JSON) -> None:
    for one in (entry, *(entry.get("subSteps") or ())):
        if not boards.is_finished(one):
            one["phase"] = str(StepPhase.SUSPENDING)


def _resume(entry: JSON) -> None:
    if entry.get("phase") == StepPhase.SUSPENDING:
        entry["phase"] = str(StepPhase.RUNNING)


def _exhausted(status: Mapping[str, Any], entry: JSON) -> list[JSON]:
    """The step, or those of the group, that may run again although their retries are used up."""
    if status.get("message") != constants.SUSPENDED_ON_FAILURE:
        return []
    used_up = (StepPhase.FAILED, Reason.FAILED_AFTER_RETRIES)
    return [
        one
        for one in entry.get("subSteps") or (entry,)
        if (one.get("phase"), one.get("reason")) == used_up and one.get("type") != constants.STEP_GROUP
    ]


def _with_steps(patch: JSON, status: Mapping[str, Any], steps: list[JSON]) -> JSON:
    """The patch, with the steps where they changed; what is as wanted already is left out."""
    wanted = {**patch, "steps": steps}
    return {key: value for key, value in wanted.items() if (status.get(key) or None) != (value or None)}


def _done(verb: str, run: str, step: str | None) -> str:
    if step is None:
        return f"Successfully {verb} workflow: {run}"
    return f"Successfully {verb} workflow {run} from step {step}"
