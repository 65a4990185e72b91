"""Many programs in few commands, each answered as if it were alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from vela_workflow import errors
from vela_workflow.cue.command import CueCommand
from vela_workflow.cue.data import Data, Output
from vela_workflow.cue.evaluator import Evaluation, Evaluator
from vela_workflow.cue.library import Library
from vela_workflow.cue.sandbox import Limits

COUNT = 40

ONE = """
import "vela/kube"
import "strings"
parameter: {{name: string, size: *{number} | int}}
#shared: {{kind: "K{number}"}}
x: kube.#Apply & {{$params: value: #shared & {{metadata: name: strings.ToUpper(parameter.name)}}}}
if parameter.size > {number} {{y: kube.#Read & {{$params: value: #shared}}}}
z: 1 & 2
"""
OUTPUTS = (Output("o", ("x.$params.value.kind",)), Output("p", ("nothing.there", "parameter.size")))


@pytest_asyncio.fixture
async def one_command(cue_command: Path, library: Library) -> AsyncIterator[Evaluator]:
    command = CueCommand(str(cue_command), library, Limits(commands=1))
    yield Evaluator(command, library)
    command.close()
    await command.ended()


def _told(found: Evaluation | BaseException) -> Any:
    if isinstance(found, BaseException):
        return type(found), str(found)
    acts = [(act.path, act.action, act.value, act.order) for act in found.acts]
    return acts, [site.path for site in found.absent], found.parameters_fit, found.outputs, found.odd


def _data(number: int) -> Data:
    parameter = {"name": f"n{number}", "size": number + number % 2} if number % 5 else {"name": number}
    return Data(parameter, {"name": "run"})


async def _all(evaluator: Evaluator, texts: list[str]) -> list[Evaluation | BaseException]:
    return await asyncio.gather(
        *(evaluator.evaluate(evaluator.prepare(text), _data(number), OUTPUTS[:1]) for number, text in enumerate(texts)),
        return_exceptions=True,
    )


async def _tried(evaluator: Evaluator, texts: list[str]) -> None:
    """Let templates have stood their trial, so that they go with others."""
    for text in texts:
        async with evaluator._trials.turn(evaluator.prepare(text).key):
            pass


async def _each(cue_command: Path, library: Library, texts: list[str]) -> list[Evaluation | BaseException]:
    command = CueCommand(str(cue_command), library, Limits(batch=1))
    try:
        return await _all(Evaluator(command, library), texts)
    finally:
        command.close()
        await command.ended()


async def test_many_templates_take_few_commands(one_command: Evaluator, cue_command: Path, library: Library) -> None:
    texts = [ONE.format(number=number) for number in range(COUNT)]
    await _tried(one_command, texts)
    together = await _all(one_command, texts)
    # All are asked for in one moment and fit into two batches of 32.
    assert one_command.cue.counters.commands == 2
    assert one_command.cue.counters.programs == COUNT
    alone = await _each(cue_command, library, texts)
    assert [_told(found) for found in together] == [_told(found) for found in alone]
    assert all(isinstance(found, Evaluation) for found in together)


REFUSED = {
    "an unused binding": "x: 1\nlet unused = 2",
    "a mark at the wrong place": 'import "vela/kube"\nx: *kube.#Apply & {$params: value: {}} | 1',
    "a function that is not there": 'import "vela/kube"\nimport "strings"\nx: kube.#Apply & {$params: value: strings.No(1)}',
}


@pytest.mark.parametrize("bad", REFUSED.values(), ids=REFUSED.keys())
async def test_one_that_is_wrong_does_not_harm_the_others(
    one_command: Evaluator, cue_command: Path, library: Library, bad: str
) -> None:
    texts = [ONE.format(number=number) for number in range(12)]
    texts.insert(5, bad)
    await _tried(one_command, texts)
    together = await _all(one_command, texts)
    assert one_command.cue.counters.commands <= 4
    alone = await _each(cue_command, library, texts)
    assert [_told(found) for found in together] == [_told(found) for found in alone]
    assert sum(isinstance(found, errors.Invalid) for found in together) == one_command.cue.counters.refused <= 1


NAMES = {
    "one name for two packages": (
        'import s "strings"\nimport "vela/kube"\nx: kube.#Apply & {$params: value: kind: s.ToUpper("a")}',
        'import s "strconv"\nimport "vela/kube"\nx: kube.#Apply & {$params: value: kind: s.FormatInt(7, 10)}',
    ),
    "a package called as a function of CUE": (
        'import len "strings"\nimport "vela/kube"\nx: kube.#Apply & {$params: value: kind: len.ToUpper("a")}',
        'import "vela/kube"\nx: kube.#Apply & {$params: value: kind: "\\(len("seven"))"}',
    ),
    "a package called as another's field": (
        'import size "strings"\nimport "vela/kube"\nx: kube.#Apply & {$params: value: kind: size.ToUpper("a")}',
        'import "vela/kube"\nsize: "7"\nx: kube.#Apply & {$params: value: kind: size}',
    ),
}


@pytest.mark.parametrize("texts", NAMES.values(), ids=NAMES.keys())
async def test_what_one_calls_a_package_means_nothing_to_the_others(
    one_command: Evaluator, cue_command: Path, library: Library, texts: tuple[str, str]
) -> None:
    several = [texts[0], texts[1], texts[0] + "\ny: 1", texts[1] + "\ny: 1"]
    await _tried(one_command, several)
    together = await _all(one_command, several)
    alone = await _each(cue_command, library, several)
    assert [_told(found) for found in together] == [_told(found) for found in alone]
    assert all(isinstance(found, Evaluation) for found in together), together
    assert one_command.cue.counters.refused == 0


async def test_the_same_question_is_asked_once(one_command: Evaluator) -> None:
    template = one_command.prepare(ONE.format(number=1))
    found = await asyncio.gather(*(one_command.evaluate(template, _data(1)) for _ in range(10)))
    assert one_command.cue.counters.programs == 1
    assert len({str(_told(one)) for one in found}) == 1
    await one_command.evaluate(template, _data(1))
    assert one_command.cue.counters.programs == 1, "an answer is kept"


async def test_who_gives_up_takes_the_answer_from_nobody(one_command: Evaluator) -> None:
    template = one_command.prepare(ONE.format(number=1))
    impatient = asyncio.create_task(one_command.evaluate(template, _data(1)))
    patient = asyncio.create_task(one_command.evaluate(template, _data(1)))
    await asyncio.sleep(0)
    impatient.cancel()
    assert (await patient).acts
    with pytest.raises(asyncio.CancelledError):
        await impatient


@pytest.mark.parametrize("steps", range(5))
async def test_nobody_waits_for_ever_when_it_is_over(cue_command: Path, library: Library, steps: int) -> None:
    command = CueCommand(str(cue_command), library, Limits(commands=1))
    evaluator = Evaluator(command, library)
    asked = [
        asyncio.create_task(evaluator.evaluate(evaluator.prepare(ONE.format(number=number)), _data(number)))
        for number in range(4)
    ]
    for _ in range(steps):
        await asyncio.sleep(0)  # one turn of the loop each: closing may come at any of them
    command.close()
    await command.ended()
    async with asyncio.timeout(10):
        found = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError | errors.Transient) for one in found)


async def test_nobody_waits_for_ever_when_programs_cannot_be_written(one_command: Evaluator) -> None:
    one_command.cue.close()
    one_command.cue._closed = False  # the directory is gone, as on a full or vanished disk
    async with asyncio.timeout(10):
        with pytest.raises(errors.Transient, match="cannot be"):
            await one_command.evaluate(one_command.prepare("a: 1"), _data(1))
