"""Conditions such as ``>=0.95`` or ``!= 1``, which a value from Prometheus is compared with (ops 3.7)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Final

OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_NUMBER: Final = r"[-+]?(?:\d[\d_]*)?\.?\d+(?:[eE][-+]?\d+)?"
_COMPARISON: Final = re.compile(rf"\s*(>=|<=|==|!=|>|<)\s*({_NUMBER})\s*")
_JOINT: Final = re.compile(r"(&&|\|\|)")


def holds(value: float, condition: str) -> bool:
    """Whether the condition holds for a value.

    A condition is a comparison with a number, or several of them joined by ``&&`` and ``||``, where ``&&`` binds
    tighter. Raises ``ValueError`` that says how a condition is written.
    """
    alternatives = [[]]  # type: list[list[bool]]
    for index, part in enumerate(_JOINT.split(condition)):
        if index % 2:
            if part == "||":
                alternatives.append([])
            continue
        match = _COMPARISON.fullmatch(part)
        if match is None:
            known = ", ".join(OPERATORS)
            raise ValueError(f'"{condition}" is no condition; write one of {known} and a number, such as ">=0.95"')
        alternatives[-1].append(OPERATORS[match[1]](value, float(match[2].replace("_", ""))))
    return any(all(comparisons) for comparisons in alternatives)
