"""Random expressions of CUE: texts, numbers, lists, conditions, and the fields of objects that are made of them.

What they refer to is what has been written so far, and now and then something that is only written later.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence
from typing import TypeVar

from template_tree import GUARD, GUARD_END, PLUS, PLUS_END, Node

Item = TypeVar("Item")

LATER, LATER_END = "\ue004", "\ue005"
"""Marks around the number of a reference to what may be written later; none is left in a template."""


@dataclasses.dataclass(frozen=True)
class Known:
    """An operation that later text can refer to: ``text`` leads to its object, from where ``scope`` is in sight."""

    text: str
    path: str
    scope: int
    action: str


class Phrases:
    """Writes expressions that can stand where the fields and operations of some scopes are in sight."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.number = 0
        self.known: list[Known] = []
        self.values: list[tuple[str, int]] = []
        self.tops: set[str] = set()
        self.later: list[tuple[int, ...]] = []

    # Small parts.

    def _pick(self, rows: Sequence[Item]) -> Item:
        return self.random.choice(rows)

    def _one_in(self, many: int) -> bool:
        return self.random.randrange(many) == 0

    def _next(self, letter: str) -> str:
        self.number += 1
        return f"{letter}{self.number}"

    def _seen(self, scopes: Sequence[int], later: int = 40) -> list[Known]:
        """Operations to refer to; one of them may be written later."""
        found = [one for one in self.known if one.scope in scopes][-6:]
        if self._one_in(later):
            self.later.append(tuple(scopes))
            found.append(Known(f"{LATER}{len(self.later) - 1}{LATER_END}", "", 0, ""))
        return found

    def _settle(self, node: Node) -> None:
        """Put operations that are known by now where they were only announced."""
        chosen: dict[str, str] = {}

        def later(match: re.Match[str]) -> str:
            if match[1] not in chosen:
                scopes = self.later[int(match[1])]
                rows = [one.text for one in self.known if one.scope in scopes]
                chosen[match[1]] = self._pick(rows) if rows else "parameter.m"
            return chosen[match[1]]

        pattern = re.compile(f"{LATER}(\\d+){LATER_END}")
        node.before, node.after = (pattern.sub(later, text) for text in (node.before, node.after))
        node.guard = pattern.sub(later, node.guard)
        for inner in (*(node.inside or ()), *(node.hidden or ())):
            self._settle(inner)

    def _remember(
        self,
        path: Sequence[str],
        name: str,
        scopes: Sequence[int],
        tail: str,
        *,
        quoted: bool = False,
    ) -> None:
        """An operation can be referred to by its own name where it is in sight."""
        if not quoted:
            self.known.append(Known(f"{name}{tail}", ".".join((*path, name)), scopes[-1], name))
        if path and path[0] in self.tops and all(re.fullmatch(r"\w+", part) for part in path):
            self.known.append(Known(".".join((*path, name)) + tail, "", 0, name))

    def _text(self, scopes: Sequence[int], loop: Sequence[str] = (), depth: int = 1) -> str:
        """An expression that is a text."""
        rows = ['"s"', "context.name", "parameter.s", "parameter.xs[0]", "parameter.e", '#"r\\(1)"#']
        rows += [f"{one.text}.z" for one in self._seen(scopes)] * 2
        rows += [f"{one.text}.{self._pick(['o.f', 'q', 'kind'])}" for one in self._seen(scopes)]
        rows += [one.text.replace("$returns", "$params") + ".q" for one in self._seen(scopes)]
        rows += [name for name, scope in self.values if scope in scopes]
        rows += [f'"\\({name})"' for name in loop] * 3
        if depth:
            a, b = (self._text(scopes, loop, depth - 1) for _ in "ab")
            rows += [
                f'"<\\({a}) and {{ \\({b})"',
                f"{a} + {b}",
                f"strings.ToUpper({a})",
                f'strings.Join([{a}, {b}], "-")',
            ]
            rows += [f'"""\n    first "\\({a})"\n    // no comment }}\n    """', f'strings.Split({a}, "-")[0]']
            rows += [
                f"[if {self._condition(scopes, 0)} {{{a}}}, {b}][0]",
                f"strconv.FormatInt({self._int(scopes)}, 10)",
            ]
            rows += [f'json.Marshal({{a: {a}, "b-c": {self._int(scopes)}}})', f"({a})", f"{{xx: {a}, y: xx}}.y"]
            rows += [f"*{a} | string", f'regexp.ReplaceAll("-", {a}, "_")', f'{{"a-b": {a}}}["a-b"]', f"{{{a}}}"]
        return self._pick(rows)

    def _int(self, scopes: Sequence[int]) -> str:
        rows = [
            "1",
            "parameter.n",
            "parameter.d",
            "len(parameter.xs)",
            "1 + parameter.n * 2",
            "math.Pow10(1)",
            "0x1F",
            "1_000",
        ]
        rows += [f"{one.text}.n" for one in self._seen(scopes)]
        rows += [f"len({one.text}.items)" for one in self._seen(scopes)]
        rows += ["div(7, 2)", "-1", "(parameter.n)", "list.Sum([1, parameter.n])"]
        return self._pick(rows)

    def _list(self, scopes: Sequence[int], loop: Sequence[str] = ()) -> str:
        a, b = (self._text(scopes, loop, 0) for _ in "ab")
        rows = [f"[{a}, {b}]", "parameter.xs", "[for x in parameter.xs {x}]", "[]", 'strings.Split("a,b", ",")']
        rows += [
            f"[for i, x in parameter.xs if i > 0 let y = x {{n: i, y: y, q: {a}}}]",
            f"list.Concat([[{a}], parameter.xs])",
        ]
        rows += [
            f"[if {self._condition(scopes, 0)} {{{a}}}, {b}]",
            '[for x in [1, 2] for y in parameter.xs {"\\(x)\\(y)"}]',
        ]
        rows += [f"{one.text}.items" for one in self._seen(scopes)]
        rows += [f"[for x in {one.text}.items {{a: x, b: {a}}}]" for one in self._seen(scopes)]
        rows += [
            f"{PLUS}[{a}] + parameter.xs{PLUS_END}",
            "list.Range(0, 2, 1)",
            f"[...] & [{a}]",
            "[for k, v in parameter.m {k + v}]",
        ]
        return self._pick(rows)

    def _condition(self, scopes: Sequence[int], depth: int = 1) -> str:
        rows = [
            "parameter.yes",
            "!parameter.no",
            "parameter.no",
            "parameter.n > 1",
            "parameter.none",
            "parameter.text != _|_",
        ]
        rows += [
            "parameter.none == _|_",
            'parameter.deep.a == "x"',
            '"\\(context.name)" == "run"',
            'parameter.s =~ "^x"',
        ]
        rows += [
            "len(parameter.xs) == 2",
            'strings.HasPrefix(parameter.s, "x")',
            'list.Contains(parameter.xs, "b")',
            "true",
        ]
        for one in self._seen(scopes, 6):
            rows += [
                f"{one.text}.ok",
                f"!{one.text}.ok",
                f"{one.text}.n >= 2",
                f"{one.text}.nope",
                f"{one.text}.z != _|_",
            ]
            rows += [
                f"len({one.text}.items) == 1",
                f"{one.text}.nope == _|_",
                f"{one.text}.n < 3",
                f"{one.text}.n != 7",
            ]
            rows += [f'{one.text}.o["f"] != ""', f'strings.Contains({one.text}.z, "z")']
        if depth:
            a, b = (self._condition(scopes, 0) for _ in "ab")
            rows += [f"{a} && {b}", f"{a} || {b}", f"!({a})", f"[for x in parameter.xs if {a} {{x}}] != []"]
        return self._pick(rows)

    def _guard(self, scopes: Sequence[int]) -> str:
        return f"if {GUARD}{self._condition(scopes)}{GUARD_END}"

    def _fields(self, scopes: Sequence[int], loop: Sequence[str] = (), depth: int = 2) -> str:
        """Some fields of an object."""
        parts = [f"q: {self._text(scopes, loop)}"]
        for index in range(self.random.randrange(4)):
            name = f"f{index}"
            text, guard = self._text(scopes, loop), self._guard(scopes)
            rows = [f"{name}: {text}", f"{name}: {self._int(scopes)}", f"{name}: {self._list(scopes, loop)}"]
            rows += [
                f"{guard} {{{name}: {text}}}",
                f'"{name}-x": {text}',
                f'"{name}-\\(parameter.s)": {text}',
                f"({text}): 1",
            ]
            rows += [
                f"{name}?: string",
                f"_{name}: {text}, {name}: _{name}",
                f"#{name}: {{a: {text}}}, {name}: #{name}",
            ]
            rows += [
                f"let L{name} = {text}\n{name}: L{name}",
                f"{name}: *({text}) | string",
                f"{name}: m: n: o: {text}",
            ]
            rows += [
                f'for k, v in {GUARD}parameter.m{GUARD_END} {{"{name}-\\(k)": v + {text}}}',
                f"{name}: parameter.m",
            ]
            rows += [
                f"// a comment: {{ if\n{name}: {text} // }} behind it\n",
                f'{name}: {text} @my(x, "}}}}")',
                f"{name}: null",
            ]
            rows += [
                f'for i, x in {GUARD}{self._list(scopes)}{GUARD_END} if {GUARD}i < 2{GUARD_END} {{"{name}-\\(i)": x}}'
            ]
            rows += [f"X{name}={name}: {{a: {text}, b: X{name}.a}}", f"{name}: {{a: 1, b: c: a}}", f"{name}: true"]
            rows += [f"if {GUARD}parameter.n > 0{GUARD_END} let y = {text} {{{name}: y}}"]
            if depth:
                inner = self._fields(scopes, loop, depth - 1)
                rows += [f"{name}: {{{inner}}}"] * 3 + [f"{guard} {{{name}: {{{inner}}}}}", f"{name}: [{{{inner}}}]"]
            parts.append(self._pick(rows))
        between = "\n" if any("//" in part for part in parts) else self._pick([", ", "\n"])
        return between.join(parts)
