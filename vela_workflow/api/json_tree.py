"""What is JSON and what only looks like it in Python.

Objects come from places that cannot be trusted: an admission request, a YAML file, a program. YAML gives dates, numbers
as keys and documents that contain themselves; ``json`` gives infinity. None of that can be stored in an API server, and
some of it would bring down whoever walks through it later. So everything is walked once here, without recursion, before
anyone else looks.
"""

from __future__ import annotations

import json
import math
from datetime import date
from typing import Any, Final

import orjson

from vela_workflow.errors import Invalid, Problem

DEPTH_LIMIT: Final = 100
"""Deepest nesting that is accepted; documents of people have less than 20 levels."""

SIZE_LIMIT: Final = 500_000
"""Most values that are accepted; an API server takes 1.5 MB, which is less."""

SERVED_DEPTH: Final = 10_000
"""Deepest nesting that an API server takes, and hands on to everybody who lists or watches."""

PROBLEM_LIMIT: Final = 50
"""Problems told at once; a document with more of them is broken as a whole."""

_IDENTIFIER_EXTRA: Final = frozenset("_-$")


def loads(data: bytes) -> Any:
    """What JSON from an API server says, however deep it is nested: one object must not hide all others of a list.

    The fast parser gives up at 1024 levels; the other one needs a recursion limit beyond ``SERVED_DEPTH``. Raises
    ``orjson.JSONDecodeError``.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise error from None


def field_path(parent: str, key: str | int) -> str:
    """The path of a field below ``parent``, as ``kubectl`` writes it: ``spec.steps[0].name``, ``labels["a.b"]``."""
    if isinstance(key, int):
        return f"{parent}[{key}]"
    if key and all(character.isalnum() or character in _IDENTIFIER_EXTRA for character in key):
        return f"{parent}.{key}" if parent else key
    shown = key if len(key) <= 64 else key[:64] + "…"
    return f'{parent}["{shown}"]'


def check(value: Any) -> list[Problem]:
    """Find everything in ``value`` that JSON does not have, each with its field path, at most ``PROBLEM_LIMIT``.

    That is: keys that are not strings, dates, infinite numbers, other Python objects, text that UTF-8 cannot encode.
    Raises ``errors.Invalid`` at once for what nobody should walk through: more than ``DEPTH_LIMIT`` levels (a document
    that contains itself has infinitely many) or more than ``SIZE_LIMIT`` values (a few lines of YAML aliases can stand
    for billions).
    """
    problems: list[Problem] = []
    todo: list[tuple[str, int, Any]] = [("", 0, value)]
    size = 1
    while todo and len(problems) < PROBLEM_LIMIT:
        path, depth, item = todo.pop()
        if not isinstance(item, dict | list):
            message = _scalar_problem(item)
            if message:
                problems.append(Problem(message, path))
            continue
        size += len(item)
        if depth >= DEPTH_LIMIT:
            raise Invalid([Problem(f"nested more than {DEPTH_LIMIT} levels deep, or contains itself", path)])
        if size > SIZE_LIMIT:
            raise Invalid([Problem(f"the document has more than {SIZE_LIMIT} values", path)])
        children: list[tuple[str, int, Any]] = []
        for key, child in item.items() if isinstance(item, dict) else enumerate(item):
            if isinstance(item, dict) and not isinstance(key, str):
                problems.append(Problem(_key_problem(key), path))
            else:
                children.append((field_path(path, key), depth + 1, child))
        todo.extend(reversed(children))
    return problems


def _key_problem(key: object) -> str:
    if isinstance(key, bool):
        return f"has the key {key}: YAML makes that of on, off, yes, no, true and false; write the key in quotes"
    return f'has the key {key!r}, which is not a string; write it as "{key}"'


def _scalar_problem(value: object) -> str:
    if value is None or isinstance(value, bool | int):
        return ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"is {value}, which JSON cannot express"
    if isinstance(value, str):
        halves = not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value)
        return "contains half a surrogate pair, which UTF-8 cannot encode" if halves else ""
    if isinstance(value, date):
        return f'is a date; YAML makes one of it unless it is in quotes: "{value.isoformat()}"'
    return f"is a Python {type(value).__name__}, which JSON cannot express"
