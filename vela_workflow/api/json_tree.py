"""What is JSON and what only looks like it in Python.

Objects come from places that cannot be trusted: an admission request, a YAML file, a program. YAML gives dates, numbers
as keys and documents that contain themselves; ``json`` gives infinity. None of that can be stored in an API server, and
some of it would bring down whoever walks through it later. So everything is walked once here, without recursion, before
anyone else looks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date
from typing import Any, Final

from vela_workflow.errors import Problem

DEPTH_LIMIT: Final = 100
"""Deepest nesting that is accepted; documents of people have less than 20 levels."""

_IDENTIFIER_EXTRA: Final = frozenset("_-$")


def field_path(parent: str, key: str | int) -> str:
    """The path of a field below ``parent``, as ``kubectl`` writes it: ``spec.steps[0].name``, ``labels["a.b"]``."""
    if isinstance(key, int):
        return f"{parent}[{key}]"
    if key and all(character.isalnum() or character in _IDENTIFIER_EXTRA for character in key):
        return f"{parent}.{key}" if parent else key
    shown = key if len(key) <= 64 else key[:64] + "…"
    return f'{parent}["{shown}"]'


def check(value: Any) -> Iterator[Problem]:
    """Yield a problem for everything in ``value`` that JSON does not have, each with its field path.

    That is: keys that are not strings, dates, infinite numbers, other Python objects, text that UTF-8 cannot encode,
    more than ``DEPTH_LIMIT`` levels (a document that contains itself has infinitely many).
    """
    todo: list[tuple[str, int, Any]] = [("", 0, value)]
    while todo:
        path, depth, item = todo.pop()
        if not isinstance(item, dict | list):
            message = _scalar_problem(item)
            if message:
                yield Problem(message, path)
        elif depth >= DEPTH_LIMIT:
            yield Problem(f"is nested more than {DEPTH_LIMIT} levels deep, or contains itself", path)
            # One is enough: a list that contains itself twice has two to the power of DEPTH_LIMIT of them.
            return
        elif isinstance(item, dict):
            children = []
            for key, child in item.items():
                if isinstance(key, str):
                    children.append((field_path(path, key), depth + 1, child))
                else:
                    yield Problem(f'has the key {key!r}, which is not a string; write it as "{key}"', path)
            todo.extend(reversed(children))
        else:
            todo.extend((field_path(path, index), depth + 1, item[index]) for index in reversed(range(len(item))))


def _scalar_problem(value: object) -> str:
    if value is None or isinstance(value, bool | int):
        return ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"is {value}, which JSON cannot express"
    if isinstance(value, str):
        return (
            ""
            if value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
            else ("contains half a surrogate pair, which UTF-8 cannot encode")
        )
    if isinstance(value, date):
        return f'is a date; YAML makes one of it unless it is in quotes: "{value.isoformat()}"'
    return f"is a Python {type(value).__name__}, which JSON cannot express"
