"""What a template may use: time, memory, output, depth, size; and that others do not pay for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from vela_workflow import errors
from vela_workflow.cue import template as templates
from vela_workflow.cue.command import CueCommand
from vela_workflow.cue.data import Data
from vela_workflow.cue.evaluator import Evaluation, Evaluator
from vela_workflow.cue.library import Library
from vela_workflow.cue.sandbox import LimitExceeded, Limits

SMALL = Limits(wall_clock=1.5, cpu=2, memory=512 * 1024 * 1024, output=1024 * 1024, commands=1)
NOTHING = Data({}, {})
GOOD = 'import "vela/kube"\nx: kube.#Apply & {{$params: value: {{kind: "X{number}"}}}}'


@pytest_asyncio.fixture
async def limited(cue_command: Path, library: Library) -> AsyncIterator[Evaluator]:
    command = CueCommand(str(cue_command), library, SMALL)
    yield Evaluator(command, library)
    command.close()
    await command.ended()


DIGITS = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"
GREEDY = {
    "an endless comprehension": "a: [" + " ".join(f"for x{n} in {DIGITS}" for n in range(9)) + " {1}]",
    "structs that double": "a0: {x: 1}\n" + "\n".join(f"a{n + 1}: {{l: a{n}, r: a{n}}}" for n in range(40)),
    "a list that explodes": 'import "list"\na: list.Repeat([{b: 1}], 1000000000)',
    "a string that explodes": 'import "strings"\na: strings.Repeat("x", 5000000000)',
    "a string that doubles": 'a0: "xxxxxxxx"\n' + "\n".join(f'a{n + 1}: "\\(a{n})\\(a{n})"' for n in range(40)),
    "disjunctions that multiply": "#d: " + " & ".join(f"({{a{n}: 1}} | {{b{n}: 1}})" for n in range(24)) + "\na: #d",
    "a value that is too long": 'import "strings"\na: strings.Repeat("x", 3000000)',
}


@pytest.mark.parametrize("text", GREEDY.values(), ids=GREEDY.keys())
async def test_a_template_that_wants_too_much_gets_an_error(limited: Evaluator, text: str) -> None:
    begun = time.monotonic()
    template = limited.prepare(text + '\nx: {#do: "log", #provider: "builtin", v: a}'.replace("v: a", _last(text)))
    with pytest.raises((LimitExceeded, errors.Invalid)) as raised:
        evaluation = await limited.evaluate(template, NOTHING)
        assert [act.value for act in evaluation.acts] == [None], "too much was told"
        raise errors.Invalid([errors.Problem("told as undecided")])
    assert raised.value.message
    assert time.monotonic() - begun < SMALL.wall_clock + 3


def _last(text: str) -> str:
    """The value that is worth most: that of the last declaration."""
    return f"v: {text.rsplit(chr(10), 1)[-1].split(':', maxsplit=1)[0]}"


async def test_what_was_started_is_gone_when_its_time_is_over(limited: Evaluator) -> None:
    with pytest.raises(LimitExceeded):
        await limited.evaluate(limited.prepare(_endless()), NOTHING)
    assert await limited.expression("1 + 1", {}) == 2, "the place of the ended command is free again"


def _endless() -> str:
    return GREEDY["an endless comprehension"] + '\nx: {#do: "log", #provider: "builtin", v: a}'


async def test_good_templates_in_one_batch_with_a_greedy_one_are_answered(limited: Evaluator) -> None:
    texts = [GOOD.format(number=0), _endless(), *(GOOD.format(number=number) for number in range(1, 4))]
    # All are asked for in one moment and share a command.
    asked = (limited.evaluate(limited.prepare(text), NOTHING) for text in texts)
    first, greedy, *others = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(greedy, LimitExceeded)
    for number, found in enumerate((first, *others)):
        assert isinstance(found, Evaluation), found
        value = found.acts[0].value
        assert value is not None
        assert value["$params"]["value"]["kind"] == f"X{number}"


async def test_a_large_template_is_evaluated(evaluator: Evaluator) -> None:
    fields = "\n".join(f'f{number}: {{a: "{"x" * 80}", b: [1, 2, 3]}}' for number in range(4700))
    text = GOOD.format(number=1) + "\n" + fields
    assert 490 * 1024 < len(text) < 512 * 1024
    evaluation = await evaluator.evaluate(evaluator.prepare(text), NOTHING)
    assert [act.path for act in evaluation.acts] == [("x",)]


@pytest.mark.parametrize("depth", [50, 120])
async def test_deep_nesting_is_evaluated(evaluator: Evaluator, depth: int) -> None:
    text = 'import "vela/kube"\n' + "a: {" * depth + 'x: kube.#Apply & {$params: value: {kind: "X"}}' + "}" * depth
    evaluation = await evaluator.evaluate(evaluator.prepare(text), NOTHING)
    assert [act.path for act in evaluation.acts] == [("a",) * depth + ("x",)]


@pytest.mark.parametrize(
    "text",
    [
        "a: " + "[" * 3000 + "]" * 3000,
        "a: " + "(" * 3000 + "1" + ")" * 3000,
        'a: "' + '\\("' * 3000 + '")' * 3000 + '"',
        "a: " + "b: " * 3000 + "1",
        "a: " + "f(" * 3000 + "1" + ")" * 3000,
    ],
    ids=["lists", "parentheses", "interpolations", "label chains", "calls"],
)
async def test_nesting_beyond_reason_is_refused(evaluator: Evaluator, text: str) -> None:
    with pytest.raises(errors.Invalid, match="nested too deeply"):
        evaluator.prepare(text)


async def test_a_command_that_cannot_be_started_is_worth_another_try(library: Library, tmp_path: Path) -> None:
    command = CueCommand(str(tmp_path / "nothing"), library)
    try:
        with pytest.raises(errors.Transient, match="cannot be started"):
            await Evaluator(command, library).evaluate(Evaluator(command, library).prepare("a: 1"), NOTHING)
    finally:
        command.close()
        await command.ended()


async def test_a_command_that_breaks_down_does_not_tell_users_where(library: Library, tmp_path: Path) -> None:
    """Short of memory the command may end in a fault of its runtime, with all that this prints."""
    binary = tmp_path / "cue"
    binary.write_text("#!/bin/sh\ncat >/dev/null\nprintf 'SIGSEGV\\n\\ngoroutine 1 [running]:\\n' >&2\nexit 2\n")
    binary.chmod(0o755)
    command = CueCommand(str(binary), library, SMALL)
    try:
        with pytest.raises(LimitExceeded, match="needed more memory"):
            await command.export('package p\nOUT: "x"\n', alone=True)
    finally:
        command.close()
        await command.ended()


async def test_nothing_of_the_operators_environment_reaches_a_template(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VELA_WORKFLOW_SECRET", "s3cret")
    template = evaluator.prepare('x: {#do: "log", #provider: "builtin", v: string @tag(v,var=os)}\ny: string @tag(y)')
    evaluation = await evaluator.evaluate(template, NOTHING)
    assert [act.value for act in evaluation.acts] == [None]


async def test_nothing_is_left_behind(cue_command: Path, library: Library) -> None:
    command = CueCommand(str(cue_command), library)
    evaluator = Evaluator(command, library)
    await evaluator.evaluate(evaluator.prepare("a: 1"), NOTHING)
    root = command._root
    assert sorted(path.name for path in root.iterdir()) == ["cue.mod"], "programs are removed at once"
    command.close()
    assert not root.exists()


def test_a_long_template_takes_time_in_proportion(library: Library) -> None:
    def seconds(guards: int) -> float:
        text = "\n".join(f"if parameter.n > {number} {{x{number}: parameter.n}}" for number in range(guards))
        began = time.process_time()
        templates.prepare(f"{text}\nparameter: n: int\n", library)
        return time.process_time() - began

    seconds(100)
    # Eight times as much text; were each name looked for in all of it, this would take sixty times as long.
    assert seconds(4000) < 25 * seconds(500)
