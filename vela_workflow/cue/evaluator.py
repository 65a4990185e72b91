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
from typing import Any, Protocol

from vela_workflow import errors
from vela_workflow.cue import (
    command,
    compat,
    library,
    messages,
    parameters,
    program,
    reading,
    rewrite,
    scanner,
    template,
    trials,
)
from vela_workflow.cue.answers import Answers
from vela_workflow.cue.command import CueCommand, Refusal
from vela_workflow.cue.data import Data, Output
from vela_workflow.cue.guards import Guard
from vela_workflow.cue.library import Library
from vela_workflow.cue.messages import Report
from vela_workflow.cue.program import Dropped, Program
from vela_workflow.cue.reading import Act, Evaluation
from vela_workflow.cue.survey import Path
from vela_workflow.cue.template import Template

__all__ = ["Act", "Because", "Evaluation", "Evaluator", "Explanation", "Undecided"]

TEMPLATES = 512
"""How many prepared templates are kept; those that were used last stay."""


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
    def is_optional(self) -> bool:
        """Whether it lacks a field that is declared and may be left out."""
        return any("cannot reference optional field" in problem.message for problem in self.problems)

    @property
    def message(self) -> str:
        """All problems in one line."""
        return "; ".join(str(problem) for problem in self.problems)


class Undecided(errors.WorkflowError):
    """An expression refers to something that does not exist (yet)."""


class Observer(Protocol):
    """Whoever counts what becomes of templates."""

    def upgraded(self, found: compat.Upgraded) -> None:
        """The text of a template was looked through for older spellings."""

    def evicted(self) -> None:
        """A prepared template was dropped because there are too many."""


