"""What is wrong with a definition, found before it is installed: every problem with its line and column.

Three looks are taken, each only when the one before found nothing: does the file read as a definition; is the template
sound as text (imports, operations, names); and do its values contradict each other while the parameters are open. A
value that is merely not known yet is no problem: that is how templates are.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.authoring import definitions, origin, reference
from vela_workflow.authoring.origin import Origin
from vela_workflow.cli.errors import CommandError
from vela_workflow.cli.rehearsal import CONTEXT, Stage
from vela_workflow.cue import messages, program, rewrite, shapes
from vela_workflow.cue.names import declared
from vela_workflow.cue.program import Data
from vela_workflow.cue.syntax import Comprehension, Field, Let, Struct
from vela_workflow.cue.template import Template

JSON = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A definition as a person wrote it: ``file`` as messages name it, and the way from its template to its lines."""

    file: str
    definition: JSON
    origin: Origin

    @property
    def name(self) -> str:
        """The name of the definition."""
        return str(self.definition["metadata"]["name"])

    @property
    def template(self) -> str:
        """The text of its template."""
        return str(self.definition["spec"]["schematic"]["cue"]["template"])


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A problem of a file; a ``warning`` is one that may be meant so, or that only readers suffer from."""

    file: str
    problem: errors.Problem
    warning: bool = False

    def __str__(self) -> str:
        place = f":{self.problem.line}:{self.problem.column}" if self.problem.line else ""
        path = f"{self.problem.path}: " if self.problem.path else ""
        return f"{self.file}{place}: {'warning: ' if self.warning else ''}{path}{self.problem.message}"

    def data(self) -> JSON:
        """As programs read it."""
        found: JSON = {"file": self.file, "severity": "warning" if self.warning else "error"}
        found |= {"line": self.problem.line, "column": self.problem.column} if self.problem.line else {}
        found |= {"path": self.problem.path} if self.problem.path else {}
        return {**found, "message": self.problem.message}


def read(path: Path) -> list[Source]:
    """The definitions in a file: one in a ``.cue`` file, any number in a manifest (YAML or JSON).

    Raises ``Invalid`` with places in the file, ``CommandError`` when it cannot be read or holds none.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if path.suffix == ".cue":
        definition, where = definitions.trace(text)
        return [Source(str(path), definition, where)]
    found = [
        Source(str(path), body, where)
        for body, where in origin.of_manifest(text)
        if body.get("kind") in definitions.TYPES and (body.get("metadata") or {}).get("name")
    ]
    if not found:
        known = ", ".join(definitions.TYPES)
        raise CommandError(f"{path} holds no definition; expected a .cue file, or a manifest with one of {known}")
    return found


