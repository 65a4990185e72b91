"""The text of one pass: a template, the data it is read with, and the questions that are asked of it.

See ``docs/architecture.md`` (Rendering) for the form of a program and why it is so. In short: the template stands in a
file-level ``let``, with a marker beside every operation; operations that have run are replaced by their results; a
query asks, operation by operation, whether it is there and what its arguments are, so that an error in one place hides
nothing in another.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

from vela_workflow.cue import guards, rewrite, scanner, values
from vela_workflow.cue.data import Data, Output
from vela_workflow.cue.naming import OUT, Naming
from vela_workflow.cue.query import Query
from vela_workflow.cue.results import Results, static_path
from vela_workflow.cue.rewrite import Piece, Rewrite, SourceMap
from vela_workflow.cue.survey import ELEMENT, MARKER, Path, Site
from vela_workflow.cue.syntax import Clause, Comprehension, Field
from vela_workflow.cue.template import Template, free_refs

__all__ = ["OUT", "Builder", "Data", "Dropped", "Output", "Path", "Program", "static_path"]

Dropped = frozenset[tuple[str, str]]
"""Imports that nothing uses, as pairs of name and path."""


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
        selector = values.selector_of(f"W_{self.tag}", path) + "".join(f".{name}" for name in inner)
        return f"{self.text}{self.explain_name}: {selector}\n"


class Builder:
    """Writes the programs of one template; what all first passes have in common is written once."""

    def __init__(self, template: Template) -> None:
        self.template = template
        self.tag = template.tag
        self.names = Naming(template.tag)
        self._query = Query(template.survey, self.names, len(template.guards))
        self._first: tuple[str, list[Piece]] | None = None
        self._schema: tuple[str, list[Piece]] | None = None
        self._questions: dict[bool, str] = {}

    # Programs.

    def program(self, data: Data, outputs: Sequence[Output], *, dropped: Dropped) -> Program:
        """The program of a pass; ``dropped`` are the imports to leave out because nothing uses them."""
        body, body_pieces = self._written(data)
        checked, checked_pieces = self._checked()
        parts = _Parts()
        query = self._asked(data, outputs, checked=bool(checked))
        given = f"\nparameter: {values.as_json(data.parameter)}\ncontext: {values.as_json(data.context)}\n"
        parts.add("package p\n")
        parts.add(self._imports(dropped, outputs, self.template.free | _used(outputs)))
        if f"{self.names.json}." in query:
            parts.add(f'import {self.names.json} "encoding/json"\n')
        parts.add(f"let {self.names.name('W')} = {{{self.names.sentinel}: true\n")
        parts.add(body, body_pieces)
        parts.add(given)
        for index, output in enumerate(outputs):
            for attempt, text in enumerate(output.candidates):
                parts.add(f"{self.names.output(index, attempt)}: {{\n{text}\n}}\n")
        parts.add("".join(dict.fromkeys(f"{line}\n" for output in outputs for line in output.declared)))
        for number, guard in enumerate(self.template.guards):
            parts.add(f"{self.names.guard(number)}: {guard.question}\n")
        parts.add("}\n")
        parts.add(self._results(data).tables())
        if checked:
            parts.add(f"let {self.names.parameters} = {{\n")
            parts.add(checked, checked_pieces)
            parts.add(f"{given}}}\n")
        parts.add(query)
        return Program(parts.text(), SourceMap(parts.text(), self.template.text, parts.pieces), self.tag)

    def check_program(self, data: Data, *, dropped: Dropped) -> Program:
        """The program that holds ``parameter`` against its schema and nothing else, for ``cue vet``.

        Values of ``TOP`` in the parameters are left open.
        """
        checked, pieces = self._checked()
        parts = _Parts()
        parts.add("package p\n")
        parts.add(self._imports(dropped, (), _names_in(checked)))
        parts.add(checked, pieces)
        parts.add(f"\nparameter: {values.cue(data.parameter)}\ncontext: {values.as_json(data.context)}\n")
        return Program(parts.text(), SourceMap(parts.text(), self.template.text, parts.pieces), self.tag)

    def _imports(self, dropped: Dropped, outputs: Sequence[Output], used: frozenset[str]) -> str:
        """The import clauses: of the template those whose names are in ``used``, and those of the outputs."""
        packages = self.template.library.packages
        wanted = []
        for found in self.template.imports:
            package = packages.get(found.path)
            name = found.alias or (package.identifier if package else found.name)
            if name in used and (name, found.path) not in dropped:
                wanted.append((name, found.path))
        wanted.extend(pair for output in outputs for pair in output.imports)
        lines = []
        for name, path in dict.fromkeys(wanted):
            source = packages[path].program_path if path in packages else path.split(":", 1)[0]
            lines.append(f"import {name} {json.dumps(source)}\n")
        return "".join(lines)

    # The template's text with markers and results.

    def _written(self, data: Data) -> tuple[str, list[Piece]]:
        if data.results:
            return self._body(data).write()
        if self._first is None:
            self._first = self._body(data).write()
        return self._first

    def _asked(self, data: Data, outputs: Sequence[Output], *, checked: bool) -> str:
        if data.results or outputs:
            return self._query.text(data, outputs, checked=checked)
        if checked not in self._questions:
            self._questions[checked] = self._query.text(data, outputs, checked=checked)
        return self._questions[checked]

    def _body(self, data: Data) -> Rewrite:
        edit = Rewrite(self.template.text)
        for start, end in self.template.file.preamble:
            edit.cut(start, end)
        guards.make_total(self.template.text, self.template.file.body, edit)
        for number, clause in self._used_loops().items():
            self._loop(number, clause, edit)
        for number, (field, _) in self.template.survey.computed.items():
            self._label(number, field, edit)
        for site in self.template.survey.sites:
            self._mark(site, edit)
        self._results(data).put_in(edit)
        return edit

    def _used_loops(self) -> dict[int, Clause]:
        used = {number for site in self.template.survey.sites for number in site.loops}
        used |= {number for _, loops in self.template.survey.computed.values() for number in loops}
        return {number: self.template.survey.loops[number] for number in sorted(used)}

    def _loop(self, number: int, clause: Clause, edit: Rewrite) -> None:
        key = clause.names[0]
        if key in ("", "_"):
            inserted = self.names.key(number)
            edit.insert(clause.names_start, inserted + (", " if not key else ""))
            if key:
                edit.cut(clause.names_start, clause.names_start + 1)
            key = inserted
        edit.insert(clause.end, f" let {self.names.index(number)} = {self._place(clause, key)}", size=-1)

    def _place(self, clause: Clause, key: str) -> str:
        """The number of an iteration: the index in a list, the place among the keys of a struct."""
        source = self.template.text[clause.expr.start : clause.expr.end]
        if clause.expr.lists and clause.expr.lists[0].end == clause.expr.end:
            return key
        k, n = (f"{letter}_{self.tag}" for letter in "kn")
        places = f"for {n}, {k} in [for {k}, _ in {source} {{{k}}}] if {k} == {key} {{{n}}}"
        return f"[if ({key} & int) != _|_ {{{key}}}, if ({key} & int) == _|_ {places}][0]"

    def _label(self, number: int, field: Field, edit: Rewrite) -> None:
        """Give a computed label a name, so that the marker table and the field itself use the same value.

        The name is bound by a clause around the field: a ``let`` beside it would turn the order of the fields that a
        loop makes. A field with an alias has to stay where others see it, and not beside a ``let`` either: guards that
        ask for the alias would close it. There the label is written twice.
        """
        name = self.names.label(number)
        label = self.template.text[field.label_start : field.label_end]
        loops = next(loops for found, loops in self.template.survey.computed.values() if found is field)
        index = "/".join(f"\\({self.names.index(loop)})" for loop in loops)
        table = self.names.table(number)
        if field.alias:
            self._beside(field, f'{table}: {label}: "{index}": true, ', edit)
            return
        before, after = f'if true let {name} = {label} {{{table}: ({name}): "{index}": true, ', "}"
        if field.chained:
            before, after = "{" + before, after + "}"
        edit.wrap(field.start, field.end, before, after, rank=1)
        edit.insert(field.label_start, f"({name})", size=-2)
        edit.cut(field.label_start, field.label_end)

    def _beside(self, field: Field, marker: str, edit: Rewrite) -> None:
        """Write ``marker`` as a sibling before a field; a field inside a label chain gets braces of its own."""
        if field.chained:
            edit.wrap(field.start, field.value.end, "{" + marker, "}", rank=1)
        else:
            edit.insert(field.start, marker, size=field.end - field.start, rank=1)

    def _mark(self, site: Site, edit: Rewrite) -> None:
        field = site.field
        if site.presence == MARKER and field is not None:
            self._beside(field, f"{self.names.marker(site.number)}: true, ", edit)
            if field.optional_at >= 0:
                edit.cut(field.optional_at, field.optional_at + 1)
        elif site.presence == ELEMENT:
            marker = f"{self.names.element(site.number)}: true"
            if isinstance(site.text, Comprehension):
                edit.insert(site.start + 1, f"{marker}, ", size=-1)
            else:
                edit.wrap(site.start, site.end, f"{{{marker}}} & (", ")", rank=2)

    def _results(self, data: Data) -> Results:
        return Results(self.template.text, self.template.survey.sites, data.results, self.names)

    # The schema of the parameters.

    def _checked(self) -> tuple[str, list[Piece]]:
        if self._schema is not None:
            return self._schema
        spans = self.template.parameter_spans
        if not spans:
            return "", []
        edit = Rewrite(self.template.text)
        guards.make_total(self.template.text, self.template.file.body, edit)
        text = ""
        pieces: list[Piece] = []
        for start, end in spans:
            part, found = edit.write(start, end)
            pieces.extend(rewrite.Piece(piece.start + len(text), piece.source, piece.length) for piece in found)
            text += part + "\n"
        self._schema = text, pieces
        return self._schema


def _used(outputs: Sequence[Output]) -> frozenset[str]:
    return frozenset[str]().union(*(_names_in(text) for output in outputs for text in output.candidates))


def _names_in(text: str) -> frozenset[str]:
    """The names that a text uses and does not declare."""
    return frozenset(ref.name for ref, _ in free_refs(scanner.scan(text)))


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
