"""Guards that fail: they contribute nothing, as those that are not decided yet, but somebody is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from harness import attempt

from vela_workflow.cue.command import CueCommand
from vela_workflow.cue.data import Data
from vela_workflow.cue.evaluator import Evaluator, Explanation
from vela_workflow.cue.guards import Guard
from vela_workflow.cue.library import Library
from vela_workflow.cue.template import Template
from vela_workflow.engine import result
from vela_workflow.steps import failed_guards

HEAD = """import (
	"vela/kube"
	"vela/builtin"
	"strconv"
)
parameter: {n: *5 | int, zero: *0 | int, s: *"abc" | string, l: *[1] | [...], o?: int, open: *{} | {...}}
go: kube.#Apply & {$params: value: {kind: "A"}}
"""
LINE = HEAD.count("\n") + 1

TOLD = [
    ("division by zero", "if 1/parameter.zero > 1 {x: 1}", "if 1/parameter.zero > 1", "division by zero"),
    ("kinds that cannot be compared", "if parameter.s > 3 {x: 1}", "if parameter.s > 3", "invalid operands"),
    ("values in conflict", "if (parameter.s & 6) > 3 {x: 1}", "if (parameter.s & 6) > 3", "conflicting values"),
    ("a function that refuses", "if strconv.Atoi(parameter.s) > 3 {x: 1}", "if strconv.Atoi(parameter.s) > 3", "invalid syntax"),
    ("behind the end of a list", "if parameter.l[3] > 1 {x: 1}", "if parameter.l[3] > 1", "index out of range [3] with length 1"),
    ("a loop over what fails", "for x in [1/parameter.zero] {y: x}", "for x in [1/parameter.zero]", "division by zero"),
    ("around an operation", 'if parameter.s > 3 {m: kube.#Apply & {$params: value: {kind: "B"}}}', "if parameter.s > 3", "invalid operands"),
    ("in arguments", 'm: kube.#Apply & {$params: value: {k: "B", if k > 3 {x: 1}}}', "if k > 3", 'invalid operands "B" and 3'),
    ("in an element of a list", "m: kube.#Apply & {$params: value: l: [{if parameter.s > 3 {x: 1}}]}", "if parameter.s > 3", "invalid operands"),
    ("in a let", "let y = {if parameter.s > 3 {x: 1}}\nz: y", "if parameter.s > 3", "invalid operands"),
    ("in a definition", "#y: {if parameter.s > 3 {x: 1}}\nz: #y", "if parameter.s > 3", "invalid operands"),
    ("inside one that holds", "if parameter.n == 5 {if parameter.s > 3 {x: 1}}", "if parameter.s > 3", "invalid operands"),
    ("with a loop variable", "for i, x in [1, parameter.s] let y = x {if y > 3 {z: y}}", "if y > 3", "invalid operands"),
    ("with a let beside it", "for x in [parameter.s] {let y = x, if y > 3 {z: y}}", "if y > 3", "invalid operands"),
    ("with a let of the struct around it", "s: {let y = parameter.s, if y > 3 {z: y}}", "if y > 3", "invalid operands"),
    ("on a result", "if go.$returns.value.kind > 3 {m: kube.#Apply & {$params: value: {}}}", "if go.$returns.value.kind > 3", "invalid operands"),
]  # fmt: skip

SILENT = [
    ("decided", "if parameter.n > 3 {x: 1}\nif parameter.n < 3 {y: 1}"),
    ("not there yet", "if parameter.open.status.n / 0 > 3 {x: 1}"),
    ("left out", "if parameter.o > 3 {x: 1}"),
    ("a loop over what is not there yet", "for x in parameter.open.list {if x > 3 {y: x}}"),
    ("whether something wrong is there", "if (parameter.n & 6) != _|_ {x: 1}"),
    ("inside one that does not hold", "if parameter.n == 4 {if parameter.s > 3 {x: 1}}"),
    ("inside one that is not decided", "if parameter.open.n == 4 {if parameter.s > 3 {x: 1}}"),
    ("in a loop over nothing", "for x in parameter.open {if parameter.s > 3 {y: x}}"),
    ("a result that says no more", "if go.$returns.value.status.ready {m: kube.#Apply & {$params: value: {}}}"),
]


class Asked(Evaluator):
    """Counts how often the reason of a guard was asked for."""

    times = 0

    async def explain_guard(self, found: Template, data: Data, guard: Guard) -> Explanation | None:
        self.times += 1
        return await super().explain_guard(found, data, guard)


@pytest_asyncio.fixture
async def asked(cue_command: str, library: Library) -> AsyncIterator[Asked]:
    command = CueCommand(str(cue_command), library)
    yield Asked(command, library)
    command.close()
    await command.ended()


@pytest.mark.parametrize(("text", "guard", "reason"), [row[1:] for row in TOLD], ids=[row[0] for row in TOLD])
async def test_a_guard_that_fails_is_told_and_fails_nothing(
    evaluator: Evaluator, text: str, guard: str, reason: str
) -> None:
    run = await attempt(evaluator, HEAD + text, canned={"*": {"value": {"kind": "A"}}})
    assert isinstance(run.result, result.Succeeded), run.result
    assert "go" in run.paths
    (warning,) = run.warnings
    place, _, rest = warning.partition(": ")
    assert place == f"line {LINE}:{text.index(guard) + 1}"
    assert rest.startswith(f'the guard "{guard}" fails and adds nothing: ')
    assert reason in rest


@pytest.mark.parametrize("text", [row[1] for row in SILENT], ids=[row[0] for row in SILENT])
async def test_others_are_not_told_and_ask_nothing_more(asked: Asked, text: str) -> None:
    run = await attempt(asked, HEAD + text, canned={"*": {"value": {"kind": "A"}}})
    assert isinstance(run.result, result.Succeeded), run.result
    assert run.warnings == ()
    assert asked.times == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("if parameter.n {x: 1}", "cannot use 5 (type int) as type bool"),
        ("for x in parameter.s {y: x}", "cannot range over parameter.s (found string, want list or struct)"),
        ("if parameter.n {if parameter.s > 3 {x: 1}}", "cannot use 5 (type int) as type bool"),
    ],
)
async def test_a_guard_of_the_wrong_kind_fails_what_it_stands_in(evaluator: Evaluator, text: str, message: str) -> None:
    run = await attempt(evaluator, HEAD + text, canned={"*": {"value": {}}})
    assert isinstance(run.result, result.Failed), run.result
    assert message in run.result.message
    assert run.warnings == ()


WAITS = """
if parameter.s > 3 {x: 1}
if parameter.l[3] > 1 {y: 1}
wait: builtin.#ConditionalWait & {$params: continue: parameter.open.ready}
"""


async def test_a_step_that_waits_tells_what_can_be_known(evaluator: Evaluator) -> None:
    run = await attempt(evaluator, HEAD + WAITS, parameter={"open": {"ready": False}}, canned={"*": {"value": {}}})
    assert isinstance(run.result, result.Waiting), run.result
    (warning,) = run.warnings
    assert 'the guard "if parameter.s > 3" fails' in warning


async def test_guards_are_told_once_in_the_life_of_a_step(asked: Asked) -> None:
    template = asked.prepare(HEAD + WAITS)
    data = Data({"open": {"ready": False}}, {})
    evaluation = await asked.evaluate(template, data)
    known: failed_guards.Known = {}

    async def told(*, ended: bool) -> list[str]:
        texts = await failed_guards.warnings(
            asked, template, data, evaluation.failed, known, ended=ended, worded=str.upper
        )
        return [text.partition('"')[2].partition('"')[0] for text in texts]

    assert await told(ended=False) == ["if parameter.s > 3"]
    assert asked.times == 2
    assert await told(ended=False) == []
    assert asked.times == 2
    # The list can grow no more.
    assert await told(ended=True) == ["if parameter.l[3] > 1"]
    assert asked.times == 3
    assert await told(ended=True) == []


@pytest.mark.parametrize(
    ("found", "ended"),
    [
        (result.Waiting(""), False),
        (result.Suspended("s", "", None), False),
        (result.Failed("Execute", "", retriable=True), False),
        (result.Failed("Execute", ""), True),
        (result.Succeeded({}), True),
        (result.Broken(""), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_which_results_end_a_step(found: Any, ended: bool) -> None:
    assert failed_guards.has_ended(found) is ended


async def test_wrong_parameters_are_not_told_twice(evaluator: Evaluator) -> None:
    run = await attempt(evaluator, HEAD + "if parameter.zero > 1 {x: 1}", parameter={"zero": "a"})
    assert isinstance(run.result, result.Failed)
    assert "invalid parameters: zero" in run.result.message
    assert not run.warnings
