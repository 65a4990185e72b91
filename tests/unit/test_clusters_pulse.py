"""Telling a slow cluster from a dead one."""

from __future__ import annotations

import asyncio

import pytest

from vela_workflow.clusters import breaker, pulse

PATIENCE = 0.05


class Cluster:
    """Answers the question for its version as long as it is ``alive``."""

    def __init__(self, *, alive: bool) -> None:
        self.alive = alive
        self.asked = 0
        self.questions: asyncio.Queue[None] = asyncio.Queue()

    async def ask(self) -> None:
        self.asked += 1
        self.questions.put_nowait(None)
        if not self.alive:
            raise OSError("nothing")


async def call(beat: pulse.Pulse, answer: asyncio.Event) -> str:
    async with beat.call():
        await answer.wait()
    return "answered"


async def test_all_calls_of_a_dead_cluster_end() -> None:
    cluster = Cluster(alive=False)
    beat = pulse.Pulse(cluster.ask, patience=PATIENCE)
    never = asyncio.Event()
    calls = await asyncio.gather(*(call(beat, never) for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in calls] == [pulse.NoPulseError] * 3
    assert cluster.asked == 1


async def test_a_slow_cluster_is_given_its_time() -> None:
    cluster = Cluster(alive=True)
    beat = pulse.Pulse(cluster.ask, patience=PATIENCE)
    answer = asyncio.Event()
    slow = asyncio.create_task(call(beat, answer))
    async with asyncio.timeout(5):
        for _ in range(3):
            await cluster.questions.get()
    assert not slow.done()
    answer.set()
    assert await slow == "answered"


async def test_answers_to_others_are_a_sign_of_life() -> None:
    cluster = Cluster(alive=False)
    beat = pulse.Pulse(cluster.ask, patience=PATIENCE)
    answer, at_once = asyncio.Event(), asyncio.Event()
    at_once.set()
    slow = asyncio.create_task(call(beat, answer))
    loop = asyncio.get_running_loop()
    until = loop.time() + 4 * PATIENCE
    while loop.time() < until:
        await call(beat, at_once)
        await asyncio.sleep(0)
    assert (cluster.asked, slow.done()) == (0, False)
    with pytest.raises(pulse.NoPulseError, match="nor to the question for its version"):
        await slow


async def test_a_time_limit_of_the_call_itself_stays_what_it_is() -> None:
    beat = pulse.Pulse(Cluster(alive=True).ask, patience=PATIENCE)
    with pytest.raises(TimeoutError) as raised:
        async with beat.call(), asyncio.timeout(0):
            await asyncio.Event().wait()
    assert not isinstance(raised.value, pulse.NoPulseError)


def test_a_dead_cluster_opens_its_breaker_at_once() -> None:
    now = 0.0
    made = breaker.Breaker(breaker.BreakerSettings(threshold=3, first=1.0, cap=8.0), clock=lambda: now)
    for _ in range(5):  # calls that were under way together count once
        made.dead("no answer")
    assert (made.is_open, made.admit(), made.last_error) == (True, 1.0, "no answer")
    now = 1.0
    assert made.admit() == 0.0
    made.failed("the probe too")
    assert made.admit() == 2.0
