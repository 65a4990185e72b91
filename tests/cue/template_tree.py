"""Random templates out of a rich grammar, grown as trees that know what they are.

A node knows the text it is written as, the label under which it stands and, of an operation, what it does. So which
operations a template *can* hold, under which paths and in which order, is known without reading its text: that is what
the program under test has to find out by itself. Trees can be made smaller, piece by piece, to show why two ways of
carrying a template out do not agree.

The conditions of guards stand between two marks in the text, so that a reader can write them in another way.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

PARAMETER = {"yes": True, "no": False, "n": 2, "xs": ["a", "b"], "m": {"l": "v", "k": "w"}, "empty": [], "s": "x-y"}
SCHEMA = """parameter: {
    yes: bool
    no: *true | bool
    n: int
    d: *3 | int
    e: *"one" | "two"
    xs: [...string]
    m: [string]: string
    s: string
    none?: _
    text?: string
    deep?: {a: string, b: [...int]}
    ...
}"""
"""The parameters of all templates and their schema; what is optional is left out."""

GUARD, GUARD_END = "\ue000", "\ue001"
"""Marks around the condition of an ``if`` and the source of a ``for`` in struct position."""

PLUS, PLUS_END = "\ue002", "\ue003"
"""Marks around two lists that are added with ``+``, which is an older spelling."""

VALUE, VALUE_MID, VALUE_END = "\ue006", "\ue007", "\ue008"
"""Marks around the path of an operation of the flat form and its object, which the live one replaces."""

BETWEEN = "\x00"
"""Between the labels of a chain, and a place in a list."""

MARKS = re.compile(f"{VALUE}[^{VALUE_MID}]*{VALUE_MID}|[{GUARD}{GUARD_END}{PLUS}{PLUS_END}{VALUE_END}]")

PACKAGES = ("encoding/json", "list", "math", "regexp", "strconv", "strings", "struct")


def size(path: str) -> int:
    """A number between 0 and 3 that belongs to a path."""
    return sum(path.encode()) % 4


def live(path: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """The object that an operation at ``path`` answers with when it is given ``value``.

    Some are changed by the server; not so those in lists and in loops inside loops, whose variables hide one another,
    and those named ``t``, which stand in several declarations.
    """
    n = size(path)
    parts = path.split(".")
    looped = sum("-" in part for part in parts)
    if n % 2 and looped < 2 and not any(part.isdigit() for part in parts) and not parts[-1].startswith("t"):
        value = {**value, "kind": "Live", "q": "live"}
    return {**value, "z": f"z-{path}", "n": n, "ok": n > 1, "items": ["p", "q", "r"][:n], "o": {"f": f"f-{path}"}}


@dataclasses.dataclass(eq=False)
class Node:
    """A declaration, or an element of a list: ``before`` and ``after`` stand around what is written inside it.

    ``rounds`` are, of a guard, the values of its variables in each round that it can take. ``hidden`` are nodes
    that are known to be inside, but written elsewhere.
    """

    before: str
    inside: list[Node] | None = None
    after: str = ""
    label: str = ""
    name: str = ""
    do: str = ""
    legacy: bool = False
    rounds: list[dict[str, str]] | None = None
    listed: bool = False
    hidden: list[Node] | None = None
    step: int | None = None
    guard: str = ""

    def text(self) -> str:
        """The node as it is written, with its marks."""
        if self.inside is None:
            return f"{self.before}{self.after}"
        between = ",\n" if self.listed else "\n"
        return f"{self.before}\n{between.join(node.text() for node in self.inside)}\n{self.after}"

    def nodes(self) -> list[Node]:
        """What is inside."""
        return self.hidden or self.inside or []


@dataclasses.dataclass(frozen=True)
class Possible:
    """An operation that may be there: its place among all others, and whether it must be there."""

    order: tuple[tuple[int, int], ...]
    path: tuple[str | int, ...]
    node: Node
    guarded: bool
    guards: tuple[str, ...]

    @property
    def text(self) -> str:
        """The path as people read it."""
        return ".".join(map(str, self.path))


@dataclasses.dataclass
class Template:
    """A random template, its outputs and what is imported."""

    nodes: list[Node]
    outputs: dict[str, str]

    def body(self) -> str:
        """The declarations, with their marks."""
        return "\n".join([SCHEMA, *(node.text() for node in self.nodes)])

    @property
    def text(self) -> str:
        """The template as an author writes it."""
        body = MARKS.sub("", self.body())
        names = {
            "kube": "vela/kube",
            "builtin": "vela/builtin",
            "op": "vela/op",
            "util": "vela/util",
            "k8s": "vela/kube",
        }
        names |= {path.rsplit("/", 1)[-1]: path for path in PACKAGES}
        used = [
            f'import {name if name == "k8s" else ""} "{path}"\n'
            for name, path in names.items()
            if re.search(rf"\b{name}\.", body)
        ]
        return "".join([*used, body, "\n"])

    def possible(self) -> list[Possible]:
        """All operations that may be there, in the order in which they are written."""
        found = _possible(self.nodes, Possible((), (), Node(""), False, ()), {})
        return sorted(found, key=lambda one: one.order)

    def smaller(self) -> Iterator[Self]:
        """This template with one node less, or with one node in place of what is inside it; and with less to ask."""
        for name in self.outputs:
            rest = {key: value for key, value in self.outputs.items() if key != name}
            yield dataclasses.replace(self, outputs=rest)
        for nodes in _smaller(self.nodes):
            yield dataclasses.replace(self, nodes=nodes)


def _smaller(nodes: list[Node]) -> Iterator[list[Node]]:
    for index, node in enumerate(nodes):
        before, after = nodes[:index], nodes[index + 1 :]
        yield [*before, *after]
        if node.inside is not None:
            if node.rounds is not None and node.rounds == [{}]:
                yield [*before, *node.inside, *after]
            for inside in _smaller(node.inside):
                yield [*before, dataclasses.replace(node, inside=inside), *after]


def _possible(nodes: Sequence[Node], at: Possible, env: Mapping[str, str]) -> Iterator[Possible]:
    for index, node in enumerate(nodes):
        level = (0, node.step) if node.step is not None else (1, index)
        here = dataclasses.replace(at, order=(*at.order, level))
        if node.rounds is not None:
            for number, variables in enumerate(node.rounds):
                inner = dataclasses.replace(
                    here, order=(*here.order, (1, number)), guarded=True, guards=(*here.guards, node.guard)
                )
                yield from _possible(node.nodes(), inner, {**env, **variables})
            continue
        if not node.label and not node.do and not node.listed:
            continue
        if node.label:
            label = re.sub(r"\\\((\w+)\)", lambda match: env.get(match[1], match[0]), node.label)
            here = dataclasses.replace(
                here, path=(*here.path, *(int(part) if part.isdigit() else part for part in label.split(BETWEEN)))
            )
        if node.listed:
            for place, element in enumerate(node.inside or []):
                inner = dataclasses.replace(here, order=(*here.order, (1, place)), path=(*here.path, place))
                yield from _element(element, inner, env)
            continue
        yield from _possible(node.nodes(), here, env)
        if node.do:
            yield dataclasses.replace(here, order=(*here.order, (3, 0)), node=node)


def _element(node: Node, at: Possible, env: Mapping[str, str]) -> Iterator[Possible]:
    """An element of a list; one with rounds is a comprehension, and the only one."""
    for number, variables in enumerate(node.rounds if node.rounds is not None else [{}]):
        here = at
        if node.rounds is not None:
            here = dataclasses.replace(
                at, order=(*at.order[:-1], (1, number)), path=(*at.path[:-1], number), guarded=True
            )
            here = dataclasses.replace(here, guards=(*here.guards, node.guard))
        yield from _possible(node.nodes(), here, {**env, **variables})
        if node.do:
            yield dataclasses.replace(here, order=(*here.order, (3, 0)), node=node)
