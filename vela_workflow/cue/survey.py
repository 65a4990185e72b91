"""What is known of an operation before anything is evaluated.

A *site* is a place in the text that can hold an operation; a *survey* is all of them in one template. The path of a
site is made of segments, some of which stay open until the program is evaluated (computed labels, places in lists that
comprehensions make), and its order key has the same gaps. ``sites.py`` finds them, ``program.py`` and ``query.py`` ask
for them, ``reading.py`` fills the gaps in.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from vela_workflow.cue.library import Action
from vela_workflow.cue.names import Names, Text
from vela_workflow.cue.shapes import Form
from vela_workflow.cue.syntax import Clause, Field

Path = tuple[str | int, ...]
"""The labels and list indexes that lead to a value; labels as ``label`` makes them."""


def label(name: str, *, quoted: bool = True) -> str:
    """A label as part of a path: the bare name, in quotes where it would be taken for another kind of label.

    ``"_x"`` and ``_x``, ``"#x"`` and ``#x`` are different fields.
    """
    return json.dumps(name, ensure_ascii=False) if quoted and name[:1] in _MARKS else name


def unlabelled(part: str) -> str:
    """The name behind a part of a path; the inverse of ``label``."""
    return str(json.loads(part)) if part.startswith('"') else part


_MARKS = frozenset({"_", "#", '"'})


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """A label that the text writes, as part of a path."""

    name: str


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A computed label; its values are told by the marker table of ``number``."""

    number: int
    field: Field


@dataclasses.dataclass(frozen=True, slots=True)
class Position:
    """A place in a list; ``index`` is ``None`` where comprehensions make the list."""

    index: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class AnyKey:
    """Every field of a struct that is written elsewhere."""


Segment = Key | Computed | Position | AnyKey


@dataclasses.dataclass(frozen=True, slots=True)
class Loop:
    """In an order key: the iteration of a ``for`` clause, by its number."""

    number: int


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """In an order key: the place in a list or table that the program tells, by the number of the open segment."""

    segment: int


OrderKey = tuple[tuple[int, int] | Loop | Place, ...]
LAST = (3, 0)
"""Sorts an operation behind those that are written inside it."""

MARKER, TABLE, ELEMENT, REFERENCE = "marker", "table", "element", "reference"


@dataclasses.dataclass(frozen=True, slots=True)
class Anchor:
    """The text with which results are unified where the place of the operation itself is not written out.

    ``depth`` is how many segments of the path lead to that text; a ``chained`` one has no braces.
    """

    start: int
    end: int
    depth: int
    chained: bool = False


@dataclasses.dataclass(slots=True, eq=False)
class Site:
    """One place that can hold an operation.

    ``start`` and ``end`` are the span of the text that a result replaces, ``additions`` the spans of what other
    declarations add to the object that is replaced; for a mirrored site (an operation that
    stands in text written elsewhere, ``mirrored`` segments below that text) results are unified there instead. ``form``
    tells which fields the definition takes that the operation names.
    """

    number: int
    path: tuple[Segment, ...]
    presence: str
    action: Action | None
    guarded: bool
    order: OrderKey
    start: int
    end: int
    loops: tuple[int, ...]
    field: Field | None
    text: Text
    mirrored: int = 0
    anchor: Anchor | None = None
    reach: frozenset[int] = frozenset()
    additions: tuple[tuple[int, int], ...] = ()
    tags: Mapping[tuple[str | int, ...], Mapping[str, str]] = dataclasses.field(default_factory=dict)
    form: Form | None = None

    @property
    def identity(self) -> int:
        """What ``reach`` tells this operation by: the field that it is the value of, or the text that holds it."""
        return id(self.field) if self.field is not None else id(self.text)

    @property
    def is_static(self) -> bool:
        """Whether the path has no open segments."""
        return all(
            isinstance(segment, Key) or (isinstance(segment, Position) and segment.index is not None)
            for segment in self.path
        )

    @property
    def mandatory(self) -> bool:
        """Whether this operation must be there in every evaluation until it has run."""
        return not self.guarded and not self.mirrored and self.is_static


@dataclasses.dataclass(slots=True)
class Survey:
    """What was found in a template.

    ``problems`` and ``doubts`` are messages with offsets: what is wrong in any case, and what may be.
    """

    sites: list[Site]
    names: Names
    loops: dict[int, Clause]
    computed: dict[int, tuple[Field, tuple[int, ...]]]
    problems: list[tuple[str, int]]
    plain: list[str] = dataclasses.field(default_factory=list)
    doubts: list[tuple[str, int]] = dataclasses.field(default_factory=list)
