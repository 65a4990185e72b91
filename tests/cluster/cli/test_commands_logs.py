"""``logs``, ``debug`` and ``explain``: what a run leaves in ConfigMaps and Pods."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cli_kubelet import NODE, Kubelet
from cli_support import EXECUTING, SUCCEEDED, SUSPENDED, Cli, Runs, entry

from tests import web
from tools.apiserver import ApiServer
from tools.kubectl import Kubectl
from tools.rest import Api
from vela_workflow.api import constants, crd

JSON = dict[str, Any]


# --- logs, on a cluster whose only node is ours


@pytest.fixture(scope="module")
def kubelet(second_cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubelet]:
    with Kubelet(tmp_path_factory.mktemp("kubelet")) as made:
        made.add_to(second_cluster.api)
        yield made


@pytest.fixture(scope="module")
def api(second_cluster: ApiServer, kubectl: Kubectl) -> Api:
    there = Kubectl(kubectl.binary, second_cluster.kubeconfig)
    there("apply", "--server-side", "--force-conflicts", "-f", str(crd.DIRECTORY))
    there("wait", "--for=condition=Established", "--timeout=30s", f"crd/{constants.WORKFLOW_RUN.crd_name}")
    return second_cluster.api


@pytest.fixture
def remote(api: Api) -> Iterator[Runs]:
    name = f"logs-{secrets.token_hex(4)}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, name)
    yield Runs(api, name)
    api.delete("v1", "Namespace", name)


@pytest.fixture
def there(remote: Runs, second_cluster: ApiServer) -> Iterator[Cli]:
    with Cli(second_cluster.kubeconfig, remote.namespace) as made:
        yield made


def pod(runs: Runs, name: str, *containers: str, **labels: str) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {"nodeName": NODE, "containers": [{"name": one, "image": "x"} for one in containers]},
    }
    runs.admin.create(body, runs.namespace)


def run_with_logs(runs: Runs, **sources: JSON) -> None:
    """A run whose steps said where their logs are."""
    runs.create("a", EXECUTING)
    config = {step: {"data": True, "source": source} for step, source in sources.items()}
    runs.config_map("workflow-a-context", logConfig=json.dumps(config))


def test_logs_of_pods_by_labels(there: Cli, remote: Runs, kubelet: Kubelet) -> None:
    pod(remote, "build-1", "main", job="build")
    pod(remote, "other", "main", job="other")
    run_with_logs(remote, build={"resources": [{"labelSelector": {"job": "build"}}]})
    kubelet.say("build-1/main", "one\n", "two\n\nthree")
    done = there("logs", "a", "--tail", "10")
    assert (done.code, done.err) == (0, "")
    assert done.out == "one\ntwo\n\nthree\n"
    assert "tailLines=10" in kubelet.asked[-1]


def test_logs_of_several_containers_are_told_apart(there: Cli, remote: Runs, kubelet: Kubelet) -> None:
    pod(remote, "two", "left", "right")
    run_with_logs(remote, build={"resources": [{"name": "two"}]}, release={"resources": [{"name": "gone"}]})
    kubelet.say("two/left", "from left\n")
    kubelet.say("two/right", "from right\n")
    assert there("logs", "a").lines == ["[two/left] from left", "[two/right] from right"]
    missing = there("logs", "a", "--step", "release")
    assert (missing.code, missing.err) == (1, "error: no pod found for release: not started yet, or deleted\n")


def test_following_several_containers(there: Cli, remote: Runs, kubelet: Kubelet) -> None:
    pod(remote, "both", "left", "right")
    run_with_logs(remote, build={"resources": [{"name": "both"}]})
    process = there.start("logs", "a", "-f")
    assert process.stdout is not None
    for side, text in (("left", "1"), ("right", "2"), ("left", "3")):
        kubelet.say(f"both/{side}", f"{text}\n")
        assert process.stdout.readline() == f"[both/{side}] {text}\n"
    kubelet.say("both/left", None)
    kubelet.say("both/right", "last\n", None)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, out, error) == (0, "[both/right] last\n", "")


class Archive(web.Server):
    """Keeps one log."""

    def answer(self, request: web.Request) -> web.Answer:
        return web.Answer(body=b"by HTTP\n") if request.path == "/log" else web.Answer(404)


def test_logs_at_a_url(there: Cli, remote: Runs) -> None:
    with Archive() as archive:
        sources = {"build": f"{archive.url}/log", "release": f"{archive.url}/gone", "x": "file:/etc"}
        run_with_logs(remote, **{step: {"url": url} for step, url in sources.items()})
        assert there("logs", "a", "--step", "build").out == "by HTTP\n"
        assert "cannot read the logs of step release" in there("logs", "a", "--step", "release").err
        assert "neither http nor https" in there("logs", "a", "--step", "x").err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param({}, "were written to the log of the operator", id="data-only"),
        pytest.param({"resources": [{"labelSelector": {"job": "x"}}]}, "no pod found for build", id="no-pod"),
        pytest.param({"resources": [{"name": "x", "cluster": "eu"}]}, "are in the cluster eu", id="other-cluster"),
    ],
)
def test_no_logs(there: Cli, remote: Runs, source: JSON, said: str) -> None:
    run_with_logs(remote, build=source)
    done = there("logs", "a")
    assert (done.code, done.out) == (1, "")
    assert said in done.err


def test_a_run_without_logs(cli: Cli, runs: Runs) -> None:
    runs.create("a", EXECUTING)
    assert cli("logs", "a").err.startswith("error: no log config found for a")


# --- debug


def test_debug(cli: Cli, runs: Runs) -> None:
    body = runs.create("a", SUCCEEDED, annotations={constants.ANNOTATION_DEBUG: "true"})
    tail = body["metadata"]["uid"][-5:]
    runs.config_map(f"a-id-build-debug-{tail}", debug="output: {}\n")
    runs.config_map(f"a-id-release-debug-{tail}", debug="x: 1\n")
    assert cli("debug", "a", "build").out == "output: {}\n"
    assert cli("debug", "a").lines == ["// build (x): succeeded", "output: {}", "// release (x): succeeded", "x: 1"]
    assert 'no step "gone" that was run (there are: build, approve, release)' in cli("debug", "a", "gone").err
    assert "nothing is kept of these steps" in cli("debug", "a", "approve").err


def test_debug_of_a_run_that_keeps_nothing(cli: Cli, runs: Runs) -> None:
    runs.create("a", SUCCEEDED)
    assert f"it has no annotation {constants.ANNOTATION_DEBUG}" in cli("debug", "a").err


# --- explain


def test_explain_says_what_is_there_and_what_is_missing(cli: Cli, runs: Runs) -> None:
    status = {**EXECUTING, "steps": [entry("build", "running", "Wait", message="waiting for status.readyReplicas")]}
    runs.create("a", status)
    runs.config_map("there")
    interests = [
        {"cluster": "", "apiVersion": "v1", "kind": "ConfigMap", "namespace": runs.namespace, "name": "there"},
        {"cluster": "", "apiVersion": "apps/v1", "kind": "Deployment", "namespace": runs.namespace, "name": "web"},
        {"cluster": "", "apiVersion": "shop/v1", "kind": "Shop", "namespace": runs.namespace, "name": "x"},
        {"cluster": "eu", "apiVersion": "v1", "kind": "Secret", "namespace": "n", "name": "s"},
    ]
    runs.config_map(
        "workflow-a-context",
        **{constants.CONTEXT_STATE: json.dumps({"waiting": {"id-build": {"interests": interests}}})},
    )
    done = cli("explain", "a")
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == "a is executing, 0/3 steps have ended"
    assert "  why:       waiting for status.readyReplicas" in done.lines
    place = runs.namespace
    assert [line.removeprefix("  waits for:").strip() for line in done.lines[4:8]] == [
        f"ConfigMap {place}/there (v1): it is there",
        f"Deployment {place}/web (apps/v1): there is no such object",
        f"Shop {place}/x (shop/v1): cannot be read from here: the cluster has no kind Shop in shop/v1",
        "Secret n/s (v1) in cluster eu",
    ]
    (waiting,) = json.loads(cli("explain", "a", "-o", "json").out)["waiting"]
    assert waiting["step"] == "build"
    assert [one["name"] for one in waiting["objects"]] == ["there", "web", "x", "s"]


def test_explain_a_run_that_waits_for_a_person(cli: Cli, runs: Runs) -> None:
    runs.create("a", SUSPENDED)
    lines = cli("explain", "a").lines
    assert "  why:       please look" in lines
    assert "  to go on:  vela-workflow resume a --step approve" in lines


def test_explain_a_run_that_nobody_took_up(cli: Cli, runs: Runs) -> None:
    runs.create("a")
    assert cli("explain", "a").lines == ["a was not taken up: it asks for a controller of version none"]