class Evaluator:
    """Evaluates templates and expressions with the ``cue`` command."""

    def __init__(self, cue: CueCommand, packages: Library, *, observer: Observer | None = None) -> None:
        self.cue = cue
        self.library = packages
        self._observer = observer
        self._templates: OrderedDict[str, Template | errors.Invalid] = OrderedDict()
        self.answers = Answers(cue)
        self._dropped: dict[str, Dropped] = {}
        self._builders: dict[str, program.Builder] = {}
        self._alone: set[str] = set()
        self._trials = trials.Trials(cue.limits.commands)

    # Templates.

    def prepare(self, text: str) -> Template:
        """The prepared template of a text; raises ``Invalid`` with all problems."""
        key = hashlib.sha256(f"{self.library.digest}\0{text}".encode()).hexdigest()
        found = self._templates.get(key)
        if found is None:
            observer = self._observer
            try:
                found = template.prepare(text, self.library, upgraded=observer.upgraded if observer else None)
            except errors.Invalid as error:
                found = error
            self._templates[key] = found
            if len(self._templates) > TEMPLATES:
                self._templates.popitem(last=False)
                if observer is not None:
                    observer.evicted()
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
            why = await self.explain(found, data, ())
            nothing = errors.Problem("the template has an error that leaves nothing of it")
            raise errors.Invalid(why.problems if why is not None else [nothing])
        return reading.read(found, data, outputs, answer)

    async def _ask(self, found: Template, data: Data, outputs: Sequence[Output]) -> dict[str, Any]:
        async with self._trials.turn(found.key) as trial:
            return await self._answer(found, data, outputs, alone=trial or found.key in self._alone)

    async def _answer(self, found: Template, data: Data, outputs: Sequence[Output], *, alone: bool) -> dict[str, Any]:
        builder = self._builder(found)
        while True:
            written = builder.program(data, outputs, dropped=self._dropped_of(found))
            answer = await self.answers.ask(written.text, alone=alone)
            if isinstance(answer, bytes):
                return command.loads(answer)
            if not self._drop(found, answer.stderr):
                self._alone = {found.key, *(self._alone if len(self._alone) < TEMPLATES else ())}
                raise self._invalid(answer, written)

    def _builder(self, found: Template) -> program.Builder:
        """The writer of a template's programs."""
        kept = self._builders.get(found.key)
        if kept is None or kept.template is not found:
            if len(self._builders) >= TEMPLATES:
                self._builders.clear()
            kept = self._builders[found.key] = program.Builder(found)
        return kept

    def _dropped_of(self, found: Template) -> Dropped:
        return self._dropped.get(found.key, frozenset())

    def _drop(self, found: Template, stderr: str) -> bool:
        """Remember which imports of a template the command says that nothing uses; whether that is news."""
        originals = {package.program_path: package.path for package in found.library.packages.values()}
        before = self._dropped_of(found)
        unused = {(name, originals.get(path, path)) for name, path in messages.unused_imports(stderr)}
        if unused <= before:
            return False
        if len(self._dropped) >= TEMPLATES:
            self._dropped.clear()
        self._dropped[found.key] = before | unused
        return True

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

    async def explain_guard(self, found: Template, data: Data, guard: Guard) -> Explanation | None:
        """What is wrong with the condition of a guard; ``None`` when nothing is, or it is only not known yet.

        Of what is not known yet only an index behind the end of a list is told: it counts as an error once nothing
        more can come.
        """
        builder = program.Builder(found)
        written = builder.program(data, (), dropped=self._dropped_of(found))
        name = builder.names.guard(found.guards.index(guard))
        text = written.explaining((name,))
        code, _, stderr = await self.cue.run(text, "export", "--out", "json", "-e", written.explain_name)
        # What is said of the question as a whole is about a guard around this one, which has a question of its own.
        reports = [report for report in messages.parse(stderr) if not report.path.endswith(name)] if code else []
        final = [report for report in reports if not report.is_not_yet]
        chosen = final or [report for report in reports if report.is_behind_the_end]
        if not chosen:
            return None
        texts = dict.fromkeys(problem.message for problem in messages.problems(chosen, written))
        because = Because.FINAL if final else Because.NOT_YET
        return Explanation(because, tuple(errors.Problem(text) for text in texts))

    async def explain_output(self, found: Template, data: Data, output: Output) -> Explanation | None:
        """Why an output has no value; ``None`` when it has."""
        builder = program.Builder(found)
        written = builder.program(data, (output,), dropped=self._dropped_of(found))
        return await self._explain(found, written, written.explaining((builder.names.output(0, output.meant),)))

    async def _explain(self, found: Template, written: Program, text: str) -> Explanation | None:
        code, _, stderr = await self.cue.run(text, "export", "--out", "json", "-e", written.explain_name)
        if code == 0:
            return None
        reports = messages.parse(stderr)
        final = [report for report in reports if not report.is_not_yet]
        chosen = final or reports
        missing = _waited_for(found, chosen, written) or next(messages.missing(reports, written.tag), "")
        because = Because.FINAL if final else Because.NOT_YET
        return Explanation(because, tuple(messages.problems(messages.condensed(chosen), written)), missing)

    async def check_parameters(self, found: Template, data: Data) -> parameters.Checked:
        """Everything in which the parameters do not fit their schema: conflicts, then what is missing."""
        wrong: list[Report] = []
        left, reports = data, list[Report]()
        for concreteness in ("-c=false", "-c", "-c"):
            reports = await self._vet(found, left, concreteness)
            known = {report.path for report in wrong}
            more = [report for report in parameters.conflicts(reports) if report.path not in known]
            if concreteness == "-c" and not more:
                break
            wrong += more
            left = dataclasses.replace(data, parameter=parameters.without(data.parameter, wrong))
        lacking = parameters.missing(reports, {report.path for report in wrong})
        lacking = parameters.without_followers(lacking, wrong, found.file.body)
        wrong = parameters.told_apart(wrong, found.file.body)
        doubtful = parameters.ambiguous(reports, data.parameter)
        written = program.Builder(found).check_program(data, dropped=self._dropped_of(found))
        return parameters.Checked(
            parameters.worded(messages.problems([*wrong, *lacking], written), data.parameter),
            parameters.worded(messages.problems(doubtful, written), data.parameter),
        )

    async def _vet(self, found: Template, data: Data, concreteness: str) -> list[Report]:
        written = program.Builder(found).check_program(data, dropped=self._dropped_of(found))
        _, _, stderr = await self.cue.run(written.text, "vet", concreteness, "-E")
        return [report for report in messages.parse(stderr) if not report.is_compile]

    async def expression(self, text: str, scope: Mapping[str, Any]) -> Any:
        """The value of a CUE expression with the fields of ``scope`` in reach; it may import CUE's own packages.

        Raises ``Undecided`` when it refers to what does not exist, ``Invalid`` when it is wrong.
        """
        scanned = self._scanned(text)
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
        scanned = self._scanned(source)
        text = source
        for start, end in reversed(scanned.preamble):
            text = text[:start] + text[end:]
        imports = "".join(f"import {found.alias} {json.dumps(found.path)}\n" for found in scanned.imports)
        try:
            answer = await self._expression_answer(f"package p\n{imports}{text}\nOUT: value: {expression}\n")
        except Undecided as error:
            raise errors.Invalid([errors.Problem(str(error))]) from None
        return command.loads(answer)["value"]

    @staticmethod
    def _scanned(text: str) -> scanner.File:
        """The structure of a text that imports nothing but CUE's own packages; raises ``Invalid``."""
        try:
            scanned = scanner.scan(text)
        except scanner.ScanError as error:
            raise template.invalid(text, [(error.message, error.offset)]) from None
        except RecursionError:
            raise errors.Invalid([errors.Problem("it is nested too deeply")]) from None
        for found in scanned.imports:
            if not library.is_standard(found.path):
                raise template.invalid(text, [(f'unknown import "{found.path}"', found.start)])
        return scanned

    async def _expression_answer(self, source: str) -> bytes:
        answer = await self.answers.ask(source, alone=True)
        if isinstance(answer, bytes):
            return answer
        reports = messages.parse(answer.stderr)
        text = messages.of_expression("; ".join(map(_worded, reports[:3])))
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


def _worded(report: Report) -> str:
    """What is said of a value, with its path where that is not the value that was asked for."""
    message = re.sub(r"^OUT\.value: ?", "", report.message)
    path = re.sub(r"^OUT(\.value(\.|$)|$)", "", report.path)
    return f"{path}: {message}" if path else message


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
