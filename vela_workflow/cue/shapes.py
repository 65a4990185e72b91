"""Which fields the definition of an operation takes, and fields of a template that it does not.

Definitions are closed: ``builtin.#Message & {$params: mesage: "x"}`` is an error in CUE. A program does not see that,
since selectors through a ``let`` do not tell what a closed struct refuses; and an operation with a misspelt argument
would do something else without a word. So the text is held against the definitions once, when a template is prepared,
and the value of an operation, which may have more from parameters, before it is carried out (``Form``).

A field that must be refused is a *problem*. One that stands under a guard, which may never be true, or in a struct that
takes other fields too but has one of nearly this name, is a *doubt*: worth telling whoever writes the template.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.cue.names import Names, Scope
from vela_workflow.cue.syntax import Comprehension, Embed, Expr, Field, Let, Ref, Struct, child_structs

ARGUMENTS: Final = "$params"
RESULTS: Final = "$returns"

SHOWN: Final = 8
"""How many fields a message lists at most."""


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """The fields of a struct as far as its text tells; those without a shape of their own are ``None``."""

    fields: Mapping[str, Shape | None]
    is_open: bool

    def and_(self, other: Shape) -> Shape:
        """What takes the fields of both."""
        fields = dict(self.fields)
        for name, inner in other.fields.items():
            before = fields.get(name)
            fields[name] = before.and_(inner) if before is not None and inner is not None else before or inner
        return Shape(fields, self.is_open or other.is_open)


def of_definition(expr: Expr, fields: Mapping[str, Field], seen: frozenset[str] = frozenset()) -> Shape | None:
    """The shape of a value in a package with these ``fields``; ``None`` when its text does not tell all of it."""
    if not expr.operands or not expr.is_conjunction:
        return None
    shape = Shape({}, is_open=False)
    for operand in expr.operands:
        found: Shape | None = None
        if operand.struct is not None:
            found = _of_struct(operand.struct, fields, seen)
        elif operand.ref is not None and not operand.ref.tail and operand.ref.name not in seen:
            target = fields.get(operand.ref.name)
            found = of_definition(target.value, fields, seen | {operand.ref.name}) if target is not None else None
        if found is None:
            return None
        shape = shape.and_(found)
    return shape


def _of_struct(struct: Struct, fields: Mapping[str, Field], seen: frozenset[str]) -> Shape:
    found: dict[str, Shape | None] = {}
    is_open = False
    for decl in struct.decls:
        if isinstance(decl, Field) and decl.name is not None:
            found[decl.name] = of_definition(decl.value, fields, seen)
        elif isinstance(decl, Field | Embed | Comprehension):
            is_open = True
    return Shape(found, is_open)


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """The definition that an operation names: how the template writes it, and its shape."""

    name: str
    shape: Shape

    def refuses(self, value: Mapping[str, Any]) -> str:
        """What is said of the first field that the definition does not take, in the value of the operation; or nothing.

        The text does not tell of fields that come from parameters, or from a guard.
        """
        return next(self._refused(self.shape, value, ()), "")

    def _refused(self, shape: Shape, value: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
        for name, item in value.items():
            if name not in shape.fields:
                if not shape.is_open:
                    yield _no_field(self.name, shape, path, name)
                continue
            inner = shape.fields[name]
            if inner is not None and name != RESULTS and isinstance(item, Mapping):
                yield from self._refused(inner, item, (*path, name))


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A field that a definition does not take; ``certain`` when it is refused whatever the data."""

    message: str
    offset: int
    certain: bool


ShapeOf = Callable[[Ref, Scope], Shape | None]
"""Gives the shape of the definition that a reference names."""


def strange(body: Struct, names: Names, shape_of: ShapeOf, text: str) -> Iterator[Finding]:
    """The fields in a scanned template that the definitions they are given to do not take."""
    for expr, scope, guarded in _values(body, names, guarded=False):
        for operand in expr.operands if expr.is_conjunction else ():
            shape = shape_of(operand.ref, scope) if operand.ref is not None else None
            if operand.ref is not None and shape is not None:
                yield from _Check(text[operand.ref.start : operand.ref.end], shape).value(expr, guarded=guarded)


