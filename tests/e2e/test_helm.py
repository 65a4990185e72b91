"""The chart, installed by Helm into a real cluster, and its operator with the rights that the chart gives it.

A cluster of its own: an operator for all namespaces would carry out the runs of other tests. The processes are started
with arguments, environment and ServiceAccount of the installed Deployment (``deploy/release.py``).
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.release import CHART, Release, Replica
from tests.cluster import operator_fixture as fixture
from tests.e2e import test_examples as examples
from tests.e2e.service import Service
from tests.e2e.terminal import ROOT, Terminal
from tools import lifecycle
from tools.controlplane import ControlPlane, data_root
from tools.kubectl import Kubectl
from tools.waiting import wait_for

JSON = dict[str, Any]

SYSTEM = "workflows"
SCOPES = ("namespaces", "cluster", "clusterAdmin")
NO_NAMESPACE = r"admission.namespaceSelector.matchLabels.nobody"
"""Nothing in this cluster answers on the address of a Service, so the webhooks are to be asked about nothing."""


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[ControlPlane]:
    folder = data_root() / f"vela-workflow-helm-{os.getpid()}-{secrets.token_hex(4)}"
    with lifecycle.shared(folder, lambda _: None) as started:
        yield started


@pytest.fixture(scope="module")
def own_kubectl(own_cluster: ControlPlane, kubectl_command: Path) -> Kubectl:
    return Kubectl(kubectl_command, own_cluster.kubeconfig)


@pytest.fixture(scope="module")
def kubectl_command() -> Path:
    from tools import binaries

    return binaries.ensure(["kubectl"], tell=lambda _: None)["kubectl"]


@pytest.fixture(scope="module")
def commands(helm_command: Path, cue_command: Path) -> tuple[Path, Path]:
    """The paths of helm and cue."""
    return helm_command, cue_command


def ready(condition: Any, what: str) -> object:
    return wait_for(condition, 40, what)


@dataclass(frozen=True, slots=True)
class Installed:
    """A release with one replica at work, and a namespace for runs."""

    release: Release
    replica: Replica
    place: examples.Place
    scope: str


@pytest.fixture(scope="module", params=SCOPES)
def installed_release(
    request: pytest.FixtureRequest,
    own_cluster: ControlPlane,
    own_kubectl: Kubectl,
    commands: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Installed]:
    scope, (helm_command, cue_command) = request.param, commands
    folder = tmp_path_factory.mktemp(f"helm-{scope}")
    namespace = fixture.unique("runs")
    own_kubectl("create", "namespace", namespace)
    values = {"rbac.scope": scope, NO_NAMESPACE: "nobody", "settings.cue": str(cue_command)}
    if scope == "namespaces":
        values["rbac.namespaces"] = "{" + namespace + "}"
    if scope == "cluster":
        # One example makes a Namespace, which ClusterRole `edit` does not allow.
        rule = "rbac.stepRules[0]"
        values |= {
            f"{rule}.apiGroups[0]": "",
            f"{rule}.resources[0]": "namespaces",
            f"{rule}.verbs": "{get,create,patch,delete}",
        }
    release = Release("vela", SYSTEM, helm_command, own_kubectl, folder, values)
    release.install()
    replica = release.process("first", ready)
    recorder = fixture.Recorder(own_kubectl, namespace)
    config = folder / "kubeconfig"
    config.write_bytes(own_cluster.kubeconfig.read_bytes())
    Kubectl(own_kubectl.binary, config)("config", "set-context", "--current", f"--namespace={namespace}")
    with Service() as service:
        place = examples.Place(own_cluster.api, Terminal(config, namespace), recorder, service)
        yield Installed(release, replica, place, scope)
    assert replica.stop() == 0, replica.output()[-4000:]
    recorder.close()
    release.uninstall()
    own_kubectl("delete", "namespace", namespace, "--wait=false")


ACCOUNT = f"ServiceAccount {SYSTEM}/vela-vela-workflow"
BEYOND = {
    ("namespaces", "resources"): ("in-order", "patch namespaces"),
}
"""Runs that want more than a scope allows: the step that is refused, and what."""

EXAMPLES = [path for path in examples.PATHS if path.stem not in examples.ELSEWHERE]


def test_examples_come_to_their_expected_end_with_the_rights_of_the_chart(installed_release: Installed) -> None:
    place = installed_release.place
    for path in EXAMPLES:
        example = examples.read(path)
        for body in example.others:
            place.api.apply(place.here(body))
        for one in example.runs:
            body = examples.with_service(one.body, place.service.url) if "service" in one.needs else one.body
            run = place.start(body)
            if (installed_release.scope, run.name) in BEYOND:
                _is_refused(place, run, *BEYOND[installed_release.scope, run.name])
                continue
            examples.steer(place, run, one.terminated_at)
            status = run.ended(one.expected, timeout=examples.PATIENCE)
            refused = [
                entry["message"] for entry in fixture.steps_of(status) if "forbidden" in entry.get("message", "")
            ]
            assert refused == []
            place.clean(run.name)


def _is_refused(place: examples.Place, run: fixture.Run, step: str, what: str) -> None:
    entry = run.until_step(step, "failed", "Execute")
    assert f"forbidden: {ACCOUNT} cannot {what}" in entry["message"]
    place.terminal("terminate", run.name)
    run.ended("terminated")
    place.clean(run.name)


def test_the_operator_itself_lacks_no_right(installed_release: Installed) -> None:
    """Refusals of what steps wanted name the step; nothing else is refused."""
    lines = [line for line in installed_release.replica.output().splitlines() if "forbidden" in line.lower()]
    assert [line for line in lines if "step" not in json.loads(line)] == []


def test_a_refusal_names_verb_resource_and_account(installed_release: Installed) -> None:
    """A step that wants a ClusterRole: only an administrator may grant rights to itself."""
    value = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": fixture.unique("role")},
        "rules": [],
    }
    steps = [{"name": "grab", "type": "apply-object", "properties": {"value": value}}]
    metadata = {"name": fixture.unique("grab"), "namespace": "default"}
    body = {
        "apiVersion": fixture.RUN.api_version,
        "kind": fixture.RUN.kind,
        "metadata": metadata,
        "spec": {"workflowSpec": {"steps": steps}},
    }
    run = installed_release.place.start(body)
    if installed_release.scope == "clusterAdmin":
        run.ended("succeeded")
        return
    entry = run.until_step("grab", "failed", "Execute")
    assert re.search(
        rf"{ACCOUNT} cannot (patch|get) "
        r"clusterroles\.rbac\.authorization\.k8s\.io in the whole cluster",
        entry["message"],
    ), entry["message"]


def test_the_log_is_json_with_what_it_is_about(installed_release: Installed) -> None:
    lines = [json.loads(line) for line in installed_release.replica.output().splitlines()]
    assert {"time", "level", "logger", "message"} <= set(lines[0])
    assert any(line["message"].startswith("vela-workflow is running") for line in lines)


def test_the_webhooks_trust_the_certificate_of_the_operator(installed_release: Installed, own_kubectl: Kubectl) -> None:
    secret = own_kubectl.json("get", "secret", "vela-vela-workflow-admission", "-n", SYSTEM)
    for kind in ("validatingwebhookconfigurations", "mutatingwebhookconfigurations"):
        found = own_kubectl.json("get", kind, f"vela-vela-workflow-{SYSTEM}")
        bundles = {webhook["clientConfig"]["caBundle"] for webhook in found["webhooks"]}
        assert bundles == {secret["data"]["ca.crt"]}
        assert b"BEGIN CERTIFICATE" in base64.b64decode(bundles.pop())


def test_helm_test_succeeds(installed_release: Installed) -> None:
    told = installed_release.release.run_helm("test", installed_release.release.name, "--timeout=1m")
    assert "Phase:          Succeeded" in told


def test_another_replica_takes_over_at_once_and_runs_go_on(installed_release: Installed) -> None:
    """As in a rolling update: the new one comes up, the old one is stopped."""
    place = installed_release.place
    steps = [{"name": "wait", "type": "suspend"}, {"name": "say", "type": "print-message-in-status",
              "properties": {"message": "done"}}]  # fmt: skip
    metadata = {"name": fixture.unique("over"), "namespace": "default"}
    body = {
        "apiVersion": fixture.RUN.api_version,
        "kind": fixture.RUN.kind,
        "metadata": metadata,
        "spec": {"workflowSpec": {"steps": steps}},
    }
    run = place.start(body)
    run.until_phase("suspending")
    second = installed_release.release.process("second", ready)
    lease = ("get", "lease", "vela-vela-workflow", "-n", SYSTEM, "-o", "jsonpath={.spec.holderIdentity}")
    kubectl = installed_release.release.kubectl
    before = kubectl(*lease)
    try:
        installed_release.replica.popen.terminate()
        wait_for(lambda: kubectl(*lease) not in (before, ""), 8, "another leader, before the Lease runs out")
        place.terminal("resume", run.name)
        run.ended("succeeded")
    finally:
        second.popen.terminate()
        second.popen.wait(timeout=30)
        installed_release.replica.popen.wait(timeout=30)


def test_the_upgrade_job_brings_crds_up_to_date(own_cluster: ControlPlane, own_kubectl: Kubectl, helm_command: Path,
                                                tmp_path: Path) -> None:  # fmt: skip
    """Its command with its account, on a cluster with an older CRD."""
    release = Release("next", "upgrades", helm_command, own_kubectl, tmp_path, {NO_NAMESPACE: "nobody"})
    release.install()
    crd = "workflowruns.core.oam.dev"
    try:
        shown = own_kubectl.json("get", "crd", crd)["spec"]["versions"][0]["additionalPrinterColumns"]
        patch = [{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns/1"}]
        own_kubectl("patch", "crd", crd, "--type=json", "-p", json.dumps(patch))
        text = release.run_helm(
            "template", release.name, str(CHART), "--is-upgrade", "--show-only=templates/crds-upgrade.yaml",
            "--kube-version=1.34", f"--set={NO_NAMESPACE}=nobody",
        )  # fmt: skip
        objects = list(yaml.safe_load_all(text))
        (job,) = [one for one in objects if one["kind"] == "Job"]
        rest = yaml.safe_dump_all(one for one in objects if one["kind"] != "Job")
        own_kubectl("apply", "-n", release.namespace, "-f", "-", stdin=rest)
        pod = job["spec"]["template"]["spec"]
        environment = {
            **os.environ,
            "KUBECONFIG": str(release.account_kubeconfig(pod["serviceAccountName"])),
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "vela_workflow.cli.main", *pod["containers"][0]["args"]]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert own_kubectl.json("get", "crd", crd)["spec"]["versions"][0]["additionalPrinterColumns"] == shown
        own_kubectl("delete", "-n", release.namespace, "-f", "-", stdin=rest)
        assert "STATUS: deployed" in release.install(), "an upgrade of what was touched by the Job"
    finally:
        release.uninstall()


def test_a_release_that_insists_on_admission_comes_up(own_kubectl: Kubectl, helm_command: Path, tmp_path: Path) -> None:
    """Its definitions are stored, though nobody answers its webhooks yet, and its budget is reckoned at once."""
    release = Release("strict", "strict", helm_command, own_kubectl, tmp_path, {"admission.failurePolicy": "Fail"})
    try:
        for _ in range(2):
            assert "STATUS: deployed" in release.install()
        definitions = own_kubectl.json("get", "workflowstepdefinitions", "-n", release.namespace)["items"]
        assert len(definitions) > 20
        budget = ("get", "pdb", "-n", release.namespace, "-o", "jsonpath={.items[0].status.disruptionsAllowed}")
        wait_for(lambda: own_kubectl(*budget) == "1", 30, "a Pod that may be evicted")
    finally:
        release.uninstall()
