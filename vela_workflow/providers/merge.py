"""The patch strategy of ``#Patch``, ``#PatchK8sObject`` and ``#Apply.patch`` (ops 5).

A patch is *unified* with its base, as CUE does it: structs are joined, equal values agree, and a value that
contradicts the base is an error. Comments in the template change that for a field:

- ``// +patchKey=name``: the elements of this list, and of lists below it, are matched by their ``name``; what has no
  partner is appended. The key may be a path (``a.b``), and several keys may be given with commas between them.
- ``// +patchStrategy=replace``: the list of the patch takes the place of the list in the base.
- ``// +patchStrategy=retainKeys``: the value takes the place of the base's; on a list with a key, each element that
  has a partner takes the place of that partner.

The comments do not survive in JSON, so they come in beside the patch, as ``Tags``: a mapping from the path of a field
in the patch to its tags. In such a path ``"*"`` stands for any field or element, which is how tags inside
comprehensions are given.

The result is what unification of plain data gives, computed without CUE; the arguments stay as they are. Fields whose
names begin with ``_`` are data like any other: what CUE hides never gets into JSON.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vela_workflow.providers.contract import Tags

PatchPath = tuple[str | int, ...]

PATCH_KEY: Final = "patchKey"
PATCH_STRATEGY: Final = "patchStrategy"
REPLACE: Final = "replace"
RETAIN_KEYS: Final = "retainKeys"
ANY: Final = "*"

NO_TAGS: Final[Tags] = {}


class MergeError(Exception):
    """Patch and base contradict each other; the text says where, as ``data.a: conflicting values "2" and "1"``."""


def merge(base: Mapping[str, Any], patch: Mapping[str, Any], tags: Tags = NO_TAGS) -> dict[str, Any]:
    """Merge ``patch`` into ``base`` and return the result.

    Raises ``MergeError`` where the two contradict each other and no tag says which one wins.
    """
    return _Merger(tags).struct(dict(base), dict(patch), _Place((), ""))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the merge stands: ``path`` in the patch, and the key that is in force there."""

    path: PatchPath
    key: str

    def below(self, part: str | int, key: str) -> _Place:
        return _Place((*self.path, part), key)

    def __str__(self) -> str:
        return ".".join(str(part) for part in self.path)


@dataclass(frozen=True, slots=True)
class _Merger:
    tags: Tags

    def struct(self, base: dict[str, Any], patch: dict[str, Any], place: _Place) -> dict[str, Any]:
        merged = copy.deepcopy(base)
        for name, wanted in patch.items():
            tags = self._tags((*place.path, name))
            here = place.below(name, tags.get(PATCH_KEY, place.key))
            if name not in merged:
                merged[name] = copy.deepcopy(wanted)
            else:
                merged[name] = self._field(merged[name], wanted, here, tags.get(PATCH_STRATEGY, ""))
        return merged

    def _field(self, base: Any, patch: Any, place: _Place, strategy: str) -> Any:
        if isinstance(base, list) and isinstance(patch, list):
            if strategy == REPLACE:
                return copy.deepcopy(patch)
            return self._list(base, patch, place, retain=strategy == RETAIN_KEYS)
        if strategy == RETAIN_KEYS:
            return copy.deepcopy(patch)
        return self._value(base, patch, place)

    def _value(self, base: Any, patch: Any, place: _Place) -> Any:
        if isinstance(base, dict) and isinstance(patch, dict):
            return self.struct(base, patch, place)
        if isinstance(base, list) and isinstance(patch, list):
            return self._list(base, patch, place, retain=False)
        if type(base) is not type(patch) or base != patch:
            raise MergeError(f"{place}: conflicting values {_shown(patch)} and {_shown(base)}")
        return base

    def _list(self, base: list[Any], patch: list[Any], place: _Place, *, retain: bool) -> list[Any]:
        keys = tuple(key.strip() for key in place.key.split(",") if key.strip())
        marks = [_mark(element, keys) for element in patch]
        if any(mark is not None for mark in marks):
            return self._keyed(base, patch, marks, keys, place, retain=retain)
        if len(patch) < len(base):
            raise MergeError(f"{place}: incompatible list lengths ({len(patch)} and {len(base)})")
        merged = [
            self._value(element, patch[index], place.below(index, place.key)) for index, element in enumerate(base)
        ]
        return merged + [copy.deepcopy(element) for element in patch[len(base) :]]

    def _keyed(
        self,
        base: list[Any],
        patch: list[Any],
        marks: list[_Mark | None],
        keys: tuple[str, ...],
        place: _Place,
        *,
        retain: bool,
    ) -> list[Any]:
        merged = []
        used = set()
        for element in base:
            mark = _mark(element, keys)
            if mark is None or mark not in marks:
                merged.append(copy.deepcopy(element))
                continue
            index = marks.index(mark)
            used.add(mark)
            wanted = patch[index]
            below = place.below(index, place.key)
            merged.append(copy.deepcopy(wanted) if retain else self._value(element, wanted, below))
        added = (patch[index] for index, mark in enumerate(marks) if mark is not None and mark not in used)
        return merged + [copy.deepcopy(element) for element in added]

    def _tags(self, path: PatchPath) -> Mapping[str, str]:
        exact = self.tags.get(path)
        if exact is not None:
            return exact
        for pattern, tags in self.tags.items():
            if len(pattern) == len(path) and all(part in (ANY, at) for part, at in zip(pattern, path, strict=True)):
                return tags
        return {}


_Mark = tuple[str, Any]


def _mark(element: Any, keys: tuple[str, ...]) -> _Mark | None:
    """Which of the keys the element carries and with what value; ``None`` without exactly one scalar value."""
    found = []
    for key in keys:
        value = element
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if isinstance(value, str | int | float):
            found.append((key, value))
    return found[0] if len(found) == 1 else None


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "struct" if isinstance(value, dict) else "list"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that turns ``before`` into ``after``; empty when they are equal."""
    patch: dict[str, Any] = {name: None for name in before if name not in after}
    for name, value in after.items():
        if name not in before:
            patch[name] = value
            continue
        old = before[name]
        if isinstance(old, dict) and isinstance(value, dict):
            inner = difference(old, value)
            if inner:
                patch[name] = inner
        elif type(old) is not type(value) or old != value:
            patch[name] = value
    return patch
