"""An error anywhere in a template hides no operation.

Programs rely on what CUE does not promise: that a selector through a file-level ``let`` still answers when something
else in it is in error. This is the test to look at first with every new version of the ``cue`` command.
"""

from __future__ import annotations

import asyncio

import pytest
from harness import attempt

from vela_workflow.cli.rehearsal import CONTEXT
from vela_workflow.cue.data import Data
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.engine import result
from vela_workflow.steps.operations import path_text

POISONS = {
    "a conflict": "{mark}bad: 1 & 2",
    "a conflict of structs": '{mark}bad: {{a: 1}} & {{a: "x", b: 1}}',
    "two declarations": "{mark}bad: 1\n{mark}bad: 2",
    "a closed struct": "{mark}bad: close({{a: 1}}) & {{b: 1}}",
    "lists of different lengths": "{mark}bad: [1, 2] & [1]",
    "a call that fails": '{mark}bad: json.Unmarshal("no JSON")',
    "a division by zero": "{mark}bad: 1 / 0",
    "an error of the author's": '{mark}bad: error("told so")',
    "a structural cycle": "{mark}bad: {{next: {mark}bad}}",
    "an undefined field": "{mark}bad: {{a: 1}}.nope",
    "an unsatisfied bound": "{mark}bad: >5 & 3",
    "a value that stays open": "{mark}bad: string",
    "a missing required field": "{mark}bad: {{must!: int}}",
    "an index out of range": "{mark}bad: [1][3]",
    "a guard on an error": "if 1 & 2 {{{mark}bad: 1}}",
}

MARKS = {"field": "", "hidden field": "_", "definition": "#", "hidden definition": "_#"}

APPLY = 'kube.#Apply & {{$params: value: {{kind: "{kind}"}}}}'

POSITIONS = {
    "before": ("{poison}\na: {a}\nb: {b}", "a b"),
    "after": ("a: {a}\nb: {b}\n{poison}", "a b"),
    "between": ("a: {a}\n{poison}\nb: {b}", "a b"),
    "beside it in a struct": ("s: {{a: {a}\n{poison}\nb: {b}}}", "s.a s.b"),
    "in a struct beside it": ("s: {{a: {a}\nt: {{{poison}}}\nb: {b}}}", "s.a s.b"),
    "under a guard beside it": ("if true {{a: {a}\n{poison}\n}}\nb: {b}", "a b"),
    "in a loop beside it": ('for x in ["a", "b"] {{"k-\\(x)": {a}}}\nfor x in ["a"] {{q: {{{poison}}}}}', "k-a k-b"),
    "in a list beside it": ("l: [{a}, {{{poison}}}, {b}]", "l.0 l.2"),
    "in a definition that is not used": ("#d: {{{poison}}}\na: {a}\nb: {b}", "a b"),
    "beside steps": ("s: op.#Steps & {{a: {a}}}\nt: op.#Steps & {{{poison}}}\nb: {b}", "s.a b"),
}

HEAD = 'import "vela/kube"\nimport "vela/op"\nimport "encoding/json"\n'


def _template(position: str, poison: str) -> str:
    a, b = (APPLY.replace("{{", "{").replace("}}", "}").replace("{kind}", kind) for kind in "AB")
    return HEAD + position.format(poison=poison, a=a, b=b)


@pytest.mark.parametrize("mark", MARKS.values(), ids=MARKS.keys())
async def test_an_error_hides_no_operation(evaluator: Evaluator, mark: str) -> None:
    rows = [
        (poison, position, _template(position_text, poison_text.format(mark=mark)), paths)
        for poison, poison_text in POISONS.items()
        for position, (position_text, paths) in POSITIONS.items()
    ]
    found = await asyncio.gather(
        *(evaluator.evaluate(evaluator.prepare(text), Data({}, CONTEXT)) for _, _, text, _ in rows)
    )
    for (poison, position, _, paths), evaluation in zip(rows, found, strict=True):
        acts = [act for act in evaluation.acts if act.value is not None]
        assert [path_text(act.path) for act in acts] == paths.split(), (poison, position)
        assert not evaluation.absent, (poison, position)


@pytest.mark.parametrize("position", ["beside it in a struct", "under a guard beside it", "in a loop beside it"])
async def test_nor_does_it_once_there_are_results(evaluator: Evaluator, position: str) -> None:
    text, paths = POSITIONS[position]
    poison = POISONS["a conflict"].format(mark="_")
    run = await attempt(evaluator, _template(text, poison), canned={"*": {"value": {"ok": True}}})
    assert isinstance(run.result, result.Succeeded), run.result
    assert run.paths == paths.split()


@pytest.mark.parametrize(
    "poison",
    [
        '"\\(1 & 2)": 1',
        "a: 1",
        "1",
        '["x"]',
        "#embedded\n#embedded: 3",
    ],
)
async def test_an_error_that_takes_the_operation_with_it_is_no_success(evaluator: Evaluator, poison: str) -> None:
    run = await attempt(evaluator, _template(POSITIONS["after"][0], poison), canned={"*": {"value": {"ok": True}}})
    assert isinstance(run.result, result.Failed), run.result
    assert run.result.message
    assert not run.result.retriable
