"""Random templates: an author who puts operations wherever CUE lets fields stand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from odd_shapes import OddShapes
from template_tree import GUARD, GUARD_END, VALUE, VALUE_END, VALUE_MID, Node, Template


class Author(OddShapes):
    """Writes random templates; the same ``seed`` gives the same one."""

    def template(self) -> Template:
        """A template."""
        nodes = self._block((), (0,), 3, 6)
        for node in nodes:
            self._settle(node)
        outputs: dict[str, str] = {}
        tops = [one for one in self.known if one.scope == 0]
        for index in range(min(self.random.randrange(3), len(tops))):
            outputs[f"o{index}"] = f"{self._pick(tops).text}.{self._pick(['z', 'n', 'items'])}"
        return Template(nodes, outputs)

    # Declarations.

    def _block(
        self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, most: int, loop: Sequence[str] = ()
    ) -> list[Node]:
        nodes: list[Node] = []
        for _ in range(self.random.randint(1, most)):
            kinds: list[Callable[..., list[Node]]] = [
                self._operation,
                self._operation,
                self._flat,
                self._wait,
                self._message,
            ]
            kinds += [self._value, self._holding, self._elements, self._bare, self._pick(self._odd())]
            if depth:
                kinds += [
                    self._struct,
                    self._struct,
                    self._if,
                    self._if,
                    self._for,
                    self._map,
                    self._chain,
                    self._of_definition,
                ]
                kinds += [self._if_for, self._comprehension, self._control, self._steps, self._embedded]
            nodes += self._pick(kinds)(path, scopes, depth, loop)
        return nodes

    def _odd(self) -> list[Callable[..., list[Node]]]:
        names = [name for name, value in vars(OddShapes).items() if callable(value)]
        return [getattr(self, name) for name in names if name not in ("_object", "_params")]

    def _operation(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        name = self._next("a")
        do = self._pick(["#Apply", "#Read", "#Apply"])
        body = f'kind: "K", {self._fields(scopes, loop)}'
        label, shown = self._pick([(name, name), (name, f'"{name}"'), (name, name)])
        text = self._pick([
            f"kube.{do} & {{$params: value: {{{body}}}}}",
            f"kube.{do} & {{\n$params: {{\nvalue: {{{body}}}\ncluster: \"\"\n}}\n}}",
            f"{{$params: value: {{{body}}}}} & kube.{do}",
            f"{{kube.{do}, $params: value: {{{body}}}}}",
            f"kube.{do} & {{$params: value: {{kind: \"K\"}}}} & {{$params: value: {{{body}}}}}",
            f"(kube.{do} & {{$params: {{value: {{{body}}}}}}})",
        ])  # fmt: skip
        node = Node(f"{shown}: {text}", label=label, name=name, do=do[1:].lower())
        if self._one_in(8) and len(scopes) == 1:
            node.after, node.step = self._stepped()
        self._remember(path, name, scopes, ".$returns.value", quoted=shown != name)
        return [node]

    def _stepped(self) -> tuple[str, int]:
        self.number += 1
        return f" @step({self.number})", self.number

    def _flat(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        name = self._next("o")
        do = self._pick(["#Apply", "#Read"])
        key = ".".join((*path, name))
        value = f'{VALUE}{key}{VALUE_MID}{{kind: "K", {self._fields(scopes, loop)}}}{VALUE_END}'
        text = f"{name}: op.{do} & {{value: {value}}}"
        self._remember(path, name, scopes, ".value")
        return [Node(text, label=name, name=name, do=do[1:].lower(), legacy=True)]

    def _bare(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        name = self._next("b")
        text = f'{name}: {{#do: "read", #provider: "kube", $params: value: {{{self._fields(scopes, loop)}}}}}'
        self._remember(path, name, scopes, ".$returns.value")
        return [Node(text, label=name, name=name, do="read")]

    def _holding(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        """An operation that holds another."""
        name = self._next("i")
        inner = Node(
            f'r{name}: kube.#Read & {{$params: value: {{kind: "R", {self._fields(scopes, loop, 1)}}}}}',
            label=f"r{name}",
            name=f"r{name}",
            do="read",
        )
        before = f'{name}: kube.#Apply & {{$params: value: {{kind: "K", q: r{name}.$returns.value.z}}'
        self._remember(path, name, scopes, ".$returns.value")
        return [Node(before, [inner], "}", label=name, name=name, do="apply")]

    def _elements(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        name = self._next("l")
        elements = [
            Node(f'kube.#Apply & {{$params: value: {{kind: "K", {self._fields(scopes, loop, 1)}}}}}', do="apply")
            for _ in range(self.random.randint(1, 3))
        ]
        return [Node(f"{name}: [", elements, "]", label=name, name=name, listed=True)]

    def _comprehension(
        self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]
    ) -> list[Node]:
        """A list that a comprehension makes of operations, or of structs with operations."""
        name = self._next("c")
        inner = (*loop, "x")
        heads = [("for x in parameter.xs", ["a", "b"]), ("for _, x in parameter.m", ["v", "w"])]
        heads += [('for x in ["a", "b"] if x != "a"', ["b"]), ('if parameter.yes for x in ["a"]', ["a"])]
        heads += [(f"for x in {one.text}.items", ["p", "q", "r"]) for one in self._seen(scopes)]
        head, values = self._pick(heads)
        body = f"kube.#Apply & {{$params: value: {{kind: x, {self._fields(scopes, inner, 1)}}}}}"
        rounds = [{"x": value} for value in values]
        if self._one_in(2):
            element = Node(f"{head} {{{body}}}", do="apply", rounds=rounds, guard=head)
        else:
            scope = (*scopes, self._scope())
            element = Node(f"{head} {{", self._block((), scope, 0, 2, inner), "}", rounds=rounds, guard=head)
        return [Node(f"{name}: [", [element], "]", label=name, name=name, listed=True)]

    def _scope(self) -> int:
        self.number += 1
        return self.number

    def _wait(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        name = self._next("w")
        condition = self._condition(scopes) if self._one_in(2) else "parameter.yes"
        if self._one_in(3):
            return [
                Node(
                    f"{name}: op.#ConditionalWait & {{continue: {condition}}}",
                    label=name,
                    name=name,
                    do="wait",
                    legacy=True,
                )
            ]
        text = self._pick([
            f"{name}: builtin.#ConditionalWait & {{$params: continue: {condition}}}",
            f"{name}: builtin.#ConditionalWait & {{{self._guard(scopes)} {{$params: continue: {condition}}}}}",
            f"{name}: builtin.#ConditionalWait & {{$params: continue: {condition}, $params: message: {self._text(scopes, loop)}}}",
        ])  # fmt: skip
        return [Node(text, label=name, name=name, do="wait")]

    def _message(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        name = self._next("m")
        message = self._text(scopes, loop)
        if self._one_in(3):
            return [
                Node(
                    f'{name}: op.#Message & {{message: "{name} " + {message}}}',
                    label=name,
                    name=name,
                    do="message",
                    legacy=True,
                )
            ]
        return [
            Node(
                f'{name}: builtin.#Message & {{$params: message: "{name} \\({message})"}}',
                label=name,
                name=name,
                do="message",
            )
        ]

    def _control(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        name = self._next("f")
        do = self._pick(["#Fail", "#Break", "#Suspend", "#Message"])
        head = self._guard(scopes)
        node = Node(f'{name}: builtin.{do} & {{$params: message: "{name}"}}', label=name, name=name, do=do[1:].lower())
        return [Node(f"{head} {{", [node], "}", rounds=[{}], guard=head)]

    def _value(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        name = self._next("v")
        text = self._text(scopes, loop)
        rows = [
            f"{name}: {text}",
            f"_{name}: {text}",
            f"#{name}: {text}",
            f"let {name} = {text}",
            f"{name}: {{{self._fields(scopes, loop)}}}",
        ]
        chosen = self._pick(rows)
        if not chosen.endswith("}"):
            own = chosen.split(":")[0] if ":" in chosen.split("=")[0] else name
            self.values.append((own.removeprefix("let ").split(" ")[0], scopes[-1]))
        used = [Node(f"u{name}: {name}")] if chosen.startswith("let") else []
        return [Node(chosen, name=name), *used]

    def _struct(
        self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str], before: str = ""
    ) -> list[Node]:
        name = self._next("s")
        alias = self._pick(["", "", "", f"X{name}="])
        if scopes == (0,):
            self.tops.add(name)
        inner = self._block((*path, name), (*scopes, self._scope()), depth - 1, 3, loop)
        if alias:
            inner.append(Node(f"q{name}: X{name}.p{name}\np{name}: {self._int(scopes)}"))
        return [Node(f"{alias}{name}: {before}{{", inner, "}", label=name, name=name)]

    def _steps(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        return self._struct(path, scopes, depth, loop, before=self._pick(["op.#Steps & ", "builtin.#Steps & "]))

    def _embedded(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        """An operation that a guard embeds in its field."""
        name = self._next("e")
        head = self._guard(scopes)
        inner = f'kube.#Read & {{$params: value: {{kind: "E", {self._fields(scopes, loop, 1)}}}}}'
        self._remember(path, name, scopes, ".$returns.value")
        node = Node(f"{name}: {{{head} {{{inner}}}}}", label=name, name=name, do="read")
        return [Node("", [node], "", rounds=[{}], guard=head)]

    def _chain(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        name = self._next("h")
        if scopes == (0,):
            self.tops.add(name)
        inner = self._operation((*path, name, "d"), (*scopes, self._scope()), 0, loop)[0]
        inner = dataclasses.replace(
            inner, before=f"{name}: d: {inner.before}", label=f"{name}\x00d\x00{inner.label}", after="", step=None
        )
        return [inner]

    def _if(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        head = self._guard(scopes)
        if self._one_in(4):
            head += f" {self._guard(scopes)}"
        inner = self._block(path, (*scopes, self._scope()), depth - 1, 3, loop)
        return [Node(f"{head} {{", inner, "}", rounds=[{}], guard=head)]

    def _sources(self, scopes: Sequence[int]) -> tuple[str, list[str]]:
        rows = [
            ("parameter.xs", ["a", "b"]),
            ("parameter.empty", []),
            ("parameter.none", []),
            ("[1, 2, 3]", ["1", "2", "3"]),
        ]
        rows += [
            ('list.Concat([parameter.xs, ["z"]])', ["a", "b", "z"]),
            ('strings.Split(parameter.s, "-")', ["x", "y"]),
        ]
        rows += [(f"{one.text}.items", ["p", "q", "r"]) for one in self._seen(scopes)] * 2
        return self._pick(rows)

    def _for(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        source, values = self._sources(scopes)
        head = f"for i, x in {GUARD}{source}{GUARD_END}"
        head += self._pick(["", "", f" if {GUARD}i > 0{GUARD_END}", " let y = x", f" {self._guard(scopes)}"])
        rounds = [{"i": str(index), "x": value} for index, value in enumerate(values)]
        return self._loop(head, rounds, self._pick(["i", "x"]), (*loop, "i", "x"), path, scopes, depth)

    def _map(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        head = f"for k, v in {GUARD}parameter.m{GUARD_END}"
        rounds = [{"k": "l", "v": "v"}, {"k": "k", "v": "w"}]
        return self._loop(head, rounds, "k", (*loop, "k", "v"), path, scopes, depth)

    def _if_for(self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]) -> list[Node]:
        head = f"{self._guard(scopes)} for y in {GUARD}parameter.xs{GUARD_END} let w = y"
        return self._loop(head, [{"w": "a"}, {"w": "b"}], "w", (*loop, "w"), path, scopes, depth)

    def _loop(
        self,
        head: str,
        rounds: list[dict[str, str]],
        by: str,
        loop: Sequence[str],
        path: tuple[str, ...],
        scopes: tuple[int, ...],
        depth: int,
    ) -> list[Node]:
        name = self._next("n")
        label = f"{name}-\\({by})"
        scope = (*scopes, self._scope())
        body = f'kind: "K", at: {by}, {self._fields(scope, loop, 1)}'
        if self._one_in(2):
            field = Node(f'"{label}": kube.#Apply & {{$params: value: {{{body}}}}}', label=label, name=name, do="apply")
        else:
            inner = self._block((*path, label), (*scope, self._scope()), min(depth - 1, 1), 3, loop)
            field = Node(f'"{label}": {{', inner, "}", label=label, name=name)
        return [Node(f"{head} {{", [field], "}", rounds=rounds, guard=head)]

    def _of_definition(
        self, path: tuple[str, ...], scopes: tuple[int, ...], depth: int, loop: Sequence[str]
    ) -> list[Node]:
        """Operations in a definition that is used once or twice."""
        name = self._next("d")
        inner = [
            Node("r: kube.#Read & {$params: value: {kind: n}}", label="r", name="r", do="read"),
            Node(
                "a: kube.#Apply & {$params: value: {kind: r.$returns.value.z, n2: n}}", label="a", name="a", do="apply"
            ),
        ]
        kind = self._pick([f"#{name}: {{", f"_#{name}: {{", f"let D{name} = {{"])
        used = kind.split(":")[0] if ":" in kind else f"D{name}"
        nodes = [Node(f"{kind}\nn: string\n{inner[0].text()}\n{inner[1].text()}\n}}", name=name)]
        for _ in range(self.random.randint(1, 2)):
            label = self._next("s")
            nodes.append(
                Node(f"{label}: {used} & {{n: {self._text(scopes, loop, 0)}}}", label=label, name=label, hidden=inner)
            )
        return nodes
