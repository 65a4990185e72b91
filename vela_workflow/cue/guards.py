"""Guards that are total, and guards that fail.

A guard (``if C {…}``, ``for x in E {…}``) whose condition cannot be decided contributes nothing (decisions 3), so
``make_total`` wraps every condition of a template. That alone would also hide a condition that is *wrong*: one that
divides by zero, or compares text with a number. Nothing fails because of it, but somebody should be told.

So a program asks about its guards too. ``find`` makes a question of each: a list that holds the condition, taken out of
its place and put behind the clauses that stand around it there, so that it is only asked where it counts and loop
variables keep their meaning. What is *not yet* known leaves such a list alone; what is wrong makes an error of it. That
tells the two apart inside the pass that is made anyway, and CUE is asked for the reason only where there is one.

A question stands at the top of the template. A name that means something else there is written as the path that leads
to its field; where no path does (to the fields of definitions, patterns and list elements, and below computed labels)
the guard is not asked about. Conditions that only ask whether something exists cannot fail and cost nothing. A guard
of a list, one that is neither true nor false, and a loop over a number fail what they stand in, and need no telling.
"""

from __future__ import annotations

import bisect
import dataclasses
import re
from collections.abc import Iterator, Sequence

from vela_workflow.cue import rewrite, syntax, values
from vela_workflow.cue.names import Names, Node, Scope, Variable
from vela_workflow.cue.rewrite import Rewrite
from vela_workflow.cue.survey import label
from vela_workflow.cue.syntax import Clause, Comprehension, Expr, Field, File, Let, Ref, Struct

ASKED = 200
"""How many guards of a template are asked about, so that none makes its programs much longer than it is itself."""

DEEPEST = 30
"""Behind how many clauses and bindings a guard may stand to be asked about."""

LONGEST = 4096
"""How many characters the condition of a guard that is asked about may have, and of each around it."""

