"""The difference of two statuses as a JSON merge patch (decisions 25).

A merge patch cannot change one element of a list, so a list that differs is written whole; a field that went is
``null``. The ``resourceVersion`` that the status was computed from goes along, so that a write on top of somebody
else's is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JSON = dict[str, Any]


def status_patch(before: Mapping[str, Any], after: Mapping[str, Any], resource_version: str) -> JSON | None:
    """The merge patch from one status to another; ``None`` when they are equal."""
    changed = difference(before, after)
    if not changed:
        return None
    return {"metadata": {"resourceVersion": resource_version}, "status": changed}


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> JSON:
    """What to merge into ``before`` so that it becomes ``after``."""
    changed: JSON = {key: None for key in before if key not in after and before[key] is not None}
    for key, value in after.items():
        if key not in before or before[key] != value:
            old = before.get(key)
            if isinstance(old, dict) and isinstance(value, dict):
                changed[key] = difference(old, value)
            else:
                changed[key] = value
    return changed
