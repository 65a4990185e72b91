"""Inputs put into the parameters of a step (engine 5.2).

The properties are defaults, the input wins: it overwrites what is at ``parameterKey`` and may change its type. Where
the Go implementation ignores a key or panics there is a clear error here, and labels with dashes simply work.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from vela_workflow.engine import paths


def parse_key(key: str) -> paths.Path:
    """Read a ``parameterKey``; raises ``paths.PathError``.

    Unquoted labels that start with ``_`` or ``#`` are refused: for CUE those are hidden fields and definitions, which
    no value can be put into.
    """
    path = paths.parse(key)
    for part in path:
        if isinstance(part, str) and part[0:1] in {"_", "#"} and f'"{part}"' not in key:
            raise paths.PathError(
                f'"{part}" is a hidden field or definition in CUE; write ["{part}"] for a plain field'
            )
    return path


def inject(properties: Mapping[str, Any], values: list[tuple[paths.Path, Any]]) -> dict[str, Any]:
    """A copy of ``properties`` with each value at its path, in order; raises ``paths.PathError``."""
    parameters = copy.deepcopy(dict(properties))
    for path, value in values:
        paths.assign(parameters, path, copy.deepcopy(value))
    return parameters
