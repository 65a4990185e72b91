"""``#Suspend``: the step stops until somebody resumes it, or for a time (ops 3.1, decisions 26).

What it has to remember lies in the run's context as time stamps in RFC 3339, under the keys that the Go controller
uses, so that a run which that controller suspended goes on here: ``<step>.<field>.suspendTimeStamp`` says when the
action was first met, ``<step>.resumeTimeStamp`` when a timed suspend of the step ends.

Two things are better than there. Each action has its own timer, counted from its own first time stamp, so two timed
suspends in one step do not share one; the time stamp of the step is written only for those who read it. And a resume
is remembered for the action that it released (``<step>.<field>.resumed``), so neither a later failure nor a second
look suspends again, and a second suspend in the same step needs a second resume.
"""

from __future__ import annotations

from datetime import UTC, datetime

from vela_workflow.api import constants
from vela_workflow.providers import arguments
from vela_workflow.providers.contract import Call, Control, ControlKind, Outcome

_RESUMED = "{step_id}.{field}.resumed"


async def suspend(call: Call) -> Outcome:
    """``#Suspend``: suspended with ``until`` when there is a duration; nothing once it is over or resumed."""
    field = _field(call)
    message = arguments.optional_text(call.args, "message") or f"Suspended by field {call.label}"
    written = arguments.optional_text(call.args, "duration")
    duration = arguments.duration(written, where="duration") if written else None
    met_key = constants.CONTEXT_SUSPEND_TIME.format(step_id=call.step_id, field=field)
    resumed_key = _RESUMED.format(step_id=call.step_id, field=field)
    if call.variables.memo(resumed_key) is not None:
        return Outcome()
    met = call.variables.memo(met_key)
    if met is None:
        call.variables.remember(met_key, _stamp(call.now))
        until = call.now + duration if duration is not None else None
        if until is not None:
            resume_key = constants.CONTEXT_RESUME_TIME.format(step_id=call.step_id)
            call.variables.remember(resume_key, _stamp(until))
    elif call.resumed:
        call.variables.remember(resumed_key, _stamp(call.now))
        return Outcome()
    else:
        until = _time(met) + duration if duration is not None else None
    if until is not None and until <= call.now:
        return Outcome()
    return Outcome(control=Control(ControlKind.SUSPEND, message, until))


def _field(call: Call) -> str:
    """The name of the action in its keys: its label, as the Go controller has it; the whole path when it is nested."""
    return ".".join(str(part) for part in call.path)


def _stamp(moment: datetime) -> str:
    return moment.isoformat()


def _time(stamp: str) -> datetime:
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        raise arguments.wrong(f"failed to parse timestamp {stamp} in the context of the run") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
