"""The setting ``suspend_on_failure`` in a cluster: what a step lacked is made, and the run goes on where it stood."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import operator_fixture as fixture
from tests.cluster.cli.cli_support import Cli
from tests.cluster.conftest import namespace_for_runs
from tests.cluster.replicas import Counting
from tools.kubectl import Kubectl
from tools.rest import Api
from tools.waiting import wait_for
from vela_workflow.api.constants import SUSPENDED_ON_FAILURE

PUT = """
import "vela/kube"

output: kube.#Apply & {
	$params: value: {
		apiVersion: "v1"
		kind:       "ConfigMap"
		metadata: {
			name:      "put"
			namespace: parameter.into
		}
		data: by: context.name
	}
}
parameter: into: string
"""
"""Fails as long as there is no such namespace."""

TELL_AND_PUT = """
import (
	"vela/http"
	"vela/kube"
)

told: http.#HTTPPost & {
	$params: {
		url: parameter.url
		request: body: "{}"
	}
}
output: kube.#Apply & {
	$params: value: {
		apiVersion: "v1"
		kind:       "ConfigMap"
		metadata: {
			name:      "put"
			namespace: parameter.into
		}
	}
}
parameter: {
	url:  string
	into: string
}
"""

STEPS = """
- {name: a, type: put, retry: {limit: 1, backoff: {duration: 1s}}, properties: {into: %(into)s}}
- {name: b, type: echo}
- {name: c, type: echo, if: always}
"""


@pytest.fixture(scope="module")
def place(admin: Api, installed: None) -> Iterator[str]:
    with namespace_for_runs(admin) as name:
        yield name


@pytest.fixture(scope="module")
def suspending(
    operator_kubeconfig: Path, cue_command: Path, place: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[fixture.OperatorProcess]:
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with fixture.OperatorProcess(
        kubeconfig=operator_kubeconfig, cue=cue_command, namespace=place, log=log, suspend_on_failure=True
    ) as process:
        yield process


@pytest.fixture
def runs(admin: Api, kubectl: Kubectl, place: str, suspending: fixture.OperatorProcess) -> Iterator[fixture.Runs]:
    with fixture.Recorder(kubectl, place) as recorder:
        made = fixture.Runs(admin, recorder, place)
        made.definition("put", PUT)
        yield made


@pytest.fixture
def into(admin: Api) -> Iterator[str]:
    """The name of a namespace that there is not yet."""
    name = fixture.unique("missing")
    yield name
    if admin.get("v1", "Namespace", name) is not None:
        admin.delete("v1", "Namespace", name)


def make(admin: Api, namespace: str) -> None:
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})


def test_a_run_goes_on_when_what_was_missing_is_there(
    admin: Api, runs: fixture.Runs, suspending: fixture.OperatorProcess, kubeconfig: Path, into: str
) -> None:
    run = runs.start(STEPS % {"into": into})
    status = run.until_phase("suspending")
    assert (status["suspend"], status["terminated"], status["message"]) == (True, False, SUSPENDED_ON_FAILURE)
    assert fixture.brief(status) == {"a": "failed/FailedAfterRetries"}
    assert into in fixture.step(status, "a")["message"]
    told = wait_for(lambda: {"StepFailed", "Suspend"} <= (found := reasons(run)) and found, what="Events")
    assert "Execute" not in told

    suspending.kill()
    make(admin, into)
    suspending.start()
    later = runs.start("[{name: a, type: echo}]")
    later.ended("succeeded")
    assert run.status == status, "an operator that was started again leaves it to the user"

    with Cli(kubeconfig, runs.namespace) as cli:
        assert "suspending" in cli("ls").out
        shown = cli("explain", run.name).out
        assert f"to go on:  vela-workflow resume {run.name} --step a" in shown
        assert "failed:    2 times so far" in shown
        assert "FailedAfterRetries" in cli("status", run.name).out
        assert cli("resume", run.name, "--step", "a").code == 0
    status = run.ended("succeeded")
    assert fixture.brief(status) == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}
    assert not status.get("message")
    found = runs.get("ConfigMap", "put", into)
    assert found is not None
    assert found["data"] == {"by": run.name}


def reasons(run: fixture.Run) -> set[str]:
    return {event["reason"] for event in run.events()}


def test_resumed_in_vain_it_is_suspended_again_and_terminate_cleans_up(runs: fixture.Runs, into: str) -> None:
    run = runs.start(STEPS % {"into": into})
    first = fixture.step(run.until_phase("suspending"), "a")
    run.patch_status({"suspend": False})
    assert run.until_phase("executing")["message"] == ""
    again = fixture.step(run.until_phase("suspending"), "a")
    assert again["firstExecuteTime"] > first["firstExecuteTime"]
    assert (again["id"], again["reason"]) == (first["id"], "FailedAfterRetries")
    run.patch_status({"terminated": True})
    assert fixture.brief(run.ended("terminated")) == {
        "a": "failed/FailedAfterRetries",
        "b": "skipped/Skip",
        "c": "succeeded",
    }


def test_a_restart_tries_the_step_again_too(admin: Api, runs: fixture.Runs, into: str) -> None:
    run = runs.start(STEPS % {"into": into})
    run.until_phase("suspending")
    make(admin, into)
    run.ask_restart("a")
    run.ended("succeeded")


def test_what_was_sent_is_not_sent_again_and_the_spec_is_that_of_today(
    admin: Api, runs: fixture.Runs, into: str
) -> None:
    def steps(namespace: str) -> list[dict[str, Any]]:
        properties = {"into": namespace, "url": service.url}
        return [{"name": "a", "type": "tell-and-put", "retry": {"limit": 0}, "properties": properties}]

    with Counting() as service:
        runs.definition("tell-and-put", TELL_AND_PUT)
        run = runs.start(steps("missing-for-ever"))
        run.until_phase("suspending")
        make(admin, into)
        run.patch({"spec": {"workflowSpec": {"steps": steps(into)}}})
        run.patch_status({"suspend": False})
        run.ended("succeeded")
        assert runs.get("ConfigMap", "put", into) is not None
        assert list(service.counts.values()) == [1]


def test_in_a_graph_other_branches_go_on(runs: fixture.Runs, into: str) -> None:
    run = runs.start(
        f"""
        - {{name: a, type: put, retry: {{limit: 0}}, properties: {{into: {into}}}}}
        - {{name: b, type: await, properties: {{name: {into}}}}}
        - {{name: c, type: echo, dependsOn: [a]}}
        """,
        mode={"steps": "DAG"},
    )
    run.until_step("a", "failed", "FailedAfterRetries")
    assert (run.status["status"], run.status["suspend"]) == ("executing", False)
    runs.config_map(into, {"ready": "yes"})
    assert fixture.brief(run.until_phase("suspending")) == {
        "a": "failed/FailedAfterRetries",
        "b": "succeeded",
        "c": "pending",
    }
    run.patch_status({"terminated": True})
    run.ended("terminated")
