"""Examples, those of the folder and those in the comments of definitions: their steps fit the step types they use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from vela_workflow.authoring import definitions, reference
from vela_workflow.cli.rehearsal import CONTEXT
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.cue.program import Data

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "examples").glob("*.yaml"))
    if not path.name.startswith("seed-")
}
SOURCES = {
    path.stem: path.read_text(encoding="utf-8") for path in sorted((definitions.built_in() / "steps").glob("*.cue"))
}
DEFINITIONS = {name: definitions.render(source) for name, source in SOURCES.items()}


def flat(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Steps and sub steps."""
    for step in steps:
        yield step
        yield from step.get("subSteps", [])


async def check(evaluator: Evaluator, step: dict[str, Any]) -> None:
    """Hold the properties of a step against its type; what comes in by inputs may be missing."""
    template = evaluator.prepare(DEFINITIONS[step["type"]]["spec"]["schematic"]["cue"]["template"])
    data = Data(step.get("properties", {}), {**CONTEXT, "stepName": step["name"]})
    problems = (await evaluator.check_parameters(template, data)).problems
    if step.get("inputs"):
        problems = [problem for problem in problems if "missing" not in problem.message]
    assert not problems, f"{step['name']}: {problems}"


@pytest.mark.parametrize("name", EXAMPLES)
async def test_example(evaluator: Evaluator, name: str) -> None:
    text = EXAMPLES[name]
    assert text.startswith("# "), "an example says at its top what it shows"
    runs = [item for item in yaml.safe_load_all(text) if item["kind"] == "WorkflowRun"]
    assert runs
    for run in runs:
        steps = list(flat(run["spec"]["workflowSpec"]["steps"]))
        assert len({step["name"] for step in steps}) == len(steps)
        made = {output["name"] for step in steps for output in step.get("outputs", [])}
        assert {item["from"] for step in steps for item in step.get("inputs", [])} <= made
        for step in steps:
            await check(evaluator, step)


@pytest.mark.parametrize("name", SOURCES)
async def test_example_of_a_definition(evaluator: Evaluator, name: str) -> None:
    comment = reference.example(SOURCES[name])
    lines = [line.removeprefix("\t") for line in comment.split("\n") if line.startswith("\t")]
    steps = list(flat(yaml.safe_load("\n".join(lines))))
    assert any(step["type"] == name for step in steps)
    for step in steps:
        await check(evaluator, step)


def test_every_category_has_an_example() -> None:
    used = {
        step["type"]
        for text in EXAMPLES.values()
        for item in yaml.safe_load_all(text)
        if item["kind"] == "WorkflowRun"
        for step in flat(item["spec"]["workflowSpec"]["steps"])
    }
    key = f"{definitions.USER_PREFIX}category"
    categories = {name: definition["metadata"]["annotations"][key] for name, definition in DEFINITIONS.items()}
    assert {categories[name] for name in used} == set(categories.values())
