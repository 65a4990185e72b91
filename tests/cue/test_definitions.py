"""Every built-in step definition, evaluated by the real ``cue`` command: what it does with what it is given.

The golden files are tests of definitions as users write them. After a change of purpose their expectations are written
anew by ``vela-workflow def test definitions/steps --tests tests/cue/definitions --update``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vela_workflow.authoring import definitions, testing
from vela_workflow.cli.rehearsal import Situation, Stage
from vela_workflow.cue import scanner
from vela_workflow.cue.scanner import Comprehension, Expr, Field, Struct

FOLDER = Path(__file__).parent / "definitions"
STEPS = {path.stem: definitions.render(path) for path in sorted((definitions.built_in() / "steps").glob("*.cue"))}
CASES = [case for path in sorted(FOLDER.glob("*.txt")) for case in testing.read(path)]

CATEGORIES = {
    "Application Delivery",
    "CI Integration",
    "Config Management",
    "External Integration",
    "Process Control",
    "Resource Management",
    "Scripts & Commands",
    "Terraform",
}


def template(name: str) -> str:
    text: str = STEPS[name]["spec"]["schematic"]["cue"]["template"]
    return text


@pytest.fixture(scope="module")
def stage(cue_command: Path) -> Iterator[Stage]:
    with Stage(str(cue_command)) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.definition}: {case.title}")
async def test_golden(stage: Stage, case: testing.Case) -> None:
    done = await stage.attempt(template(case.definition), Situation.of(case))
    assert "\n".join(testing.differences(case.section("expect"), done.told())) == ""


def test_every_definition_has_a_golden_file_and_every_file_a_definition() -> None:
    assert {case.definition for case in CASES} == set(STEPS), f"{FOLDER} has a file of cases for each step type"


@pytest.mark.parametrize("name", STEPS)
def test_head(name: str) -> None:
    metadata = STEPS[name]["metadata"]
    assert metadata["name"] == name
    description = metadata["annotations"]["definition.oam.dev/description"]
    assert description.endswith(".")
    assert metadata["annotations"]["custom.definition.oam.dev/category"] in CATEGORIES


@pytest.mark.parametrize("name", STEPS)
def test_every_parameter_is_documented(name: str) -> None:
    text = template(name)
    lines = text.splitlines()
    file = scanner.scan(text)
    (parameter,) = (decl for decl in file.body.decls if isinstance(decl, Field) and decl.name == "parameter")
    for path, field in _fields(parameter.value, ()):
        line = text.count("\n", 0, field.start)
        assert lines[line - 1].strip().startswith("//"), f"{'.'.join(path)} has no comment above it"


def _fields(value: Expr, prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Field]]:
    """The fields that users can set, at every depth."""
    for struct in _structs(value):
        yield from _fields_in(struct, prefix)


def _fields_in(struct: Struct, prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Field]]:
    for decl in struct.decls:
        if isinstance(decl, Comprehension):
            yield from _fields_in(decl.body, prefix)
        elif isinstance(decl, Field) and decl.name is not None:
            yield (*prefix, decl.name), decl
            yield from _fields(decl.value, (*prefix, decl.name))


def _structs(value: Expr) -> list[Struct]:
    """The struct literals of a value: itself, alternatives, arguments of ``close``, elements of lists."""
    lists = [element for literal in value.lists for element in literal.elements if isinstance(element, Expr)]
    return [*value.structs, *(struct for element in (*value.inner, *lists) for struct in _structs(element))]
