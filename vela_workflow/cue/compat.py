"""Older CUE that templates are written in, made into what the ``cue`` command accepts today (decisions 7, ops 7).

Lists are no longer added with ``+`` or repeated with ``*``: ``list.Concat`` and ``list.Repeat`` do it. And
``op.NoExist``, which older templates compare with, is written as the bottom that it stood for. The rewriting works on
the structure of the text, never inside strings or comments; text that needs nothing is returned as it is. Positions of
errors are those of the rewritten text, which differs only on the lines concerned.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Collection
from typing import Final

from vela_workflow.cue import scanner
from vela_workflow.cue.scanner import Comprehension, Expr, Field, Operand, Struct

LISTS = "lists__"
"""The name under which rewritten text uses CUE's package ``list``; it must be imported by that name."""


LANGUAGE: Final = "0.14"
"""The version of CUE's language that older spellings are made into, as the Go controller names it."""


NESTED: Final = 10
"""How deep lists that are added may stand in one another."""

_COMBINING: Final = frozenset({"|", "&", "unary*"})
_LIST_CALLS: Final = frozenset(
    {
        *((package, name) for package in (LISTS, "list") for name in ("Concat", "FlattenN", "Range", "Repeat", "Sort")),
        ("strings", "Split"),
    }
)
"""Functions that make lists, as package and name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Upgraded:
    """A text in the spelling of today.

    ``upgrades`` names the rows of ``UPGRADES`` that have changed it, ``seconds`` is how long finding that out took.
    """

    text: str
    upgrades: tuple[str, ...]
    seconds: float


def upgrade(text: str) -> Upgraded:
    """The ``text`` of a template with its older spellings replaced; text that is not CUE stays as it is."""
    began, changed = time.perf_counter(), []
    for name, rewrite in UPGRADES.items():
        before = text
        try:
            text = rewrite(text)
        except (scanner.ScanError, RecursionError):
            break
        if text != before:
            changed.append(name)
    return Upgraded(text, tuple(changed), time.perf_counter() - began)


def _bottoms(text: str) -> str:
    """``op.NoExist`` as ``_|_``."""
    if "NoExist" not in text:
        return text
    file = scanner.scan(text)
    names = {found.name for found in file.imports if found.path == "vela/op"}
    refs = {ref.start: ref for expr in _exprs(file.body) for ref in expr.refs}
    for ref in sorted(refs.values(), key=lambda ref: -ref.start):
        if ref.name in names and ref.tail == ("NoExist",):
            text = f"{text[: ref.start]}_|_{text[ref.end :]}"
    return text


def _lists(text: str) -> str:
    """Lists that are added or repeated, from the inside out."""
    for _ in range(NESTED):
        chains = _chains(text)
        if not chains:
            break
        for start, end, replacement in reversed(chains):
            text = text[:start] + replacement + text[end:]
    return text


def _chains(text: str) -> list[tuple[int, int, str]]:
    """The innermost chains of list operands, in their order, as span and replacement."""
    if not re.search(r"[+*]", text):
        return []
    file = scanner.scan(text)
    known = _list_names(file.body)
    found = {chain for expr in _exprs(file.body) if (chain := _rewritten(expr, known, text)) is not None}
    chosen: list[tuple[int, int, str]] = []
    for chain in sorted(found, key=lambda chain: (chain[1], -chain[0])):
        if not chosen or chain[0] >= chosen[-1][1]:
            chosen.append(chain)
    return chosen


def _rewritten(expr: Expr, known: frozenset[str], text: str) -> tuple[int, int, str] | None:
    """The first chain of list operands in an expression, as span and replacement."""
    operators = [operator for operator in expr.operators if not operator.startswith("unary")]
    if len(operators) != len(expr.operators) or len(operators) != len(expr.operands) - 1:
        return None
    for index, operator in enumerate(operators):
        if operator == "*" and (index == 0 or operators[index - 1] != "|"):
            left, right = expr.operands[index], expr.operands[index + 1]
            if _is_list(left, known) != _is_list(right, known):
                listed, count = (left, right) if _is_list(left, known) else (right, left)
                body = f"{LISTS}.Repeat({_source(listed, text)}, {_source(count, text)})"
                return left.start, right.end, body
    index = 0
    while index < len(operators):
        if operators[index] == "+":
            last = index
            while last < len(operators) and operators[last] == "+":
                last += 1
            chain = expr.operands[index : last + 1]
            bound = {"*", "/"} & {*operators[max(index - 1, 0) : index], *operators[last : last + 1]}
            if (
                not bound
                and any(_is_list(operand, known) for operand in chain)
                and all(_may_be_list(o, known) for o in chain)
            ):
                body = ", ".join(_source(operand, text) for operand in chain)
                return chain[0].start, chain[-1].end, f"{LISTS}.Concat([{body}])"
            index = last
        index += 1
    return None


def _source(operand: Operand, text: str) -> str:
    return text[operand.start : operand.end]


def _is_list(operand: Operand, known: Collection[str]) -> bool:
    """Whether an operand is declared or written as a list."""
    if operand.list is not None:
        return True
    if operand.ref is not None:
        return ".".join((operand.ref.name, *(part or "?" for part in operand.ref.tail))) in known
    if operand.group is not None and len(operand.group.operands) == 1:
        return _is_list(operand.group.operands[0], known)
    return False


def _may_be_list(operand: Operand, known: frozenset[str]) -> bool:
    if operand.literal is not None or operand.struct is not None:
        return False
    return operand.ref is not None or operand.group is not None or _is_list(operand, known) or _is_call(operand)


def _is_call(operand: Operand) -> bool:
    return operand.literal is None and operand.ref is None and operand.list is None and operand.struct is None


def _list_names(body: Struct) -> frozenset[str]:
    """Dotted names that are declared as lists, from the top of the file and from their own struct."""
    names: set[str] = set()
    before = -1
    while len(names) > before:  # a name may be declared by another
        before = len(names)
        _collect(body, (), names)
    return frozenset(names)


def _collect(struct: Struct, path: tuple[str, ...], names: set[str]) -> None:
    for decl in struct.decls:
        if isinstance(decl, Comprehension):
            _collect(decl.body, path, names)
        elif isinstance(decl, Field) and decl.name is not None:
            here = (*path, decl.name)
            if _declares_list(decl.value, names):
                names.update(".".join(here[start:]) for start in range(len(here)))
            for inner in scanner.child_structs(decl.value):
                _collect(inner, here, names)
        elif isinstance(decl, scanner.Let) and _declares_list(decl.value, names):
            names.add(decl.name)


def _declares_list(expr: Expr, names: Collection[str]) -> bool:
    return (
        bool(expr.operands)
        and _COMBINING.issuperset(expr.operators)
        and all(_is_list(operand, names) or _makes_list(operand, expr) for operand in expr.operands)
    )


def _makes_list(operand: Operand, expr: Expr) -> bool:
    """Whether an operand is a call whose result is a list."""
    calls = (ref for ref in expr.refs if operand.derived and ref.start == operand.start and len(ref.tail) == 2)
    return any((ref.name, ref.tail[0]) in _LIST_CALLS and ref.tail[1] is None for ref in calls)


def _exprs(struct: Struct) -> list[Expr]:
    found: list[Expr] = []
    for decl in struct.decls:
        if isinstance(decl, Comprehension):
            for clause in decl.clauses:
                _inner_exprs(clause.expr, found)
            found.extend(_exprs(decl.body))
        else:
            _inner_exprs(decl.value, found)
    return found


def _inner_exprs(expr: Expr, found: list[Expr]) -> None:
    for inner in expr.inner:
        _inner_exprs(inner, found)
    for struct in expr.structs:
        found.extend(_exprs(struct))
    for literal in expr.lists:
        for element in literal.elements:
            if isinstance(element, Comprehension):
                for clause in element.clauses:
                    _inner_exprs(clause.expr, found)
                found.extend(_exprs(element.body))
            else:
                _inner_exprs(element, found)
    found.append(expr)


UPGRADES: Final[dict[str, Callable[[str], str]]] = {"no-exist": _bottoms, "list-arithmetic": _lists}
"""The rewritings by name, in their order; ``list-arithmetic`` is what the Go controller calls it too."""
