"""A crash at any write loses nothing and repeats no side effect.

The scenario is carried out once to see that its writes are those of the table. Then, for each of them, the operator is
killed right before the write reaches the API server and right after it was carried out (its answer is lost), started
again, and the end is compared with the clean one. The POST reaches the world outside exactly once, except where the
operator is killed between the record of its intention and the record of its outcome: then at most once, the step says
that nobody knows, and running it again is up to the user.
"""

from __future__ import annotations

import threading
from typing import Final

import pytest

from tests.cluster import operator_fixture as fixture
from tests.faults import scenario
from tests.faults.counter import Counter
from tests.faults.proxy import Fate, Proxy, Write
from tools.waiting import wait_for

WRITES: Final = (
    "apply-one",  # PATCH configmaps/<run>-one
    "record-intention",  # POST configmaps
    "tell-where-it-is",  # PATCH status: contextBackend; after it the POST is sent
    "record-answer",  # POST secrets
    "record-outcome",  # PUT context
    "keep-waiting-step",  # PUT context
    "show-wait",  # PATCH status
    "apply-two",  # PATCH configmaps/<run>-two
    "keep-end",  # PUT context
    "show-end",  # PATCH status
)
"""All writes of the scenario in order; a write more is a cost that somebody has to want."""

SENT_AFTER: Final = WRITES.index("tell-where-it-is") + 1
"""The number of the write after which the POST is sent."""

NOBODY_KNOWS: Final = {
    (SENT_AFTER, Fate.AFTER): 0,
    (SENT_AFTER + 1, Fate.BEFORE): 1,
}
"""The crashes between intention and outcome, each with how often the POST was sent."""


class Assassin:
    """A rule that kills the operator at one write."""

    def __init__(self, operator: fixture.OperatorProcess, number: int, fate: Fate) -> None:
        self.operator = operator
        self.number = number
        self.fate = fate
        self.struck = threading.Event()
        self._once = threading.Lock()

    def before(self, write: Write) -> Fate:
        """Kill before the write is forwarded, or let it pass."""
        if write.number != self.number or self.struck.is_set():
            return Fate.PASS
        if self.fate is Fate.BEFORE:
            self.strike()
        return self.fate

    def after(self, write: Write) -> None:
        """Kill after the write was carried out."""
        if write.number == self.number and self.fate is Fate.AFTER and not self.struck.is_set():
            self.strike()

    def strike(self) -> None:
        """Kill the operator."""
        self.operator.kill()
        self.struck.set()


def test_the_scenario_has_these_writes(runs: fixture.Runs, proxy: Proxy, counter: Counter) -> None:
    proxy.follow()
    found = scenario.start(runs, counter)
    found.until_it_waits()
    found.open_gate()
    found.run.ended("succeeded")
    assert found.outside() == scenario.DONE
    assert len(proxy.writes) == len(WRITES), [str(write) for write in proxy.writes]


CRASHES = [
    pytest.param(number, fate, id=f"{fate.name.lower()}-{name}")
    for number, name in enumerate(WRITES, 1)
    for fate in (Fate.BEFORE, Fate.AFTER)
]


@pytest.mark.parametrize(("number", "fate"), CRASHES)
def test_a_crash_at_a_write_loses_and_repeats_nothing(
    runs: fixture.Runs,
    operator: fixture.OperatorProcess,
    proxy: Proxy,
    counter: Counter,
    number: int,
    fate: Fate,
) -> None:
    assassin = Assassin(operator, number, fate)
    proxy.follow(assassin.before, assassin.after)
    found = scenario.start(runs, counter)
    wait_for(lambda: assassin.struck.is_set() or scenario.is_waiting(found.run.body), what="a crash or a wait")
    if not assassin.struck.is_set():
        found.open_gate()
    assert assassin.struck.wait(fixture.PATIENCE), "the operator never came to this write"
    operator.start(wait=False)

    if (number, fate) in NOBODY_KNOWS:
        ended = found.run.ended("failed")
        assert fixture.step(ended, "post")["reason"] == "Unknown"
        assert "nobody knows" in fixture.step(ended, "post")["message"]
        sent = counter.deliveries(found.path)
        assert len(sent) == NOBODY_KNOWS[(number, fate)]
        found.run.restart("post")
    found.until_it_waits()
    found.open_gate()
    ended = found.run.ended("succeeded")

    assert fixture.brief(ended) == dict.fromkeys(scenario.STEPS, "succeeded")
    sent = counter.deliveries(found.path)
    before = NOBODY_KNOWS.get((number, fate), 0)
    assert len(sent) == before + 1
    assert len({delivery.key for delivery in sent}) == len(sent)
    assert found.outside() == {
        **scenario.DONE,
        "posts": len(sent),
        "two": {"number": str(len(sent)), "ready": "yes"},
    }
    assert found.run.variables() == {"kind": "ConfigMap", "number": str(len(sent))}


