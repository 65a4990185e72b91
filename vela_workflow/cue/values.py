"""Values and paths as CUE text.

Data goes into a program as JSON, which is CUE. What JSON cannot say is said here: a value of which nothing is known
(``TOP``), and a list of which only some elements are known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from vela_workflow.cue.survey import Path, label


def selector_of(root: str, path: Iterable[str | int]) -> str:
    """A CUE selector that leads from ``root`` along ``path``."""
    return root + "".join(selector(part) for part in path)


def selector(part: str | int) -> str:
    """One step of a selector: ``.name``, ``["any name"]`` or ``[index]``."""
    if isinstance(part, int):
        return f"[{part}]"
    if part.startswith('"'):
        return f"[{part}]"
    return f".{part}" if part[:1] in ("_", "#") or _NAME.fullmatch(part) else f"[{_quoted(part)}]"


def there(value: str) -> str:
    """The clause that asks whether a value is there.

    The choice stands inside a list: a plain ``if (x) != _|_`` on the inside of a struct that no guard has made yet can
    leave the whole query undecided, when a loop stands between two guards that ask for the same.
    """
    return f"if [if ({value}) != _|_ {{true}}, false][0] "


_NAME = re.compile(r"[A-Za-z_$][\w$]*", re.ASCII)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


class _Top:
    """CUE's ``_``: says nothing about a value."""


TOP = _Top()


class _Fields(dict[str, Any]):
    """Fields by their labels as parts of paths; hidden fields and definitions may be among them."""


class _Padded(list[Any]):
    """The known elements of a list that may have more; gaps are ``TOP``."""


def put(tree: Any, path: Path, value: Any) -> Any:
    """``tree`` with ``value`` at ``path``; gaps in lists are ``TOP`` and such lists may have more elements.

    What was put below ``path`` before stays, beside what ``value`` says.
    """
    if not path:
        return _joined(tree, value)
    head = path[0]
    if isinstance(head, int):
        items = _Padded(tree) if isinstance(tree, _Padded) else _Padded()
        items += [TOP] * (head + 1 - len(items))
        items[head] = put(None if items[head] is TOP else items[head], path[1:], value)
        return items
    fields = _fields(tree)
    fields[head] = put(fields.get(head), path[1:], value)
    return fields


def _joined(tree: Any, value: Any) -> Any:
    if not isinstance(tree, _Fields) or not isinstance(value, Mapping):
        return value
    fields = _Fields(tree)
    for name, item in _fields(value).items():
        fields[name] = _joined(fields.get(name), item)
    return fields


def _fields(tree: Any) -> _Fields:
    if isinstance(tree, _Fields):
        return _Fields(tree)
    return _Fields({label(name): item for name, item in tree.items()} if isinstance(tree, dict) else {})


def cue(value: Any) -> str:
    """A nested value as CUE: JSON, with ``_`` for what is not known and lists left open."""
    if value is TOP or value is None:
        return "_" if value is TOP else "null"
    if isinstance(value, _Fields):
        return "{" + ", ".join(f"{_written(part)}: {cue(item)}" for part, item in value.items()) + "}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(key)}: {cue(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(cue(item) for item in value) + (", ...]" if isinstance(value, _Padded) else "]")
    return as_json(value)


def _written(part: str) -> str:
    return part if part[:1] in ('"', "_", "#") else _quoted(part)


def as_json(value: Any) -> str:
    """A value as JSON, which is CUE."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers of any size are CUE, but nothing for the fast library
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
