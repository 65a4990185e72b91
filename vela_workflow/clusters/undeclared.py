"""Fields that the API server does not know.

Creating an object drops them silently, server-side apply refuses the object for the first of them. Workflows that were
written for the one must not fail at the other, so such fields are left out, with a warning each.
"""

from __future__ import annotations

import copy
import re
from typing import Any

JSON = dict[str, Any]

LIMIT = 32
"""How many unknown fields of one object are left out before the refusal stands."""

_REFUSAL = re.compile(r"(?P<path>\.[^\s:]+(?:\[[^\]]*\][^\s:]*)*): field not declared in schema")
_PART = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<key>[^\]]*)\]")


def field_of(message: str) -> str:
    """The path of the field that a refusal is about, such as ``.spec.containers[name="x"].foo``; empty: none."""
    match = _REFUSAL.search(message)
    return match["path"] if match else ""


def without(body: JSON, path: str) -> JSON | None:
    """The object without the field at ``path``; ``None`` when it is not there."""
    result = copy.deepcopy(body)
    parts = list(_PART.finditer(path))
    tree: Any = result
    for part in parts[:-1]:
        tree = _step(tree, part)
    name = parts[-1]["name"] if parts else None
    if not isinstance(tree, dict) or name not in tree:
        return None
    del tree[name]
    return result


def _step(tree: Any, part: re.Match[str]) -> Any:
    if part["name"] is not None:
        return tree.get(part["name"]) if isinstance(tree, dict) else None
    if not isinstance(tree, list):
        return None
    key = part["key"]
    if key.isdigit():
        return tree[int(key)] if int(key) < len(tree) else None
    wanted = {name: value.strip('"') for name, _, value in (item.partition("=") for item in key.split(","))}
    return next((element for element in tree if isinstance(element, dict) and _has(element, wanted)), None)


def _has(element: JSON, wanted: dict[str, str]) -> bool:
    """Whether an element has these keys; the server tells also keys that it fills in by default."""
    return all(name not in element or str(element[name]) == value for name, value in wanted.items())
