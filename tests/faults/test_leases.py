"""A Lease that is renewed so slowly that it cannot be trusted for moments: it is not lost, and neither is any run."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import operator_fixture as fixture
from tests.faults.counter import Counter
from tests.faults.proxy import Fate, Proxy, Write
from tools.waiting import wait_for

TIMING = {"lease_duration": 6, "lease_trusted": 4, "lease_retry": 0.5}
SLOW = 2.0
"""Seconds that each renewal is on its way: the answer comes half a second after the last renewal is not trusted."""

LONG = 8.0
"""Seconds for which runs come and go; the Lease is not trusted for half a second of each two and a half."""


@pytest.fixture
def operator(proxy: Proxy, cue_command: Path, run_namespace: str, tmp_path: Path) -> Iterator[fixture.OperatorProcess]:
    """An operator that takes part in an election."""
    with fixture.OperatorProcess(
        kubeconfig=proxy.kubeconfig(tmp_path / "kubeconfig.json"),
        cue=cue_command,
        namespace=run_namespace,
        log=tmp_path / "operator.log",
        leader_election="true",
        lease_namespace=run_namespace,
        identity="only",
        **TIMING,
    ) as process:
        yield process


def test_renewals_that_come_late_lose_no_run(
    runs: fixture.Runs, operator: fixture.OperatorProcess, proxy: Proxy
) -> None:
    passed = threading.Event()

    def slowly(write: Write) -> Fate:
        if "/leases/" in write.path:
            passed.wait(SLOW)
        return Fate.PASS

    runs.start("[{name: a, type: echo}]").ended("succeeded")
    proxy.follow(slowly)
    until = time.monotonic() + LONG
    try:
        while time.monotonic() < until:
            runs.start([{"name": "a", "type": "touch", "properties": {"name": fixture.unique("a")}}]).ended("succeeded")
    finally:
        passed.set()
    assert "is lost" not in operator.output()


def test_what_came_of_a_request_is_known_after_the_lease_was_lost(
    runs: fixture.Runs, operator: fixture.OperatorProcess, proxy: Proxy, counter: Counter
) -> None:
    name, back = fixture.unique("lost"), threading.Event()

    def rule(write: Write) -> Fate:
        sent = bool(counter.deliveries(f"/{name}"))
        return Fate.BEFORE if sent and not back.is_set() else Fate.PASS

    proxy.follow(rule)
    post = {"name": "post", "type": "post", "properties": {"url": f"{counter.url}/{name}"}}
    run = runs.start([{**post, "outputs": [{"name": "number", "valueFrom": "number"}]}], name=name)
    wait_for(lambda: "leadership is lost" in operator.output(), what="the end of its leadership")
    back.set()
    assert fixture.brief(run.ended("succeeded")) == {"post": "succeeded"}
    assert run.variables() == {"number": "1"}
    assert len(counter.deliveries(f"/{name}")) == 1
