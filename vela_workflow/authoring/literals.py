"""Plain values in CUE text, read without CUE, and written.

The head of a definition file is data: strings, numbers, booleans, lists and structs. Reading such text needs no
evaluation, so it works where no ``cue`` command is at hand (a command line, an installer). Everything that would have
to be evaluated (references, interpolations, disjunctions) is refused with its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from vela_workflow.cue.scanner import Expr, Field, ListLit, Operand, Struct

_WORDS = {"true": True, "false": False, "null": None}
_NUMBER = re.compile(r"-?\d[\d_]*(\.\d+)?([eE][+-]?\d+)?")
_PLAIN_LABEL = re.compile(r"[A-Za-z_$][\w$]*")
_RESERVED = frozenset({"if", "for", "let", "in", "true", "false", "null", "package", "import"})


class NotPlainError(Exception):
    """The text at ``offset`` is not a plain value."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def read(expr: Expr, text: str) -> Any:
    """The value that an expression of ``text`` writes; raises ``NotPlainError`` when it would need evaluation."""
    number = _number(expr, text)
    if number is not None:
        return number
    if len(expr.operands) != 1 or expr.operators:
        raise NotPlainError(f"expected a plain value, found {_excerpt(expr, text)}", expr.start)
    return _operand(expr.operands[0], text)


def _number(expr: Expr, text: str) -> int | float | None:
    written = text[expr.start : expr.end]
    if not _NUMBER.fullmatch(written):
        return None
    written = written.replace("_", "")
    return int(written) if re.fullmatch(r"-?\d+", written) else float(written)


def _operand(operand: Operand, text: str) -> Any:
    if operand.struct is not None:
        return read_struct(operand.struct, text)
    if operand.list is not None:
        return _list(operand.list, text)
    if operand.literal is not None:
        return operand.literal
    if operand.ref is not None and not operand.ref.tail and operand.ref.name in _WORDS:
        return _WORDS[operand.ref.name]
    found = text[operand.start : operand.end]
    raise NotPlainError(f"expected a plain value, found {found.splitlines()[0] if found else 'nothing'}", operand.start)


def _list(literal: ListLit, text: str) -> list[Any]:
    found = []
    for element in literal.elements:
        if not isinstance(element, Expr):
            raise NotPlainError("expected a plain value, found a comprehension", element.start)
        found.append(read(element, text))
    return found


def read_struct(struct: Struct, text: str) -> dict[str, Any]:
    """The fields of a struct literal; a field that is written twice must say the same or be a struct both times."""
    found: dict[str, Any] = {}
    for decl in struct.decls:
        if not isinstance(decl, Field) or decl.name is None or decl.optional_at >= 0:
            raise NotPlainError("expected a field with a plain value", decl.start)
        _merge(found, decl.name, read(decl.value, text), decl.start)
    return found


def _merge(into: dict[str, Any], name: str, value: Any, offset: int) -> None:
    if name not in into or into[name] == value:
        into[name] = value
    elif isinstance(into[name], dict) and isinstance(value, dict):
        for key, inner in value.items():
            _merge(into[name], key, inner, offset)
    else:
        raise NotPlainError(f"{name} is given twice with different values", offset)


def _excerpt(expr: Expr, text: str) -> str:
    written = text[expr.start : expr.end].splitlines()
    return written[0] if written else "nothing"


def label(name: str) -> str:
    """A field name as CUE text, quoted where it must be."""
    return name if _PLAIN_LABEL.fullmatch(name) and name not in _RESERVED else json.dumps(name, ensure_ascii=False)


def write(value: Any, indent: str = "") -> str:
    """A plain value as CUE text in the form of ``cue fmt``, with continuation lines indented by ``indent``."""
    inner = indent + "\t"
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        lines = "".join(f"{inner}{label(key)}: {write(item, inner)}\n" for key, item in value.items())
        return f"{{\n{lines}{indent}}}"
    if isinstance(value, list):
        return f"[{', '.join(write(item, inner) for item in value)}]"
    if isinstance(value, str) and "\n" in value:
        return _text_block(value, inner)
    return json.dumps(value, ensure_ascii=False)


def _text_block(value: str, indent: str) -> str:
    """A string of several lines, with enough ``#`` that nothing in it ends the string or is an escape."""
    hashes = "#"
    while f'"""{hashes}' in value or f"\\{hashes}" in value:
        hashes += "#"
    body = "".join(f"{indent}{line}\n" if line else "\n" for line in value.split("\n"))
    return f'{hashes}"""\n{body}{indent}"""{hashes}'
