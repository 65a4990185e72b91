"""Asking CUE: one pass of a template, why a value cannot be decided, whether parameters fit, what an expression is.

``Evaluator`` is the interface that the rest of the program sees. It prepares templates once, writes programs, asks the
``cue`` command, and puts answers and refusals into words.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from vela_workflow import errors
from vela_workflow.cue import command, library, messages, parameters, program, rewrite, scanner, sites, template
from vela_workflow.cue.answers import Answers
from vela_workflow.cue.command import CueCommand, Refusal
from vela_workflow.cue.library import Action, Library
from vela_workflow.cue.messages import Report
from vela_workflow.cue.program import Data, Output, Path, Program
from vela_workflow.cue.sites import Computed, Loop, Place, Position, Site
from vela_workflow.cue.template import Template

TEMPLATES = 512

OrderValue = tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Act:
    """An operation that an evaluation found.

    ``value`` is the whole action as JSON, ``None`` when it cannot be decided. Of a wait, ``go_on`` is its condition
    (``None`` when undecided) and ``message`` its message. ``order`` sorts the acts of one evaluation.
    """

    site: Site
    path: Path
    action: Action
    value: dict[str, Any] | None
    order: OrderValue
    go_on: bool | None = None
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Evaluation:
    """What one pass told: the acts in order, which sites that must be there are not, outputs by name.

    ``odd`` are top-level fields without operations that have no value.
    """

    acts: tuple[Act, ...]
    absent: tuple[Site, ...]
    parameters_fit: bool
    outputs: Mapping[str, Any]
    odd: tuple[str, ...] = ()


class Because(enum.Enum):
    """Why a value has no value."""

    NOT_YET = "not yet"
    FINAL = "final"


@dataclasses.dataclass(frozen=True, slots=True)
class Explanation:
    """Why a value cannot be decided; ``missing`` names what it waits for, where CUE tells."""

    because: Because
    problems: tuple[errors.Problem, ...]
    missing: str = ""

    @property
    def message(self) -> str:
        """All problems in one line."""
        return "; ".join(str(problem) for problem in self.problems)


class Undecided(errors.WorkflowError):
    """An expression refers to something that does not exist (yet)."""


class Evaluator:
    """Evaluates templates and expressions with the ``cue`` command."""

    def __init__(self, cue: CueCommand, packages: Library) -> None:
        self.cue = cue
        self.library = packages
        self._templates: OrderedDict[str, Template | errors.Invalid] = OrderedDict()
        self.answers = Answers(cue)
        self._dropped: dict[str, frozenset[str]] = {}
        self._alone: set[str] = set()

    # Templates.

    def prepare(self, text: str) -> Template:
        """The prepared template of a text; raises ``Invalid`` with all problems."""
        key = hashlib.sha256(f"{self.library.digest}\0{text}".encode()).hexdigest()
        found = self._templates.get(key)
        if found is None:
            try:
                found = template.prepare(text, self.library)
            except errors.Invalid as error:
                found = error
            self._templates[key] = found
            if len(self._templates) > TEMPLATES:
                self._templates.popitem(last=False)
        else:
            self._templates.move_to_end(key)
        if isinstance(found, errors.Invalid):
            raise errors.Invalid(found.problems)
        return found

    def use(self, packages: Library) -> None:
        """Go on with another library of packages; templates are prepared anew."""
        self.library = packages
        self.cue.install(packages)
        self._templates.clear()

    # Passes.

    async def evaluate(self, found: Template, data: Data, outputs: Sequence[Output] = ()) -> Evaluation:
        """One pass; raises ``Invalid`` when the text does not compile, ``LimitExceeded`` when it needs too much."""
        answer = await self._ask(found, data, outputs)
        if not answer.get("alive"):
            raise errors.Invalid([errors.Problem("the template has an error that leaves nothing of it")])
        return _read(found, data, outputs, answer)

    async def _ask(self, found: Template, data: Data, outputs: Sequence[Output]) -> dict[str, Any]:
        builder = program.Builder(found)
        while True:
            written = builder.program(data, outputs, dropped=self._dropped_of(found))
            answer = await self.answers.ask(written.text, alone=found.key in self._alone)
            if isinstance(answer, bytes):
                return command.loads(answer)
            unused = messages.unused_import(answer.stderr)
            if unused is None or not self._drop(found, unused):
                self._alone.add(found.key)
                raise self._invalid(answer, written)

    def _dropped_of(self, found: Template) -> frozenset[str]:
        return self._dropped.get(found.key, frozenset())

    def _drop(self, found: Template, path: str) -> bool:
        """Remember that nothing in a template uses an import; ``path`` is as programs write it.

        False when that was known already, which would make no difference.
        """
        original = next(
            (p.path for p in found.library.packages.values() if p.program_path == path), path.split(":", 1)[0]
        )
        before = self._dropped_of(found)
        self._dropped[found.key] = before | {original}
        return original not in before

    @staticmethod
    def _invalid(refusal: Refusal, written: Program) -> errors.Invalid:
        reports = messages.parse(refusal.stderr)
        found = messages.problems(reports, written)
        return errors.Invalid(found or [errors.Problem("the cue command refused the template")])

    # Questions about single values.

    async def explain(self, found: Template, data: Data, path: Path, *inner: str) -> Explanation | None:
        """Why the value at ``path`` cannot be decided; ``None`` when it can."""
        written = program.Builder(found).program(data, (), dropped=self._dropped_of(found))
        return await self._explain(found, written, written.explaining(path, *inner))

    async def explain_output(self, found: Template, data: Data, output: Output) -> Explanation | None:
        """Why an output has no value; ``None`` when it has."""
        builder = program.Builder(found)
        written = builder.program(data, (output,), dropped=self._dropped_of(found))
        return await self._explain(found, written, written.explaining((builder.output_name(0, 0),)))

    async def _explain(self, found: Template, written: Program, text: str) -> Explanation | None:
        code, _, stderr = await self.cue.run(text, "export", "--out", "json", "-e", written.explain_name)
        if code == 0:
            return None
        reports = messages.parse(stderr)
        final = [report for report in reports if not report.is_not_yet]
        chosen = final or reports
        missing = _waited_for(found, chosen, written) or next(messages.missing(reports, written.tag), "")
        because = Because.FINAL if final else Because.NOT_YET
        return Explanation(because, tuple(messages.problems(chosen, written)), missing)

    async def check_parameters(self, found: Template, data: Data) -> list[errors.Problem]:
        """Everything in which the parameters do not fit their schema: conflicts, then what is missing."""
        wrong = parameters.conflicts(await self._vet(found, data, "-c=false"))
        rest = parameters.without(data.parameter, {report.path for report in wrong})
        left = dataclasses.replace(data, parameter=rest)
        lacking = parameters.missing(await self._vet(found, left, "-c"), {report.path for report in wrong})
        written = program.Builder(found).check_program(data, dropped=self._dropped_of(found))
        return parameters.worded(messages.problems([*wrong, *lacking], written), data.parameter)

    async def _vet(self, found: Template, data: Data, concreteness: str) -> list[Report]:
        written = program.Builder(found).check_program(data, dropped=self._dropped_of(found))
        _, _, stderr = await self.cue.run(written.text, "vet", concreteness, "-E")
        unused = messages.unused_import(stderr)
        if unused is not None:
            text = re.sub(rf"^import \S+ {re.escape(json.dumps(unused.split(':')[0]))}\n", "", written.text, flags=re.M)
            _, _, stderr = await self.cue.run(text, "vet", concreteness, "-E")
        return [report for report in messages.parse(stderr) if not report.is_compile]

    async def expression(self, text: str, scope: Mapping[str, Any]) -> Any:
        """The value of a CUE expression with the fields of ``scope`` in reach; no packages can be imported.

        Raises ``Undecided`` when it refers to what does not exist, ``Invalid`` when it is wrong.
        """
        try:
            scanned = scanner.scan(text)
        except scanner.ScanError as error:
            raise template.invalid(text, [(error.message, error.offset)]) from None
        imports = "".join(f"import {found.alias} {json.dumps(found.path)}\n" for found in scanned.imports)
        body = text
        for start, end in reversed(scanned.preamble):
            body = body[:start] + body[end:]
        data = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in scope.items())
        source = f"package p\n{imports}{data}OUT: value: {{\n{body}\n}}\n"
        answer = await self._expression_answer(source)
        return command.loads(answer)["value"]

    async def value(self, source: str, expression: str) -> Any:
        """The value of ``expression`` in the CUE file ``source``, which imports nothing but CUE's own packages.

        Raises ``Invalid`` when there is no such value.
        """
        try:
            scanned = scanner.scan(source)
        except scanner.ScanError as error:
            raise template.invalid(source, [(error.message, error.offset)]) from None
        for found in scanned.imports:
            if not library.is_standard(found.path):
                raise template.invalid(source, [(f'unknown import "{found.path}"', found.start)])
        text = source
        for start, end in reversed(scanned.preamble):
            text = text[:start] + text[end:]
        imports = "".join(f"import {found.alias} {json.dumps(found.path)}\n" for found in scanned.imports)
        try:
            answer = await self._expression_answer(f"package p\n{imports}{text}\nOUT: value: {expression}\n")
        except Undecided as error:
            raise errors.Invalid([errors.Problem(str(error))]) from None
        return command.loads(answer)["value"]

    async def _expression_answer(self, source: str) -> bytes:
        answer = await self.answers.ask(source, alone=True)
        if isinstance(answer, bytes):
            return answer
        reports = messages.parse(answer.stderr)
        text = "; ".join(re.sub(r"^OUT\.value: ?", "", report.message) for report in reports[:3])
        if reports and all(report.is_not_yet for report in reports):
            raise Undecided(text)
        raise errors.Invalid([errors.Problem(text or "is no CUE expression")])

    async def show(self, found: Template, data: Data) -> str:
        """The value of a template with its data as CUE text, for people who look for a mistake."""
        written = program.Builder(found).program(data, (), dropped=self._dropped_of(found))
        text = f"{written.text}SHOW: W_{written.tag}\n"
        code, output, stderr = await self.cue.run(text, "eval", "-e", "SHOW", "--all")
        shown = output.decode("utf-8", "replace") if code == 0 else messages.readable(stderr, written.tag)
        lines = [line for line in shown.splitlines() if written.tag not in line and line.strip() != '"sent": true']
        return "\n".join(lines)


def _waited_for(found: Template, reports: Sequence[Report], written: Program) -> str:
    """The reference of the template that leads to what does not exist yet, as it is written there."""
    for report in reports:
        line, column = messages.locate(report, written)
        if not line:
            continue
        offset = rewrite.offset_of(found.text, line, column)
        for ref, _ in found.survey.names.refs:
            if ref.start <= offset < ref.end:
                return found.text[ref.start : ref.end]
    return ""


# Reading the answer.


def _read(found: Template, data: Data, outputs: Sequence[Output], answer: Mapping[str, Any]) -> Evaluation:
    survey = found.survey
    acts: list[Act] = []
    seen: set[Path] = set()
    present: set[int] = set()
    ranks: dict[int, dict[str, int]] = {}
    for entry in answer["acts"]:
        site = survey.sites[entry["s"]]
        present.add(id(site))
        path, open_parts = _path(site, entry.get("k", ()))
        if path in seen or path in data.results:
            continue
        seen.add(path)
        action = site.action or _told_action(entry)
        if action is None:
            continue
        acts.append(
            Act(
                site=site,
                path=path,
                action=action,
                value=orjson.loads(entry["v"]) if "v" in entry else None,
                order=_order(site, entry.get("i", ()), open_parts, ranks, survey.computed),
                go_on=orjson.loads(entry["c"]) if "c" in entry else None,
                message=orjson.loads(entry["m"]) if "m" in entry else "",
            )
        )
    acts.sort(key=lambda act: act.order)
    absent = tuple(
        site for site in survey.sites if site.mandatory and id(site) not in present and not _has_run(site, data)
    )
    return Evaluation(
        tuple(acts), absent, bool(answer.get("param", True)), _outputs(outputs, answer), tuple(answer.get("odd", ()))
    )


def _has_run(site: Site, data: Data) -> bool:
    return any(program.matches(site, path) for path in data.results)


def _told_action(entry: Mapping[str, Any]) -> Action | None:
    """The operation that a reference turned out to be."""
    do = entry.get("do")
    if not isinstance(do, str) or not do:
        return None
    provider = str(entry.get("p") or "builtin")
    return Action(do, provider, legacy="n" not in entry and provider in ("op", "ql"))


def _path(site: Site, keys: Sequence[str | int]) -> tuple[Path, dict[int, str | int]]:
    """The path of an operation and its open parts by their number in the path."""
    parts: list[str | int] = []
    told = iter(keys)
    opened: dict[int, str | int] = {}
    for depth, segment in enumerate(site.path):
        if isinstance(segment, sites.Key):
            parts.append(segment.name)
        elif isinstance(segment, Position) and segment.index is not None:
            parts.append(segment.index)
        else:
            value = next(told)
            opened[depth] = value
            parts.append(value)
    return tuple(parts), opened


def _order(
    site: Site,
    indexes: Sequence[Mapping[str, Any]],
    opened: Mapping[int, str | int],
    ranks: dict[int, dict[str, int]],
    computed: Mapping[int, tuple[scanner.Field, tuple[int, ...]]],
) -> OrderValue:
    """The order key of one operation, with iterations and list places filled in."""
    iterations = _iterations(site, indexes, computed)
    key: list[tuple[int, ...]] = []
    for part in site.order:
        if isinstance(part, Loop):
            key.append((1, _rank(part.number, iterations.get(part.number, ""), ranks)))
        elif isinstance(part, Place):
            place = opened.get(part.segment, 0)
            key.append((1, place if isinstance(place, int) else 0))
        else:
            key.append(part)
    return tuple(key)


def _iterations(
    site: Site, indexes: Sequence[Mapping[str, Any]], computed: Mapping[int, tuple[scanner.Field, tuple[int, ...]]]
) -> dict[int, str]:
    """The loop keys of an operation: each marker table tells those of the loops around its label."""
    found: dict[int, str] = {}
    labels = [segment for segment in site.path if isinstance(segment, Computed)]
    for segment, table in zip(labels, indexes, strict=False):
        first = next(iter(table), "")
        _, loops = computed[segment.number]
        found.update(zip(loops, first.split("/"), strict=False))
    return found


def _rank(number: int, key: str, ranks: dict[int, dict[str, int]]) -> int:
    """The place of an iteration: list indexes are numbers, keys of structs count in the order they are told."""
    if key.isdigit():
        return int(key)
    table = ranks.setdefault(number, {})
    return table.setdefault(key, len(table))


def _outputs(outputs: Sequence[Output], answer: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index, output in enumerate(outputs):
        asked = answer.get(f"out{index}") or {}
        for attempt in range(len(output.candidates)):
            if str(attempt) in asked:
                found[output.name] = orjson.loads(asked[str(attempt)])
                break
    return found
