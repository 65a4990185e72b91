"""Where the operations of a template are written.

A *site* is a place in the text that can hold an operation. ``find`` walks a scanned template and lists all of them
with what is needed to ask for them and to run them in order (decisions 1, 2):

- the *path* that leads to it, in which computed labels and list positions are left open until the program is
  evaluated,
- how its *presence* is told: by a marker that is put beside it, by a marker inside a list element, or, where the
  operation comes from a reference, by its ``#do``,
- whether a *guard* stands around it (else it must be there, or the step fails: success by absence does not exist),
- its place in the *order*: ``@step(n)`` first, then position in the text, children before the one that holds them,
- which fields its text and guards *reach*.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping

from vela_workflow.cue import elsewhere, shapes, syntax, tags
from vela_workflow.cue.actions import Actions
from vela_workflow.cue.library import Action, CuePackage
from vela_workflow.cue.names import Names, Scope, Text
from vela_workflow.cue.survey import (
    ELEMENT,
    LAST,
    MARKER,
    REFERENCE,
    TABLE,
    Anchor,
    AnyKey,
    Computed,
    Key,
    Loop,
    OrderKey,
    Place,
    Position,
    Segment,
    Site,
    Survey,
    label,
)
from vela_workflow.cue.syntax import Comprehension, Embed, Expr, Field, File, ListLit, Operand, Ref, Struct

__all__ = ["Site", "Survey", "find"]

MERGING = frozenset({"apply", "patch", "patch-k8s-object"})
"""Operations with an argument ``patch`` whose comments steer the merge."""

VALUE = "value"
"""Where operations of the flat form have the object that they are given, and the live one afterwards."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Here:
    """Where the walk stands.

    In what becomes part of another struct, a comprehension or an embedded struct, ``joins`` is the order of that one.
    """

    path: tuple[Segment, ...] = ()
    order: OrderKey = ()
    joins: OrderKey | None = None
    guarded: bool = False
    loops: tuple[int, ...] = ()
    owner: Field | None = None
    embedded: Expr | None = None
    anchor: Anchor | None = None

    def step(self, **changes: object) -> _Here:
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


_Inner = tuple[tuple[Segment, ...], OrderKey, Action | None]

_STEP = re.compile(r"@step\((\d+)\)")


def find(file: File, packages: Mapping[str, CuePackage]) -> Survey:
    """List the sites of a scanned template; ``packages`` maps the identifiers it imports to packages of ours."""
    return _Finder(file, packages).survey()


