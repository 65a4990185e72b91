"""Places of operations that authors seldom choose: mirrored, made of two declarations, under strange labels."""

from __future__ import annotations

from collections.abc import Sequence

from phrases import Phrases
from template_tree import GUARD, GUARD_END, Node

Path = tuple[str, ...]
Scopes = tuple[int, ...]


class OddShapes(Phrases):
    """Writes one operation, or a few, in a way of its own; every method takes what those of ``Author`` take."""

    def _object(self, scopes: Scopes, loop: Sequence[str]) -> str:
        return f'{{kind: "K", {self._fields(scopes, loop, 1)}}}'

    def _params(self, scopes: Scopes, loop: Sequence[str]) -> str:
        return f"$params: value: {self._object(scopes, loop)}"

    def _by_let(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        """The definition under a name of the template's own."""
        name = self._next("a")
        own, given = self._pick([
            (f"let D{name} = kube.#Apply", f"D{name}"),
            (f"#D{name}: kube.#Apply & {{$params: value: by: \"d\"}}", f"#D{name}"),
            (f"_#D{name}: {{kube.#Apply, $params: value: {{by: \"e\"}}}}", f"_#D{name}"),
            (f"let D{name} = kube", f"D{name}.#Apply"),
            ("", "k8s.#Apply"),
        ])  # fmt: skip
        node = Node(f"{name}: {given} & {{{self._params(scopes, loop)}}}", label=name, name=name, do="apply")
        self._remember(path, name, scopes, ".$returns.value")
        return [Node(own, name=f"{name}"), node] if own else [node]

    def _twice(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        """An object that two declarations make; the second may depend on a guard, or stand first."""
        name = self._next("a")
        params = self._params(scopes, loop)
        extra = self._pick([
            f"{name}: $params: value: more: {self._text(scopes, loop)}",
            f"{self._guard(scopes)} {{{name}: $params: value: more: {self._text(scopes, loop)}}}",
            f'for k, v in {GUARD}parameter.m{GUARD_END} {{{name}: $params: value: "m-\\(k)": v}}',
            f"{name}: $params: {{value: {{more: {self._int(scopes)}}}}}",
        ])  # fmt: skip
        first = Node(f"{name}: kube.#Apply & {{{params}}}", label=name, name=name, do="apply")
        self._remember(path, name, scopes, ".$returns.value")
        if self._one_in(3):
            first.before = f"{name}: kube.#Read\n{name}: {{{params}}}"
            first.do = "read"
        return [first, Node(extra, name=name)]

    def _flat_twice(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        """The same in the older form, as many older templates have it."""
        name = self._next("t")
        where = f"{self._guard(scopes)} {{{name}: value: more: {self._text(scopes, loop)}}}"
        first = Node(f"{name}: op.#Apply & {{value: {self._object(scopes, loop)}}}", label=name, name=name, do="apply")
        first.legacy = True
        self._remember(path, name, scopes, ".value")
        return [first, Node(where, name=name)]

    def _pattern(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        """Operations that a pattern makes of fields."""
        name = self._next("s")
        inner = [Node("", label=label, name=name, do="apply") for label in ("px", "py")]
        fields = "\n".join(f"{label}: {self._params(scopes, loop)}" for label in ("px", "py"))
        return [Node(f"{name}: {{\n[string]: kube.#Apply\n{fields}\n}}", label=name, name=name, hidden=inner)]

    def _chosen(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        """One of two operations, chosen by a condition that is known."""
        name = self._next("a")
        one, other = (f"kube.#Apply & {{{self._params(scopes, loop)}}}" for _ in "ab")
        condition = self._pick(["parameter.yes", "parameter.no", "parameter.n > 1"])
        self._remember(path, name, scopes, ".$returns.value")
        node = Node(f"{name}: [if {condition} {{{one}}}, {other}][0]", label=name, name=name, do="apply")
        return [Node("", [node], "", rounds=[{}], guard=condition)]

    def _strange_label(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        """Labels that look like something else."""
        name = self._next("a")
        hidden = self._pick([f"_{name}", f"$x{name}", f"if{name}"])
        shown, label = self._pick([
            (f'"{name}.b/c d"', f"{name}.b/c d"),
            (f'"{name}-if"', f"{name}-if"),
            (f'"x\\u002d{name}"', f"x-{name}"),
            (hidden, hidden),
            (f"{name}?", name),
            (f'"{name} \\(parameter.s)"', f"{name} x-y"),
            (f'("{name}-" + parameter.s)', f"{name}-x-y"),
            (f"X{name}=\"{name}!\"", f"{name}!"),
        ])  # fmt: skip
        text = f"{shown}: kube.#Read & {{{self._params(scopes, loop)}}}"
        if shown.startswith("X"):
            text += f"\nu{name}: {shown.split('=')[0]}.$returns.value.z"
        return [Node(text, label=label, name=name, do="read")]

    def _nested_lists(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        name = self._next("l")
        operation = f"kube.#Apply & {{{self._params(scopes, loop)}}}"
        inner = [Node("", label="0\x000", name=name, do="apply"), Node("", label="1\x00a", name=name, do="apply")]
        return [Node(f"{name}: [[{operation}], {{a: {operation}}}]", label=name, name=name, hidden=inner)]

    def _two_loops(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        """Two loops in one comprehension; in a struct the label is made of both."""
        name = self._next("n")
        body = f"kube.#Apply & {{{self._params(scopes, (*loop, 'x', 'y'))}}}"
        pairs = [{"x": x, "y": y} for x in "ab" for y in "12"]
        if self._one_in(2):
            head = "for x in parameter.xs for y in [1, 2]"
            element = Node(f"{head} {{{body}}}", do="apply", rounds=pairs, guard=head)
            return [Node(f"{name}: [", [element], "]", label=name, name=name, listed=True)]
        label = f"{name}-\\(x)\\(y)"
        head = f"for x in {GUARD}parameter.xs{GUARD_END} for y in {GUARD}[1, 2]{GUARD_END} {self._guard(scopes)}"
        field = Node(f'"{label}": {body}', label=label, name=name, do="apply")
        return [Node(f"{head} {{", [field], "}", rounds=pairs, guard=head)]

    def _with_hidden(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        """Hidden fields of an operation that another one uses."""
        name, user = self._next("a"), self._next("a")
        hidden = self._pick([f"_{name}", f"#{name}", f"_#{name}"])
        text = f"{name}: kube.#Apply & {{{hidden}: {self._text(scopes, loop)}, {self._params(scopes, loop)}}}"
        use = f'{user}: kube.#Apply & {{$params: value: {{kind: "U", q: {name}.{hidden}, z: {name}.$returns.value.z}}}}'
        return [Node(text, label=name, name=name, do="apply"), Node(use, label=user, name=user, do="apply")]

    def _over_operations(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        """Operations in a struct, a loop over them, and what uses what it makes."""
        name = self._next("s")
        labels = self._pick([("a", "b"), ("b", "a")])
        inner = [Node("", label=label, name=name, do="read") for label in labels]
        fields = "\n".join(f"{label}: kube.#Read & {{{self._params(scopes, loop)}}}" for label in labels)
        user = self._next("a")
        made = f'v{user}: [for k, v in {name} {{"\\(k)=\\(v.$returns.value.z)"}}]'
        use = f'{user}: kube.#Apply & {{$params: value: {{kind: "U", all: v{user}}}}}'
        return [
            Node(f"{name}: {{\n{fields}\n}}", label=name, name=name, hidden=inner),
            Node(f"{made}\n{use}", label=user, name=user, do="apply"),
        ]

    def _by_result(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        """A binding of a result, which guards and arguments go through."""
        name = self._next("a")
        made = f"{name}: kube.#Read & {{{self._params(scopes, loop)}}}\nlet R{name} = {name}.$returns.value"
        user = self._next("a")
        head = f"if {GUARD}R{name}.n < 3{GUARD_END} if {GUARD}R{name}.o.f != _|_{GUARD_END}"
        use = Node(
            f'"{user}-\\(R{name}.n)": kube.#Apply & {{$params: value: {{kind: "U", q: R{name}.z}}}}',
            label=f"{user}-\\(n)",
            name=user,
            do="apply",
        )
        return [
            Node(made, label=name, name=name, do="read"),
            Node(f"{head} {{", [use], "}", rounds=[{"n": str(n)} for n in range(4)], guard=head),
        ]

    def _stepped_loop(self, path: Path, scopes: Scopes, depth: int, loop: Sequence[str]) -> list[Node]:
        """Dynamic labels behind plain ones, and another operation inside."""
        name = self._next("h")
        label = f"{name}\x00n-\\(x)\x00d"
        inner = Node("", label="r", name=name, do="read")
        body = f"kube.#Apply & {{$params: value: {{kind: r.$returns.value.z}}\nr: kube.#Read & {{{self._params(scopes, (*loop, 'x'))}}}}}"
        field = Node(f'{name}: "n-\\(x)": d: {body}', label=label, name=name, do="apply", hidden=[inner])
        head = f"for _, x in {GUARD}parameter.xs{GUARD_END}"
        return [Node(f"{head} {{", [field], "}", rounds=[{"x": "a"}, {"x": "b"}], guard=head)]
