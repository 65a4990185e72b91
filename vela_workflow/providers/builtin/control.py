"""Wait, fail, break, message, and variables.

What a control operation means for the step and the run is the engine's business (ops 2.10); here it is only said.
"""

from __future__ import annotations

from vela_workflow import errors
from vela_workflow.providers import arguments
from vela_workflow.providers.contract import Call, Control, ControlKind, Outcome


async def wait(call: Call) -> Outcome:
    """``#ConditionalWait``: the step waits unless ``continue`` is true (ops 3.1)."""
    if call.args.get("continue") is True:
        return Outcome()
    return _control(call, ControlKind.WAIT)


async def fail(call: Call) -> Outcome:
    """``#Fail``: the step has failed, for good (ops 3.1)."""
    return _control(call, ControlKind.FAIL)


async def end(call: Call) -> Outcome:
    """``#Break``: the step has succeeded and the run ends here (decisions 13)."""
    return _control(call, ControlKind.BREAK)


async def message(call: Call) -> Outcome:
    """``#Message``: sets the message of the step (ops 3.1)."""
    return _control(call, ControlKind.MESSAGE)


async def variable(call: Call) -> Outcome:
    """``#DoVar``: reads or writes a workflow variable (ops 3.1; a write replaces, decisions 6).

    Raises ``Transient`` when the variable that ``Get`` asks for does not exist: another step may still write it.
    """
    path = arguments.text(call.args, "path")
    method = call.args.get("method", "Get")
    if method == "Put":
        call.variables.put(path, call.args.get("value"), sensitive=call.sensitive)
        return Outcome()
    if method != "Get":
        raise arguments.wrong(f'method must be "Get" or "Put", not "{method}"')
    try:
        return Outcome({"value": call.variables.get(path)}, sensitive=call.variables.is_sensitive(path))
    except KeyError:
        raise errors.Transient(f"var {path} not found: no step has written it") from None


def _control(call: Call, kind: ControlKind) -> Outcome:
    return Outcome(control=Control(kind, arguments.optional_text(call.args, "message")))
