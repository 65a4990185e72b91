"""Which text can reach which field.

Names in CUE are resolved lexically: a reference finds the nearest enclosing struct, comprehension clause or ``let``
that declares it. ``Names`` walks a scanned file once, remembers for every field which references its text holds (and
which guards stand around it), and answers one question: which fields can a text depend on, through any number of
references. The answer errs on the side of too much: an unknown index reaches all of a struct. That is what makes it
safe to run an operation without rendering again (decisions 2): only when its text cannot reach what has changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from vela_workflow.cue import scanner
from vela_workflow.cue.scanner import Clause, Comprehension, Embed, Expr, Field, Let, ListLit, Ref, Struct


@dataclasses.dataclass(slots=True, eq=False)
class Variable:
    """A name that a ``for`` or ``let`` clause binds."""

    name: str
    expr: Expr


Node = Field | Let | Variable
"""What a name can mean."""

Text = Node | Expr | Comprehension
"""What can be asked for its reach: a node, an element of a list or what is embedded in a struct."""


@dataclasses.dataclass(slots=True, eq=False)
class Scope:
    """One level of lexical scope. ``whole`` is the struct that its fields become part of."""

    parent: Scope | None
    struct: Struct | None = None
    whole: Struct | None = None
    names: dict[str, list[Node]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(slots=True)
class _Facts:
    """What a field or binding holds in its text."""

    refs: list[tuple[Ref, Scope]] = dataclasses.field(default_factory=list)
    fields: list[Field] = dataclasses.field(default_factory=list)
    guards: list[_Guard] = dataclasses.field(default_factory=list)
    struct: Struct | None = None


@dataclasses.dataclass(slots=True, eq=False)
class _Guard:
    refs: list[tuple[Ref, Scope]] = dataclasses.field(default_factory=list)


class Names:
    """The names of one scanned body and what they reach."""

    def __init__(self, body: Struct) -> None:
        self._facts: dict[int, _Facts] = {}
        self._holders: list[_Facts] = []
        self._guards: list[_Guard] = []
        self._opaque: set[int] = set()
        self._scopes: dict[int, Scope] = {}
        self._homes: dict[int, Scope] = {}
        self._declared: dict[int, dict[str, list[Node]]] = {}
        self.refs: list[tuple[Ref, Scope]] = []
        self.root = Scope(None)
        self._struct(body, self.root)
        self.root = self._scopes[id(body)]

    def set_opaque(self, fields: Iterable[Field]) -> None:
        """Name the operations: references do not descend into them, since results decide what is in them."""
        self._opaque = {id(field) for field in fields}

    # The walk.

    def _struct(self, struct: Struct, parent: Scope, whole: Struct | None = None) -> None:
        scope = Scope(parent, struct, whole or struct)
        self._scopes[id(struct)] = scope
        for decl in struct.decls:
            if isinstance(decl, Field):
                if decl.name is not None and not decl.quoted:
                    scope.names.setdefault(decl.name, []).append(decl)
                if decl.alias:
                    scope.names.setdefault(decl.alias, []).append(decl)
            elif isinstance(decl, Let):
                scope.names.setdefault(decl.name, []).append(decl)
        for decl in struct.decls:
            self._decl(decl, scope)

    def _decl(self, decl: scanner.Decl, scope: Scope) -> None:
        if isinstance(decl, Comprehension):
            self._comprehension(decl, scope, scope.whole)
        elif isinstance(decl, Embed):
            self._element(decl.value, scope)
        else:
            self._binding(decl, scope)

    def _binding(self, decl: Field | Let, scope: Scope) -> None:
        facts = _Facts(guards=list(self._guards), struct=scope.whole)
        self._facts[id(decl)] = facts
        if isinstance(decl, Field):
            for holder in self._holders:
                holder.fields.append(decl)
            for label in decl.label_exprs:
                self._expr(label, scope)
        self._holders.append(facts)
        inner = scope
        aliases = [decl.value.alias, decl.label_alias if isinstance(decl, Field) else ""]
        if any(aliases):
            inner = Scope(scope, names={alias: [decl] for alias in aliases if alias})
        self._homes[id(decl)] = inner
        self._expr(decl.value, inner)
        self._holders.pop()

    def _comprehension(self, comprehension: Comprehension, scope: Scope, whole: Struct | None = None) -> None:
        guard = _Guard()
        inner = scope
        for clause in comprehension.clauses:
            self._clause(clause, inner, guard)
            if clause.names:
                bound = Scope(inner)
                for name in clause.names:
                    if name and name != "_":
                        variable = Variable(name, clause.expr)
                        self._facts[id(variable)] = _Facts(refs=list(guard.refs), guards=list(self._guards))
                        bound.names[name] = [variable]
                inner = bound
        self._guards.append(guard)
        self._struct(comprehension.body, inner, whole)
        self._guards.pop()

    def _clause(self, clause: Clause, scope: Scope, guard: _Guard) -> None:
        facts = _Facts()
        self._holders.append(facts)
        self._expr(clause.expr, scope)
        self._holders.pop()
        guard.refs.extend(facts.refs)

    def _expr(self, expr: Expr, scope: Scope) -> None:
        for ref in expr.refs:
            self.refs.append((ref, scope))
            for holder in self._holders:
                holder.refs.append((ref, scope))
        for inner in expr.inner:
            self._expr(inner, scope)
        for struct in expr.structs:
            self._struct(struct, scope)
        for literal in expr.lists:
            self._list(literal, scope)

    def _list(self, literal: ListLit, scope: Scope) -> None:
        for element in literal.elements:
            self._element(element, scope)

    def _element(self, element: Expr | Comprehension, scope: Scope) -> None:
        facts = _Facts(guards=list(self._guards))
        self._facts[id(element)] = facts
        self._holders.append(facts)
        if isinstance(element, Comprehension):
            self._comprehension(element, scope)
        else:
            self._expr(element, scope)
        self._holders.pop()

    # Questions.

    def scope_of(self, struct: Struct) -> Scope:
        """The scope inside a struct of the walked body."""
        return self._scopes[id(struct)]

    def lookup(self, name: str, scope: Scope | None) -> list[Node]:
        """What a name means in a scope; empty when it is no name of this file (an import, a builtin, a mistake)."""
        while scope is not None:
            found = scope.names.get(name)
            if found:
                if scope.struct is not None and isinstance(found[0], Field):
                    return self._declared_in(scope.struct).get(name) or found
                return found
            scope = scope.parent
        return []

    def _declared_in(self, struct: Struct) -> dict[str, list[Node]]:
        """What ``declared`` finds, for all labels of a struct at once: it is asked for every name in a text."""
        found = self._declared.get(id(struct))
        if found is None:
            found = self._declared[id(struct)] = {}
            for field in _fields(struct):
                if field.name is not None:
                    found.setdefault(field.name, []).append(field)
        return found

    def home(self, node: Field | Let) -> Scope:
        """The scope in which the value of a declaration is read."""
        return self._homes[id(node)]

    def refs_of(self, field: Field) -> list[tuple[Ref, Scope]]:
        """The references in the text of a field, in the order in which they are written."""
        return list(self._facts[id(field)].refs)

    def refs_in(self, text: Text) -> list[tuple[Ref, Scope]]:
        """All references that are written inside a text."""
        return self._facts[id(text)].refs

    def writes(self, text: Text, name: str) -> bool:
        """Whether a field of a name is written inside a text."""
        return any(field.name == name for field in self._facts[id(text)].fields)

    def inside(self, text: Text) -> frozenset[int]:
        """The ids of the fields that are written inside a text."""
        return frozenset(id(field) for field in self._facts[id(text)].fields)

    def reach(self, texts: Iterable[Text]) -> frozenset[int]:
        """The ids of all fields that ``texts`` can depend on; they themselves are left out unless reached."""
        seen: set[int] = set()
        result: set[int] = set()
        work: list[Text] = list(texts)
        while work:
            node = work.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            for target in self._targets(node):
                result.add(id(target))
                result.update(id(field) for field in self._facts[id(target)].fields)
                work.append(target)
        return frozenset(result)

    def reach_of_refs(self, refs: Iterable[tuple[Ref, Scope]]) -> frozenset[int]:
        """The ids of all fields that these references can depend on."""
        result: set[int] = set()
        targets: list[Node] = []
        for ref, scope in refs:
            targets.extend(self.resolve(ref, scope))
        for target in targets:
            result.add(id(target))
            result.update(id(field) for field in self._facts[id(target)].fields)
        return frozenset(result) | self.reach(targets)

    def _targets(self, node: Text) -> Iterator[Node]:
        facts = self._facts[id(node)]
        for ref, scope in facts.refs:
            yield from self.resolve(ref, scope)
        for guard in facts.guards:
            for ref, scope in guard.refs:
                yield from self.resolve(ref, scope)
        if facts.struct is not None and isinstance(node, Field):
            yield from self._company(node, facts.struct)

    def _company(self, node: Field, struct: Struct) -> Iterator[Node]:
        """Other declarations of the same field in the same struct, also under guards, and patterns, which add to it."""
        if node.name is not None:
            yield from (decl for decl in declared(struct, node.name) if decl is not node)
        yield from (decl for decl in struct.decls if isinstance(decl, Field) and decl.pattern and decl is not node)

    def resolve(self, ref: Ref, scope: Scope) -> list[Node]:
        """The fields and bindings that a reference names, as narrow as its selectors allow."""
        nodes = self.lookup(ref.name, scope)
        result: list[Node] = []
        for node in nodes:
            result.extend(self._descend(node, ref.tail))
        return result

    def exact(self, ref: Ref, scope: Scope) -> list[Field | Let]:
        """The declarations that a reference names as a whole; empty when it leads into values or is computed."""
        return list(self._exact_of(ref, scope, frozenset()))

    def _exact_of(self, ref: Ref, scope: Scope, seen: frozenset[int]) -> Iterator[Field | Let]:
        for node in self.lookup(ref.name, scope):
            if not isinstance(node, Variable):
                yield from self._exact(node, ref.tail, seen)

    def _exact(self, node: Field | Let, tail: tuple[str | None, ...], seen: frozenset[int]) -> Iterator[Field | Let]:
        if not tail:
            yield node
            return
        if tail[0] is None or id(node) in seen:
            return
        for operand in node.value.operands:
            if operand.struct is not None:
                for child in declared(operand.struct, tail[0]):
                    yield from self._exact(child, tail[1:], seen)
            elif operand.ref is not None:
                for target in self._exact_of(operand.ref, self.home(node), seen | {id(node)}):
                    yield from self._exact(target, tail, seen | {id(node)})

    def _descend(self, node: Node, tail: tuple[str | None, ...]) -> list[Node]:
        if not tail or isinstance(node, Variable) or id(node) in self._opaque or tail[0] is None:
            return [node]
        if not node.value.is_conjunction:
            return [node]
        children: list[Field] = []
        for operand in node.value.operands:
            if operand.struct is None:
                return [node]
            if any(
                isinstance(decl, Embed) or (isinstance(decl, Field) and decl.name is None)
                for decl in operand.struct.decls
            ):
                return [node]
            children.extend(declared(operand.struct, tail[0]))
        if not children:
            return [node]
        result: list[Node] = []
        for child in children:
            result.extend(self._descend(child, tail[1:]))
        return result


def declared(struct: Struct, name: str) -> Iterator[Field]:
    """All declarations of a label in a struct, also inside comprehensions and embedded structs."""
    return (field for field in _fields(struct) if field.name == name)


def _fields(struct: Struct) -> Iterator[Field]:
    for decl in struct.decls:
        if isinstance(decl, Field):
            yield decl
        elif isinstance(decl, Comprehension):
            yield from _fields(decl.body)
        elif isinstance(decl, Embed):
            for inner in scanner.child_structs(decl.value):
                yield from _fields(inner)
