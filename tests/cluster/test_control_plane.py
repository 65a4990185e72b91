"""The local control plane behaves like a cluster: what the other tests build on is shown here once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools import kubeconfig as users
from tools import lifecycle
from tools.controlplane import ControlPlane
from tools.kubectl import Kubectl
from tools.rest import Api, ApiError

POD = {"containers": [{"name": "main", "image": "example.invalid/anything:1"}]}


def config_map(name: str, namespace: str = "default", **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def test_a_deployment_becomes_ready(admin: Api, namespace: str, wait_for) -> None:
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
        return admin.get("apps/v1", "Deployment", "web", namespace)["status"].get("readyReplicas") == 2

    wait_for(ready, what="two ready replicas")
    pods = admin.list("v1", "Pod", namespace, labels="app=web")
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}


def test_a_job_completes(admin: Api, namespace: str, wait_for) -> None:
    template = {"spec": {**POD, "restartPolicy": "Never"}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": {"template": template}}
    admin.create(job, namespace)

    def conditions() -> list[str]:
        found = admin.get("batch/v1", "Job", "once", namespace)["status"].get("conditions", [])
        return [one["type"] for one in found if one["status"] == "True"]

    wait_for(lambda: "Complete" in conditions(), what="the Job's condition Complete")


def test_a_dependent_is_collected_with_its_owner(admin: Api, namespace: str, wait_for) -> None:
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
            Api(other.url, ca=other.ca, token=Api.from_kubeconfig(control_plane.kubeconfig)._token).list("v1", "Secret")
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
    found = [(one.verb, one.subject, one.name, one.code) for one in log.requests(mark, user=users.OPERATOR)]
    assert found == [
        ("get", "/api/v1", "", 200),
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
            target = os.readlink(descriptor)
            inode = target.removeprefix("socket:[").rstrip("]")
            if inode in sockets:
                listening.add(sockets[inode])
    assert listening == {"0100007F"}


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
