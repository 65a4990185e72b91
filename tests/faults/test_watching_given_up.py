"""What the operator watches cannot be had for a while: kopf gives up, and the operator starts anew and goes on."""

from __future__ import annotations

import threading
import time

import pytest

from tests.cluster import operator_fixture as fixture
from tests.faults import scenario
from tests.faults.counter import Counter
from tests.faults.proxy import Fate, Proxy, Refusal, Write
from tools.waiting import wait_for
from vela_workflow.operator import login

GIVEN_UP = 100.0
"""Seconds within which kopf gives up on what it tries again and again."""

ANEW = 40.0
"""Seconds within which a new start is done and runs go on."""

REFUSALS = {
    "a watch ends with an error": ("/workflowruns", Refusal(500, "InternalError", in_stream=True), "starting anew"),
    "rights are taken away": ("/core.oam.dev/", Refusal(403, "Forbidden"), "the API server refuses, trying again"),
}
"""What is refused and how, and what is told then. The first ends kopf at once, the other after all its attempts."""

MORE = 3
"""How many further refusals are counted."""


@pytest.mark.parametrize(("part", "refusal", "told"), REFUSALS.values(), ids=REFUSALS.keys())
def test_it_starts_anew_when_it_can_watch_no_longer(
    part: str,
    refusal: Refusal,
    told: str,
    runs: fixture.Runs,
    operator: fixture.OperatorProcess,
    proxy: Proxy,
    counter: Counter,
) -> None:
    waiting = scenario.start(runs, counter)
    waiting.until_it_waits()
    held = runs.start("[{name: a, type: suspend}, {name: b, type: echo}]")
    held.until_step("a", "suspending")
    proxy.refuse(part, refusal)
    try:
        wait_for(lambda: told in operator.output() or not operator.running, GIVEN_UP, "the end of watching")
        assert operator.running, operator.output()
        missed = scenario.start(runs, counter)
        waiting.open_gate()
        held.patch_status({"suspend": False})
    finally:
        proxy.admit()
    missed.open_gate()
    for found in (waiting, missed):
        found.run.ended("succeeded", ANEW)
        assert found.outside() == scenario.DONE
    held.ended("succeeded", ANEW)
    assert operator.stop() == 0  # what was left of the former life does not hold up the end


def test_what_came_of_a_request_is_known_after_it(
    runs: fixture.Runs, operator: fixture.OperatorProcess, proxy: Proxy, counter: Counter
) -> None:
    name, back = fixture.unique("known"), threading.Event()
    context = f"/configmaps/workflow-{name}-context"

    def rule(write: Write) -> Fate:
        lost = bool(counter.deliveries(f"/{name}")) and write.path.endswith(context) and not back.is_set()
        return Fate.BEFORE if lost else Fate.PASS

    proxy.follow(rule)
    run = runs.start([{"name": "post", "type": "post", "properties": {"url": f"{counter.url}/{name}"}}], name=name)
    wait_for(lambda: counter.deliveries(f"/{name}"), what="a request")
    proxy.refuse(*REFUSALS["a watch ends with an error"][:2])
    try:
        wait_for(lambda: "starting anew" in operator.output(), GIVEN_UP, "a new start")
    finally:
        back.set()
        proxy.admit()
    assert fixture.brief(run.ended("succeeded", ANEW)) == {"post": "succeeded"}
    assert len(counter.deliveries(f"/{name}")) == 1
    assert operator.stop() == 0


def test_it_goes_on_when_it_is_known_again(runs: fixture.Runs, operator: fixture.OperatorProcess, proxy: Proxy) -> None:
    proxy.refuse("/workflowruns", Refusal(401, "Unauthorized"))
    try:
        wait_for(lambda: proxy.refused, what="a refusal")
        began = time.monotonic()
        wait_for(lambda: proxy.refused > MORE, what="more of them")
        assert time.monotonic() - began > login.PAUSE  # and not many times a second
        missed = runs.start("[{name: a, type: echo}]")
    finally:
        proxy.admit()
    missed.ended("succeeded", ANEW)
    assert "starting anew" not in operator.output()
