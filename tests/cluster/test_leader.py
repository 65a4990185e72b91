"""Two and more replicas: one leads, others take over, and nothing that must happen once happens twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import operator_fixture as fixture
from tests.cluster.conftest import namespace_for_runs
from tests.cluster.replicas import LEASE_API, QUICK, Counting, Replicas, replicas
from tools.kubectl import Kubectl
from tools.rest import Api
from tools.waiting import wait_for

JSON = dict[str, Any]

ENDED = ("succeeded", "failed", "terminated")
WAITS = [{"name": "wait", "type": "await", "properties": {"name": "go"}}]


@pytest.fixture
def place(admin: Api, installed: None) -> Iterator[str]:
    with namespace_for_runs(admin) as name:
        yield name


@pytest.fixture
def own_runs(admin: Api, kubectl: Kubectl, place: str) -> Iterator[fixture.Runs]:
    with fixture.Recorder(kubectl, place) as recorder:
        yield fixture.Runs(admin, recorder, place)


@pytest.fixture
def common(operator_kubeconfig: Path, cue_command: Path) -> JSON:
    return {"kubeconfig": operator_kubeconfig, "cue": cue_command}


def led(many: Replicas) -> list[str]:
    """The names of the replicas that say that they lead."""
    return [name for name, one in many.all.items() if one.running and one.sample('vela_workflow_leader{shard="0"}')]


def test_one_of_two_leads_and_both_are_ready(admin: Api, place: str, common: JSON, tmp_path: Path) -> None:
    with replicas(admin, place, tmp_path, **common) as many:
        many.add("a")
        first = many.leader()
        second = many.add("b")
        assert led(many) == ["a"]
        assert [one.read("/readyz") for one in (first, second)] == [(200, "ok\n")] * 2
        lease = admin.get(LEASE_API, "Lease", "vela-workflow", place)
        assert lease is not None
        assert lease["spec"]["leaseDurationSeconds"] == 15
        assert lease["spec"]["leaseTransitions"] == 0


def test_a_graceful_stop_hands_over_at_once(
    admin: Api, place: str, own_runs: fixture.Runs, common: JSON, tmp_path: Path
) -> None:
    with replicas(admin, place, tmp_path, **common) as many:
        many.add("a")
        many.leader()
        many.add("b")
        run = own_runs.start(WAITS)
        run.until_step("wait", "running", "Wait")
        stopped = time.monotonic()
        assert many.all["a"].stop() == 0
        many.leader(but="a")
        took = time.monotonic() - stopped
        assert took < 10, f"the Lease lasts 15 s, and was handed over only after {took:.1f} s"
        own_runs.config_map("go", {"ready": "yes"})
        run.ended("succeeded")
        lease = admin.get(LEASE_API, "Lease", "vela-workflow", place)
        assert lease is not None and lease["spec"]["leaseTransitions"] == 1


def test_another_takes_over_from_a_killed_leader_within_the_lease_time(
    admin: Api, place: str, own_runs: fixture.Runs, common: JSON, tmp_path: Path
) -> None:
    with replicas(admin, place, tmp_path, **common, **QUICK) as many:
        many.add("a")
        many.leader()
        many.add("b")
        run = own_runs.start(WAITS)
        run.until_step("wait", "running", "Wait")
        killed = time.monotonic()
        many.all["a"].kill()
        own_runs.config_map("go", {"ready": "yes"})
        run.ended("succeeded")
        took = time.monotonic() - killed
        assert 1 < took < 3 * QUICK["lease_duration"]


def test_runs_from_before_the_start_are_carried_out(
    admin: Api, place: str, own_runs: fixture.Runs, common: JSON, tmp_path: Path
) -> None:
    """New ones and ones in flight, by a replica that finds nobody and leads before its watches have begun."""
    with replicas(admin, place, tmp_path, **common, **QUICK) as many:
        first = many.add("a")
        flying = own_runs.start(WAITS)
        flying.until_step("wait", "running", "Wait")
        first.stop()
        fresh = [own_runs.start("[{name: said, type: echo}]") for _ in range(5)]
        many.add("b")
        for run in fresh:
            run.ended("succeeded")
        own_runs.config_map("go", {"ready": "yes"})
        flying.ended("succeeded")
        late = own_runs.start("[{name: said, type: echo}]")
        late.ended("succeeded")


def test_a_leader_whose_lease_is_taken_away_stops_and_follows(
    admin: Api, place: str, own_runs: fixture.Runs, common: JSON, tmp_path: Path
) -> None:
    with replicas(admin, place, tmp_path, **common, **QUICK) as many:
        only = many.add("a")
        many.leader()
        theirs = {"spec": {"holderIdentity": "somebody", "leaseDurationSeconds": 3}}
        admin.patch(LEASE_API, "Lease", "vela-workflow", theirs, place)
        wait_for(lambda: "is lost" in only.output(), fixture.PATIENCE, "the loss")
        assert only.sample('vela_workflow_leader{shard="0"}') == 0
        # Somebody does not renew, so it leads again, and works.
        assert many.leader(but="somebody") is only
        own_runs.config_map("go", {"ready": "yes"})
        own_runs.start(WAITS).ended("succeeded")


def test_a_label_on_the_lease_costs_nobody_the_leadership(admin: Api, place: str, common: JSON, tmp_path: Path) -> None:
    with replicas(admin, place, tmp_path, **common, **QUICK) as many:
        only = many.add("a")
        many.leader()
        admin.patch(LEASE_API, "Lease", "vela-workflow", {"metadata": {"labels": {"x": "y"}}}, place)
        before = _renewed(admin, place)
        wait_for(lambda: _renewed(admin, place) > before, fixture.PATIENCE, "a renewal")
        assert "is lost" not in only.output()
        assert led(many) == ["a"]


def _renewed(admin: Api, place: str) -> str:
    lease = admin.get(LEASE_API, "Lease", "vela-workflow", place)
    assert lease is not None
    return str(lease["spec"]["renewTime"])


def test_a_frozen_leader_that_wakes_up_repeats_nothing(
    admin: Api, place: str, own_runs: fixture.Runs, common: JSON, tmp_path: Path
) -> None:
    """The request is under way when its sender freezes: nobody else sends it, and the sender does not go on."""
    with Counting(delay=1.0) as service, replicas(admin, place, tmp_path, **common, **QUICK) as many:
        frozen = many.add("a")
        many.leader()
        many.add("b")
        steps = [
            {"name": "first", "type": "post", "properties": {"url": service.url}},
            {"name": "second", "type": "post", "properties": {"url": service.url}},
        ]
        run = own_runs.start(steps)
        service.until(lambda counts: len(counts) == 1)
        frozen.pause()
        many.leader(but="a")
        status = run.ended("failed")
        assert fixture.step(status, "first")["reason"] == "Unknown"
        frozen.go_on()
        wait_for(lambda: "is lost" in frozen.output(), fixture.PATIENCE, "the loss")
        assert led(many) == ["b"]
        assert list(service.counts.values()) == [1]
        assert run.status == status


def test_shards_are_shared_out_and_taken_over(
    admin: Api, place: str, own_runs: fixture.Runs, common: JSON, tmp_path: Path
) -> None:
    def shared(*counts: int) -> bool:
        holders = list(many.leases().values())
        return sorted(holders.count(name) for name in many.all if many.all[name].running) == list(counts)

    with Counting() as service, replicas(admin, place, tmp_path, **common, **QUICK, shards=3) as many:
        many.add("a")
        wait_for(lambda: shared(3), fixture.PATIENCE, "one that leads all shards")
        many.add("b")
        wait_for(lambda: shared(1, 2), fixture.PATIENCE, "shards that are shared out")
        steps = [{"name": "post", "type": "post", "properties": {"url": service.url}}, *WAITS]
        waiting = [own_runs.start(steps) for _ in range(12)]
        for run in waiting:
            run.until_step("wait", "running", "Wait")

        def watched() -> list[float]:
            return [one.sample("vela_workflow_watched_steps") for one in many.all.values()]

        wait_for(lambda: sum(watched()) == 12, fixture.PATIENCE, "each waiting step is watched for by one replica")
        assert all(watched())
        many.all["a"].kill()
        wait_for(lambda: shared(3), fixture.PATIENCE, "one that leads all shards")
        own_runs.config_map("go", {"ready": "yes"})
        for run in waiting:
            run.ended("succeeded")
        wait_for(lambda: set(many.members()) == {"b"}, fixture.PATIENCE, "that the dead one is forgotten")
        assert sorted(service.counts.values()) == [1] * 12


def test_replicas_with_another_number_of_shards_wait_for_the_last_of_the_others(
    admin: Api, place: str, own_runs: fixture.Runs, common: JSON, tmp_path: Path
) -> None:
    """They would share out differently, so a run could have two masters."""
    with replicas(admin, place, tmp_path, **common, **QUICK) as many:
        old = many.add("old")
        many.leader()
        many.settings["shards"] = 2
        new = many.add("new")
        renewed = _renewed(admin, place)
        wait_for(lambda: _renewed(admin, place) > renewed, fixture.PATIENCE, "a round of the new one beside the old")
        assert set(many.leases().values()) == {"old"}
        assert new.read("/readyz")[0] == 200
        run = own_runs.start(WAITS)
        run.until_step("wait", "running", "Wait")
        assert old.stop() == 0
        wait_for(lambda: list(many.leases().values()).count("new") == 2, fixture.PATIENCE, "the new one on both shards")
        own_runs.config_map("go", {"ready": "yes"})
        run.ended("succeeded")


RUNS, KILLS = 200, 10
LONG = 120.0
"""Seconds after which a new leader has taken all runs over on a machine that has much else to do."""


def test_two_hundred_runs_outlive_ten_leaders(
    admin: Api, place: str, own_runs: fixture.Runs, common: JSON, tmp_path: Path
) -> None:
    """Each run works, waits for its own turn, works again; leaders are killed in the middle of that.

    What may be repeated is: runs that apply all succeed, as do those of which nothing was under way when a leader was
    killed. A request that was under way leaves its step ``Unknown``, and every request was sent once at most.
    """
    with Counting(delay=0.02) as service, replicas(admin, place, tmp_path, **common, **QUICK) as many:
        many.add("a")
        post = {"type": "post", "properties": {"url": service.url}}

        def start(name: str, gate: str, work: JSON) -> fixture.Run:
            wait = {"name": "wait", "type": "await", "properties": {"name": gate}}
            return own_runs.start([{"name": "before", **work}, wait, {"name": "after", **work}], name=name)

        count = RUNS // 2
        at_rest = [start(f"rest-{number}", "go-rest", post) for number in range(KILLS)]
        posting = [start(f"posts-{number}", f"go-{number % KILLS}", post) for number in range(count - KILLS)]
        for run in [*at_rest, *posting]:
            run.until_step("wait", "running", "Wait", timeout=LONG)
        many.add("b")
        applying = []
        for number in range(count):
            touch = {"type": "touch", "properties": {"name": f"of-{number}"}}
            applying.append(start(f"applies-{number}", f"go-{number % KILLS}", touch))
        for number in range(KILLS):
            leader = many.leader()
            sent = sum(service.counts.values())
            own_runs.config_map(f"go-{number}", {"ready": "yes"})
            service.until(lambda counts, sent=sent: sum(counts.values()) > sent + 3, LONG)  # in the middle of its work
            leader.kill()
            leader.start(wait=False)
            many.leader(but=leader.name)
        own_runs.config_map("go-rest", {"ready": "yes"})
        for run in [*at_rest, *applying]:
            run.ended("succeeded", timeout=LONG)
        ends = [run.until_phase(*ENDED, timeout=LONG) for run in posting]
        assert max(service.counts.values()) == 1, "something was sent twice"
        failed = [status for status in ends if status["status"] != "succeeded"]
        for status in failed:
            assert status["status"] == "failed"
            reasons = {entry["name"]: entry.get("reason", "") for entry in status["steps"]}
            assert "Unknown" in reasons.values(), reasons
        sure = 2 * (len(at_rest) + len(posting) - len(failed))
        assert len(service.counts) >= sure, "a request that a succeeded run needs was not sent"
