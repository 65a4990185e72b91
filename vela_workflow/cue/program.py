"""The text of one pass: a template, the data it is read with, and the questions that are asked of it.

See ``docs/architecture.md`` (Rendering) for the form of a program and why it is so. In short: the template stands in a
file-level ``let``, with a marker beside every operation; operations that have run are replaced by their results; a
query asks, operation by operation, whether it is there and what its arguments are, so that an error in one place hides
nothing in another.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vela_workflow.cue import rewrite, scanner, sites
from vela_workflow.cue.rewrite import Piece, Rewrite, SourceMap
from vela_workflow.cue.scanner import Comprehension, Field, Struct
from vela_workflow.cue.sites import Computed, Key, Position, Site
from vela_workflow.cue.template import Template

Path = tuple[str | int, ...]
OUT = "OUT"
"""What a program is asked for; the same in all, so that one command can be asked for many."""
SEPARATOR = "\u001f"
"""Joins computed labels to one table key; it cannot occur in a label that anybody types."""


@dataclasses.dataclass(frozen=True, slots=True)
class Data:
    """What a template is read with. ``parameter`` and ``context`` are JSON objects.

    ``results`` are those of operations that have run, by path: in the new form merged over the action, in the legacy
    form with the live object in the place of what was written.
    """

    parameter: Mapping[str, Any]
    context: Mapping[str, Any]
    results: Mapping[Path, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Output:
    """An expression asked for beside the operations; ``candidates`` are tried in order.

    ``imports`` are pairs of name and path that it needs; ``reach`` are the fields that it can depend on.
    """

    name: str
    candidates: tuple[str, ...]
    imports: tuple[tuple[str, str], ...] = ()
    reach: frozenset[int] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """A program, ready for the ``cue`` command: its text and the way back from its positions."""

    text: str
    source_map: SourceMap
    tag: str

    @property
    def explain_name(self) -> str:
        """The name under which ``explaining`` exports the value in question."""
        return f"E_{self.tag}"

    def explaining(self, path: Path, *inner: str) -> str:
        """This program with the value at ``path`` under ``explain_name``, to be told what is wrong with it."""
        selector = selector_of(f"W_{self.tag}", path) + "".join(f".{name}" for name in inner)
        return f"{self.text}{self.explain_name}: {selector}\n"


def selector_of(root: str, path: Iterable[str | int]) -> str:
    """A CUE selector that leads from ``root`` along ``path``."""
    return root + "".join(_selector(part) for part in path)


def _selector(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    if part.isidentifier() or (part[:1] in "_#$" and part.replace("#", "_").replace("$", "_").isidentifier()):
        return f".{part}"
    return f"[{json.dumps(part)}]"


class Builder:
    """Writes the programs of one template."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.tag = template.tag

    # Names of ours.

    def name(self, word: str) -> str:
        """A name of ours that no name of the template can collide with."""
        return f"{word}_{self.tag}"

    def output_name(self, index: int, attempt: int) -> str:
        """The hidden field that holds a candidate of an output."""
        return f"_o{index}_{attempt}_{self.tag}"

    # Programs.

    def program(self, data: Data, outputs: Sequence[Output], *, dropped: frozenset[str]) -> Program:
        """The program of a pass; ``dropped`` are the import paths to leave out because nothing uses them."""
        body, body_pieces = self._body(data).write()
        checked, checked_pieces = self._checked()
        parts = _Parts()
        parts.add("package p\n")
        parts.add(self._imports(dropped, outputs))
        parts.add(f'let {self.name("W")} = {{"sent": true\n')
        parts.add(body, body_pieces)
        parts.add(f"\nparameter: {_json(data.parameter)}\ncontext: {_json(data.context)}\n")
        for index, output in enumerate(outputs):
            for attempt, text in enumerate(output.candidates):
                parts.add(f"{self.output_name(index, attempt)}: {{\n{text}\n}}\n")
        parts.add("}\n")
        parts.add(self._tables(data))
        if checked:
            parts.add(f"let {self.name('P')} = {{\n")
            parts.add(checked, checked_pieces)
            parts.add(f"\nparameter: {_json(data.parameter)}\ncontext: {_json(data.context)}\n}}\n")
        parts.add(self._query(data, outputs, checked=bool(checked)))
        return Program(parts.text(), SourceMap(parts.text(), self.template.text, parts.pieces), self.tag)

    def check_program(self, data: Data, *, dropped: frozenset[str]) -> Program:
        """The program that holds ``parameter`` against its schema and nothing else, for ``cue vet``.

        Values of ``TOP`` in the parameters are left open.
        """
        checked, pieces = self._checked()
        parts = _Parts()
        parts.add("package p\n")
        parts.add(self._imports(dropped, (), within=checked))
        parts.add(checked, pieces)
        parts.add(f"\nparameter: {_cue(data.parameter)}\ncontext: {_json(data.context)}\n")
        return Program(parts.text(), SourceMap(parts.text(), self.template.text, parts.pieces), self.tag)

    def _imports(self, dropped: frozenset[str], outputs: Sequence[Output], *, within: str = "") -> str:
        text = within or self.template.text
        lines = [f'import {self.name("J")} "encoding/json"\n'] if not within else []
        used = text + "\n".join(candidate for output in outputs for candidate in output.candidates)
        for found in self.template.imports:
            package = self.template.library.packages.get(found.path)
            name = found.alias or (package.identifier if package else found.name)
            if found.path in dropped or f"{name}." not in used:
                continue
            path = package.program_path if package else found.path
            lines.append(f"import {name} {json.dumps(path)}\n")
        for name, path in {pair for output in outputs for pair in output.imports}:
            line = f"import {name} {json.dumps(path)}\n"
            if line not in lines:
                lines.append(line)
        return "".join(lines)

    # The template's text with markers and results.

    def _body(self, data: Data) -> Rewrite:
        edit = Rewrite(self.template.text)
        for start, end in self.template.file.preamble:
            edit.cut(start, end)
        self._guards(self.template.file.body, edit)
        for number, clause in self._used_loops().items():
            self._loop(number, clause, edit)
        for number, (field, _) in self.template.survey.computed.items():
            self._label(number, field, edit)
        for site in self.template.survey.sites:
            self._mark(site, edit)
        self._results(data, edit)
        return edit

    def _guards(self, struct: Struct, edit: Rewrite) -> None:
        """Make the guards of comprehensions in struct position total: an undecided one contributes nothing.

        The choice stands inside a list. As a clause of its own, ``if (C) != _|_ if C``, it makes CUE see cycles that
        are none where a later guard asks about a struct that earlier guards fill.
        """
        for decl in struct.decls:
            if isinstance(decl, Comprehension):
                for clause in decl.clauses:
                    if clause.kind != "let":
                        text = self.template.text[clause.expr.start : clause.expr.end]
                        otherwise = "false" if clause.kind == "if" else "[]"
                        before = f"[if ({text}) != _|_ {{"
                        edit.wrap(clause.expr.start, clause.expr.end, before, f"}}, {otherwise}][0]", rank=-1)
                    self._guards_in(clause.expr, edit)
                self._guards(decl.body, edit)
            else:
                self._guards_in(decl.value, edit)

    def _guards_in(self, expr: scanner.Expr, edit: Rewrite) -> None:
        for struct in expr.structs:
            self._guards(struct, edit)
        for inner in expr.inner:
            self._guards_in(inner, edit)
        for literal in expr.lists:
            for element in literal.elements:
                if isinstance(element, Comprehension):
                    self._guards(element.body, edit)
                else:
                    self._guards_in(element, edit)

    def _used_loops(self) -> dict[int, scanner.Clause]:
        used = {number for site in self.template.survey.sites for number in site.loops}
        used |= {number for _, loops in self.template.survey.computed.values() for number in loops}
        return {number: self.template.survey.loops[number] for number in sorted(used)}

    def _loop(self, number: int, clause: scanner.Clause, edit: Rewrite) -> None:
        key = clause.names[0]
        if key in ("", "_"):
            inserted = f"j{number}_{self.tag}"
            edit.insert(clause.names_start, inserted + (", " if not key else ""))
            if key:
                edit.cut(clause.names_start, clause.names_start + 1)
            key = inserted
        edit.insert(clause.end, f" let {self._index(number)} = {key}", size=-1)

    def _index(self, number: int) -> str:
        return f"i{number}_{self.tag}"

    def _label(self, number: int, field: Field, edit: Rewrite) -> None:
        """Give a computed label a name, so that the marker table and the field itself use the same value."""
        name = f"l{number}_{self.tag}"
        label = self.template.text[field.label_start : field.label_end]
        loops = next(loops for found, loops in self.template.survey.computed.values() if found is field)
        index = "/".join(f"\\({self._index(loop)})" for loop in loops)
        marker = f'let {name} = {label}, {self._table(number)}: ({name}): "{index}": true, '
        self._beside(field, marker, edit)
        edit.insert(field.label_start, f"({name})", size=-2)
        edit.cut(field.label_start, field.label_end)

    def _table(self, number: int) -> str:
        return f"_t{number}_{self.tag}"

    def _beside(self, field: Field, marker: str, edit: Rewrite) -> None:
        """Write ``marker`` as a sibling before a field; a field inside a label chain gets braces of its own."""
        if field.chained:
            edit.wrap(field.start, field.value.end, "{" + marker, "}", rank=1)
        else:
            edit.insert(field.start, marker, size=field.end - field.start, rank=1)

    def _mark(self, site: Site, edit: Rewrite) -> None:
        field = site.field
        if site.presence == sites.MARKER and field is not None:
            self._beside(field, f"_m{site.number}_{self.tag}: true, ", edit)
            optional = field.optional_at
            if optional >= 0 and self.template.text[optional] == "?":
                edit.cut(optional, optional + 1)
        elif site.presence == sites.ELEMENT:
            marker = f"#s{site.number}_{self.tag}: true"
            if isinstance(site.text, Comprehension):
                edit.insert(site.start + 1, f"{marker}, ", size=-1)
            else:
                edit.wrap(site.start, site.end, f"{{{marker}}} & (", ")", rank=2)

    # Results.

    def _results(self, data: Data, edit: Rewrite) -> None:
        if not data.results:
            return
        anchors: set[tuple[int, int, int]] = set()
        for site in self.template.survey.sites:
            found = [path for path in data.results if matches(site, path)]
            if not found:
                continue
            if site.anchor is not None:
                key = (site.anchor.start, site.anchor.end, site.anchor.depth)
                if key not in anchors:
                    anchors.add(key)
                    self._unify(site, data, edit)
            elif site.is_static:
                edit.wrap(site.start, site.end, f"[{_json(data.results[found[0]])}, ", "][0]")
            else:
                entry = self._entry(site.path, site.number)
                edit.wrap(site.start, site.end, f"[if {entry} != _|_ {{{entry}}}, ", "][0]")

    def _entry(self, path: Sequence[sites.Segment], number: int) -> str:
        labels = [f"l{segment.number}_{self.tag}" for segment in path if isinstance(segment, Computed)]
        key = SEPARATOR_ESCAPE.join(f"\\({label})" for label in labels)
        return f'{self.name("R")}.r{number}["{key}"]'

    def _unify(self, site: Site, data: Data, edit: Rewrite) -> None:
        anchor = site.anchor
        assert anchor is not None
        prefix = site.path[: anchor.depth]
        if any(isinstance(segment, Computed) for segment in prefix):
            entry = self._entry(prefix, self._anchor_number(anchor))
            added = f"[if {entry} != _|_ {{{entry}}}, _][0]"
        else:
            added = _cue(self._below(data, tuple(_written(segment) for segment in prefix)))
        edit.wrap(anchor.start, anchor.end, "(", f") & {added}", rank=3)

    @staticmethod
    def _anchor_number(anchor: sites.Anchor) -> int:
        return 1_000_000 + anchor.start

    def _below(self, data: Data, prefix: Path) -> Any:
        """All results below a path, as one nested value; gaps in lists are ``Top``."""
        tree: Any = None
        for path, result in data.results.items():
            if path[: len(prefix)] == prefix:
                tree = _put(tree, path[len(prefix) :], result)
        return tree

    def _tables(self, data: Data) -> str:
        """The results of operations under computed labels, by site and labels."""
        tables: dict[str, dict[str, Any]] = {}
        for site in self.template.survey.sites:
            for path in data.results:
                if not matches(site, path) or site.is_static:
                    continue
                if site.anchor is None:
                    key = SEPARATOR.join(str(path[i]) for i, s in enumerate(site.path) if isinstance(s, Computed))
                    tables.setdefault(f"r{site.number}", {})[key] = data.results[path]
                    continue
                prefix = site.path[: site.anchor.depth]
                if any(isinstance(segment, Computed) for segment in prefix):
                    key = SEPARATOR.join(str(path[i]) for i, s in enumerate(prefix) if isinstance(s, Computed))
                    table = tables.setdefault(f"r{self._anchor_number(site.anchor)}", {})
                    table[key] = self._below(data, path[: site.anchor.depth])
        if not tables:
            return ""
        body = ", ".join(
            f"{name}: {{{', '.join(f'{json.dumps(key)}: {_cue(value)}' for key, value in table.items())}}}"
            for name, table in tables.items()
        )
        return f"let {self.name('R')} = {{{body}}}\n"

    # The schema of the parameters.

    def _checked(self) -> tuple[str, list[Piece]]:
        spans = self.template.parameter_spans
        if not spans:
            return "", []
        edit = Rewrite(self.template.text)
        self._guards(self.template.file.body, edit)
        text = ""
        pieces: list[Piece] = []
        for start, end in spans:
            part, found = edit.write(start, end)
            pieces.extend(rewrite.Piece(piece.start + len(text), piece.source, piece.length) for piece in found)
            text += part + "\n"
        return text, pieces

    # The query.

    def _query(self, data: Data, outputs: Sequence[Output], *, checked: bool) -> str:
        root = self.name("W")
        marshal = f"{self.name('J')}.Marshal"
        lines = [f'{OUT}: {{"alive": ({root}["sent"]) != _|_']
        if checked:
            lines.append(f'"param": ({marshal}({self.name("P")}.parameter)) != _|_')
        acts = [self._ask(index, site, data) for index, site in enumerate(self.template.survey.sites)]
        lines.append('"acts": [\n' + "".join(act for act in acts if act) + "]")
        odd = [
            f"if ({selector_of(root, (name,))}) == _|_ {{{json.dumps(name)}}}"
            for name in dict.fromkeys(self.template.survey.plain)
        ]
        if odd:
            lines.append(f'"odd": [{", ".join(odd)}]')
        for index, output in enumerate(outputs):
            asked = []
            for attempt in range(len(output.candidates)):
                value = f"{marshal}({root}.{self.output_name(index, attempt)})"
                asked.append(f'if ({value}) != _|_ {{"{attempt}": {value}}}')
            lines.append(f'"out{index}": {{{", ".join(asked)}}}')
        return ", ".join(lines) + "}\n"

    def _ask(self, index: int, site: Site, data: Data) -> str:
        """The entry of one site: present or not, its open labels, its arguments as JSON."""
        if site.is_static and static_path(site) in data.results:
            return ""
        marshal = f"{self.name('J')}.Marshal"
        current = self.name("W")
        conditions: list[str] = []
        keys: list[str] = []
        indexes: list[str] = []
        for depth, segment in enumerate(site.path):
            last = depth == len(site.path) - 1
            if isinstance(segment, Key):
                if last and site.presence == sites.MARKER:
                    conditions.append(f"if ({current}._m{site.number}_{self.tag}) != _|_ ")
                current += _selector(segment.name)
            elif isinstance(segment, Position) and segment.index is not None:
                current += f"[{segment.index}]"
            else:
                key, inner = f"k{depth}", f"e{depth}"
                source = f"{current}.{self._table(segment.number)}" if isinstance(segment, Computed) else current
                conditions.append(f"if ({source}) != _|_ for {key}, {inner} in {source} ")
                keys.append(key if isinstance(segment, Position) else f'"\\({key})"')
                if isinstance(segment, Computed):
                    indexes.append(inner)
                current += f"[{key}]"
        if site.presence == sites.ELEMENT:
            conditions.append(f"if ({current}.#s{site.number}_{self.tag}) != _|_ ")
        elif site.presence == sites.REFERENCE:
            conditions.append(f"if ({current}.#do) != _|_ ")
        return f'{"".join(conditions)}{{"s": {index}, {self._details(site, current, keys, indexes, marshal)}}},\n'

    def _details(self, site: Site, current: str, keys: list[str], indexes: list[str], marshal: str) -> str:
        parts = []
        if keys:
            parts.append(f'"k": [{", ".join(keys)}]')
        if indexes:
            parts.append(f'"i": [{", ".join(indexes)}]')
        if site.presence == sites.REFERENCE:
            parts.append(f'if ({current}.#do) != _|_ {{"do": {current}.#do}}')
            parts.append(f'if ({current}.#provider) != _|_ {{"p": {current}.#provider}}')
            parts.append(f'if ({current}.$params) != _|_ {{"n": true}}')
        if site.action is not None and site.action.do == "wait":
            base = current if site.action.legacy else f"{current}.$params"
            for key, field in (("c", "continue"), ("m", "message")):
                value = f"{marshal}({base}.{field})"
                parts.append(f'if ({value}) != _|_ {{"{key}": {value}}}')
        else:
            parts.append(f'if ({marshal}({current})) != _|_ {{"v": {marshal}({current})}}')
        return ", ".join(parts)