def files(paths: list[Path]) -> list[Path]:
    """The files to look at: those that are named, and all ``.cue`` files below folders; raises ``CommandError``."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.rglob("*.cue"))
            if not inside:
                raise CommandError(f"there is no .cue file below {path}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise CommandError(f"there is no file {path}")
    return found


def of_error(file: str, error: errors.Invalid) -> list[Finding]:
    """The problems that an error tells, as findings about a file."""
    return [Finding(file, problem) for problem in error.problems]


async def vet(stage: Stage, source: Source) -> list[Finding]:
    """Every problem of a definition, in the order of the file; warnings only when there is nothing worse."""
    evaluated = source.definition["kind"] == constants.STEP_DEFINITION.kind
    try:
        prepared = stage.evaluator.prepare(source.template)
        problems, unused = await _contradictions(stage, prepared) if evaluated else ([], [])
        doubts = [*prepared.doubts, *_undeclared(prepared), *_misread(prepared)]
    except errors.Invalid as error:
        problems, unused, doubts = list(error.problems), [], []
    if problems:
        return [Finding(source.file, problem) for problem in source.origin.problems(problems)]
    warnings = source.origin.problems([*doubts, *unused, *_undocumented(source.template)])
    return [Finding(source.file, problem, warning=True) for problem in warnings]


async def _contradictions(stage: Stage, prepared: Template) -> tuple[list[errors.Problem], list[errors.Problem]]:
    """The conflicts in the values of a template, and the imports that nothing uses."""
    written = program.Builder(prepared).program(Data({}, CONTEXT), (), dropped=frozenset())
    text = written.explaining(())
    while True:
        _, _, stderr = await stage.evaluator.cue.run(text, "vet", "-c=false", "-E")
        fewer = _without_imports(text, set(_UNUSED.findall(stderr)))
        if fewer == text:
            break
        text = fewer
    reports = [one for one in messages.parse(stderr) if one.is_final or one.is_compile]
    # Of several places the last is the innermost, where the mistake is most likely to be.
    inward = [dataclasses.replace(one, places=one.places[::-1]) for one in reports]
    conflicts = [problem for problem in messages.problems(inward, written) if problem.line]
    unused = [
        _placed(prepared.text, one.start, "imported and not used", one.path)
        for one in prepared.file.imports
        if one.name not in prepared.free
    ]
    return _merged(conflicts), unused


_UNUSED: Final = re.compile(r'imported and not used: ("[^"]+")')
"""CUE takes an import that nothing uses for an error; here it is a warning, and no reason to stop looking."""


def _without_imports(text: str, paths: set[str]) -> str:
    """A program without some of its imports; all other lines keep their numbers."""
    return re.sub(r"^import \S* ?(\S+)$", lambda line: "" if line[1] in paths else line[0], text, flags=re.MULTILINE)


def _merged(problems: list[errors.Problem]) -> list[errors.Problem]:
    """One problem per value: each alternative of a disjunction refuses it with words of its own."""
    found: dict[tuple[str, int, int], errors.Problem] = {}
    for one in problems:
        key = (one.path, one.line, one.column)
        before = found.get(key)
        found[key] = dataclasses.replace(one, message=f"{before.message}; {one.message}") if before else one
    return list(found.values())


def _undeclared(prepared: Template) -> Iterator[errors.Problem]:
    """Parameters that are used and not declared: misspelt ones, since nobody could know of the others."""
    fields = [decl for decl in prepared.file.body.decls if isinstance(decl, Field) and decl.name == "parameter"]
    declared: set[str] = set()
    for field in fields:
        if field.value.refs or not field.value.structs or not all(map(_is_listed, field.value.structs)):
            return  # More may be declared than stands here.
        declared |= {one.path.partition(".")[0].removesuffix("[]") for one in reference.parameters(prepared.text)}
    for ref, scope in prepared.survey.names.refs:
        name = ref.tail[0] if ref.name == "parameter" and ref.tail else None
        if name is None or name in declared:
            continue
        if all(any(found is field for field in fields) for found in prepared.survey.names.lookup(ref.name, scope)):
            declared.add(name)
            near = errors.nearest(name, declared - {name})
            hint = f"; did you mean parameter.{near}?" if near else ""
            yield _placed(prepared.text, ref.start, f"is used and not declared{hint}", f"parameter.{name}")


def _misread(prepared: Template) -> Iterator[errors.Problem]:
    """Results that are looked for where no operation has them: a step would wait for such a value for ever."""
    survey = prepared.survey
    acting = {
        id(site.field): site.field
        for site in survey.sites
        if site.field is not None and site.action is not None and not site.action.legacy
    }
    for ref, scope in survey.names.refs:
        name = ref.tail[0] if ref.tail else None
        if name is None or name in _PARTS:
            continue
        fields = [acting.get(id(found)) for found in survey.names.lookup(ref.name, scope)]
        if fields and all(field is not None and not _may_have(field, name) for field in fields):
            written = f"{ref.name}.{name}"
            near = errors.nearest(name, _PARTS)
            right = f"{ref.name}.{near}" if near else f"{ref.name}.{shapes.RESULTS}.{name}"
            message = f"there is no such field: what an operation gives is in {shapes.RESULTS}; did you mean {right}?"
            yield _placed(prepared.text, ref.start, message, written)


_PARTS: Final = (shapes.ARGUMENTS, shapes.RESULTS, "#do", "#provider")
"""The fields of an operation."""


def _may_have(field: Field, name: str) -> bool:
    """Whether a template gives an operation a field of its own of this name."""
    return any(not _is_listed(struct) or any(declared(struct, name)) for struct in field.value.structs)


def _is_listed(struct: Struct) -> bool:
    """Whether every field that a struct can have is written in it by name."""
    return all(
        isinstance(decl, Let)
        or (isinstance(decl, Field) and decl.name is not None)
        or (isinstance(decl, Comprehension) and _is_listed(decl.body))
        for decl in struct.decls
    )


def _undocumented(text: str) -> Iterator[errors.Problem]:
    """Parameters without a comment, which is all that their users will ever read of them."""
    for one in reference.parameters(text):
        if not one.meaning:
            yield _placed(
                text, one.offset, "has no comment above it, which is what its users read", f"parameter.{one.path}"
            )


def _placed(text: str, offset: int, message: str, path: str) -> errors.Problem:
    line, column = rewrite.place(text, offset)
    return errors.Problem(message, path, line, column)
