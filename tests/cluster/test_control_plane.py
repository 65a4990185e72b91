"""The local control plane behaves like a cluster: what the other tests build on is shown here once."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import kubeconfig as users
from tools import lifecycle
from tools.controlplane import ControlPlane
from tools.kubectl import Kubectl
from tools.rest import Api, ApiError
from tools.waiting import WaitFor

POD = {"containers": [{"name": "main", "image": "example.invalid/anything:1"}]}


def config_map(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def test_a_deployment_becomes_ready(admin: Api, namespace: str, wait_for: WaitFor) -> None:
    labels = {"app": "web"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": POD},
        },
    }
    admin.create(deployment, namespace)

    def ready() -> bool:
        found = admin.get("apps/v1", "Deployment", "web", namespace)
        return found is not None and found["status"].get("readyReplicas") == 2

    wait_for(ready, what="two ready replicas")
    pods = admin.list("v1", "Pod", namespace, labels="app=web")
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}


def test_a_job_completes(admin: Api, namespace: str, wait_for: WaitFor) -> None:
    template = {"spec": {**POD, "restartPolicy": "Never"}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}}
    admin.create(job, namespace)

    def conditions() -> list[str]:
        found = admin.get("batch/v1", "Job", "once", namespace) or {}
        return [one["type"] for one in found["status"].get("conditions") or () if one["status"] == "True"]

    wait_for(lambda: "Complete" in conditions(), what="the Job's condition Complete")


@pytest.mark.parametrize(
    ("image", "phase"),
    [("example.invalid/anything:1", "Succeeded"), ("example.invalid/fails:1", "Failed")],
)
def test_a_pod_ends_as_its_image_says(image: str, phase: str, admin: Api, namespace: str, wait_for: WaitFor) -> None:
    spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}
    admin.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "task"}, "spec": spec}, namespace)

    def ended() -> str:
        status = (admin.get("v1", "Pod", "task", namespace) or {})["status"]
        return status["phase"] if status["phase"] in {"Succeeded", "Failed"} else ""

    assert wait_for(ended, what="the end of the Pod") == phase


def test_a_job_fails_with_its_pod(admin: Api, namespace: str, wait_for: WaitFor) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.invalid/fails:1"}]}
    spec = {"backoffLimit": 0, "template": {"spec": pod}}
    admin.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "bad"}, "spec": spec}, namespace)

    def failed() -> bool:
        status = (admin.get("batch/v1", "Job", "bad", namespace) or {})["status"]
        return any(one["type"] == "Failed" and one["status"] == "True" for one in (status.get("conditions") or ()))

    wait_for(failed, what="the Job's condition Failed")


def test_a_pod_that_is_to_run_on_does(admin: Api, namespace: str, wait_for: WaitFor) -> None:
    for name, image in (("runs", "example.invalid/runs:1"), ("ends", "example.invalid/anything:1")):
        spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]}
        admin.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}, namespace)

    def phases() -> list[str]:
        return [pod["status"]["phase"] for pod in admin.list("v1", "Pod", namespace)]

    wait_for(lambda: phases() == ["Succeeded", "Running"], what="one Pod at its end and one running")


def test_a_dependent_is_collected_with_its_owner(admin: Api, namespace: str, wait_for: WaitFor) -> None:
    owner = admin.create(config_map("owner", namespace))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    dependent = config_map("dependent", namespace)
    dependent["metadata"] = {"name": "dependent", "namespace": namespace, "ownerReferences": [reference]}
    admin.create(dependent)
    admin.delete("v1", "ConfigMap", "owner", namespace)
    wait_for(lambda: admin.get("v1", "ConfigMap", "dependent", namespace) is None, what="the end of the dependent")


def test_rbac_refuses_a_service_account_without_rights(
    control_plane: ControlPlane, admin: Api, kubectl: Kubectl, namespace: str
) -> None:
    admin.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}, namespace)
    token = kubectl("create", "token", "nobody", "-n", namespace).strip()
    nobody = Api(control_plane.url, ca=(control_plane.directory / "certs/apiserver.crt").read_text(), token=token)
    with pytest.raises(ApiError, match=f"system:serviceaccount:{namespace}:nobody") as refused:
        nobody.list("v1", "Secret", namespace)
    assert refused.value.code == 403
    wrong = Api(control_plane.url, ca=(control_plane.directory / "certs/apiserver.crt").read_text(), token=token[:-4])
    with pytest.raises(ApiError) as unknown:
        wrong.list("v1", "Secret", namespace)
    assert unknown.value.code == 401


def test_the_server_tells_its_version(kubectl: Kubectl) -> None:
    version = kubectl.json("version")["serverVersion"]
    assert version["major"] == "1"
    assert version["gitVersion"].startswith("v1.")


def test_a_second_cluster_is_independent(control_plane: ControlPlane, admin: Api, namespace: str) -> None:
    with control_plane.second("other") as other:
        admin.create(config_map("here", namespace))
        other.api.create(config_map("there"))
        assert other.api.get("v1", "Namespace", namespace) is None
        assert admin.get("v1", "ConfigMap", "there", "default") is None
        with pytest.raises(ApiError) as stranger:
            Api(other.url, ca=other.ca, token=admin.token).list("v1", "Secret")
        assert stranger.value.code == 401

        other.stop()
        with pytest.raises(OSError, match="refused"):
            other.api.list("v1", "ConfigMap")
        other.start()
        assert other.api.get("v1", "ConfigMap", "there", "default") is not None
        directory = other.directory
    assert not directory.exists()


def test_the_audit_log_tells_who_asked_for_what(control_plane: ControlPlane, admin: Api, namespace: str) -> None:
    log = control_plane.audit_log
    mark = log.mark()
    operator = Api.from_kubeconfig(control_plane.operator_kubeconfig)
    operator.create(config_map("seen", namespace))
    operator.patch("v1", "ConfigMap", "seen", {"data": {"a": "b"}}, namespace)
    admin.get("v1", "ConfigMap", "seen", namespace)
    told = [one for one in log.requests(mark, user=users.OPERATOR) if one.namespace == namespace]
    assert [(one.verb, one.subject, one.name, one.code) for one in told] == [
        ("create", "configmaps", "seen", 201),
        ("patch", "configmaps", "seen", 200),
    ]
    assert ("get", "seen") in {(one.verb, one.name) for one in log.requests(mark, user=users.ADMIN)}


def test_everything_listens_on_the_loopback_address_only(control_plane: ControlPlane) -> None:
    tables = [Path("/proc/net/tcp"), Path("/proc/net/tcp6")]
    if not all(table.exists() for table in tables):
        pytest.skip("the kernel does not tell who listens")
    sockets = {}
    for table in tables:
        for line in table.read_text().splitlines()[1:]:
            (
                _,
                local,
                _,
                state,
                *_,
            ) = line.split()
            if state == "0A":
                sockets[line.split()[9]] = local.partition(":")[0]
    listening = set()
    for pid in children(control_plane.pid):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inode = str(descriptor.readlink()).removeprefix("socket:[").rstrip("]")
            except FileNotFoundError:  # closed meanwhile
                continue
            if inode in sockets:
                listening.add(sockets[inode])
    assert listening == {"0100007F"}


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def tools(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools", *arguments]
    return subprocess.run(command, cwd=lifecycle.ROOT, capture_output=True, text=True, timeout=120, check=False)


def listens(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) == 0


def test_up_and_down_may_be_repeated(tmp_path: Path) -> None:
    folder = f"--folder={tmp_path / 'state'}"
    try:
        assert tools("status", folder).returncode == 3
        first = tools("up", folder)
        assert first.returncode == 0, first.stderr
        found = ControlPlane.load(tmp_path / "state")
        assert found is not None
        assert Api.from_kubeconfig(Path(first.stdout.strip())).get("v1", "Node", "kwok-node") is not None

        second = tools("up", folder)
        assert second.stdout == first.stdout
        assert ControlPlane.load(tmp_path / "state") == found
        assert tools("cluster-args", folder).stdout.strip() == f"--kubeconfig={first.stdout.strip()}"
        assert found.url in tools("status", folder).stdout
    finally:
        stopped = tools("down", folder)
    assert stopped.returncode == 0
    assert not listens(found.url)
    assert not found.directory.exists()
    assert "not running" in tools("down", folder).stderr
    assert "make cluster-up" in tools("kubeconfig", folder).stderr


USER = """
import json, pathlib, sys
from tools import lifecycle
with lifecycle.shared(pathlib.Path(sys.argv[1]), lambda line: None) as found:
    print(json.dumps([found.url, found.pid]), flush=True)
    sys.stdin.read()
