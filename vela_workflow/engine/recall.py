"""The state of a run as it was stored, of which anybody may have made something else.

Whoever may edit the context of a run may write anything there. What has not the form in which it was written is taken
for not written, field by field, so that the rest of the engine may rely on forms and a run goes on as well as it can.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

JSON = dict[str, Any]
Form = Callable[[Any], bool]


def usable(state: Any) -> JSON:
    """What can be used of a stored state; keys that the engine does not know are left alone."""
    if not isinstance(state, dict):
        return {}
    kept = _fitting(state, _STATE)
    if "known" in kept:
        kept["known"] = _fitting(kept["known"], _KNOWN)
    if "steps" in kept:
        kept["steps"] = {id_: _fitting(one, _MEMORY) for id_, one in kept["steps"].items() if isinstance(one, dict)}
    return kept


def tells_restarts(state: Any) -> bool:
    """Whether it can be told from a stored state how often the run and its steps were restarted."""
    return isinstance(state, dict) and _are_counters(state.get("restarts", {}))


def _fitting(values: Mapping[str, Any], forms: Mapping[str, Form]) -> JSON:
    return {key: value for key, value in values.items() if key not in forms or forms[key](value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _are_counters(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


_STATE: Final[dict[str, Form]] = {
    "suspend": _is_flag,
    "hold": _is_flag,
    "stopped": _is_flag,
    "terminated": _is_flag,
    "steps": _is_object,
    "restarts": _are_counters,
    "known": _is_object,
}
_KNOWN: Final[dict[str, Form]] = {
    "before": lambda value: isinstance(value, str) or _are_texts(value),
    "after": _are_texts,
    "terminated": _is_flag,
}
_MEMORY: Final[dict[str, Form]] = {
    "spec": _is_object,
    "started": lambda value: isinstance(value, dict) and isinstance(value.get("step"), str),
    **dict.fromkeys(("since", "at", "delay", "waiting", "after", "until"), _is_number),
    **dict.fromkeys(("failures", "rounds"), _is_count),
    "suspended": lambda value: value is True or isinstance(value, str),
    "resumed": _are_texts,
    **dict.fromkeys(("final", "exhausted", "again", "told"), _is_flag),
}
