"""What the operator sees of the world breaks off, comes late, or is seen by another operator as well."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from tests.cluster import operator_fixture as fixture
from tests.faults import scenario
from tests.faults.counter import Counter
from tests.faults.proxy import Proxy, Refusal
from tools.waiting import wait_for
from vela_workflow.api import constants

SOON = 20.0
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
        proxy.release()
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
        proxy.release()
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
                assert (entry["phase"], entry.get("reason")) == ("failed", "Unknown"), status["steps"]


def test_a_status_that_is_older_than_the_context_is_no_restart(
    runs: fixture.Runs,
    operator: fixture.OperatorProcess,
    second_operator: fixture.OperatorProcess,
    proxy: Proxy,
    counter: Counter,
) -> None:
    name = fixture.unique("older")
    wait: scenario.JSON = {"name": "wait", "type": "await", "properties": {"name": f"{name}-first"}}
    run = runs.start([wait, *scenario.steps(name, counter)], name=name)
    run.until_step("wait", "running", "Wait")
    operator.kill()
    with second_operator:
        proxy.hold_reads(f"/workflow-{name}-context")
        try:
            operator.start(wait=False)
            wait_for(lambda: proxy.held, what="a look at the context")
            runs.config_map(f"{name}-first", {"ready": "yes"})
            run.until_step("hold", "running", "Wait")
            runs.config_map(f"{name}-gate", {"ready": "yes"})
            run.ended("succeeded")
            ended = run.body
        finally:
            proxy.release()
        wait_for(lambda: f"'{name}') failed" in operator.output(), what="a second look")
        runs.start("[{name: a, type: echo}]").ended("succeeded")
    assert len(counter.deliveries(f"/{name}")) == 1
    assert run.variables() == {"kind": "ConfigMap", "number": "1"}
    assert run.body == ended


def says(operator: fixture.OperatorProcess, text: str) -> bool:
    """Whether the operator has logged this."""
    return text in operator.output()


def test_a_run_that_was_deleted_while_nobody_looked_is_not_carried_on(
    runs: fixture.Runs, operator: fixture.OperatorProcess, proxy: Proxy
) -> None:
    gate, made = fixture.unique("gate"), fixture.unique("made")
    deleted = runs.start(
        [
            {"name": "a", "type": "await", "properties": {"name": gate}},
            {"name": "b", "type": "touch", "properties": {"name": made}},
        ]
    )
    other = runs.start([{"name": "a", "type": "await", "properties": {"name": gate}}])
    runs.definition("fleeting", "parameter: {}")
    for run in (deleted, other):
        run.until_step("a", "running", "Wait")
    proxy.refuse("/core.oam.dev/", Refusal(410, "Expired", in_stream=True))
    try:
        runs.api.delete(fixture.RUN.api_version, fixture.RUN.kind, deleted.name, runs.namespace)
        runs.api.delete(fixture.DEFINITION.api_version, fixture.DEFINITION.kind, "fleeting", runs.namespace)
        for name in (deleted.name, "fleeting"):
            told = f"{runs.namespace}/{name} was deleted while it was not watched"
            wait_for(partial(says, operator, told), what=told)
    finally:
        proxy.admit()
    unknown = runs.start("[{name: a, type: fleeting}]")
    unknown.until(lambda body: "fleeting" in (body.get("status") or {}).get("message", ""), "a missing definition")
    runs.config_map(gate, {"ready": "yes"})
    other.ended("succeeded")
    assert runs.get("ConfigMap", made) is None


def test_a_run_that_is_handed_over_to_another_version_is_let_go(runs: fixture.Runs) -> None:
    gate = fixture.unique("gate")
    steps: list[scenario.JSON] = [{"name": "a", "type": "await", "properties": {"name": gate}}]
    handed, other = runs.start(steps), runs.start(steps)
    for run in (handed, other):
        run.until_step("a", "running", "Wait")
    handed.patch({"metadata": {"annotations": {constants.ANNOTATION_CONTROLLER_VERSION: "another"}}})
    # Events come in order, so that of the hand-over is known when this one is.
    runs.start("[{name: a, type: echo}]").ended("succeeded")
    runs.config_map(gate, {"ready": "yes"})
    other.ended("succeeded")
    assert fixture.brief(handed.status) == {"a": "running/Wait"}
    handed.patch({"metadata": {"annotations": {constants.ANNOTATION_CONTROLLER_VERSION: None}}})
    handed.ended("succeeded")
