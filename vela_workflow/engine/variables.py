"""The workflow variables of a run: what steps hand on to each other.

Outputs of steps and ``#DoVar`` write into one tree of JSON values, inputs and ``#DoVar`` read from it, all by dotted
paths. A new value replaces the old one (decisions 6 and 15); integers stay integers. Names whose values must not be
seen by everybody are remembered, so that whoever stores the tree can put them into a Secret (decisions 22).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from vela_workflow.engine import paths


class Variables:
    """The variables of one run. ``revision`` grows with every change, so that unchanged variables are not written."""

    __slots__ = ("revision", "sensitive", "values")

    def __init__(self, values: Mapping[str, Any] | None = None, sensitive: Iterable[str] = ()) -> None:
        self.values: dict[str, Any] = copy.deepcopy(dict(values or {}))
        self.sensitive: set[str] = set(sensitive)
        self.revision = 0

    def get(self, path: str) -> Any:
        """The variable at a dotted path; raises ``KeyError`` when there is none or the path cannot be read."""
        return self.at(_path(path))

    def is_sensitive(self, path: str) -> bool:
        """Whether the variable at a dotted path must not be seen by everybody; false for what cannot be read."""
        try:
            return str(_path(path)[0]) in self.sensitive
        except KeyError:
            return False

    def at(self, path: paths.Path) -> Any:
        """The variable at a path; raises ``KeyError``."""
        return copy.deepcopy(paths.lookup(self.values, path))

    def has(self, path: paths.Path) -> bool:
        """Whether there is a variable at a path."""
        try:
            paths.lookup(self.values, path)
        except KeyError:
            return False
        return True

    def put(self, path: str, value: Any, *, sensitive: bool = False) -> None:
        """Set the variable at a dotted path, replacing what was there; raises ``KeyError`` when it cannot be read."""
        self.set(_path(path), value, sensitive=sensitive)

    def set(self, path: paths.Path, value: Any, *, sensitive: bool = False) -> None:
        """Set the variable at a path; a value of another type on the way is replaced."""
        root = str(path[0])
        tainted = sensitive and root not in self.sensitive
        if tainted:
            self.sensitive.add(root)
        if not tainted and self.has(path) and _same(paths.lookup(self.values, path), value):
            return
        paths.assign(self.values, path, copy.deepcopy(value), force=True)
        self.revision += 1

    def drop(self, path: paths.Path) -> None:
        """Forget the variable at a path, if there is one."""
        if paths.remove(self.values, path):
            self.sensitive &= set(self.values)
            self.revision += 1

    def clear(self) -> None:
        """Forget all variables."""
        if self.values:
            self.values = {}
            self.sensitive = set()
            self.revision += 1


def _path(text: str) -> paths.Path:
    try:
        return paths.parse(text)
    except paths.PathError as error:
        raise KeyError(str(error)) from None


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: unlike in Python, ``1`` and ``true`` differ."""
    return type(one) is type(other) and bool(one == other)
