"""What was most likely meant, for people who wrote an ``if`` that cannot be, or a mode that nobody knows.

CUE says of a name only that it is not there. Here the names are known that could be meant, so an expression is looked
through for those that cannot; it is not parsed, and nothing is decided by what is found.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api import constants

_STRING: Final = re.compile(r'(?<!\[)"(?:\\.|[^"\\])*"(?!\])')
"""A string that is no label in brackets."""

_MEMBER: Final = re.compile(r'(?<![\w.])(status|inputs)(?:\.([A-Za-z_$][\w$]*)|\["([^"\\]+)"\])((?:-[A-Za-z][\w-]*)?)')
"""A part of ``status`` or ``inputs``; the last group is what a dash cuts off, which CUE takes for a subtraction."""


def condition(expression: str, names: Collection[str], sources: Collection[str]) -> Iterator[str]:
    """What is wrong with the names in an ``if``: ``names`` are those of steps, ``sources`` what inputs come from."""
    text = _STRING.sub('""', expression)
    if text.strip().lower() == constants.IF_ALWAYS and text.strip() != constants.IF_ALWAYS:
        yield f"did you mean {constants.IF_ALWAYS}?"
    if re.search(r"(?<![\w.])steps?[.\[]", text):
        yield 'steps are in `status`: write status["name"].failed'
    if "'" in text:
        yield "'…' is bytes in CUE and equal to no string; write \"…\""
    for found in _MEMBER.finditer(text):
        root, plain, quoted, rest = found.groups()
        name = plain or quoted
        known = names if root == "status" else sources
        if plain and rest and f"{name}{rest}" in known:
            yield f'a dash is a minus in CUE: write {root}["{name}{rest}"]'
        elif name not in known and not any(one.startswith((f"{name}.", f"{name}[")) for one in known):
            what = f'there is no step "{name}"' if root == "status" else f'the step has no input from "{name}"'
            yield f"{what}{errors.did_you_mean(name, known)}"


def unknown_mode(mode: Any, counts_as: constants.Mode) -> str:
    """What to say of a mode; empty when it is known or not given."""
    if not mode or mode in tuple(constants.Mode):
        return ""
    meant = errors.did_you_mean(str(mode), constants.Mode)
    return f'unknown mode "{mode}" counts as {counts_as}; known are {" and ".join(constants.Mode)}{meant}'


def unknown_modes(mode: Any, field_path: str) -> tuple[errors.Problem, ...]:
    """What to say of the modes of a run or a Workflow, whose field ``mode`` is at ``field_path``."""
    given = mode if isinstance(mode, Mapping) else {}
    counts_as = {"steps": constants.Mode.STEP_BY_STEP, "subSteps": constants.Mode.DAG}
    told = {key: unknown_mode(given.get(key), default) for key, default in counts_as.items()}
    return tuple(errors.Problem(text, f"{field_path}.{key}") for key, text in told.items() if text)