def _values(struct: Struct, names: Names, *, guarded: bool) -> Iterator[tuple[Expr, Scope, bool]]:
    """All values in a struct, at every level, and whether a guard stands around them."""
    for decl in struct.decls:
        if isinstance(decl, Comprehension):
            yield from _values(decl.body, names, guarded=True)
        elif not isinstance(decl, Embed):
            yield from _inside(decl.value, names.home(decl), names, guarded=guarded)
        else:
            yield from _inside(decl.value, names.scope_of(struct), names, guarded=guarded)


def _inside(expr: Expr, scope: Scope, names: Names, *, guarded: bool) -> Iterator[tuple[Expr, Scope, bool]]:
    yield expr, scope, guarded
    for struct in expr.structs:
        yield from _values(struct, names, guarded=guarded)
    for inner in expr.inner:
        yield from _inside(inner, scope, names, guarded=guarded)
    for literal in expr.lists:
        for element in literal.elements:
            if isinstance(element, Comprehension):
                yield from _values(element.body, names, guarded=True)
            else:
                yield from _inside(element, scope, names, guarded=guarded)


class _Check:
    """Holds what is given to one definition against its shape."""

    def __init__(self, name: str, shape: Shape) -> None:
        self.name = name
        self.shape = shape

    def value(self, expr: Expr, *, guarded: bool) -> Iterator[Finding]:
        """The fields in a value that the definition does not take."""
        given = [decl for struct in child_structs(expr) for decl in struct.decls]
        told = all(isinstance(decl, Field | Let) for decl in given)  # Guards and embedded values may bring anything.
        misplaced = self._misplaced(expr, {decl.name for decl in given if isinstance(decl, Field)}) if told else ""
        if misplaced:
            yield Finding(misplaced, given[0].start, certain=not guarded)
            return
        for struct in child_structs(expr):
            yield from self._struct(struct, self.shape, (), guarded=guarded)

    def _misplaced(self, expr: Expr, names: set[str | None]) -> str:
        """What is said of arguments in the flat form where the other is wanted, or the other way round."""
        if ARGUMENTS not in self.shape.fields:
            beside = any(name in self.shape.fields for name in names)
            text = f"{self.name} takes its arguments directly, not in {ARGUMENTS}"
            return text if ARGUMENTS in names and not beside else ""
        arguments = self.shape.fields[ARGUMENTS]
        is_whole = len(expr.operands) == len([*child_structs(expr)]) + 1
        if arguments is None or not is_whole or ARGUMENTS in names or None in names:
            return ""
        found = sorted(name for name in names if name is not None and name in arguments.fields)
        return f"{self.name} takes its arguments in {ARGUMENTS}: {ARGUMENTS}: {found[0]}: …" if found else ""

    def _struct(self, struct: Struct, shape: Shape, path: tuple[str, ...], *, guarded: bool) -> Iterator[Finding]:
        for decl in struct.decls:
            if isinstance(decl, Comprehension):
                yield from self._struct(decl.body, shape, path, guarded=True)
            elif isinstance(decl, Field) and decl.name is not None and _counts(decl):
                yield from self._field(decl, decl.name, shape, path, guarded=guarded)

    def _field(
        self, field: Field, name: str, shape: Shape, path: tuple[str, ...], *, guarded: bool
    ) -> Iterator[Finding]:
        inner = shape.fields.get(name)
        if name in shape.fields:
            if inner is not None and name != RESULTS and field.value.is_conjunction:
                for struct in child_structs(field.value):
                    yield from self._struct(struct, inner, (*path, name), guarded=guarded)
            return
        if shape.is_open and not errors.nearest(name, _known(shape)):
            return
        message = _no_field(self.name, shape, path, name)
        yield Finding(message, field.label_start, certain=not (guarded or shape.is_open))


def _known(shape: Shape) -> list[str]:
    return [known for known in shape.fields if not known.startswith(("_", "#"))]


def _no_field(definition: str, shape: Shape, path: tuple[str, ...], name: str) -> str:
    """What is said of a field that a definition does not take."""
    known = _known(shape)
    near = errors.nearest(name, known)
    if near:
        advice = f'did you mean "{near}"?'
    else:
        advice = f"it takes {', '.join(known[:SHOWN])}{', …' if len(known) > SHOWN else ''}"
    return f'{definition} has no field "{".".join((*path, name))}"; {advice}'


def _counts(field: Field) -> bool:
    """Whether a closed struct has a say in a field: not in definitions, hidden and optional ones."""
    hidden = not field.quoted and field.name is not None and field.name.startswith(("_", "#"))
    return not hidden and field.optional_at < 0 and not field.pattern
