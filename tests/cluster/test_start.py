"""An operator that is started where it cannot work, or not as it was meant, says so in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster import operator_fixture as fixture
from tools.rest import Api
from tools.waiting import wait_for


@pytest.fixture
def empty(admin: Api, installed: None) -> str:
    """A namespace without anything."""
    name = fixture.unique("empty")
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def kubeconfig_of_nobody(admin: Api, kubeconfig: Path, namespace: str, folder: Path) -> Path:
    """A kubeconfig whose account may do nothing."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}
    admin.create(account, namespace)
    path = f"{admin.path('v1', 'ServiceAccount', namespace)}/nobody/token"
    asked = admin.request("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    for user in config["users"]:
        user["user"] = {"token": asked["status"]["token"]}
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return file


def test_without_rights(admin: Api, kubeconfig: Path, empty: str, cue_command: Path, tmp_path: Path) -> None:
    nobody = kubeconfig_of_nobody(admin, kubeconfig, empty, tmp_path)
    command = [sys.executable, "-m", "vela_workflow.cli.main", "operator", f"--kubeconfig={nobody}"]
    done = subprocess.run([*command, f"--cue={cue_command}"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the operator may not do its work: ")
    assert f"ServiceAccount {empty}/nobody cannot list packages.cue.oam.dev" in line
    assert line.endswith("--namespace)")


def test_beside_a_replica_that_leads(operator_kubeconfig: Path, empty: str, cue_command: Path, tmp_path: Path) -> None:
    def replica(identity: str) -> fixture.OperatorProcess:
        return fixture.OperatorProcess(
            kubeconfig=operator_kubeconfig,
            cue=cue_command,
            namespace=empty,
            log=tmp_path / f"{identity}.log",
            leader_election=True,
            lease_namespace=empty,
            identity=identity,
        )

    with replica("first") as first:
        wait_for(lambda: "first leads now" in first.output(), what="a leader")
        with replica("second") as second:
            wait_for(lambda: "standing by, first leads" in second.output(), what="a word of the other")
            assert "second leads" not in second.output()
    assert "standing by" not in first.output()


def test_in_a_system_namespace_without_step_types(
    operator_kubeconfig: Path, empty: str, cue_command: Path, tmp_path: Path
) -> None:
    with fixture.OperatorProcess(
        kubeconfig=operator_kubeconfig,
        cue=cue_command,
        namespace=empty,
        log=tmp_path / "operator.log",
        system_namespace=empty,
    ) as process:
        said = f"no step types in namespace {empty}; `vela-workflow install --namespace {empty}`"
        wait_for(lambda: said in process.output(), what="a word about it")
