"""Reading the arguments of operations.

CUE has checked most arguments against the schema before an operation sees them. What remains is what a schema cannot
say (a duration that does not parse, an object without a name) and what hand-written actions get wrong. All of that is
the template author's to repair, so it is one kind of error: final, with the name of the argument in it (decisions 9).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api import durations

REASON = "Execute"

_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")


def wrong(message: str) -> errors.Terminal:
    """The error for an argument that no retry can help; ``message`` names the argument."""
    return errors.Terminal(message, reason=REASON)


def text(args: Mapping[str, Any], name: str, *, where: str = "") -> str:
    """A string that must be there; raises ``Terminal`` when it is missing, empty or something else."""
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise wrong(f"{_place(where, name)} must be a string that is not empty")
    return value


def optional_text(args: Mapping[str, Any], name: str, *, where: str = "") -> str:
    """A string that may be missing, which is the empty string; raises ``Terminal`` when it is something else."""
    value = args.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(f"{_place(where, name)} must be a string")
    return value


def integer(args: Mapping[str, Any], name: str, *, where: str = "") -> int:
    """An integer that must be there; raises ``Terminal`` otherwise."""
    value = args.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong(f"{_place(where, name)} must be an integer")
    return value


def struct(args: Mapping[str, Any], name: str, *, where: str = "") -> dict[str, Any]:
    """A struct that must be there; raises ``Terminal`` otherwise."""
    value = args.get(name)
    if not isinstance(value, dict):
        raise wrong(f"{_place(where, name)} must be a struct")
    return value


def optional_struct(args: Mapping[str, Any], name: str, *, where: str = "") -> dict[str, Any] | None:
    """A struct that may be missing; raises ``Terminal`` when it is something else."""
    return None if args.get(name) is None else struct(args, name, where=where)


def items(args: Mapping[str, Any], name: str, *, where: str = "") -> list[Any]:
    """A list that may be missing, which is the empty list; raises ``Terminal`` when it is something else."""
    value = args.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise wrong(f"{_place(where, name)} must be a list")
    return value


def duration(written: str, *, where: str) -> timedelta:
    """A duration in Go's form plus ``d`` (decisions 12); raises ``Terminal`` that names the argument ``where``."""
    try:
        return durations.parse(written)
    except errors.Invalid as error:
        raise wrong(f"{where}: {error}") from error


def labels(args: Mapping[str, Any], name: str, *, where: str = "") -> dict[str, str]:
    """Labels to match, as strings: numbers and bools become the text that a label would hold. None may be given.

    Raises ``Terminal`` for what no label can be, so that nothing else can get into a selector.
    """
    found = {}
    value = optional_struct(args, name, where=where) or {}
    where = _place(where, name)
    for key, item in value.items():
        prefix, _, last = key.rpartition("/")
        if not _LABEL.fullmatch(last) or (prefix and not _PREFIX.fullmatch(prefix)):
            raise wrong(f'{where}: "{errors.bounded(key, 80)}" cannot be the name of a label')
        found[key] = _label(item, f"{where}.{key}")
    return found


def _label(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise wrong(f"{where} must be a string")
    text = str(value)
    if text and not _LABEL.fullmatch(text):
        raise wrong(
            f'{where}: "{errors.bounded(text, 80)}" cannot be the value of a label: at most 63 letters, digits, '
            '"-", "_" and ".", with a letter or digit at both ends'
        )
    return text


def _place(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
