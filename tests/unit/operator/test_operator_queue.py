"""The queue of runs: turns one at a time per key, bursts as one, delays, back-off, and workers that never get fewer."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop

from vela_workflow import errors
from vela_workflow.operator import queue
from vela_workflow.operator.queue import WorkQueue

Run = Callable[[Coroutine[Any, Any, Any]], Any]
Work = Callable[[str], Awaitable[float | None]]

PATIENCE = 10.0


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a coroutine on a loop of each kind: the operator's is uvloop's."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield lambda made: runner.run(asyncio.wait_for(made, PATIENCE))


class Desk:
    """A queue and what was worked on."""

    def __init__(self, work: Work | None = None, workers: int = 4) -> None:
        self._work = work
        self.turns: list[str] = []
        self.now: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self.queue: WorkQueue[str] = WorkQueue(self._turn, workers=workers)

    async def __aenter__(self) -> Desk:
        self.queue.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.queue.close(grace=PATIENCE)

    async def until(self, count: int) -> None:
        """Wait until so many turns have begun."""
        while len(self.turns) < count:
            self._changed.clear()
            await self._changed.wait()

    async def _turn(self, key: str) -> float | None:
        self.turns.append(key)
        self.now[key] += 1
        self._changed.set()
        try:
            assert self.now[key] == 1, "a key has one turn at a time"
            return await self._work(key) if self._work is not None else None
        finally:
            self.now[key] -= 1


def test_a_burst_is_one_turn(run: Run) -> None:
    async def body() -> None:
        async with Desk() as desk:
            for _ in range(10):
                desk.queue.add("a")
            await desk.until(1)
        assert desk.turns == ["a"]

    run(body())


def test_what_is_added_during_a_turn_has_another_one(run: Run) -> None:
    async def body() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def work(_: str) -> None:
            begun.set()
            await go_on.wait()

        async with Desk(work) as desk:
            desk.queue.add("a")
            await begun.wait()
            desk.queue.add("a")
            desk.queue.add("a")
            assert desk.turns == ["a"]
            go_on.set()
            await desk.until(2)
        assert desk.turns == ["a", "a"]

    run(body())


@pytest.mark.parametrize("step", [0.0, 0.00001, 0.0004, 0.001])
def test_short_delays_lose_no_worker(run: Run, step: float) -> None:
    """A loop may take a time that is as good as come for one without a delay."""
    rounds, keys = 5, [f"k{number}" for number in range(60)]

    async def body() -> None:
        left = Counter(dict.fromkeys(keys, rounds))

        async def work(key: str) -> float | None:
            left[key] -= 1
            return step * (1 + len(key) % 2) if left[key] else None

        async with Desk(work, workers=8) as desk:
            for key in keys:
                desk.queue.add_after(key, step)
            await desk.until(rounds * len(keys))
        assert Counter(desk.turns) == dict.fromkeys(keys, rounds)

    run(body())


def test_the_earliest_of_several_delays_counts(run: Run) -> None:
    async def body() -> None:
        async with Desk() as desk:
            desk.queue.add_after("late", 60)
            desk.queue.add_after("a", 60)
            desk.queue.add_after("a", 0.01)
            desk.queue.add_after("a", 60)
            await desk.until(1)
        assert desk.turns == ["a"]

    run(body())


FAILURES = {
    "an error": ValueError("wrong"),
    "an error that passes": errors.Transient("not now", after=0.01),
    "a cancellation within": asyncio.CancelledError(),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES.keys())
def test_a_turn_that_fails_is_tried_again(run: Run, failure: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "FIRST_DELAY", 0.001)

    async def body() -> None:
        async def work(_: str) -> None:
            if len(desk.turns) <= 3:
                raise failure

        async with Desk(work, workers=1) as desk:
            desk.queue.add("a")
            await desk.until(4)
        assert desk.turns == ["a"] * 4

    run(body())


def test_a_turn_that_fails_for_days_is_tried_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_DELAY", 0.0)
    often = 2000

    async def body() -> None:
        async def work(_: str) -> None:
            await asyncio.sleep(0)
            if len(desk.turns) < often:
                raise errors.Transient("not now")

        async with Desk(work, workers=1) as desk:
            desk.queue.add("a")
            await desk.until(often)
        assert desk.turns == ["a"] * often

    run(body())


def test_a_worker_that_ends_is_replaced(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    class Faulty:
        def taken(self, _: float) -> None:
            if not self.failed_once:
                self.failed_once = True
                raise RuntimeError("an error of ours")

        def failed(self) -> None:
            raise AssertionError

        failed_once = False

    async def body() -> None:
        done = asyncio.Event()

        async def work(_: str) -> None:
            done.set()

        made: WorkQueue[str] = WorkQueue(work, workers=1, observer=Faulty())
        made.start()
        made.add("a")
        made.add("b")
        await done.wait()
        await made.close(grace=PATIENCE)

    with caplog.at_level(logging.ERROR):
        run(body())
    assert "a worker has ended, another takes its place" in caplog.text
