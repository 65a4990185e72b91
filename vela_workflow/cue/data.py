"""What a template is read with, and what is asked of it beside its operations."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from vela_workflow.cue.survey import Path


@dataclasses.dataclass(frozen=True, slots=True)
class Data:
    """What a template is read with. ``parameter`` and ``context`` are JSON objects.

    ``results`` are those of operations that have run, by path: in the new form merged over the action, in the legacy
    form with the live object in the place of what was written.
    """

    parameter: Mapping[str, Any]
    context: Mapping[str, Any]
    results: Mapping[Path, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Output:
    """An expression asked for beside the operations; ``candidates`` are tried in order.

    ``imports`` are pairs of name and path that it needs; ``reach`` are the fields that it can depend on. ``declared``
    are declarations, added to the template, of fields that an expression could not name otherwise: those that
    guards, loops or embedded values make, and those whose labels are no identifiers. ``meant`` is the candidate that
    is explained when none has a value.
    """

    name: str
    candidates: tuple[str, ...]
    imports: tuple[tuple[str, str], ...] = ()
    reach: frozenset[int] = frozenset()
    declared: tuple[str, ...] = ()
    meant: int = 0
