"""The first evaluation of a template is made alone."""

from __future__ import annotations

import asyncio

import pytest

from vela_workflow.cue import trials
from vela_workflow.cue.sandbox import LimitExceeded


async def evaluate(found: trials.Trials, key: str, log: list[tuple[str, bool]], error: Exception | None = None) -> None:
    async with found.turn(key) as alone:
        log.append((key, alone))
        await asyncio.sleep(0)
        if error is not None:
            raise error


async def test_the_first_is_alone_and_the_others_wait_for_it() -> None:
    found, log = trials.Trials(4), []
    await asyncio.gather(*(evaluate(found, "a", log) for _ in range(3)))
    assert log == [("a", True), ("a", False), ("a", False)]


@pytest.mark.parametrize(
    ("error", "again"), [(LimitExceeded("too long"), True), (ValueError("refused"), False)], ids=["endless", "refused"]
)
async def test_what_has_no_end_never_goes_with_others(error: Exception, again: bool) -> None:
    found, log = trials.Trials(4), []
    for _ in range(2):
        with pytest.raises(type(error)):
            await evaluate(found, "a", log, error)
    assert log == [("a", True), ("a", again)]


async def test_one_that_has_an_end_no_more_is_tried_again() -> None:
    found, log = trials.Trials(4), []
    await evaluate(found, "a", log)
    with pytest.raises(LimitExceeded):
        await evaluate(found, "a", log, LimitExceeded("too long"))
    await evaluate(found, "a", log)
    assert [alone for _, alone in log] == [True, False, True]


async def test_a_trial_that_is_given_up_is_left_to_the_next() -> None:
    found, log = trials.Trials(4), []

    async def hang() -> None:
        async with found.turn("a"):
            await asyncio.Event().wait()

    hanging = asyncio.create_task(hang())
    await asyncio.sleep(0)
    waiting = asyncio.create_task(evaluate(found, "a", log))
    hanging.cancel()
    await waiting
    assert log == [("a", True)]


async def test_trials_do_not_take_all_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "SLOW", 0.01)
    found = trials.Trials(2)
    begun: asyncio.Queue[str] = asyncio.Queue()

    async def endless(key: str) -> None:
        async with found.turn(key):
            begun.put_nowait(key)
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(endless(key)) for key in "abcd"]
    assert [await begun.get(), await begun.get()] == ["a", "b"]  # the first one has left its place to the second
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await begun.get()
    tasks[0].cancel()
    assert await begun.get() == "c"  # the second one has become the one that takes long
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    log: list[tuple[str, bool]] = []
    await evaluate(found, "e", log)
    assert log == [("e", True)]