class _Finder:
    def __init__(self, file: File, packages: Mapping[str, CuePackage]) -> None:
        self.file = file
        self.names = Names(file.body)
        self.actions = Actions(file.body, packages, self.names)
        self.result = Survey([], self.names, {}, {}, [])
        self.number = 0
        self.values: list[tuple[tuple[Segment, ...], int, int]] = []

    def survey(self) -> Survey:
        self.walk_struct(self.file.body, self.names.root, _Here())
        self.names.set_opaque(site.field for site in self.result.sites if site.field is not None and not site.mirrored)
        for site in self.result.sites:
            site.reach = self.names.reach([site.text]) | self.names.inside(site.text)
            if site.mirrored:
                # What stands beside it in the other text is told by the same field.
                site.reach |= {site.identity}
            if isinstance(site.text, Field) and site.action is not None and site.action.do in MERGING:
                site.tags = tags.of_patch(self.file.text, site.text.value)
            site.additions = tuple(self._additions(site))
        self.result.problems.extend(self._unknown_names())
        self._strange_fields()
        self.result.plain.extend(self._plain_fields())
        return self.result

    def _plain_fields(self) -> Iterator[str]:
        """Top-level fields without operations: an error in one of them fails nothing, but is worth a warning."""
        acting = {site.path[0].name for site in self.result.sites if isinstance(site.path[0], Key)}
        for decl in self.file.body.decls:
            if not isinstance(decl, Field) or decl.name is None or decl.optional_at >= 0:
                continue
            if not decl.name.startswith(("_", "#")) and decl.name not in {*acting, "parameter", "context"}:
                yield decl.name

    def _additions(self, site: Site) -> Iterator[tuple[int, int]]:
        """What other declarations add to an object that the result of an operation of the flat form replaces."""
        if site.action is None or not site.action.legacy or not site.is_static or site.anchor is not None:
            return
        for path, start, end in self.values:
            outside = end <= site.start or site.end <= start
            holds_another = any(start <= other.start < end for other in self.result.sites)
            if path == (*site.path, Key(VALUE)) and outside and not holds_another:
                yield start, end

    def next_number(self) -> int:
        self.number += 1
        return self.number - 1

    # Walking.

    def walk_struct(self, struct: Struct, scope: Scope, here: _Here) -> None:
        for decl in struct.decls:
            if isinstance(decl, Field):
                self.walk_field(decl, scope, here)
            elif isinstance(decl, Comprehension):
                self.walk_comprehension(decl, here, (1, decl.start))
            elif isinstance(decl, Embed) and not decl.ellipsis:
                joins = here.order if here.joins is None else here.joins
                inner = here.step(order=(*here.order, (1, decl.start)), joins=joins, embedded=decl.value)
                self.walk_nested(decl.value, scope, inner)

    def walk_comprehension(self, comprehension: Comprehension, here: _Here, level: tuple[int, int]) -> None:
        order: list[tuple[int, int] | Loop | Place] = [*here.order, level]
        loops = list(here.loops)
        for clause in comprehension.clauses:
            if clause.kind == "for":
                number = self.next_number()
                self.result.loops[number] = clause
                loops.append(number)
                order.append(Loop(number))
        joins = here.order if here.joins is None else here.joins
        inner = here.step(order=tuple(order), joins=joins, guarded=True, loops=tuple(loops))
        self.walk_struct(comprehension.body, self.names.scope_of(comprehension.body), inner)

    def walk_field(self, field: Field, scope: Scope, here: _Here) -> None:
        if field.is_definition or (not here.path and field.name in ("parameter", "context")):
            return
        if field.pattern:
            self._pattern(field, scope, here)
            return
        segment: Segment = _key(field) or Computed(self.next_number(), field)
        inner = here.step(path=(*here.path, segment), order=_order(field, here), joins=None, owner=field)
        if field.name == VALUE:
            self.values.append((inner.path, _value_start(field.value), field.value.end))
        before = len(self.result.sites)
        self.walk_value(field.value, scope, inner, field, text=field)
        if isinstance(segment, Computed) and len(self.result.sites) > before:
            self.result.computed[segment.number] = (field, here.loops)

    def walk_value(self, expr: Expr, scope: Scope, here: _Here, field: Field | None, *, text: Text) -> None:
        """What stands inside a value, then the value itself."""
        if field is not None:
            scope = self.names.home(field)
        self.walk_nested(expr, scope, here)
        action = self.actions.action_of(expr, scope)
        if action is not None or self.actions.may_be_action(expr, scope):
            self._add(expr, scope, here, field, action, text=text)
        elif self.actions.guarded_action(expr, scope) or self.actions.might_be_action(expr, scope, text, set()):
            self._add(expr, scope, here.step(guarded=True), field, None, text=text)

    def walk_nested(self, expr: Expr, scope: Scope, here: _Here) -> None:
        for operand in expr.operands:
            if operand.struct is not None:
                self.walk_struct(operand.struct, self.names.scope_of(operand.struct), here)
            elif operand.group is not None:
                self.walk_nested(operand.group, scope, here)
            elif operand.list is not None:
                self.walk_list(operand.list, scope, here)
        if expr.is_conjunction:
            self._mirror(expr, scope, here)

    def walk_list(self, literal: ListLit, scope: Scope, here: _Here) -> None:
        open_list = any(isinstance(element, Comprehension) for element in literal.elements)
        if open_list and here.anchor is None:
            here = here.step(anchor=Anchor(literal.start, literal.end, len(here.path)))
        for index, element in enumerate(literal.elements):
            place = Position(None if open_list else index)
            order = (*here.order, Place(len(here.path)) if open_list else (1, index))
            inner = here.step(path=(*here.path, place), order=order, joins=None)
            if isinstance(element, Expr):
                self.walk_value(element, scope, inner, None, text=element)
            else:
                self._list_comprehension(element, inner)

    def _list_comprehension(self, comprehension: Comprehension, here: _Here) -> None:
        body = comprehension.body
        scope = self.names.scope_of(body)
        inner = here.step(guarded=True)
        value = Expr(body.start, body.end, [Operand(body.start, body.end, struct=body)], structs=[body])
        self.walk_struct(body, scope, inner)
        action = self.actions.action_of(value, scope)
        if action is not None or self.actions.may_be_action(value, scope):
            self._add(value, scope, inner, None, action, text=comprehension)

    # Operations that stand in text written elsewhere.

    def _mirror(self, expr: Expr, scope: Scope, here: _Here) -> None:
        for path, order, action in self._inside_refs(expr, scope, set()):
            self._add_mirrored(expr, here, path, order, action)

    def _pattern(self, field: Field, scope: Scope, here: _Here) -> None:
        """Operations that a pattern makes of the fields beside it: ``all: [string]: kube.#Apply``."""
        action = self.actions.action_of(field.value, scope)
        if here.owner is not None and (action is not None or self.actions.may_be_action(field.value, scope)):
            self._add_mirrored(here.owner.value, here, (AnyKey(),), ((1, field.start), LAST), action)

    def _inside_refs(self, expr: Expr, scope: Scope, seen: set[int]) -> Iterator[_Inner]:
        """Operations inside what the operands of a value refer to, relative to the value."""
        for ref, where in self.actions.operand_refs(expr, scope):
            definition = self.actions.definition(ref, where)
            for index, (labels, action) in enumerate(definition.nested if definition else ()):
                yield tuple(Key(name) for name in labels), ((1, index),), action
            for node in self.names.exact(ref, where):
                if id(node) not in self.actions.live and id(node) not in seen:
                    yield from self._inside_expr(node.value, self.names.home(node), seen | {id(node)})

    def _inside_expr(self, expr: Expr, scope: Scope, seen: set[int]) -> Iterator[_Inner]:
        for struct in syntax.child_structs(expr):
            yield from self._inside_struct(struct, self.names.scope_of(struct), seen, ())
        yield from self._inside_refs(expr, scope, seen)

    def _inside_struct(self, struct: Struct, scope: Scope, seen: set[int], prefix: OrderKey) -> Iterator[_Inner]:
        for decl in struct.decls:
            if isinstance(decl, Comprehension):
                inner_scope = self.names.scope_of(decl.body)
                yield from self._inside_struct(decl.body, inner_scope, seen, (*prefix, (1, decl.start)))
            elif isinstance(decl, Field) and not decl.is_definition and id(decl) not in seen:
                segment: Segment = _key(decl) or AnyKey()
                order: OrderKey = (*prefix, _level(decl))
                for path, rest, action in self._inside_expr(decl.value, scope, seen | {id(decl)}):
                    yield (segment, *path), (*order, *rest), action
                if self.actions.action_of(decl.value, scope) is not None or self.actions.may_be_action(
                    decl.value, scope
                ):
                    yield (segment,), (*order, LAST), None

    # Recording.

    def _add(
        self, expr: Expr, scope: Scope, here: _Here, field: Field | None, action: Action | None, *, text: Text
    ) -> None:
        if action is None:
            presence = REFERENCE
        elif field is None:
            presence = ELEMENT
        else:
            presence = MARKER if field.name is not None else TABLE
        number = self.next_number()
        if presence == TABLE and isinstance(here.path[-1], Computed):
            number = here.path[-1].number
        self.result.sites.append(
            Site(
                number=number,
                path=here.path,
                presence=presence,
                action=action,
                guarded=here.guarded,
                order=(*here.order, LAST),
                start=_value_start(expr),
                end=expr.end,
                loops=here.loops,
                field=field or here.owner,
                text=text,
                anchor=here.anchor,
                form=self._form(expr, scope) if action is not None else None,
            )
        )

    def _form(self, expr: Expr, scope: Scope) -> shapes.Form | None:
        """The definition that the value of an operation names as an operand, if its text tells what it takes."""
        for ref in (operand.ref for operand in expr.operands):
            shape = self._shape(ref, scope) if ref is not None else None
            if ref is not None and shape is not None:
                return shapes.Form(self.file.text[ref.start : ref.end], shape)
        return None

    def _add_mirrored(
        self, expr: Expr, here: _Here, path: tuple[Segment, ...], order: OrderKey, action: Action | None
    ) -> None:
        self.result.sites.append(
            Site(
                number=self.next_number(),
                path=(*here.path, *path),
                presence=REFERENCE,
                action=action,
                guarded=True,
                order=(*here.order, *order),
                start=_value_start(expr),
                end=expr.end,
                loops=here.loops,
                field=here.owner,
                text=here.owner or here.embedded or expr,
                mirrored=len(path),
                anchor=here.anchor or Anchor(_value_start(expr), expr.end, len(here.path), chained=_is_chain(expr)),
            )
        )

    def _strange_fields(self) -> None:
        """Arguments that the definitions of operations do not take."""
        for found in shapes.strange(self.file.body, self.names, self._shape, self.file.text):
            (self.result.problems if found.certain else self.result.doubts).append((found.message, found.offset))

    def _shape(self, ref: Ref, scope: Scope) -> shapes.Shape | None:
        definition = self.actions.definition(ref, scope)
        return definition.shape if definition is not None else None

    def _unknown_names(self) -> Iterator[tuple[str, int]]:
        """References to what a package of ours does not declare: CUE takes them for undecided for ever."""
        for ref, scope in self.names.refs:
            package = self.actions.package(ref, scope)
            name = ref.tail[0] if ref.tail else None
            if package is None or name is None or name in package.names:
                continue
            what = "operation" if name.startswith("#") else "field"
            advice = elsewhere.advice(name, package.names, elsewhere.OPERATIONS.get(package.path, {}))
            yield f"{package.path} has no {what} {name}{advice}", ref.start


def _level(field: Field) -> tuple[int, int]:
    """The place of a field among its siblings: those with ``@step(n)`` first, then as written."""
    return next(((0, int(m[1])) for text in field.attributes if (m := _STEP.match(text))), (1, field.start))


def _order(field: Field, here: _Here) -> OrderKey:
    """The order of a field; one with ``@step(n)`` has its turn among all that its struct is made of, loops too."""
    level = _level(field)
    if here.joins is None or level[0] != 0:
        return (*here.order, level)
    loops = [part for part in here.order[len(here.joins) :] if isinstance(part, Loop)]
    return (*here.joins, level, *loops, (1, field.start))


def _key(field: Field) -> Key | None:
    return Key(label(field.name, quoted=field.quoted)) if field.name is not None else None


def _is_chain(expr: Expr) -> bool:
    """Whether a value is written without braces of its own: ``a: b: 1``."""
    return any(operand.struct is not None and operand.struct.implicit for operand in expr.operands)


def _value_start(expr: Expr) -> int:
    """Where a value starts behind its alias ``X=``."""
    return expr.operands[0].start if expr.alias and expr.operands else expr.start
