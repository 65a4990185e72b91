"""What scanned CUE text consists of: the nodes that the scanner makes and everything else in this folder reads.

Nodes are cuts, not meanings: an expression knows its operands, the operators between them, the names in it and the
literals that stand in it, whatever CUE makes of them. All nodes carry character offsets into the scanned text (``end``
is exclusive), compare by identity and are not changed once the scan is over.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from vela_workflow.cue.tokens import Token


@dataclasses.dataclass(slots=True, eq=False)
class Ref:
    """A name used in an expression, with the selectors behind it; ``None`` in ``tail`` is a computed index."""

    name: str
    tail: tuple[str | None, ...]
    start: int
    end: int


@dataclasses.dataclass(slots=True, eq=False)
class Operand:
    """One operand of an expression: one of the fields is set, or none for numbers, calls and the like.

    ``literal`` is the value of a plain string. A ``derived`` operand is what a call or a selector makes of something:
    nothing of that stands in it as a whole.
    """

    start: int
    end: int
    literal: str | None = None
    ref: Ref | None = None
    struct: Struct | None = None
    list: ListLit | None = None
    group: Expr | None = None
    derived: bool = False


@dataclasses.dataclass(slots=True, eq=False)
class Expr:
    """An expression: its top-level operands and operators, and everything that stands inside it."""

    start: int
    end: int
    operands: list[Operand] = dataclasses.field(default_factory=list)
    operators: list[str] = dataclasses.field(default_factory=list)
    refs: list[Ref] = dataclasses.field(default_factory=list)
    structs: list[Struct] = dataclasses.field(default_factory=list)
    lists: list[ListLit] = dataclasses.field(default_factory=list)
    inner: list[Expr] = dataclasses.field(default_factory=list)
    alias: str = ""

    @property
    def is_conjunction(self) -> bool:
        """Whether the operands are joined by ``&`` only."""
        return all(operator == "&" for operator in self.operators)


@dataclasses.dataclass(slots=True, eq=False)
class ListLit:
    """A list literal; its elements are expressions and comprehensions."""

    start: int
    end: int
    elements: list[Expr | Comprehension] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(slots=True, eq=False)
class Field:
    """A field. ``name`` is the label's value, ``None`` when the label is computed or a pattern.

    ``label_start`` to ``label_end`` is the label without alias and marks; ``chained`` says that this field is the
    whole value of the field before it in a chain ``a: b: c``.
    """

    start: int
    end: int
    name: str | None
    label_start: int
    label_end: int
    value: Expr
    quoted: bool = False
    pattern: bool = False
    optional_at: int = -1
    alias: str = ""
    label_alias: str = ""
    attributes: list[str] = dataclasses.field(default_factory=list)
    label_exprs: list[Expr] = dataclasses.field(default_factory=list)
    chained: bool = False

    @property
    def is_definition(self) -> bool:
        """Whether the label is a definition such as ``#x`` or ``_#x``."""
        return not self.quoted and self.name is not None and self.name.startswith(("#", "_#"))

    @property
    def is_dynamic(self) -> bool:
        """Whether the label is computed."""
        return self.name is None and not self.pattern


@dataclasses.dataclass(slots=True, eq=False)
class Let:
    """``let name = value``."""

    start: int
    end: int
    name: str
    value: Expr


@dataclasses.dataclass(slots=True, eq=False)
class Embed:
    """An embedded expression, or ``...`` (then ``value`` is empty)."""

    start: int
    end: int
    value: Expr
    ellipsis: bool = False


@dataclasses.dataclass(slots=True, eq=False)
class Clause:
    """``if``, ``for`` or ``let`` of a comprehension. ``start`` is that of the keyword; ``names`` are those it binds.

    For a ``for`` clause with one variable ``names`` is ``("", value)``.
    """

    kind: str
    start: int
    end: int
    expr: Expr
    names: tuple[str, ...] = ()
    names_start: int = -1


@dataclasses.dataclass(slots=True, eq=False)
class Comprehension:
    """Clauses, in their order, and the struct that they make."""

    start: int
    end: int
    clauses: list[Clause]
    body: Struct


Decl = Field | Let | Embed | Comprehension


@dataclasses.dataclass(slots=True, eq=False)
class Struct:
    """A struct: literal with braces, body of a comprehension, or the file; implicit inside a label chain."""

    start: int
    end: int
    decls: list[Decl] = dataclasses.field(default_factory=list)
    implicit: bool = False


@dataclasses.dataclass(slots=True, eq=False)
class Import:
    """One import; ``name`` is the identifier it is used by."""

    path: str
    name: str
    alias: str
    start: int
    end: int


@dataclasses.dataclass(slots=True, eq=False)
class File:
    """A scanned file. ``preamble`` are the spans of the package clause and the imports."""

    text: str
    body: Struct
    imports: list[Import]
    preamble: list[tuple[int, int]]
    attributes: list[Token]


def child_structs(expr: Expr) -> Iterator[Struct]:
    """The struct literals that are whole operands of an expression, through parentheses."""
    for operand in expr.operands:
        if operand.struct is not None:
            yield operand.struct
        elif operand.group is not None:
            yield from child_structs(operand.group)
