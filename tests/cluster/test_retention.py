"""Deleting finished runs on the real API server: by their time to live, and by their group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.cluster import conftest
from tests.cluster import operator_fixture as fixture
from tools.kubectl import Kubectl
from tools.rest import Api
from tools.waiting import wait_for
from vela_workflow.api import constants
from vela_workflow.clusters import api, credentials
from vela_workflow.operator import retention

JSON = dict[str, Any]
RUN = constants.WORKFLOW_RUN

STEP = "[{name: a, type: echo, properties: {value: 1}}]"
AFTER = 1.5


@pytest.fixture(scope="module")
def cleaned(
    admin: Api, installed: None, operator_kubeconfig: Path, cue_command: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[fixture.OperatorProcess]:
    """An operator that keeps one run of a group, and the others for a second and a half."""
    log = tmp_path_factory.mktemp("retention") / "operator.log"
    with (
        conftest.namespace_for_runs(admin) as namespace,
        fixture.OperatorProcess(
            kubeconfig=operator_kubeconfig, cue=cue_command, namespace=namespace, log=log, recycle_after=AFTER
        ) as process,
    ):
        yield process


@pytest.fixture(scope="module")
def runs(admin: Api, kubectl: Kubectl, cleaned: fixture.OperatorProcess) -> Iterator[fixture.Runs]:
    with fixture.Recorder(kubectl, cleaned.namespace) as recorder:
        yield fixture.Runs(admin, recorder, cleaned.namespace)


def labelled(runs: fixture.Runs, group: str, name: str, steps: str = STEP, **spec: Any) -> fixture.Run:
    body = yaml.safe_load(steps)
    metadata = {"name": fixture.unique(name), "labels": {constants.LABEL_PIPELINE: group}}
    return runs.create(metadata, {"workflowSpec": {"steps": body}, **spec})


def is_there(run: fixture.Run, runs: fixture.Runs) -> bool:
    return runs.get(RUN.kind, run.name, api_version=RUN.api_version) is not None


def until_gone(run: fixture.Run, runs: fixture.Runs) -> None:
    wait_for(lambda: not is_there(run, runs), what=f"the end of {run.name}")


def age(run: fixture.Run) -> float:
    """Seconds since the run ended, as its last seen version tells."""
    end = datetime.fromisoformat(run.versions[-1]["status"]["endTime"])
    return (datetime.now(UTC) - end).total_seconds()


def test_a_time_to_live_is_kept_to(runs: fixture.Runs) -> None:
    run = runs.start(STEP, ttlSecondsAfterFinished=2)
    other = runs.start(STEP)
    run.ended("succeeded")
    until_gone(run, runs)
    assert 2 <= age(run) < 5
    other.ended("succeeded")
    assert is_there(other, runs), "a run without a time to live stays"


def test_zero_seconds_mean_at_once(runs: fixture.Runs) -> None:
    until_gone(runs.start(STEP, ttlSecondsAfterFinished=0), runs)


def test_a_failed_run_goes_too(runs: fixture.Runs) -> None:
    run = runs.start("[{name: a, type: touch, properties: {name: 7}}]", ttlSecondsAfterFinished=1)
    run.ended("failed")
    until_gone(run, runs)


def test_a_run_that_has_not_ended_stays(runs: fixture.Runs) -> None:
    """Another run, whose time to live is as short and starts later, tells when the time is over."""
    waiting = runs.start("[{name: a, type: suspend}]", ttlSecondsAfterFinished=0)
    waiting.until_phase("suspending")
    until_gone(runs.start(STEP, ttlSecondsAfterFinished=0), runs)
    assert is_there(waiting, runs)
    waiting.patch_status({"terminated": True})
    until_gone(waiting, runs)


def test_a_restart_begins_a_new_life(runs: fixture.Runs) -> None:
    run = runs.start(
        "[{name: a, type: echo, properties: {value: 1}}, {name: b, type: suspend}]", ttlSecondsAfterFinished=3
    )
    run.until_phase("suspending")
    run.patch_status({"terminated": True})
    run.until_phase("terminated")
    run.restart("*")
    run.until_phase("suspending")
    later = runs.start(STEP, ttlSecondsAfterFinished=3)
    until_gone(later, runs)
    assert is_there(run, runs), "it has not ended again"
    run.patch_status({"terminated": True})
    until_gone(run, runs)


def test_a_time_to_live_that_is_given_later_counts(runs: fixture.Runs) -> None:
    run = runs.start(STEP)
    run.ended("succeeded")
    run.patch({"spec": {"ttlSecondsAfterFinished": 1}})
    until_gone(run, runs)


def test_of_a_group_the_newest_stays(runs: fixture.Runs) -> None:
    group = fixture.unique("group")
    lone = labelled(runs, fixture.unique("group"), "lone")
    lone.ended("succeeded")
    old, middle, new = (labelled(runs, group, name) for name in ("old", "middle", "new"))
    for run in (old, middle, new):
        run.ended("succeeded")
    ends = {run.name: run.status["endTime"] for run in (old, middle, new)}
    newest = max(ends, key=lambda name: (ends[name], name))
    for run in (old, middle, new):
        if run.name != newest:
            until_gone(run, runs)
            assert age(run) >= AFTER
    assert runs.get(RUN.kind, newest, api_version=RUN.api_version) is not None
    assert is_there(lone, runs), "the only one of its group stays"


def test_a_run_that_has_not_ended_does_not_count(runs: fixture.Runs) -> None:
    group = fixture.unique("group")
    ended = labelled(runs, group, "ended")
    ended.ended("succeeded")
    waiting = labelled(runs, group, "waiting", "[{name: a, type: suspend}]")
    waiting.until_phase("suspending")
    signal = [labelled(runs, fixture.unique("signal"), "signal") for _ in range(1)]
    signal += [labelled(runs, signal[0].body["metadata"]["labels"][constants.LABEL_PIPELINE], "signal")]
    for run in signal:
        run.ended("succeeded")
    wait_for(lambda: sum(is_there(run, runs) for run in signal) == 1, what="the end of one of two in a later group")
    assert is_there(ended, runs)
    assert is_there(waiting, runs)


def test_what_ended_while_nobody_looked_goes_at_the_next_start(
    runs: fixture.Runs, cleaned: fixture.OperatorProcess
) -> None:
    run = runs.start(STEP, ttlSecondsAfterFinished=1)
    late = runs.start("[{name: a, type: suspend}]", ttlSecondsAfterFinished=1)
    late.until_phase("suspending")
    until_gone(run, runs)
    cleaned.stop()
    end = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    late.patch_status({"finished": True, "status": "terminated", "terminated": True, "endTime": end})
    cleaned.start()
    until_gone(late, runs)


# In process: what the watch missed.


@pytest_asyncio.fixture
async def client(kubeconfig: Path) -> AsyncIterator[api.HttpClient]:
    made = api.connect("local", credentials.kubeconfig_file(str(kubeconfig)))
    yield made
    await made.close()


def finished_run(admin: Api, namespace: str, name: str, hours: float, **labels: str) -> JSON:
    """A run that no operator looks at, and that ended so many hours ago."""
    body = {"apiVersion": RUN.api_version, "kind": RUN.kind, "spec": {"ttlSecondsAfterFinished": 60}}
    if labels:
        body["spec"] = {}
    admin.create({**body, "metadata": {"name": name, "namespace": namespace, "labels": labels}})
    end = datetime.now(UTC) - timedelta(hours=hours)
    status = {"finished": True, "status": "succeeded", "endTime": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return admin.patch(RUN.api_version, RUN.kind, name, {"status": status}, namespace, subresource="status")


async def looked(found: retention.Retention, admin: Api, namespace: str) -> None:
    """Let it work until a run that it is told of now is deleted: what was due before has had its turn."""
    signal = finished_run(admin, namespace, fixture.unique("signal"), 0.5)
    found.seen(signal)
    found.start()
    name = signal["metadata"]["name"]
    await asyncio.to_thread(
        wait_for, lambda: admin.get(RUN.api_version, RUN.kind, name, namespace) is None, what="the end of the signal"
    )
    await found.close()


@pytest.mark.usefixtures("installed")
async def test_a_view_that_is_behind_deletes_nothing(client: api.HttpClient, admin: Api, namespace: str) -> None:
    stale = finished_run(admin, namespace, "restarted", 1)
    admin.patch(RUN.api_version, RUN.kind, "restarted", {"status": {"finished": False, "endTime": None}}, namespace,
                subresource="status")  # fmt: skip
    replaced = finished_run(admin, namespace, "replaced", 1)
    admin.delete(RUN.api_version, RUN.kind, "replaced", namespace)
    finished_run(admin, namespace, "replaced", 0)
    found = retention.Retention(client)
    found.seen(stale)
    found.seen(replaced)
    await looked(found, admin, namespace)
    for name in ("restarted", "replaced"):
        assert admin.get(RUN.api_version, RUN.kind, name, namespace) is not None, name


@pytest.mark.usefixtures("installed")
async def test_who_stops_and_starts_again_goes_on(client: api.HttpClient, admin: Api, namespace: str) -> None:
    found = retention.Retention(client)
    found.seen(finished_run(admin, namespace, "before", 1))
    found.start()
    await found.close()
    await looked(found, admin, namespace)
    assert admin.get(RUN.api_version, RUN.kind, "before", namespace) is None


@pytest.mark.usefixtures("installed")
async def test_a_group_is_judged_by_what_is_there(client: api.HttpClient, admin: Api, namespace: str) -> None:
    """The newest run was deleted unseen: the one that is the newest now stays."""
    label = {constants.LABEL_PIPELINE: "g"}
    runs = [finished_run(admin, namespace, f"run-{hours}", hours, **label) for hours in (3000, 2000, 1000)]
    found = retention.Retention(client)
    for run in runs:
        found.seen(run)
    admin.delete(RUN.api_version, RUN.kind, "run-1000", namespace)
    await looked(found, admin, namespace)
    left = {run["metadata"]["name"] for run in admin.list(RUN.api_version, RUN.kind, namespace)}
    assert left == {"run-2000"}


@pytest.mark.usefixtures("installed")
async def test_groups_of_two_namespaces_are_two_groups(
    client: api.HttpClient, admin: Api, namespace: str, other_namespace: str
) -> None:
    label = {constants.LABEL_PIPELINE: "g"}
    found = retention.Retention(client)
    for place in (namespace, other_namespace):
        found.seen(finished_run(admin, place, "only", 1000, **label))
    await looked(found, admin, namespace)
    for place in (namespace, other_namespace):
        assert admin.get(RUN.api_version, RUN.kind, "only", place) is not None


@pytest.fixture
def other_namespace(admin: Api) -> Iterator[str]:
    name = fixture.unique("other")
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    admin.delete("v1", "Namespace", name)
