"""``def test``: run the test files of definitions, without a cluster, and show where they differ from what is done."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vela_workflow import errors
from vela_workflow.cli import definition_files, lazy, output
from vela_workflow.cli.errors import CommandError, ExitCode
from vela_workflow.cli.output import TextFormat

if TYPE_CHECKING:
    from rich.text import Text

    from vela_workflow.authoring.testing import Case
    from vela_workflow.cli.rehearsal import Stage
    from vela_workflow.cli.vetting import Source

JSON = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a case: ``problem`` when it could not even be tried, else the lines that differ."""

    source: Source
    case: Case
    did: JSON
    differences: tuple[str, ...] = ()
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether the step did what was expected."""
        return not self.differences and not self.problem

    def data(self) -> JSON:
        """As programs read it."""
        found: JSON = {"definition": self.source.name, "case": self.case.title, "passed": self.passed}
        found |= {"file": str(self.case.path), "line": self.case.line}
        if not self.passed:
            found["message"] = self.problem or "\n".join(self.differences)
        return found


def register(group: typer.Typer) -> None:
    """Put the command into a group."""
    group.command(
        name="test",
        epilog=lazy.examples(
            "vela-workflow def test my-step.cue",
            "vela-workflow def test steps/ --tests tests/ -k waits",
            "vela-workflow def test my-step.cue --update",
            "",
            "The tests of my-step.cue are in my-step.test.txt beside it, or below --tests.",
            "Exit code 1 when a case fails or there is none.",
        ),
    )(test)


def test(
    paths: definition_files.Paths,
    *,
    tests: Annotated[
        Path | None,
        typer.Option("--tests", metavar="PATH", help="Test file, or folder of test files.", show_default=False),
    ] = None,
    only: Annotated[str, typer.Option("-k", metavar="TEXT", help="Only cases with this text in their title.")] = "",
    update: Annotated[
        bool, typer.Option("--update", help="Write what the steps do into the test files as what is expected.")
    ] = False,
    package: definition_files.PackageFiles = None,
    form: output.Text = TextFormat.TEXT,
    cue: definition_files.Cue = "",
) -> None:
    """Run the tests of definitions: given properties and answers, the expected operations and status.

    No cluster has a part in it; templates are evaluated as the operator does.
    """
    from vela_workflow.authoring import testing
    from vela_workflow.cli import rehearsal, vetting

    chosen: list[tuple[Source, Case]] = []
    for source in definition_files.sources(paths):
        file = _test_file(source, tests)
        if file is None:
            output.tell(f"{source.file}: no tests")
            continue
        try:
            chosen += [(source, case) for case in testing.read(file) if only.lower() in case.title.lower()]
        except errors.Invalid as error:
            where = [vetting.Finding(str(file), dataclasses.replace(one, path="")) for one in error.problems]
            definition_files.refuse(where)
    if not chosen:
        raise CommandError(
            f'no case has "{only}" in its title'
            if only
            else f"no tests; `vela-workflow def render … --as-case TITLE` makes a case for a file NAME{testing.SUFFIX}"
        )
    with rehearsal.Stage(rehearsal.find_cue(cue), definition_files.package_objects(package)) as stage:
        verdicts = asyncio.run(_verdicts(stage, chosen))
    if update:
        _update(verdicts, partial=bool(only))
        return
    if form is not TextFormat.TEXT:
        output.data([verdict.data() for verdict in verdicts], form)
    else:
        for line in _report(verdicts):
            output.show(line)
    if not all(verdict.passed for verdict in verdicts):
        raise typer.Exit(ExitCode.FAILED)


def _test_file(source: Source, tests: Path | None) -> Path | None:
    """The test file of a definition, ``None`` when it has none; raises ``CommandError`` when ``tests`` is not there."""
    from vela_workflow.authoring import testing

    if tests is not None and not tests.exists():
        raise CommandError(f"there is no {tests}")
    if tests is not None and not tests.is_dir():
        return tests
    folder = tests or Path(source.file).parent
    names = [f"{source.name}{testing.SUFFIX}", f"{Path(source.file).stem}{testing.SUFFIX}"]
    names += [f"{source.name}.txt"] if tests is not None else []
    return next((folder / name for name in names if (folder / name).is_file()), None)


async def _verdicts(stage: Stage, chosen: Iterable[tuple[Source, Case]]) -> list[Verdict]:
    return list(await asyncio.gather(*(_verdict(stage, source, case) for source, case in chosen)))


async def _verdict(stage: Stage, source: Source, case: Case) -> Verdict:
    from vela_workflow.authoring import testing
    from vela_workflow.cli import rehearsal

    try:
        expected = case.section(testing.EXPECT)
        done = await stage.attempt(source.template, rehearsal.Situation.of(case))
    except errors.Invalid as error:
        in_template = all(not problem.path.endswith(".txt") for problem in error.problems)
        told = source.origin.problems(error.problems) if in_template else error.problems
        return Verdict(source, case, {}, problem="; ".join(map(str, told)))
    did = done.told()
    return Verdict(source, case, did, tuple(testing.differences(expected, did)))


def _update(verdicts: list[Verdict], *, partial: bool) -> None:
    from vela_workflow.authoring import testing

    for problem in (verdict for verdict in verdicts if verdict.problem):
        raise CommandError(f"{problem.case.path}:{problem.case.line}: {problem.problem}; nothing was written")
    files: dict[Path, dict[str, JSON]] = {}
    for verdict in verdicts:
        files.setdefault(verdict.case.path, {})[verdict.case.title] = verdict.did
    for path, expected in files.items():
        kept = {case.title: case.section(testing.EXPECT) for case in testing.read(path)} if partial else {}
        changed = testing.update(path, {**kept, **expected})
        output.say(f"{path} {'written' if changed else 'unchanged'}")


_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def _report(verdicts: list[Verdict]) -> Iterator[Text]:
    from rich.text import Text

    last = ""
    for verdict in verdicts:
        if verdict.source.name != last:
            last = verdict.source.name
            yield Text(last, style="bold")
        case = verdict.case
        if verdict.passed:
            yield Text.assemble("  ", ("✔", "green"), f" {output.clean(case.title)}")
            continue
        yield Text.assemble("  ", ("✖", "red"), f" {output.clean(case.title)}  ({case.path}:{case.line})")
        for line in verdict.problem.splitlines() or verdict.differences:
            yield Text(f"      {output.clean(line)}", style=_STYLES.get(line[:1], ""))
    failed = sum(not verdict.passed for verdict in verdicts)
    summary = f"{len(verdicts) - failed} passed" + (f", {failed} failed" if failed else "")
    yield Text(summary, style="red" if failed else "green")
