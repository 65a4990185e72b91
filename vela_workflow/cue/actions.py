"""Whether a value is an operation.

Most values tell by their text: they name a definition of a package or write ``#do`` by hand. Some are operations by way
of a definition or a ``let`` of the template, and some in a way that only CUE can tell, a list of alternatives for
example; of these only the last may turn out to be none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vela_workflow.cue import library, syntax
from vela_workflow.cue.library import Action, CuePackage, Definition
from vela_workflow.cue.names import Names, Scope, Text
from vela_workflow.cue.syntax import Comprehension, Embed, Expr, Field, Let, Operand, Ref, Struct


class Actions:
    """Knows the operations in one scanned template; ``live`` are the ids of fields that are values, not definitions."""

    def __init__(self, body: Struct, packages: Mapping[str, CuePackage], names: Names) -> None:
        self.packages = packages
        self.names = names
        self.live = frozenset(_live(body))

    def action_of(self, expr: Expr, scope: Scope) -> Action | None:
        """The operation that the text of a value writes itself: by a definition, or by hand with ``#do``."""
        if not expr.is_conjunction:
            return None
        for struct in syntax.child_structs(expr):
            found = library.written_action(struct)
            if found is not None:
                return found
        for ref in library.operand_refs(expr):
            definition = self.definition(ref, scope)
            if definition is not None and definition.action is not None:
                return definition.action
        return None

    def definition(self, ref: Ref, scope: Scope) -> Definition | None:
        """The definition of a package that a reference names."""
        package = self.package(ref, scope)
        if package is None or len(ref.tail) != 1 or ref.tail[0] is None:
            return None
        return package.definitions.get(ref.tail[0])

    def package(self, ref: Ref, scope: Scope) -> CuePackage | None:
        """The package of ours that a reference leads into."""
        if ref.name not in self.packages or self.names.lookup(ref.name, scope):
            return None
        return self.packages[ref.name]

    def may_be_action(self, expr: Expr, scope: Scope) -> bool:
        """Whether references in a value could make it an operation."""
        return any(self._node_may_be_action(node, set()) for node in self.operand_nodes(expr, scope))

    def is_action(self, expr: Expr, scope: Scope) -> bool:
        """Whether a value is an operation, by its own text or by what that refers to."""
        return self.action_of(expr, scope) is not None or self.may_be_action(expr, scope)

    def guarded_action(self, expr: Expr, scope: Scope) -> bool:
        """Whether a comprehension inside a value embeds an operation: ``x: {if c {kube.#Apply & {…}}}``."""
        for struct in syntax.child_structs(expr):
            for decl in struct.decls:
                if isinstance(decl, Comprehension):
                    body = decl.body
                    value = Expr(body.start, body.end, [Operand(body.start, body.end, struct=body)])
                    if self.is_action(value, scope):
                        return True
        return False

    def operand_nodes(self, expr: Expr, scope: Scope) -> Iterator[Field | Let]:
        """Definitions and bindings that are operands of a value; live fields carry results, not operations."""
        for ref, where in self.operand_refs(expr, scope):
            for node in self.names.exact(ref, where):
                if id(node) not in self.live:
                    yield node

    def operand_refs(self, expr: Expr, scope: Scope) -> Iterator[tuple[Ref, Scope]]:
        """The references that are whole operands of a value, through parentheses and embeddings."""
        for operand in expr.operands:
            if operand.ref is not None:
                yield operand.ref, scope
            elif operand.group is not None:
                yield from self.operand_refs(operand.group, scope)
            elif operand.struct is not None:
                for decl in operand.struct.decls:
                    if isinstance(decl, Embed):
                        yield from self.operand_refs(decl.value, self.names.scope_of(operand.struct))

    def _node_may_be_action(self, node: Field | Let, seen: set[int]) -> bool:
        if id(node) in seen:
            return False
        seen.add(id(node))
        scope = self.names.home(node)
        for ref, where in self.operand_refs(node.value, scope):
            definition = self.definition(ref, where)
            if definition is not None and definition.action is not None:
                return True
        if any(library.written_action(struct) for struct in syntax.child_structs(node.value)):
            return True
        return any(self._node_may_be_action(inner, seen) for inner in self.operand_nodes(node.value, scope))

    def might_be_action(self, expr: Expr, scope: Scope, text: Text, seen: set[int]) -> bool:
        """Whether a value is made of operations in a way that only CUE can tell: ``[if c {a}, b][0]``, ``#all[name]``.

        ``text`` is what holds the value.
        """
        if id(expr) in seen or not expr.is_conjunction:
            return False
        seen.add(id(expr))
        if any(operand.derived or self._leads_into_value(operand.ref, scope) for operand in expr.operands):
            return self._mentions_action(text, set())
        return any(
            self.might_be_action(node.value, self.names.home(node), node, seen)
            for node in self.operand_nodes(expr, scope)
        )

    def _leads_into_value(self, ref: Ref | None, scope: Scope) -> bool:
        if ref is None or not ref.tail or self.definition(ref, scope) is not None:
            return False  # A definition of a package tells by itself whether it is an operation.
        return not self.names.exact(ref, scope)

    def _mentions_action(self, text: Text, seen: set[int]) -> bool:
        if id(text) in seen:
            return False
        seen.add(id(text))
        if self.names.writes(text, "#do"):
            return True
        for ref, scope in self.names.refs_in(text):
            definition = self.definition(ref, scope)
            if definition is not None and definition.action is not None:
                return True
            if self.package(ref, scope) is not None and not ref.tail:
                return True
            nodes = (node for node in self.names.lookup(ref.name, scope) if id(node) not in self.live)
            if any(self._mentions_action(node, seen) for node in nodes):
                return True
        return False


def _live(struct: Struct) -> Iterator[int]:
    """The ids of all fields that are values of the template, not parts of definitions."""
    for decl in struct.decls:
        if isinstance(decl, Comprehension):
            yield from _live(decl.body)
        elif isinstance(decl, Field) and not decl.is_definition and not decl.pattern:
            yield id(decl)
            yield from _live_in(decl.value)
        elif isinstance(decl, Embed):
            yield from _live_in(decl.value)


def _live_in(expr: Expr) -> Iterator[int]:
    for struct in syntax.child_structs(expr):
        yield from _live(struct)
