"""What is measured of many: many runs at once, many that wait, many steps, many clusters, and thousands in a row."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from bench import harness
from bench.harness import JSON, Bench
from bench.report import Measurement
from bench.sizes import Size

CREATORS = 16
"""How many requests that create something are under way at the same time."""

RUNS_PER_GATE = 100
QUIET_SECONDS = 5.0
"""How long nothing is done for the figures of doing nothing."""

SETTLING_SECONDS = 1.0
TOLD_SECONDS = 12.0
"""Seconds after which all has been told of a step that waits: that it does for long, after ten seconds, is the last."""
BATCHES = 5
STEPS = 200
CLUSTERS = 50


async def throughput(bench: Bench, size: Size) -> list[Measurement]:
    """Many runs of three steps at once: from the first request to the last success."""
    before, cpu = await bench.evaluations(), bench.cpu_seconds()
    seconds = await _flood(bench, size.runs)
    used, after = bench.cpu_seconds() - cpu, await bench.evaluations()
    counted = {name: after[name] - before[name] for name in before}
    return [
        Measurement("runs per second", size.runs / seconds, "1/s", goal=35, more_is_better=True,
                    detail=f"{size.runs} runs of three apply steps in {seconds:.1f} s"),
        Measurement("CPU time per run", used / size.runs * 1000, "ms", detail="controller and its processes"),
        *_evaluations(counted, size.runs, seconds),
    ]  # fmt: skip


def _evaluations(counted: dict[str, float], runs: int, seconds: float) -> list[Measurement]:
    programs, commands = counted.get("programs"), counted.get("commands")
    if not programs or not commands:
        return []
    return [
        Measurement("evaluations per second", programs / seconds, "1/s", detail="while these runs were carried out"),
        Measurement("evaluations per command", programs / commands, ""),
        Measurement("commands per run", commands / runs, ""),
    ]


async def waiting(bench: Bench, size: Size) -> list[Measurement]:
    """Runs that wait: what each costs while nothing happens, and how soon all end when what they wait for changes.

    The first number of runs wait for one and the same object; of the others, every hundred have an object of their own.
    """
    lines = await _waiting(bench, size.waiting[0], size.waiting[0])
    for count in size.waiting[1:]:
        lines += await _waiting(bench, count, RUNS_PER_GATE)
    return lines


async def _waiting(bench: Bench, count: int, per_gate: int) -> list[Measurement]:
    gates = [f"gates-{count}-{index}" for index in range(-(-count // per_gate))]
    for gate in gates:
        await bench.config_map(gate, {"open": "no"})
    await asyncio.sleep(SETTLING_SECONDS)
    memory = bench.memory()
    runs = await _at_once(
        partial(bench.runs.create, harness.wait_steps(gates[index // per_gate])) for index in range(count)
    )
    await asyncio.gather(*(bench.runs.waiting(run) for run in runs))
    await asyncio.sleep(TOLD_SECONDS)
    grown = bench.memory() - memory
    cores = await busy(bench, QUIET_SECONDS)
    start = time.perf_counter()
    await _at_once(partial(bench.config_map, gate, {"open": "yes"}) for gate in gates)
    ends = sorted([ended.at - start for ended in await asyncio.gather(*(bench.runs.ended(run) for run in runs))])
    kind = "for one object" if len(gates) == 1 else f"for {len(gates)} objects"
    name = f"{count} waiting runs"
    return [
        Measurement(f"memory per run, {name}", grown / count * 1024, "KiB", goal=25),
        Measurement(f"CPU, {name}", cores, "cores", goal=0.01, detail=f"waiting {kind}, nothing happens"),
        Measurement(f"all have ended, {name}", ends[-1], "s", goal=5 if count <= 300 else None,
                    detail=f"after the change; half of them after {statistics.median(ends):.1f} s"),
    ]  # fmt: skip


async def steps(bench: Bench, _: Size) -> list[Measurement]:
    """Workflows of very many steps."""
    lines = []
    for mode, goal in (("StepByStep", 5.0), ("DAG", 4.0)):
        start, cpu = time.perf_counter(), bench.cpu_seconds()
        ended = await bench.runs.ended(await bench.runs.create(harness.apply_steps(STEPS), mode=mode))
        used = bench.cpu_seconds() - cpu
        detail = f"{used:.1f} s of CPU time"
        lines.append(Measurement(f"{STEPS} apply steps, {mode}", ended.at - start, "s", goal=goal, detail=detail))
    return lines


async def clusters(bench: Bench, _: Size) -> list[Measurement]:
    """Very many joined clusters: what they cost, and a run that applies an object to each of them, twice."""
    memory = bench.memory()
    names = [f"cluster-{index}" for index in range(CLUSTERS)]
    await _at_once(partial(bench.join_cluster, name) for name in names)
    await asyncio.sleep(SETTLING_SECONDS)
    cores = await busy(bench, QUIET_SECONDS)
    seconds = []
    for _again in range(2):
        given: list[JSON] = harness.apply_steps(CLUSTERS)
        for step, name in zip(given, names, strict=True):
            step["properties"]["cluster"] = name
        start = time.perf_counter()
        seconds.append((await bench.runs.ended(await bench.runs.create(given, mode="DAG"))).at - start)
    grown = (bench.memory() - memory) / CLUSTERS
    return [
        Measurement(f"CPU, {CLUSTERS} clusters", cores, "cores", goal=0.01, detail="joined, nothing happens"),
        Measurement(f"an object to each of {CLUSTERS} clusters", seconds[0], "s", detail="the first connections"),
        Measurement(f"… and once more, {CLUSTERS} clusters", seconds[1], "s"),
        Measurement("memory per cluster", grown, "MiB", detail="after both"),
    ]


async def growth(bench: Bench, size: Size) -> list[Measurement]:
    """Thousands of runs in a row: throughput must not fall, memory must not grow.

    The API server has more and more objects, too; the controller's own CPU time tells what is due to whom.
    """
    rates, memories, used = [], [], []
    for _ in range(BATCHES):
        cpu = bench.cpu_seconds()
        rates.append(size.growth / await _flood(bench, size.growth))
        used.append((bench.cpu_seconds() - cpu) / size.growth * 1000)
        memories.append(bench.memory())
    each = f"batches of {size.growth} runs"
    return [
        Measurement("throughput, last batch / first", rates[-1] / rates[0], "", goal=0.9, more_is_better=True,
                    detail=f"{each}: " + ", ".join(f"{rate:.1f}" for rate in rates) + " runs per second"),
        Measurement("CPU time per run, last batch / first", used[-1] / used[0], "",
                    detail=f"{each}: " + ", ".join(f"{one:.1f}" for one in used) + " ms"),
        Measurement("memory, last batch / first", memories[-1] / memories[0], "", goal=1.1,
                    detail=f"{each}: " + ", ".join(f"{memory:.0f}" for memory in memories) + " MiB"),
    ]  # fmt: skip


async def busy(bench: Bench, seconds: float) -> float:
    """How many cores the controller uses during some seconds."""
    cpu, start = bench.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(seconds)
    return (bench.cpu_seconds() - cpu) / (time.perf_counter() - start)


async def _flood(bench: Bench, count: int) -> float:
    """Seconds from the creation of the first of many runs of three steps to the last success."""
    start = time.perf_counter()
    runs = await _at_once(partial(bench.runs.create, harness.apply_steps(3)) for _ in range(count))
    ends = [(await bench.runs.ended(run)).at for run in runs]
    return max(ends) - start


async def _at_once(calls: Iterable[Callable[[], Coroutine[Any, Any, Any]]]) -> list[Any]:
    """The results of many requests, of which a bounded number is under way at the same time."""
    limit = asyncio.Semaphore(CREATORS)

    async def one(call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        async with limit:
            return await call()

    return await asyncio.gather(*(one(call) for call in calls))
