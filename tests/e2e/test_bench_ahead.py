"""The command that is started ahead of time answers as any other, and whoever ends it changes nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
import uvloop

from tools.waiting import wait_for
from vela_workflow.cue.command import CueCommand, Refusal
from vela_workflow.cue.library import Library
from vela_workflow.cue.sandbox import LimitExceeded, Limits

T = TypeVar("T")

OUTPUT = 64 * 1024


Run = Callable[[Coroutine[Any, Any, T]], T]


@pytest.fixture
def run() -> Iterator[Run[Any]]:
    """Runs a coroutine on the event loop of the operator."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner.run


@pytest.fixture
def command(run: Run[Any], cue_command: Path) -> Iterator[CueCommand]:
    """A command with one that waits."""
    made = CueCommand(str(cue_command), Library.build({}), Limits(ahead=True, wall_clock=5.0, output=OUTPUT))
    assert value(run(made.export("package p\nOUT: {first: true}\n"))) == {"first": True}
    run(waiting(made))
    yield made
    left = processes(made)
    made.close()
    run(ended(left))


async def ended(processes: list[int]) -> None:
    """Wait until the loop has heard of the end of processes."""
    await asyncio.to_thread(
        wait_for, lambda: not any(Path(f"/proc/{one}").exists() for one in processes), 10, "the end of the commands"
    )


async def waiting(command: CueCommand) -> int:
    """The process that waits, as soon as there is one."""
    return (await asyncio.to_thread(wait_for, lambda: processes(command), 10, "a command that waits"))[0]


def processes(command: CueCommand) -> list[int]:
    """The processes below this one that run ``cue`` on their standard input."""
    wanted = [command.binary, "export", "--out", "json", "-e", "OUT", "-"]
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_text().split("\0")[:-1]
            except OSError:
                continue
            if words == wanted and f"PPid:\t{os.getpid()}\n" in (folder / "status").read_text():
                found.append(int(folder.name))
    return found


def value(answer: bytes | Refusal) -> object:
    assert isinstance(answer, bytes), answer
    return orjson.loads(answer)


def test_it_answers_and_another_one_takes_its_place(run: Run[Any], command: CueCommand) -> None:
    for number in range(3):
        before = run(waiting(command))
        assert value(run(command.export(f"package p\nOUT: {{number: {number}}}\n"))) == {"number": number}
        assert run(waiting(command)) != before
    assert command.counters.commands == 4


def test_a_refusal_is_told_as_always(run: Run[Any], command: CueCommand) -> None:
    answer = run(command.export("package p\nOUT: 1 & 2\n"))
    assert isinstance(answer, Refusal)
    assert "conflicting values 2 and 1" in answer.stderr
    assert "-:2:6" in answer.stderr, "it tells the place"


def test_one_that_was_killed_is_not_missed(run: Run[Any], command: CueCommand) -> None:
    process = run(waiting(command))
    os.kill(process, signal.SIGKILL)
    os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
    assert value(run(command.export("package p\nOUT: {it: true}\n"))) == {"it": True}


def test_it_prints_no_more_than_others(run: Run[Any], command: CueCommand) -> None:
    with pytest.raises(LimitExceeded, match="printed more"):
        run(command.export(f'package p\nimport "strings"\nOUT: {{it: strings.Repeat("x", {2 * OUTPUT})}}\n'))


def test_it_ends_with_the_rest(run: Run[Any], command: CueCommand) -> None:
    process = run(waiting(command))
    command.close()
    run(ended([process]))


def test_who_gives_up_closes_nothing_of_others(run: Run[Any], command: CueCommand) -> None:
    """What is closed twice may belong to somebody else by then: here to pipes that are opened meanwhile."""

    async def storm() -> list[tuple[int, int]]:
        others = []
        for number in range(150):
            asked = asyncio.create_task(command.export(f"package p\nOUT: {{number: {number}}}\n"))
            for _ in range(number % 12):
                await asyncio.sleep(0)
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)
            others.append(os.pipe())
            if number % 10 == 0:
                gc.collect()
        return others

    others = run(storm())
    gc.collect()
    for reader, writer in others:
        os.write(writer, b"x")
        assert os.read(reader, 1) == b"x"
        os.close(reader)
        os.close(writer)
    assert value(run(command.export("package p\nOUT: {it: true}\n"))) == {"it": True}


def test_there_is_never_more_than_one(run: Run[Any], command: CueCommand) -> None:
    async def many() -> None:
        for number in range(40):
            # Some are asked together, some while the next one is only being started.
            programs = [f"package p\nOUT: {{a: {number}, b: {index}}}\n" for index in range(1 + number % 3)]
            await asyncio.gather(*map(command.export, programs))
            assert len(processes(command)) <= 1

    run(many())
    run(waiting(command))
    assert len(processes(command)) == 1
