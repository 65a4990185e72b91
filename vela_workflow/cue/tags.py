"""Comments of the form ``// +key=value`` that steer the merge of a patch (ops 5).

They belong to the field they stand above or behind, of a label chain to the innermost field. CUE drops comments when a
value is exported, so they are read from the template's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from vela_workflow.cue import scanner
from vela_workflow.cue.scanner import Comprehension, Expr, Field, Struct

ANY = "*"
"""Stands for every element of a list in the path of a tag."""

_TAG = re.compile(r"^\s*//\s*\+(\w+)=(\S+)\s*$")
_TRAILING = re.compile(r"//\s*\+(\w+)=(\S+)\s*$")

Tags = Mapping[tuple[str | int, ...], Mapping[str, str]]


def of_patch(text: str, expr: Expr) -> Tags:
    """The tags of the fields inside ``patch`` of an action, by their path below it."""
    found: dict[tuple[str | int, ...], Mapping[str, str]] = {}
    for struct in scanner.child_structs(expr):
        for patch in _patches(struct):
            found.update(_of_expr(text, patch.value, ()))
    return found


def _patches(struct: Struct) -> Iterator[Field]:
    for decl in struct.decls:
        if isinstance(decl, Comprehension):
            yield from _patches(decl.body)
        elif isinstance(decl, Field) and decl.name == "patch":
            yield decl
        elif isinstance(decl, Field) and decl.name == "$params":
            for inner in scanner.child_structs(decl.value):
                yield from _patches(inner)


def _of_expr(text: str, expr: Expr, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, str]]]:
    for struct in scanner.child_structs(expr):
        yield from _of_struct(text, struct, path)
    for operand in expr.operands:
        if operand.list is not None:
            for element in operand.list.elements:
                if isinstance(element, Comprehension):
                    yield from _of_struct(text, element.body, (*path, ANY))
                else:
                    yield from _of_expr(text, element, (*path, ANY))


def _of_struct(text: str, struct: Struct, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, str]]]:
    for decl in struct.decls:
        if isinstance(decl, Comprehension):
            yield from _of_struct(text, decl.body, path)
        elif isinstance(decl, Field) and decl.name is not None:
            inner = decl.value.structs[0] if decl.value.structs and decl.value.structs[0].implicit else None
            here = (*path, decl.name)
            if inner is None:
                tags = {**_above(text, decl.start), **_behind(text, decl)}
                if tags:
                    yield here, tags
            yield from _of_expr(text, decl.value, here)


def _above(text: str, start: int) -> dict[str, str]:
    """The tags on the comment lines directly above the line of a field."""
    found: dict[str, str] = {}
    end = text.rfind("\n", 0, start)
    while end >= 0:
        begin = text.rfind("\n", 0, end) + 1
        line = text[begin:end]
        if not line.strip().startswith("//"):
            break
        match = _TAG.match(line)
        if match:
            found.setdefault(match[1], match[2])
        end = begin - 1
    return found


def _behind(text: str, field: Field) -> dict[str, str]:
    """The tag behind the opening or the whole of a field on its line."""
    newline = text.find("\n", field.label_end)
    match = _TRAILING.search(text[field.label_end : len(text) if newline < 0 else newline])
    return {match[1]: match[2]} if match else {}
