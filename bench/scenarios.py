"""What is measured. A scenario is a name, a title and a coroutine that gives measurements; the table is at the end."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from bench import harness, scale
from bench.harness import Bench
from bench.report import Measurement
from bench.sizes import Size

WARM_UP = 3
WAITING = 5
"""How many runs wait at the same time."""

IDLE_SECONDS = 2.0
BESIDE = frozenset({"events", "leases"})
"""Resources whose requests are not the work of a run: they are written beside it."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that is measured."""

    name: str
    title: str
    measure: Callable[[Bench, Size], Awaitable[list[Measurement]]]


async def _latency(
    bench: Bench, size: Size, *, name: str, steps: int, mode: str = "StepByStep", goal: float
) -> list[Measurement]:
    """From the request that creates a run to the event that shows its success, one run after another."""
    seconds = []
    for _ in range(WARM_UP + size.repetitions):
        start = time.perf_counter()
        ended = await bench.runs.ended(await bench.runs.create(harness.apply_steps(steps), mode=mode))
        seconds.append(ended.at - start)
    return [_milliseconds(name, seconds[WARM_UP:], goal)]


async def _wake_up(bench: Bench, size: Size) -> list[Measurement]:
    """From the request that changes an object to the success of the run that has waited for it for some time."""
    lines = []
    for wait in size.waits:
        # Not all at the same moment of the second, so that a controller that polls is met at any moment of its pause.
        seconds = await asyncio.gather(
            *(_woken(bench, f"gate-{wait}-{index}", wait + index / WAITING) for index in range(WAITING))
        )
        lines.append(_milliseconds(f"wake-up after {wait} s", list(seconds), 100))
    return lines


async def _woken(bench: Bench, name: str, wait: float) -> float:
    await bench.config_map(name, {"open": "no"})
    run = await bench.runs.create(harness.wait_steps(name))
    await bench.runs.waiting(run)
    await asyncio.sleep(wait)
    start = time.perf_counter()
    await bench.config_map(name, {"open": "yes"})
    return (await bench.runs.ended(run)).at - start


async def _requests(bench: Bench, size: Size) -> list[Measurement]:
    """Requests of the controller for a run of three apply steps; watches are not counted."""
    since = bench.mark()
    for _ in range(size.repetitions):
        await bench.runs.ended(await bench.runs.create(harness.apply_steps(3)))
    await asyncio.sleep(IDLE_SECONDS)  # for what is written beside the work
    counted = Counter(
        (request.verb, request.subject) for request in await bench.requests(since) if request.verb != "watch"
    )
    work = {key: count for key, count in counted.items() if key[1].partition("/")[0] not in BESIDE}
    events = sum(count for key, count in counted.items() if key[1] == "events")
    detail = ", ".join(
        f"{count / size.repetitions:.3g} {verb} {subject}" for (verb, subject), count in sorted(work.items())
    )
    return [
        Measurement("requests per run", sum(work.values()) / size.repetitions, "", goal=6, detail=detail),
        Measurement("Events per run", events / size.repetitions, "", detail="written beside the work"),
    ]


async def _idle(bench: Bench, _: Size) -> list[Measurement]:
    """Memory and CPU time while nothing happens."""
    await asyncio.sleep(IDLE_SECONDS)
    used = await scale.busy(bench, IDLE_SECONDS)
    return [
        Measurement("memory, idle", bench.memory(), "MiB", goal=130, detail="resident, controller and its processes"),
        Measurement("CPU, idle", used, "cores"),
    ]


async def _after(bench: Bench, _: Size) -> list[Measurement]:
    """Memory after all the work."""
    return [Measurement("memory, after work", bench.memory(), "MiB", detail="resident, controller and its processes")]


def _milliseconds(name: str, seconds: list[float], goal: float) -> Measurement:
    """The median of some times, with their spread."""
    ordered = sorted(1000 * one for one in seconds)
    detail = f"{ordered[0]:.0f} to {ordered[-1]:.0f} ms, {len(ordered)} times"
    return Measurement(name, statistics.median(ordered), "ms", goal=goal, detail=detail)


SCENARIOS = (
    Scenario("idle", "memory and CPU while nothing happens", _idle),
    Scenario("one", "one apply step", partial(_latency, name="one apply step", steps=1, goal=40)),
    Scenario("three", "three apply-object steps", partial(_latency, name="three apply steps", steps=3, goal=300)),
    Scenario(
        "five", "five apply steps, one after another", partial(_latency, name="five apply steps", steps=5, goal=80)
    ),
    Scenario(
        "five-dag",
        "five apply steps, DAG",
        partial(_latency, name="five apply steps, DAG", steps=5, mode="DAG", goal=80),
    ),
    Scenario(
        "twenty-dag",
        "20 apply steps, DAG",
        partial(_latency, name="20 apply steps, DAG", steps=20, mode="DAG", goal=300),
    ),
    Scenario("wake-up", "a step that waits for an object", _wake_up),
    Scenario("requests", "requests of the controller for a run", _requests),
    Scenario("throughput", "many runs at once", scale.throughput),
    Scenario("waiting", "many runs that wait", scale.waiting),
    Scenario("steps", "workflows of 200 steps", scale.steps),
    Scenario("clusters", "50 clusters", scale.clusters),
    Scenario("growth", "many runs in a row: throughput must not fall, memory must not grow", scale.growth),
    Scenario("after", "memory after all that", _after),
)
