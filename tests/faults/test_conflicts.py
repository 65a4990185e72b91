"""Others write at the worst moment, and the network loses what is written: no effect is repeated because of it."""

from __future__ import annotations

import collections
import threading
from typing import Any

import pytest

from tests import web
from tests.cluster import operator_fixture as fixture
from tests.faults import scenario
from tests.faults.counter import Counter
from tests.faults.proxy import Fate, Proxy, Rule, Write
from tests.faults.test_kills import WRITES
from tools.rest import Api

JSON = dict[str, Any]

SOON = 20.0
"""Seconds within which what a user asks for is done; nothing else would bring the run to the operator's mind so soon."""

GUARDED = ("tell-where-it-is", "record-outcome", "keep-waiting-step", "show-wait", "keep-end", "show-end")
"""Writes that carry the version of what they were made from."""

GIVEN_UP = 8
"""So many attempts at a write that all fail are more than the operator makes in one turn."""


def touch(admin: Api, write: Write) -> None:
    """Change the object that is about to be written, in a way that concerns nobody."""
    path = write.path.removesuffix("/status")
    note = {"metadata": {"annotations": {"example.com/touched": write.path}}}
    admin.request("PATCH", path, note, content="application/merge-patch+json")


def losing_status(name: str, world: Counter, fate: Fate, lost: threading.Event) -> Rule:
    """Let the first status that is written after the run's request meet its fate; ``lost`` tells that it has."""

    def rule(write: Write) -> Fate:
        if write.path.endswith(f"/{name}/status") and world.deliveries(f"/{name}") and not lost.is_set():
            lost.set()
            return fate
        return Fate.PASS

    return rule


def carry_out(runs: fixture.Runs, counter: Counter) -> scenario.Scenario:
    found = scenario.start(runs, counter)
    found.until_it_waits()
    found.open_gate()
    ended = found.run.ended("succeeded")
    assert fixture.brief(ended) == dict.fromkeys(scenario.STEPS, "succeeded")
    return found


@pytest.mark.parametrize("name", GUARDED)
def test_a_conflict_at_a_write_changes_nothing(
    runs: fixture.Runs, proxy: Proxy, counter: Counter, admin: Api, name: str
) -> None:
    number = WRITES.index(name) + 1
    touched: list[Write] = []

    def rule(write: Write) -> Fate:
        if write.number == number and not touched:
            touched.append(write)
            touch(admin, write)
        return Fate.PASS

    proxy.follow(rule)
    assert carry_out(runs, counter).outside() == scenario.DONE
    assert touched


def test_a_conflict_at_every_status_write_changes_nothing(
    runs: fixture.Runs, proxy: Proxy, counter: Counter, admin: Api
) -> None:
    seen: list[Write] = []
    touched: list[Write] = []

    def rule(write: Write) -> Fate:
        if write.path.endswith("/status"):
            seen.append(write)
            if len(seen) % 2:  # what is tried again gets through
                touched.append(write)
                touch(admin, write)
        return Fate.PASS

    proxy.follow(rule)
    assert carry_out(runs, counter).outside() == scenario.DONE
    assert len(touched) >= 2


@pytest.mark.parametrize("fate", [Fate.BEFORE, Fate.AFTER], ids=["requests", "answers"])
def test_a_network_that_loses_every_second_write_costs_time_only(
    runs: fixture.Runs, proxy: Proxy, counter: Counter, fate: Fate
) -> None:
    sent: collections.Counter[str] = collections.Counter()

    def rule(write: Write) -> Fate:
        sent[str(write)] += 1
        return fate if sent[str(write)] % 2 else Fate.PASS

    proxy.follow(rule)
    assert carry_out(runs, counter).outside() == scenario.DONE
    assert sum(sent.values()) > len(WRITES)


POST_THEN = """
import (
	"vela/http"
	"vela/kube"
	"vela/builtin"
)

request: http.#HTTPPost & {$params: url: parameter.url}
%s
parameter: url: string
"""
APPLY = 'apply: kube.#Apply & {$params: value: {apiVersion: "v1", kind: "ConfigMap", metadata: {name: "x", namespace: "none"}}}'
FAIL = 'fail: builtin.#Fail & {$params: message: "answer \\(request.$returns.body)"}'


@pytest.mark.parametrize(
    ("later", "on", "posts"),
    [
        pytest.param(APPLY, "error", 1, id="an-error-of-a-later-action-repeats-no-post"),
        pytest.param(FAIL, "fail", 3, id="a-failure-that-the-step-wants-retried-posts-anew"),
    ],
)
def test_a_retry(runs: fixture.Runs, counter: Counter, later: str, on: str, posts: int) -> None:
    kind = fixture.unique("post-then")
    runs.definition(kind, POST_THEN % later)
    retry = {"limit": 2, "backoff": {"duration": "100ms", "factor": 1}, "on": [on]}
    run = runs.start([{"name": "a", "type": kind, "retry": retry, "properties": {"url": f"{counter.url}/{kind}"}}])
    run.ended("failed")
    sent = counter.deliveries(f"/{kind}")
    assert len(sent) == posts
    assert len({delivery.key for delivery in sent}) == posts


def test_what_a_user_asks_during_a_pass_is_folded_in(runs: fixture.Runs, proxy: Proxy, admin: Api) -> None:
    name, gate = fixture.unique("asked"), fixture.unique("gate")
    asked: list[Write] = []

    def rule(write: Write) -> Fate:
        if write.path.endswith(f"{name}/status") and not asked:
            asked.append(write)
            body = {"status": {"suspend": True}}
            admin.request("PATCH", write.path, body, content="application/merge-patch+json")
        return Fate.PASS

    proxy.follow(rule)
    steps = [
        {"name": "a", "type": "await", "properties": {"name": gate}},
        {"name": "b", "type": "touch", "properties": {"name": f"{gate}-b"}},
    ]
    run = runs.start(steps, name=name)
    run.until_phase("suspending", timeout=SOON)
    runs.config_map(gate, {"ready": "yes"})
    runs.start("[{name: a, type: echo}]").ended("succeeded")
    assert runs.get("ConfigMap", f"{gate}-b") is None
    run.patch_status({"suspend": False})
    run.ended("succeeded")