"""


def start_user(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", USER, str(folder)]
    return subprocess.Popen(command, cwd=lifecycle.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_shared_control_plane_ends_with_its_last_user(tmp_path: Path, wait_for: WaitFor) -> None:
    folder = tmp_path / "shared"
    with start_user(folder) as first, start_user(folder) as second:
        assert first.stdout is not None
        assert second.stdout is not None
        told = first.stdout.readline()
        assert second.stdout.readline() == told
        url, _ = json.loads(told)
        first.kill()
        first.wait()
        assert listens(url)
        assert lifecycle.running(folder) is not None
        second.kill()
    wait_for(lambda: not folder.exists(), what="the end of the state folder")
    assert not listens(url)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends the children of a killed process")
def test_nothing_outlives_a_killed_supervisor(tmp_path: Path, wait_for: WaitFor) -> None:
    folder = tmp_path / "killed"
    found = lifecycle.up(folder, lambda _line: None)
    os.kill(found.pid, signal.SIGKILL)
    wait_for(lambda: not listens(found.url), what="the end of the API server")
    wait_for(lambda: not listens(found.etcd_url), what="the end of etcd")
    assert lifecycle.running(folder) is None

    again = lifecycle.up(folder, lambda _line: None)  # what the killed one left is no obstacle
    try:
        assert again.pid != found.pid
        assert listens(again.url)
    finally:
        assert lifecycle.down(folder)


def test_the_end_of_a_component_ends_the_whole(tmp_path: Path, wait_for: WaitFor) -> None:
    folder = tmp_path / "broken"
    found = lifecycle.up(folder, lambda _line: None)
    os.kill(children(found.pid)[0], signal.SIGKILL)
    wait_for(lambda: not found.directory.exists(), what="the end of the data")
    assert not listens(found.url)
    assert lifecycle.running(folder) is None
    assert "etcd ended with code -9" in (folder / lifecycle.SUPERVISOR_LOG).read_text()