SEPARATOR_ESCAPE = "\\u001f"


class _Top:
    """CUE's ``_``: says nothing about a value."""


TOP = _Top()


class _Padded(list[Any]):
    """The known elements of a list that may have more; gaps are ``TOP``."""


def matches(site: Site, path: Path) -> bool:
    """Whether a path that an evaluation told can be that of a site."""
    if len(site.path) != len(path):
        return False
    for segment, part in zip(site.path, path, strict=True):
        if isinstance(segment, Key) and segment.name != part:
            return False
        if isinstance(segment, Position) and (not isinstance(part, int) or segment.index not in (None, part)):
            return False
    return True


def static_path(site: Site) -> Path:
    """The path of a site without open segments."""
    return tuple(_written(segment) for segment in site.path)


def _written(segment: sites.Segment) -> str | int:
    if isinstance(segment, Key):
        return segment.name
    if isinstance(segment, Position) and segment.index is not None:
        return segment.index
    return ""


def _put(tree: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    head = path[0]
    if isinstance(head, int):
        items = _Padded(tree) if isinstance(tree, _Padded) else _Padded()
        items += [TOP] * (head + 1 - len(items))
        items[head] = _put(None if items[head] is TOP else items[head], path[1:], value)
        return items
    fields = dict(tree) if isinstance(tree, dict) else {}
    fields[head] = _put(fields.get(head), path[1:], value)
    return fields


def _cue(value: Any) -> str:
    """A nested value as CUE: JSON, with ``_`` for what is not known and lists left open."""
    if value is TOP or value is None:
        return "_" if value is TOP else "null"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {_cue(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_cue(item) for item in value) + (", ...]" if isinstance(value, _Padded) else "]")
    return _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Parts:
    """The pieces of a program while it is written."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._length = 0
        self.pieces: list[Piece] = []

    def add(self, text: str, pieces: Sequence[Piece] = ()) -> None:
        self.pieces.extend(Piece(piece.start + self._length, piece.source, piece.length) for piece in pieces)
        self._texts.append(text)
        self._length += len(text)

    def text(self) -> str:
        return "".join(self._texts)
