"""``def init``, ``vet``, ``render``, ``test`` and ``doc``: definitions as files, without a cluster.

What evaluates templates is imported only when a command needs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.cli import lazy, output
from vela_workflow.cli.errors import CommandError, ExitCode
from vela_workflow.cli.output import TextFormat

if TYPE_CHECKING:
    from vela_workflow.cli.rehearsal import Rehearsed
    from vela_workflow.cli.vetting import Finding, Source

JSON = dict[str, Any]

Paths = Annotated[
    list[Path],
    typer.Argument(metavar="FILE...", help="Definition files, manifests, or folders of definition files."),
]
PackageFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--package",
        metavar="FILE",
        help="Manifest of a Package whose import path the templates use. May be repeated.",
        show_default=False,
    ),
]
Cue = Annotated[
    str, typer.Option("--cue", metavar="COMMAND", help="The cue command; by default VELA_WORKFLOW_CUE, else on PATH.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a property, as in YAML. May be repeated.", show_default=False),
]
ContextValues = Annotated[
    list[str] | None,
    typer.Option(
        "--set-context",
        metavar="KEY=VALUE",
        help="Set a value of the step's context, such as name=shop. May be repeated.",
        show_default=False,
    ),
]
MAPPING: Final = "a mapping"


def register(group: typer.Typer) -> None:
    """Put the commands of this module into a group."""
    from vela_workflow.cli import definition_tests

    group.command(
        epilog=lazy.examples("vela-workflow def init my-step", "vela-workflow def init my-step --output steps/")
    )(init)
    group.command(
        epilog=lazy.examples(
            "vela-workflow def vet my-step.cue",
            "vela-workflow def vet steps/ -o json",
            "",
            "Each line reads FILE:LINE:COLUMN: what is wrong. Exit code 1 when there is anything but warnings.",
        )
    )(vet)
    group.command(
        epilog=lazy.examples(
            "vela-workflow def render my-step.cue --set message=hello",
            "vela-workflow def render apply-deployment --set image=nginx --results answers.yaml",
            'vela-workflow def render my-step.cue --set message=hello --as-case "says hello" >> my-step.test.txt',
            "",
            "answers.yaml holds what operations answer, by their path in the template:",
            "output: {value: {status: {readyReplicas: 1}}}",
            "read: {raises: the API server does not answer}",
        )
    )(render)
    definition_tests.register(group)
    group.command(
        epilog=lazy.examples("vela-workflow def doc my-step.cue", "vela-workflow def doc steps/ --output docs/steps")
    )(doc)


def sources(paths: Iterable[Path]) -> list[Source]:
    """The definitions in files and folders; ends the command with all problems when one cannot be read."""
    from vela_workflow.cli import vetting

    found: list[Source] = []
    wrong: list[Finding] = []
    for path in vetting.files(list(paths)):
        try:
            found += vetting.read(path)
        except errors.Invalid as error:
            wrong += vetting.of_error(str(path), error)
    refuse(wrong)
    return found


def refuse(findings: Sequence[Finding]) -> None:
    """End the command when there are problems, each on a line of its own."""
    for finding in findings:
        output.tell(str(finding))
    if findings:
        raise typer.Exit(ExitCode.FAILED)


def unsound(found: Iterable[Source], extra: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """What is wrong with templates as texts: syntax, imports, operations. The ``cue`` command is not needed."""
    from vela_workflow.cli import rehearsal, vetting
    from vela_workflow.cue import template
    from vela_workflow.cue.library import Library

    table = rehearsal.packages(extra)
    library = Library.build({path: package.source for path, package in table.items()})
    problems: list[Finding] = []
    for source in found:
        try:
            template.prepare(source.template, library)
        except errors.Invalid as error:
            placed = source.origin.problems(error.problems)
            problems += [vetting.Finding(source.file, problem) for problem in placed]
    return problems


def package_objects(paths: Iterable[Path] | None) -> list[JSON]:
    """The ``Package`` objects in manifests; raises ``CommandError`` when a file holds none."""
    from vela_workflow.cli import yaml_text

    found: list[JSON] = []
    for path in paths or ():
        bodies = [body for body in yaml_text.documents(read_text(path), str(path)) if body["kind"] == "Package"]
        if not bodies:
            raise CommandError(f"{path} holds no Package")
        found += bodies
    return found


def read_text(path: Path) -> str:
    """The text of a file; raises ``CommandError`` when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def find(name: str) -> Source:
    """The definition in a file, or the built-in one of that name; raises ``CommandError`` when there is neither."""
    from vela_workflow.authoring import definitions

    path = Path(name)
    if not path.is_file():
        built_in = {file.stem: file for file in (definitions.built_in() / "steps").glob("*.cue")}
        if name not in built_in:
            files = [file.name for file in Path().glob("*.cue")]
            hint = errors.did_you_mean(name, [*built_in, *files])
            raise CommandError(f'there is no file "{name}", and no built-in step type of that name{hint}')
        path = built_in[name]
    found = sources([path])
    if len(found) != 1:
        raise CommandError(f"{path} holds {len(found)} definitions; put the one to render into a file of its own")
    return found[0]


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new step type.", show_default=False)],
    folder: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to.")] = Path(),
) -> None:
    """Start a new step type: a definition file that works, and tests that pass."""
    from vela_workflow.authoring import skeleton, testing

    if not skeleton.NAME.fullmatch(name):
        raise typer.BadParameter(f'"{name}" cannot be the name of a step type: write it like my-step')
    if name in (constants.SUSPEND, constants.STEP_GROUP):
        raise typer.BadParameter(f'the step type "{name}" is built in and wins; choose another name')
    folder.mkdir(parents=True, exist_ok=True)
    texts = {folder / f"{name}.cue": skeleton.definition(name), folder / f"{name}{testing.SUFFIX}": skeleton.tests()}
    for path in texts:
        if path.exists():
            raise CommandError(f"{path} is there already; nothing was written")
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
        output.say(f"{path} written")
    file = folder / f"{name}.cue"
    output.tell(f"Go on with `vela-workflow def test {file}`, then `vela-workflow def apply {file}`.")