def test_a_foreign_object_with_the_name_of_the_context_is_left_alone(runs: fixture.Runs, counter: Counter) -> None:
    name = fixture.unique("taken")
    mine = runs.config_map(f"workflow-{name}-context", {"mine": "yes"})
    step = {"name": "a", "type": "echo", "properties": {"value": 1}, "outputs": [{"name": "o", "valueFrom": "result"}]}
    run = runs.start([step], name=name)
    run.ended("succeeded")
    assert run.variables() == {"o": 1}
    assert runs.get("ConfigMap", mine["metadata"]["name"]) == mine


@pytest.mark.parametrize("fate", [Fate.BEFORE, Fate.AFTER], ids=["before-it-arrives", "on-the-way-back"])
def test_a_status_that_is_lost_is_no_restart(runs: fixture.Runs, proxy: Proxy, counter: Counter, fate: Fate) -> None:
    name, lost = fixture.unique("late"), threading.Event()
    proxy.follow(losing_status(name, counter, fate, lost))
    wait: JSON = {"type": "await", "properties": {"name": f"{name}-gate"}}
    post: JSON = {"type": "post", "properties": {"url": f"{counter.url}/{name}"}}
    last: JSON = {"type": "await", "properties": {"name": f"{name}-last"}}
    run = runs.start([{"name": "wait", **wait}, {"name": "post", **post}, {"name": "last", **last}], name=name)
    run.until_step("wait", "running", "Wait")
    runs.config_map(f"{name}-gate", {"ready": "yes"})
    run.until_step("last", "running", "Wait")
    assert lost.is_set()
    runs.config_map(f"{name}-last", {"ready": "yes"})
    assert fixture.brief(run.ended("succeeded")) == dict.fromkeys(("wait", "post", "last"), "succeeded")
    assert len(counter.deliveries(f"/{name}")) == 1


def test_an_intent_that_was_written_without_an_answer_is_no_riddle(
    runs: fixture.Runs, proxy: Proxy, counter: Counter
) -> None:
    name = fixture.unique("intent")
    lost: list[Write] = []

    def rule(write: Write) -> Fate:
        if len(lost) >= GIVEN_UP or not write.path.endswith(f"/workflow-{name}-context"):
            return Fate.PASS
        lost.append(write)
        return Fate.AFTER if len(lost) == 1 else Fate.BEFORE

    wait: JSON = {"name": "wait", "type": "await", "properties": {"name": f"{name}-gate"}}
    post: JSON = {"name": "post", "type": "post", "properties": {"url": f"{counter.url}/{name}"}}
    run = runs.start([wait, post], name=name)
    run.until_step("wait", "running", "Wait")
    proxy.follow(rule)
    runs.config_map(f"{name}-gate", {"ready": "yes"})
    assert fixture.brief(run.ended("succeeded")) == {"wait": "succeeded", "post": "succeeded"}
    assert len(lost) == GIVEN_UP
    assert len(counter.deliveries(f"/{name}")) == 1


class Slow(Counter):
    """The world outside, which answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def answer(self, request: web.Request) -> web.Answer:
        answer = super().answer(request)
        self.go.wait(fixture.PATIENCE)
        return answer


@pytest.mark.parametrize("fate", [Fate.BEFORE, Fate.AFTER], ids=["before-it-arrives", "on-the-way-back"])
def test_what_is_under_way_goes_on_when_it_cannot_be_shown(runs: fixture.Runs, proxy: Proxy, fate: Fate) -> None:
    with Slow() as slow:
        name, lost = fixture.unique("slow"), threading.Event()
        proxy.follow(losing_status(name, slow, fate, lost))
        post: JSON = {"name": "post", "type": "post", "properties": {"url": f"{slow.url}/{name}"}}
        run = runs.start([post, {"name": "end", "type": "echo"}], name=name)
        assert lost.wait(fixture.PATIENCE)
        slow.go.set()
        assert fixture.brief(run.ended("succeeded")) == {"post": "succeeded", "end": "succeeded"}
        assert len(slow.deliveries(f"/{name}")) == 1


def test_a_context_that_vanishes_in_the_middle_costs_no_run(runs: fixture.Runs, proxy: Proxy, admin: Api) -> None:
    gate, deleted = fixture.unique("gate"), threading.Event()
    steps: list[JSON] = [
        {"name": "a", "type": "await", "properties": {"name": gate}},
        {"name": "b", "type": "touch", "properties": {"name": f"{gate}-made"}},
        {"name": "c", "type": "await", "properties": {"name": f"{gate}-last"}},
    ]
    run = runs.start(steps)
    run.until_step("a", "running", "Wait")
    context = f"/configmaps/workflow-{run.name}-context"

    def rule(write: Write) -> Fate:
        if write.path.endswith(context) and not deleted.is_set():
            touch(admin, write)
        return Fate.PASS

    def witness(write: Write) -> None:
        if write.path.endswith(context) and not deleted.is_set():
            deleted.set()
            admin.request("DELETE", write.path)

    proxy.follow(rule, witness)
    runs.config_map(gate, {"ready": "yes"})
    assert deleted.wait(fixture.PATIENCE)
    run.until_step("c", "running", "Wait")
    runs.config_map(f"{gate}-last", {"ready": "yes"})
    run.ended("succeeded")
