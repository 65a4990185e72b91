"""A template, prepared once and never changed.

``prepare`` scans the text, refuses what may not be evaluated (attributes that reach outside, imports that are not
allowed, operations that do not exist) and finds the sites of its operations. What is wrong is raised as ``Invalid``
with the line and column of every problem, before anything is evaluated.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from vela_workflow import errors
from vela_workflow.cue import compat, elsewhere, guards, library, rewrite, scanner, sites, tokens
from vela_workflow.cue.guards import Guard
from vela_workflow.cue.library import Library
from vela_workflow.cue.names import Names, Scope, declared
from vela_workflow.cue.scanner import Comprehension, Embed, Field, Import, Let
from vela_workflow.cue.sites import Survey
from vela_workflow.cue.syntax import Decl
from vela_workflow.cue.tokens import Token

TEXT_LIMIT = 512 * 1024
"""The size of a template in characters from which on it is refused."""

BUILTINS = frozenset({
    "_", "_|_", "and", "bool", "bytes", "close", "div", "error", "false", "float", "float32", "float64", "int", "int8",
    "int16", "int32", "int64", "int128", "len", "matchIf", "matchN", "mod", "null", "number", "or", "quo", "rem",
    "rune", "self", "string", "true", "uint", "uint8", "uint16", "uint32", "uint64", "uint128",
})  # fmt: skip
"""The names that CUE declares everywhere."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A prepared template: immutable, shared by all steps that use its text.

    ``free`` are the names that its text uses and does not declare: packages and what CUE declares. Where the schema of
    the parameters is closed somewhere, ``closed_names`` are all words in it. ``guards`` are those that can fail.
    """

    text: str
    file: scanner.File
    survey: Survey
    imports: tuple[Import, ...]
    library: Library
    key: str
    tag: str
    parameter_spans: tuple[tuple[int, int], ...] | None
    free: frozenset[str]
    closed_names: frozenset[str] | None
    guards: tuple[Guard, ...]

    @property
    def doubts(self) -> list[errors.Problem]:
        """What is most likely a mistake, each with line and column."""
        return _placed(self.text, self.survey.doubts)

    def may_refuse(self, parameter: Mapping[str, Any]) -> bool:
        """Whether parameters have a property that their schema, being closed, could refuse.

        A program does not tell that: selectors through a ``let`` do not see what a closed struct refuses.
        """
        return self.closed_names is not None and not self.closed_names.issuperset(_keys(parameter))

    def reach_of_text(self, text: str) -> frozenset[int]:
        """The ids of the fields that an expression on the template's values (an output) can depend on.

        Raises ``scanner.ScanError`` when it is not CUE.
        """
        names = self.survey.names
        refs = [(ref, names.root) for ref, _ in free_refs(scanner.scan(text))]
        if any(self.is_made(ref.name) for ref, _ in refs):
            return self.reach_of_everything
        return names.reach_of_refs(refs)

    @property
    def reach_of_everything(self) -> frozenset[int]:
        """The ids of all operations: what an expression can depend on that may refer to anything."""
        return frozenset(site.identity for site in self.survey.sites)

    def is_made(self, name: str) -> bool:
        """Whether a guard, a loop or an embedded value may make a field of this name that no name can refer to.

        CUE finds names by what the text around them declares; a field that appears by itself is none of that.
        """
        root = self.survey.names.root
        if root.struct is None or self.survey.names.lookup(name, root) or name in self._known(()):
            return False
        return any(declared(root.struct, name)) or any(_makes_any(decl) for decl in root.struct.decls)

    def unknown_names(self, text: str) -> frozenset[str]:
        """The names in an expression that neither it, the template nor CUE declares; raises ``scanner.ScanError``."""
        file = scanner.scan(text)
        known = self._known(file.imports)
        return frozenset(
            ref.name
            for ref, _ in free_refs(file)
            if ref.name not in known
            and not self.survey.names.lookup(ref.name, self.survey.names.root)
            and not self.is_made(ref.name)
        )

    def _known(self, imports: Iterable[Import]) -> frozenset[str]:
        """The names that every expression on the template can use, with ``imports`` of its own.

        The packages of operations are not among them: no operation stands in an expression.
        """
        allowed = {found.name for found in imports if _is_known(found.path, self.library)}
        standard = {found.name for found in self.imports if found.path not in self.library.packages}
        return BUILTINS | allowed | standard | {"parameter", "context"}


def _makes_any(decl: Decl) -> bool:
    """Whether a declaration may make fields of any name."""
    if isinstance(decl, Comprehension):
        return any(_makes_any(inner) for inner in decl.body.decls)
    return (isinstance(decl, Field) and decl.is_dynamic) or (isinstance(decl, Embed) and not decl.ellipsis)


def prepare(text: str, packages: Library, *, upgraded: Callable[[compat.Upgraded], None] | None = None) -> Template:
    """Prepare the ``text`` of a template; raises ``Invalid`` with every problem found, each with line and column.

    ``upgraded`` is told which older spellings there were.
    """
    if len(text) > TEXT_LIMIT:
        raise errors.Invalid([errors.Problem(f"the template is longer than {TEXT_LIMIT // 1024} KiB")])
    found = compat.upgrade(text.removeprefix("\ufeff"))
    if upgraded is not None:
        upgraded(found)
    text = found.text
    try:
        file = scanner.scan(text)
    except scanner.ScanError as error:
        raise invalid(text, [(error.message, error.offset)]) from None
    except RecursionError:
        raise errors.Invalid([errors.Problem("the template is nested too deeply")]) from None
    problems = list(_refused(file, packages))
    if problems:
        raise invalid(text, problems)
    ours = {found.name if found.alias else packages.packages[found.path].identifier: packages.packages[found.path]
            for found in file.imports if found.path in packages.packages}  # fmt: skip
    survey = sites.find(file, ours)
    problems = [*survey.problems, *_unknown_references(file, survey, set(ours), packages)]
    if problems:
        raise invalid(text, problems)
    key = hashlib.sha256(f"{packages.digest}\0{text}".encode()).hexdigest()
    spans = _parameter_spans(file, survey)
    schema = "\n".join(text[start:end] for start, end in spans or ())
    return Template(
        text=text,
        file=file,
        survey=survey,
        imports=(*file.imports, Import("list", compat.LISTS, compat.LISTS, 0, 0)),
        library=packages,
        key=key,
        tag=_tag(key, text),
        parameter_spans=spans,
        free=frozenset(ref.name for ref, scope in survey.names.refs if not survey.names.lookup(ref.name, scope)),
        closed_names=frozenset(re.findall(r"\w+", schema)) if re.search(r"#|close\(", schema) else None,
        guards=guards.find(file, survey.names),
    )


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _keys(item)


def invalid(text: str, problems: list[tuple[str, int]]) -> errors.Invalid:
    """``Invalid`` for problems given as message and offset in ``text``."""
    return errors.Invalid(_placed(text, problems))


def _placed(text: str, problems: Iterable[tuple[str, int]]) -> list[errors.Problem]:
    found = []
    for message, offset in problems:
        line, column = rewrite.place(text, offset)
        found.append(errors.Problem(message, line=line, column=column))
    return found


def _tag(key: str, text: str) -> str:
    """A suffix for names of ours that does not occur in the template."""
    for start in range(len(key) - 6):
        tag = key[start : start + 6]
        if tag not in text:
            return tag
    return key


def _refused(file: scanner.File, packages: Library) -> Iterator[tuple[str, int]]:
    for token in file.attributes:
        yield f"file-level attribute {token.text} is not allowed in a template", token.start
    for found in file.imports:
        if not _is_known(found.path, packages):
            yield _unknown_import(found.path, packages), found.start
    for name, token in reaching_out(file.text):
        if token not in file.attributes:
            yield f"attribute {name} is not allowed in a template", token.start


def _unknown_import(path: str, packages: Library) -> str:
    known = f"; there are {', '.join(sorted(packages.packages))} and CUE's standard packages"
    if path in elsewhere.PACKAGES:
        known = f"; {elsewhere.PACKAGES[path]}"
    else:
        known = errors.did_you_mean(path, packages.packages) or known
    return f"unknown import {json.dumps(path)}{known}"


_REACHING_OUT = re.compile(r"@(extern|embed|experiment)\b")
"""Attributes by which CUE reads files or changes its language."""


def reaching_out(text: str) -> Iterator[tuple[str, Token]]:
    """The attributes in a text by which CUE would read files or change its language, with their names."""
    if _REACHING_OUT.search(text):
        for token in _attributes(tokens.tokenize(text)):
            match = _REACHING_OUT.match(token.text)
            if match:
                yield match[0], token


def _attributes(words: Iterable[Token]) -> Iterator[Token]:
    for token in words:
        if token.kind == tokens.ATTRIBUTE:
            yield token
        for part in token.parts:
            yield from _attributes(part)


def _is_known(path: str, packages: Library) -> bool:
    return path in packages.packages or library.is_standard(path)


def free_refs(file: scanner.File) -> list[tuple[scanner.Ref, Scope]]:
    """The references of a scanned text that it does not declare itself."""
    names = Names(file.body)
    return [(ref, scope) for ref, scope in names.refs if not names.lookup(ref.name, scope)]


def _unknown_references(
    file: scanner.File, survey: Survey, packages: set[str], library_: Library
) -> Iterator[tuple[str, int]]:
    """Names that nothing declares: a mistake whatever the data, so it is told before anything is evaluated."""
    known = packages | BUILTINS | {found.name for found in file.imports} | {compat.LISTS, "parameter", "context"}
    told: set[str] = set()
    for ref, scope in survey.names.refs:
        if ref.name in known or ref.name in told or ref.name.startswith("__"):
            continue
        if not survey.names.lookup(ref.name, scope):
            told.add(ref.name)
            yield f'reference "{ref.name}" not found{_meant(ref, survey, library_)}', ref.start


def _meant(ref: scanner.Ref, survey: Survey, library_: Library) -> str:
    """What whoever wrote a name that nothing declares most likely meant: an import, or another name."""
    paths = {path.rpartition("/")[2]: path for path in sorted(library.STANDARD)}
    paths |= {package.identifier: path for path, package in library_.packages.items()}
    if ref.name in paths and ref.tail:
        return f'; import "{paths[ref.name]}" is missing'
    return errors.did_you_mean(ref.name, ("parameter", "context", *survey.names.root.names))


def _parameter_spans(file: scanner.File, survey: Survey) -> tuple[tuple[int, int], ...] | None:
    """The declarations that decide what ``parameter`` may be; ``None`` when operations are among them."""
    names = survey.names
    parameters = [decl for decl in file.body.decls if isinstance(decl, Field) and decl.name == "parameter"]
    reached = names.reach(parameters)
    acting = {id(site.field) for site in survey.sites if site.field is not None}
    spans: list[tuple[int, int]] = []
    for decl in file.body.decls:
        if isinstance(decl, Field | Let):
            inside = {id(decl)} | (names.inside(decl))
            if decl not in parameters and not inside & reached:
                continue
            if inside & acting:
                return None
            spans.append((decl.start, decl.end))
        elif isinstance(decl, Comprehension) and _declares_parameter(decl):
            return None
    return tuple(spans)


def _declares_parameter(comprehension: Comprehension) -> bool:
    return any(isinstance(decl, Field) and decl.name == "parameter" for decl in comprehension.body.decls)