def vet(
    paths: Paths,
    package: PackageFiles = None,
    form: output.Text = TextFormat.TEXT,
    cue: Cue = "",
) -> None:
    """Report everything that is wrong with definitions, with line and column.

    Nothing needs to be installed for that but the cue command; no cluster is asked.
    """
    from vela_workflow.cli import rehearsal, vetting

    found: list[Finding] = []
    readable: list[Source] = []
    for path in vetting.files(list(paths)):
        try:
            readable += vetting.read(path)
        except errors.Invalid as error:
            found += vetting.of_error(str(path), error)

    async def all_of_them() -> list[list[Finding]]:
        return list(await asyncio.gather(*(vetting.vet(stage, source) for source in readable)))

    with rehearsal.Stage(rehearsal.find_cue(cue), package_objects(package)) as stage:
        for findings in asyncio.run(all_of_them()):
            found += findings
    wrong = [finding for finding in found if not finding.warning]
    if form is not TextFormat.TEXT:
        output.data([finding.data() for finding in found], form)
    else:
        for finding in found:
            output.say(str(finding))
        if not wrong:
            said = _count(len(found), "warning") if found else "nothing wrong"
            output.tell(f"{_count(len(readable), 'definition')}, {said}")
    if wrong:
        raise typer.Exit(ExitCode.FAILED)


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def render(
    definition: Annotated[
        str,
        typer.Argument(metavar="DEFINITION", help="A definition file, or a built-in step type.", show_default=False),
    ],
    *,
    assignments: Assignments = None,
    properties: Annotated[
        Path | None,
        typer.Option("--properties", "-f", metavar="FILE", help="YAML file of the properties.", show_default=False),
    ] = None,
    context: ContextValues = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="FILE", help="YAML file of what operations answer.", show_default=False),
    ] = None,
    as_case: Annotated[str, typer.Option("--as-case", metavar="TITLE", help="Print it as a case of a test file.")] = "",
    package: PackageFiles = None,
    form: Annotated[TextFormat, typer.Option("--output", "-o", help="How to show it.")] = TextFormat.TEXT,
    cue: Cue = "",
) -> None:
    """Show what a step would do with given properties: its operations in order, and how it would end.

    Nothing is carried out. An apply without an answer of its own answers with the object it was given.
    """
    from vela_workflow.authoring import testing
    from vela_workflow.cli import rehearsal

    source = find(definition)
    given = _assigned(_mapping(properties), assignments or (), "--set")
    answers = _mapping(results)
    surroundings = _assigned({}, context or (), "--set-context")
    situation = rehearsal.Situation(
        parameter=given, context=surroundings, answers=testing.canned(answers), echo=not as_case
    )
    with rehearsal.Stage(rehearsal.find_cue(cue), package_objects(package)) as stage:
        try:
            done = asyncio.run(stage.attempt(source.template, situation))
        except errors.Invalid as error:
            from vela_workflow.cli import vetting

            placed = source.origin.problems(error.problems)
            refuse([vetting.Finding(source.file, problem) for problem in placed])
            raise
    if as_case:
        sections = {"parameter": given, "context": surroundings, "results": answers}
        typer.echo(f"\n{testing.case(as_case, sections, done.told())}", nl=False)
        return
    _tell_of_answers(answers, done)
    told = {**done.told(), **({"warnings": list(done.warnings)} if done.warnings else {})}
    if form is TextFormat.JSON:
        output.data(told, form)
    else:
        typer.echo(output.clean(testing.write(told)), nl=False)


