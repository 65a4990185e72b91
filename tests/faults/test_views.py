"""What the operator sees of the world breaks off, comes late, or is seen by another operator as well."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.cluster import operator_fixture as fixture
from tests.faults import scenario
from tests.faults.counter import Counter
from tests.faults.proxy import Proxy

SOON = 5.0
"""Seconds within which a broken watch is open again, and what was missed is known."""


def test_a_watch_that_breaks_loses_nothing(runs: fixture.Runs, proxy: Proxy) -> None:
    name = fixture.unique("gate")
    waiting = runs.start([{"name": "a", "type": "await", "properties": {"name": name}}])
    waiting.until_step("a", "running", "Wait")
    assert proxy.cut_watches() >= 3
    runs.config_map(name, {"ready": "yes"})
    fresh = runs.start("[{name: a, type: echo}]")
    changed = time.monotonic()
    waiting.ended("succeeded")
    fresh.ended("succeeded")
    assert time.monotonic() - changed < SOON


def test_events_that_come_late_are_not_acted_on(runs: fixture.Runs, proxy: Proxy, counter: Counter) -> None:
    found = scenario.start(runs, counter)
    found.until_it_waits()
    proxy.hold_watches("/workflowruns")
    try:
        found.open_gate()
        found.run.ended("succeeded")
        before = found.run.body
        proxy.follow()
    finally:
        proxy.release_watches()
    # The event of this one comes behind all those that were held back.
    runs.start("[{name: a, type: echo}]").ended("succeeded")
    assert found.run.body == before
    assert found.outside() == scenario.DONE
    assert not [write for write in proxy.writes if found.run.name in write.path]


def test_a_run_that_was_replaced_by_one_of_its_name_starts_anew(runs: fixture.Runs, proxy: Proxy) -> None:
    name = fixture.unique("again")
    gate = fixture.unique("gate")
    steps: list[scenario.JSON] = [
        {"name": "a", "type": "await", "properties": {"name": gate}},
        {"name": "b", "type": "echo"},
    ]
    old = runs.start(steps, name=name)
    old.until_step("a", "running", "Wait")
    proxy.hold_watches("/workflowruns")
    try:
        runs.api.delete(fixture.RUN.api_version, fixture.RUN.kind, name, runs.namespace)
        new = runs.start([{"name": "c", "type": "echo"}], name=name)
        runs.config_map(gate, {"ready": "yes"})  # wakes the old run, which is no more
    finally:
        proxy.release_watches()
    ended = new.until(lambda body: body["metadata"]["uid"] == new.uid and scenario.has_ended(body), "the new run's end")
    assert fixture.brief(ended) == {"c": "succeeded"}


@pytest.fixture
def second_operator(
    proxy: Proxy, cue_command: Path, run_namespace: str, tmp_path: Path, runs: fixture.Runs
) -> fixture.OperatorProcess:
    """Another operator for the same namespace, which nobody has told of the first."""
    kubeconfig = proxy.kubeconfig(tmp_path / "kubeconfig.json")
    return fixture.OperatorProcess(
        kubeconfig=kubeconfig, cue=cue_command, namespace=run_namespace, log=tmp_path / "second.log"
    )


def test_two_operators_do_not_corrupt_a_run(
    runs: fixture.Runs, second_operator: fixture.OperatorProcess, counter: Counter
) -> None:
    with second_operator:
        many = [scenario.start(runs, counter) for _ in range(8)]
        for found in many:
            found.until_it_waits()
            found.open_gate()
        for found in many:
            status = found.run.until(scenario.has_ended, "its end")
            sent = counter.deliveries(found.path)
            assert len(sent) <= 1
            entry = fixture.step(status, "post")
            if status["status"] == "succeeded":
                assert found.outside() == scenario.DONE
                assert set(fixture.brief(status).values()) == {"succeeded"}
            else:  # one of the two saw the other in the middle of it
                assert (entry["phase"], entry["reason"]) == ("failed", "Unknown")