SHOWN = 160
"""How many characters of a guard a message shows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Guard:
    """A condition that can fail: as it is written, where, and the list that is an error when it does."""

    text: str
    line: int
    column: int
    question: str


def make_total(text: str, struct: Struct, edit: Rewrite) -> None:
    """Make the guards of comprehensions in struct position total: an undecided one contributes nothing.

    The choice stands inside a list. As a clause of its own, ``if (C) != _|_ if C``, it makes CUE see cycles that
    are none where a later guard asks about a struct that earlier guards fill.
    """
    for decl in struct.decls:
        if isinstance(decl, Comprehension):
            for clause in decl.clauses:
                if clause.kind != "let":
                    edit.wrap(clause.expr.start, clause.expr.end, *_total(clause, _cut(text, clause.expr)), rank=-1)
                _total_inside(text, clause.expr, edit)
            make_total(text, decl.body, edit)
        else:
            _total_inside(text, decl.value, edit)


def _total_inside(text: str, expr: Expr, edit: Rewrite) -> None:
    for struct in expr.structs:
        make_total(text, struct, edit)
    for inner in expr.inner:
        _total_inside(text, inner, edit)
    for literal in expr.lists:
        for element in literal.elements:
            if isinstance(element, Comprehension):
                make_total(text, element.body, edit)
            else:
                _total_inside(text, element, edit)


def _total(clause: Clause, condition: str) -> tuple[str, str]:
    """What goes before and behind a condition to make it total."""
    otherwise = "false" if clause.kind == "if" else "[]"
    return f"[if ({condition}) != _|_ {{", f"}}, {otherwise}][0]"


def find(file: File, names: Names) -> tuple[Guard, ...]:
    """The guards of a scanned template that can fail and be asked about, in the order of the text."""
    finder = _Finder(file, names)
    finder.struct(file.body, (), ())
    return tuple(finder.guards())


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Link:
    """A clause, or a ``let``, that stands around a guard; ``head`` is its text before the expression."""

    kind: str
    head: str
    expr: Expr
    clause: Clause | None = None

    def binds(self, node: Node) -> bool:
        """Whether a name that means ``node`` is bound here."""
        return (node.expr if isinstance(node, Variable) else node.value) is self.expr


_Chain = tuple[_Link, ...]
_Labels = tuple[str, ...] | None
"""The labels that lead to a struct from the top; ``None`` where labels alone do not."""


class _OutOfReach(Exception):
    """A name cannot be used at the top of the template."""


class _Finder:
    def __init__(self, file: File, names: Names) -> None:
        self._text = file.text
        self._names = names
        self._refs = sorted(names.refs, key=lambda pair: pair[0].start)
        self._starts = [ref.start for ref, _ in self._refs]
        self._paths: dict[int, tuple[str, ...]] = {}
        self._found: list[_Chain] = []

    # The walk.

    def struct(self, struct: Struct, labels: _Labels, chain: _Chain) -> None:
        if struct is not self._names.root.struct:
            lets = (decl for decl in struct.decls if isinstance(decl, Let))
            chain += tuple(_Link("let", f"let {decl.name} = ", decl.value) for decl in lets)
        for decl in struct.decls:
            if isinstance(decl, Comprehension):
                self._comprehension(decl, labels, chain, total=True)
            elif isinstance(decl, Field):
                self._field(decl, labels, chain)
            else:
                self._expr(decl.value, None if isinstance(decl, Let) else labels, chain)

    def _field(self, field: Field, labels: _Labels, chain: _Chain) -> None:
        plain = field.name is not None and field.optional_at < 0 and not field.is_definition
        path = None
        if labels is not None and field.name is not None and plain:
            path = self._paths[id(field)] = (*labels, label(field.name, quoted=field.quoted))
        self._expr(field.value, path, chain)

    def _expr(self, expr: Expr, labels: _Labels, chain: _Chain) -> None:
        whole = list(syntax.child_structs(expr)) if expr.is_conjunction else []
        for struct in expr.structs:
            self.struct(struct, labels if struct in whole else None, chain)
        for inner in expr.inner:
            grouped = expr.is_conjunction and any(operand.group is inner for operand in expr.operands)
            self._expr(inner, labels if grouped else None, chain)
        for literal in expr.lists:
            for element in literal.elements:
                if isinstance(element, Comprehension):
                    self._comprehension(element, None, chain, total=False)
                else:
                    self._expr(element, None, chain)

    def _comprehension(self, comprehension: Comprehension, labels: _Labels, chain: _Chain, *, total: bool) -> None:
        """``total`` tells whether this one hides what fails: in a list it does not, the list itself fails."""
        for clause in comprehension.clauses:
            self._expr(clause.expr, None, chain)
            link = _Link(clause.kind, self._text[clause.start : clause.expr.start], clause.expr, clause)
            chain += (link,)
            if total and clause.kind != "let" and not _only_asks(self._text, clause.expr):
                self._note(chain)
        self.struct(comprehension.body, labels, chain)

    def _note(self, chain: _Chain) -> None:
        bounded = all(link.expr.end - link.expr.start <= LONGEST for link in chain) and len(chain) <= DEEPEST
        if bounded and len(self._found) < ASKED:
            self._found.append(chain)

    # The questions.

    def guards(self) -> Iterator[Guard]:
        """A guard for every chain that was found and can be asked about."""
        for chain in self._found:
            try:
                question = self._question(chain)
            except _OutOfReach:
                continue
            last = chain[-1]
            assert last.clause is not None
            line, column = rewrite.place(self._text, last.clause.start)
            yield Guard(_shortened(self._text[last.clause.start : last.expr.end]), line, column, question)

    def _question(self, chain: _Chain) -> str:
        """The list with the condition of the last link, behind those before it; bindings that it does not use go."""
        used: set[_Link] = set()
        condition = self._written(chain, len(chain) - 1, used)
        clauses: list[str] = []
        for index in range(len(chain) - 2, -1, -1):
            link = chain[index]
            if link.kind == "let" and link not in used:
                continue
            text = self._written(chain, index, used)
            clauses.insert(0, f"{'' if link.kind == 'let' else values.there(text)}{link.head}({text}) ")
        undecided = f"if [if ({condition}) == _|_ {{true}}, false][0] "
        if clauses and clauses[0].startswith("let "):
            clauses.insert(0, "if true ")  # a list cannot begin with a binding
        # A quoted label, so that no name in the condition can mean it.
        return f'[{"".join(clauses)}{undecided}{{"value": ({condition})}}]'

    def _written(self, chain: _Chain, index: int, used: set[_Link]) -> str:
        """The expression of a link as it can stand at the top; the links that it needs are added to ``used``."""
        expr = chain[index].expr
        edit = Rewrite(self._text)
        _total_inside(self._text, expr, edit)
        for ref, scope in self._within(expr):
            link = self._link(ref, scope, chain[:index])
            if link is not None:
                used.add(link)
                continue
            instead = self._instead(ref, scope, expr)
            if instead != ref.name:
                edit.insert(ref.start, instead)
                edit.cut(ref.start, ref.start + len(ref.name))
        return edit.write(expr.start, expr.end)[0]

    def _within(self, expr: Expr) -> Sequence[tuple[Ref, Scope]]:
        first = bisect.bisect_left(self._starts, expr.start)
        return self._refs[first : bisect.bisect_left(self._starts, expr.end)]

    def _link(self, ref: Ref, scope: Scope, before: _Chain) -> _Link | None:
        """The link that binds a name; a later one would bind it too late."""
        nodes = self._names.lookup(ref.name, scope)
        return next((link for link in before if any(link.binds(node) for node in nodes)), None)

    def _instead(self, ref: Ref, scope: Scope, expr: Expr) -> str:
        """What leads to the meaning of a name from the top."""
        if ref.name == "self":
            raise _OutOfReach
        nodes = self._names.lookup(ref.name, scope)
        if nodes == self._names.lookup(ref.name, self._names.root) or all(_is_inside(node, expr) for node in nodes):
            return ref.name
        path = self._paths.get(id(nodes[0]))
        if path is None:
            raise _OutOfReach
        top = self._names.lookup(path[0], self._names.root)
        if not top or self._names.lookup(path[0], scope) != top:
            raise _OutOfReach
        return values.selector_of(path[0], path[1:])


def _is_inside(node: Node, expr: Expr) -> bool:
    written = node.expr if isinstance(node, Variable) else node
    return expr.start <= written.start < expr.end


def _cut(text: str, expr: Expr) -> str:
    return text[expr.start : expr.end]


def _shortened(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 1]}…"


_QUESTION = re.compile(r"""[!(\s]*[\w$.#\[\]"-]+\s*[!=]=\s*_\|_[)\s]*""")


def _only_asks(text: str, expr: Expr) -> bool:
    """Whether a condition only asks whether values exist: ``a.b != _|_ && c == _|_``; that has an answer always."""
    shown = _cut(text, expr)
    if shown.endswith("_|_") and expr.operators in (["!=", "|"], ["==", "|"]):
        return True
    return all(_QUESTION.fullmatch(part) for part in re.split(r"&&|\|\|", shown))
