"""Where the result of an operation stands in its action.

In the new form it is ``$returns``. In the legacy form results stand at the top level, under names that the table of
operations tells, and the live object replaces what the template wrote there (decisions 5). An operation that stands in
text written elsewhere cannot be replaced, only unified with; then a flat result keeps what was written wherever the
two contradict each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JSON = dict[str, Any]


def arguments(action: Mapping[str, Any], *, legacy: bool) -> JSON:
    """The arguments in an action: ``$params``, or in the legacy form all of it."""
    if legacy:
        return dict(action)
    params = action.get("$params")
    return dict(params) if isinstance(params, dict) else {}


def placed(action: Mapping[str, Any], value: JSON, *, legacy: Mapping[str, str] | None) -> JSON:
    """The action with its result in it; ``legacy`` maps result names to places, ``None`` for the new form."""
    if legacy is None:
        return {**action, "$returns": value}
    merged = dict(action)
    for place, item in _flat(value, legacy):
        _set(merged, place, item)
    return merged


def addition(action: Mapping[str, Any], value: JSON, *, legacy: Mapping[str, str] | None) -> JSON:
    """What to unify an action with so that it holds its result, without contradiction."""
    if legacy is None:
        return {"$returns": value}
    added: JSON = {}
    for place, item in _flat(value, legacy):
        _set(added, place, item)
    return {key: _agree(action[key], item) if key in action else item for key, item in added.items()}


def _flat(value: JSON, legacy: Mapping[str, str]) -> list[tuple[tuple[str, ...], Any]]:
    return [(tuple(legacy.get(name, name).split(".")), item) for name, item in value.items()]


def _set(tree: JSON, place: tuple[str, ...], value: Any) -> None:
    for part in place[:-1]:
        inner = tree.get(part)
        tree[part] = dict(inner) if isinstance(inner, dict) else {}
        tree = tree[part]
    tree[place[-1]] = value


def _agree(written: Any, live: Any) -> Any:
    """The live value where it does not contradict what was written, else what was written."""
    if isinstance(written, dict) and isinstance(live, dict):
        return {key: _agree(written[key], item) if key in written else item for key, item in live.items()}
    return live if written == live and type(written) is type(live) else written
