"""Expressions on their own: conditions of steps, inputs, values of CUE files."""

from __future__ import annotations

from typing import Any

import pytest

from vela_workflow import errors
from vela_workflow.cue.evaluator import Evaluator, Undecided

SCOPE = {"status": {"a": {"phase": "succeeded", "n": 2}}, "inputs": {"x": [1, 2]}, "context": {"name": "run"}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 1", 2),
        ("true", True),
        ("null", None),
        ('status.a.phase == "succeeded"', True),
        ('status.a.phase == "failed" || status.a.n > 1', True),
        ("inputs.x[1]", 2),
        ("[for x in inputs.x {x * 2}]", [2, 4]),
        ('"\\(context.name)-\\(status.a.n)"', "run-2"),
        ("{a: 1, b: a}", {"a": 1, "b": 1}),
        ('import "strings"\nstrings.ToUpper(context.name)', "RUN"),
        ('import s "strings"\ns.ToUpper(context.name)', "RUN"),
        ("// a comment\n1", 1),
        ("status.b.phase != _|_", False),
        ("len(inputs.x) == 2", True),
        ("12345678901234567", 12345678901234567),
    ],
)
async def test_values(evaluator: Evaluator, text: str, value: Any) -> None:
    assert await evaluator.expression(text, SCOPE) == value


@pytest.mark.parametrize("text", ["status.b.phase", "status.a.nope == 1", "string", "inputs.x[7]"])
async def test_what_does_not_exist_is_undecided(evaluator: Evaluator, text: str) -> None:
    with pytest.raises(Undecided):
        await evaluator.expression(text, SCOPE)


@pytest.mark.parametrize(
    "text",
    [
        "1 & 2",
        "status.a.phase + 1",
        "nothing",
        "1 +",
        "}",
        '"',
        "OUT: 2}\nx: {1",
        'import "tool/exec"\nexec.Run',
        "1 / 0",
    ],
)
async def test_what_is_wrong_is_invalid(evaluator: Evaluator, text: str) -> None:
    with pytest.raises(errors.Invalid) as raised:
        await evaluator.expression(text, SCOPE)
    assert raised.value.message


async def test_a_value_of_a_file(evaluator: Evaluator) -> None:
    source = 'package x\nimport "strings"\nm: {name: strings.ToUpper("a"), l: [1]}\n#d: 3\n_h: 4'
    assert await evaluator.value(source, "m") == {"name": "A", "l": [1]}
    assert await evaluator.value(source, "#d + _h") == 7


@pytest.mark.parametrize(
    ("source", "expression"),
    [("a: 1", "b"), ("a: string", "a"), ("a: {", "a"), ('import "vela/kube"\na: 1', "a"), ("a: 1\na: 2", "a")],
)
async def test_no_value_of_a_file(evaluator: Evaluator, source: str, expression: str) -> None:
    with pytest.raises(errors.Invalid) as raised:
        await evaluator.value(source, expression)
    assert raised.value.message


async def test_an_expression_that_ends_too_early_says_so(evaluator: Evaluator) -> None:
    with pytest.raises(errors.Invalid, match="expected operand, found its end"):
        await evaluator.expression("1 +", SCOPE)
