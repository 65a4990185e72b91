"""An object that is nested as deeply as an API server takes: whoever wrote it is told, and nobody else is hurt."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import conftest
from tests.cluster import operator_fixture as fixture
from tools.kubectl import Kubectl
from tools.rest import Api
from vela_workflow.api import constants

KIND = constants.WORKFLOW_RUN
STEP = {"name": "a", "type": "echo", "properties": {"deep": "DEEP"}}


@pytest.fixture(scope="module")
def operator(
    admin: Api, installed: None, operator_kubeconfig: Path, cue_command: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[fixture.OperatorProcess]:
    """An operator of its own: what follows runs for other tests could not read what these leave behind."""
    log = tmp_path_factory.mktemp("deep") / "operator.log"
    with conftest.namespace_for_runs(admin) as namespace:
        process = fixture.OperatorProcess(kubeconfig=operator_kubeconfig, cue=cue_command, namespace=namespace, log=log)
        with process:
            yield process


@pytest.mark.parametrize("depth", [300, 3_000, 9_000])
def test_a_deep_run_holds_up_nobody(operator: fixture.OperatorProcess, kubectl: Kubectl, depth: int) -> None:
    deep = _create(kubectl, operator.namespace, "[" * depth + "]" * depth)
    _wait(kubectl, operator.namespace, _create(kubectl, operator.namespace, "1"), "status", "succeeded")
    _wait(kubectl, operator.namespace, deep, "message", "nested too deeply")
    assert operator.stop() == 0
    operator.start()
    _wait(kubectl, operator.namespace, _create(kubectl, operator.namespace, "1"), "status", "succeeded")
    assert operator.running
    kubectl("delete", KIND.crd_name, deep, "-n", operator.namespace)


def _create(kubectl: Kubectl, namespace: str, value: str) -> str:
    """A run with a value (JSON) among its properties; returns its name."""
    name = fixture.unique("run")
    body = {"apiVersion": KIND.api_version, "kind": KIND.kind, "metadata": {"name": name},
            "spec": {"workflowSpec": {"steps": [STEP]}}}  # fmt: skip
    path = f"/apis/{KIND.api_version}/namespaces/{namespace}/{KIND.plural}"
    kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body).replace('"DEEP"', value))
    return name


def _wait(kubectl: Kubectl, namespace: str, name: str, field: str, wanted: str) -> None:
    shown = ("get", KIND.crd_name, name, "-n", namespace, "-o", f"jsonpath={{.status.{field}}}")
    fixture.wait_for(lambda: wanted in kubectl(*shown), fixture.PATIENCE, f"{field} {wanted} of {name}")
