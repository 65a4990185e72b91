"""An operator for many tests: one process per test worker, in a namespace of its own, with all definitions installed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.cluster import operator_fixture as fixture
from tests.cluster.operator_fixture_steps import TEMPLATES
from tools.controlplane import ControlPlane
from tools.kubectl import Kubectl
from tools.rest import Api
from tools.waiting import wait_for
from vela_workflow.api import constants, crd
from vela_workflow.authoring import definitions

SYSTEM = constants.DEFAULT_SYSTEM_NAMESPACE


@pytest.fixture(scope="session")
def operator_kubeconfig(existing_kubeconfig: Path | None, request: pytest.FixtureRequest) -> Path:
    """The kubeconfig of operators under test; a user of its own where the control plane is ours."""
    if existing_kubeconfig is not None and ControlPlane.load(existing_kubeconfig.parent) is None:
        return existing_kubeconfig
    control_plane: ControlPlane = request.getfixturevalue("control_plane")
    return control_plane.operator_kubeconfig


@pytest.fixture(scope="session")
def installed(admin: Api) -> None:
    """The CRDs and the built-in definitions."""
    install(admin)


def install(admin: Api) -> None:
    """Install the CRDs and the built-in definitions."""
    names = []
    for path in sorted(crd.DIRECTORY.glob("*.yaml")):
        names.append(admin.apply(yaml.safe_load(path.read_text(encoding="utf-8")))["metadata"]["name"])
    for name in names:
        wait_for(partial(_established, admin, name), what=f"CRD {name}")
    admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}})
    for definition in definitions.load_all():
        admin.apply(definition, SYSTEM)


def _established(admin: Api, name: str) -> bool:
    found = admin.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name) or {}
    conditions = (found.get("status") or {}).get("conditions") or []  # null at first
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


@pytest.fixture(scope="session")
def run_namespace(admin: Api, installed: None) -> Iterator[str]:
    """The namespace that ``operator`` looks after."""
    with namespace_for_runs(admin) as name:
        yield name


@contextlib.contextmanager
def namespace_for_runs(admin: Api) -> Iterator[str]:
    """A new namespace with the step types of tests in it; it is deleted with the block."""
    name = make_run_namespace(admin)
    try:
        yield name
    finally:
        admin.delete("v1", "Namespace", name)


def make_run_namespace(admin: Api) -> str:
    """A new namespace with the step types of tests in it, of a cluster that ends with it."""
    name = fixture.unique("runs")
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    for step_type, template in TEMPLATES.items():
        admin.apply(fixture.definition(step_type, template), name)
    return name


@pytest.fixture(scope="session")
def operator(
    operator_kubeconfig: Path, cue_command: Path, run_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[fixture.OperatorProcess]:
    """A running operator that many tests share; one that ends it starts it again."""
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with fixture.OperatorProcess(
        kubeconfig=operator_kubeconfig, cue=cue_command, namespace=run_namespace, log=log
    ) as process:
        yield process


@pytest.fixture(scope="session")
def recorder(kubectl: Kubectl, run_namespace: str) -> Iterator[fixture.Recorder]:
    """The versions of all runs in the namespace of ``operator``."""
    with fixture.Recorder(kubectl, run_namespace) as made:
        yield made


@pytest.fixture(scope="session")
def shared_runs(
    admin: Api, operator: fixture.OperatorProcess, recorder: fixture.Recorder, run_namespace: str
) -> fixture.Runs:
    """Makes runs that ``operator`` carries out, also for fixtures that live longer than a test."""
    return fixture.Runs(admin, recorder, run_namespace)


@pytest.fixture
def runs(operator: fixture.OperatorProcess, shared_runs: fixture.Runs) -> fixture.Runs:
    """Makes runs that ``operator`` carries out."""
    assert operator.running, operator.output()[-4000:]
    return shared_runs
