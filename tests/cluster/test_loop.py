"""Nothing blocks the event loop: everybody else waits while it is held.

The operator runs with its loop in debug mode, which tells of every callback that takes too long. Time for which the
machine had no core to give is not held against a callback: the kernel says how long the thread stood in the queue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import conftest as cluster
from tests.cluster import operator_fixture as fixture
from tools.kubectl import Kubectl
from tools.rest import Api
from tools.waiting import wait_for

JSON = dict[str, Any]

LIMIT = 0.1
"""Seconds that one callback may hold the loop: the limit that asyncio's debug mode has by itself."""

TRIALS = 4
"""What holds the loop in all of so many trials does so by itself."""

SET_UP = """
import os
import time
import traceback

# Debug mode notes where each task was made, which takes longer than to make it.
traceback.extract_stack = lambda *_, **__: []
own = time.monotonic
waits = os.open("/proc/self/schedstat", os.O_RDONLY)


def monotonic():
    \"""A clock that stands still while the thread waits for a core.\"""
    return own() - int(os.pread(waits, 100, 0).split()[1]) / 1e9


time.monotonic = monotonic  # uvloop takes the clock of its debug mode from here when it is imported
import uvloop
time.monotonic = own

new_event_loop = uvloop.new_event_loop


def debugged():
    loop = new_event_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = float(os.environ["LIMIT"])
    hold = float(os.environ.get("HOLD", "0"))
    if hold:
        loop.call_later(0.1, time.sleep, hold)
    return loop


uvloop.new_event_loop = debugged
"""
"""Carried out by the interpreter of the operator before anything else (``sitecustomize``)."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs the scheduler's statistics")


class Debugged(fixture.OperatorProcess):
    """An operator whose loop is in debug mode; ``hold`` are seconds for which it is held on purpose."""

    def __init__(self, home: Path, *, hold: float = 0.0, **settings: Any) -> None:
        super().__init__(log=home / "operator.log", **settings)
        (home / "sitecustomize.py").write_text(SET_UP, encoding="utf-8")
        self._environment |= {"PYTHONPATH": f"{home}:{fixture.ROOT}", "HOLD": str(hold), "LIMIT": str(LIMIT)}

    def held(self) -> list[str]:
        """What held the loop for too long."""
        return re.findall(r"Executing .* took .* seconds", self.output())


@pytest.fixture(scope="module")
def settings(operator_kubeconfig: Path, cue_command: Path) -> JSON:
    """How each operator of this module is started."""
    return {"kubeconfig": operator_kubeconfig, "cue": cue_command}


@pytest.fixture
def place(admin: Api, installed: None) -> Iterator[str]:
    """A namespace that one operator has for itself."""
    with cluster.namespace_for_runs(admin) as name:
        yield name


def test_what_holds_the_loop_is_seen(settings: JSON, place: str, tmp_path: Path) -> None:
    with Debugged(tmp_path, hold=2 * LIMIT, namespace=place, **settings) as operator:
        wait_for(operator.held, what="the report of what held the loop")


STEPS = 200


def touch(number: int) -> JSON:
    return {"name": f"touch-{number}", "type": "touch", "properties": {"name": f"touch-{number}"}}


def large(kilobytes: int) -> JSON:
    """A step that hands on a large value."""
    step = {"name": "large", "type": "echo", "properties": {"value": "x" * 1024 * kilobytes}}
    return {**step, "outputs": [{"name": "large", "valueFrom": "result"}]}


def test_nothing_holds_the_loop(settings: JSON, installed: None, admin: Api, kubectl: Kubectl, tmp_path: Path) -> None:
    """A command that gets no core holds who starts it, and no clock tells that apart: it will not do so every time."""
    held: list[list[str]] = []
    for number in range(TRIALS):
        held.append(held_by_work(settings, admin, kubectl, tmp_path / str(number)))
        if not held[-1]:
            return
    pytest.fail(f"something holds the loop each time: {held}")


def held_by_work(settings: JSON, admin: Api, kubectl: Kubectl, home: Path) -> list[str]:
    """What holds the loop of an operator that has much to do at once."""
    home.mkdir()
    with (
        cluster.namespace_for_runs(admin) as place,
        fixture.Recorder(kubectl, place) as recorder,
        Debugged(home, namespace=place, **settings) as operator,
    ):
        carry_out_much(fixture.Runs(admin, recorder, place))
        assert operator.stop() == 0
        return operator.held()


def carry_out_much(runs: fixture.Runs) -> None:
    """Many runs that wait for the same, a long one, a large one, a failing one, a definition that changes."""
    runs.config_map("gate", {"ready": "no"})
    gate = [{"name": "wait", "type": "await", "properties": {"name": "gate"}}]
    waiting = [runs.start(gate) for _ in range(30)]
    busy = [
        runs.start([touch(number) for number in range(STEPS)], mode={"steps": "DAG"}),
        runs.start([large(300), {"name": "echo", "type": "echo", "inputs": [{"from": "large"}]}]),
        runs.start([{"name": "deploy", "type": "apply-deployment", "properties": {"image": "nginx", "name": "web"}}]),
        *(runs.start([touch(number) for number in range(3)]) for _ in range(30)),
    ]
    failing = runs.start([{"name": "wrong", "type": "notification", "properties": {"slack": "wrong"}}])
    runs.definition("touch", "parameter: {}")  # is taken in while they are busy
    for run in waiting:
        run.until_step("wait", "running", "Wait")
    runs.config_map("gate", {"ready": "yes"})
    for run in (*waiting, *busy):
        run.ended("succeeded", timeout=60)
    failing.ended("failed")