def _tell_of_answers(answers: JSON, done: Rehearsed) -> None:
    """Tell of answers that nothing asked for, which are most likely misspelt, and of those that were lacking."""
    from vela_workflow.cli import rehearsal

    for path in answers.keys() - {rehearsal.ANY, *done.paths}:
        there = ", ".join(done.paths) or "none"
        output.tell(f"warning: --results: no operation {path} was carried out (there were: {there})")
    lacking = [path for path in done.unanswered if path not in answers] if rehearsal.ANY not in answers else []
    if lacking:
        output.tell(f"without an answer: {', '.join(lacking)}; --results can say what they answer")


def _mapping(path: Path | None) -> JSON:
    if path is None:
        return {}
    import yaml

    try:
        found = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise CommandError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if found is not None and not isinstance(found, dict):
        raise CommandError(f"{path} must hold {MAPPING}")
    return found or {}


def _assigned(values: JSON, assignments: Iterable[str], option: str) -> JSON:
    from vela_workflow.cli import yaml_text
    from vela_workflow.engine import paths

    for assignment in assignments:
        text, equals, value = assignment.partition("=")
        if not equals:
            raise CommandError(f"{option} {assignment}: write it as KEY=VALUE")
        try:
            paths.assign(values, paths.parse(text), yaml_text.value(value))
        except paths.PathError as error:
            raise CommandError(f"{option} {assignment}: {error}") from None
    return values


def doc(
    definitions: Annotated[
        list[str],
        typer.Argument(
            metavar="DEFINITION...", help="Definition files, folders, or built-in step types.", show_default=False
        ),
    ],
    folder: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write a page for each into DIR.", show_default=False),
    ] = None,
) -> None:
    """Write the reference page of definitions, in Markdown, from their comments.

    The comment at the top of a file is its example; those above the fields of parameter say what they mean.
    """
    from vela_workflow.authoring import reference
    from vela_workflow.cli import vetting

    found: list[Path] = []
    for name in definitions:
        found += vetting.files([Path(name)]) if Path(name).exists() else [Path(find(name).file)]
    if any(path.suffix != ".cue" for path in found):
        raise CommandError("pages are made from definition files (.cue); `def show` makes one from an object")
    pages: dict[str, str] = {}
    for path in found:
        try:
            pages[path.stem] = reference.document(read_text(path))
        except errors.Invalid as error:
            refuse(vetting.of_error(str(path), error))
    if folder is None:
        typer.echo("\n".join(pages.values()), nl=False)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
        output.say(f"{folder / name}.md written")