def test_a_kill_between_two_steps_repeats_nothing_that_succeeded(
    runs: fixture.Runs, operator: fixture.OperatorProcess, counter: Counter
) -> None:
    found = scenario.start(runs, counter)
    found.until_it_waits()
    made = runs.get("ConfigMap", f"{found.run.name}-one")
    ids = {entry["name"]: entry["id"] for entry in found.run.status["steps"]}
    operator.kill()
    found.open_gate()
    operator.start()
    ended = found.run.ended("succeeded")
    assert found.outside() == scenario.DONE
    assert runs.get("ConfigMap", f"{found.run.name}-one") == made  # not even applied again
    assert ids.items() <= {entry["name"]: entry["id"] for entry in ended["steps"]}.items()


def test_attempts_and_back_off_survive_a_kill(runs: fixture.Runs, operator: fixture.OperatorProcess) -> None:
    missing = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "no-such-namespace"}}
    retry = {"limit": 3, "backoff": {"duration": "2s", "factor": 1}}
    step = {"name": "a", "type": "apply-object", "retry": retry, "properties": {"value": missing}}
    run = runs.start([step])
    run.until_step("a", "failed", "Execute")
    operator.kill()
    operator.start()
    run.ended("failed")
    attempts = {
        entry["lastExecuteTime"] for body in run.versions if (entry := fixture.step(body.get("status") or {}, "a"))
    }
    assert len(attempts) == 4  # one and three retries, however many processes made them


def test_a_suspend_ends_on_time_though_the_operator_was_away(
    runs: fixture.Runs, operator: fixture.OperatorProcess
) -> None:
    timed = runs.start("[{name: a, type: suspend, properties: {duration: 2s}}, {name: b, type: echo}]")
    manual = runs.start("[{name: a, type: suspend}, {name: b, type: echo}]")
    timed.until_phase("suspending")
    manual.until_phase("suspending")
    operator.kill()
    manual.patch_status({"suspend": False})
    operator.start()
    assert fixture.brief(timed.ended("succeeded")) == {"a": "succeeded", "b": "succeeded"}
    assert fixture.brief(manual.ended("succeeded")) == {"a": "succeeded", "b": "succeeded"}


def test_a_run_that_is_emptied_while_nobody_looks_is_carried_out_anew(
    runs: fixture.Runs, operator: fixture.OperatorProcess, counter: Counter
) -> None:
    found = scenario.start(runs, counter)
    found.until_it_waits()
    found.open_gate()
    before = found.run.ended("succeeded")
    operator.kill()
    found.run.patch_status(dict.fromkeys(found.run.status))
    operator.start()
    after = found.run.ended("succeeded")
    sent = counter.deliveries(found.path)
    assert len(sent) == len({delivery.key for delivery in sent}) == 2
    ids = [{entry["id"] for entry in status["steps"]} for status in (before, after)]
    assert not ids[0] & ids[1]


def test_a_crash_after_a_pass_has_shown_what_it_came_to_restarts_nothing(
    runs: fixture.Runs, operator: fixture.OperatorProcess, proxy: Proxy, counter: Counter
) -> None:
    shown, struck = threading.Event(), threading.Event()
    name = fixture.unique("long")

    def rule(write: Write) -> Fate:
        if write.path.endswith(f"/configmaps/{name}-one"):
            shown.wait(fixture.PATIENCE)  # the pass takes until it has shown its status once
        elif write.path.endswith(f"/{name}/status"):
            shown.set()
            if counter.deliveries(f"/{name}") and not struck.is_set():
                operator.kill()
                struck.set()
                return Fate.BEFORE
        return Fate.PASS

    proxy.follow(rule)
    found = scenario.Scenario(runs.start(scenario.steps(name, counter), name=name), runs, counter)
    assert struck.wait(fixture.PATIENCE)
    assert set(fixture.brief(found.run.status)) == {"make"}
    operator.start()
    found.until_it_waits()
    found.open_gate()
    found.run.ended("succeeded")
    assert found.outside() == scenario.DONE


@pytest.mark.parametrize("step", ["post", "*"])
def test_a_crash_in_the_middle_of_a_restart_loses_it_not(
    runs: fixture.Runs, operator: fixture.OperatorProcess, proxy: Proxy, counter: Counter, step: str
) -> None:
    proxy.follow()
    found = scenario.start(runs, counter)
    found.open_gate()
    found.run.ended("succeeded")
    first = {entry["name"]: entry["id"] for entry in found.run.status["steps"]}
    struck = threading.Event()

    def rule(write: Write) -> Fate:
        if write.path.endswith(f"/{found.run.name}/status") and not struck.is_set():
            operator.kill()
            struck.set()
            return Fate.BEFORE
        return Fate.PASS

    proxy.follow(rule)
    found.run.ask_restart(f"{step}#1")
    assert struck.wait(fixture.PATIENCE)
    operator.start(wait=False)
    found.run.until(lambda body: "annotations" not in body["metadata"], "the end of the wish")
    again = found.run.ended("succeeded")
    second = {entry["name"]: entry["id"] for entry in again["steps"]}
    kept = {name for name in first if first[name] == second[name]}
    assert kept == (set() if step == "*" else {"make", "look"})
    assert len(counter.deliveries(found.path)) == 2
    assert again["finished"]
