"""The command line against a real API server: typed commands, and runs whose statuses are made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Cli, Runs

from tools.kubectl import Kubectl
from tools.rest import Api
from vela_workflow.api import crd


@pytest.fixture(scope="session")
def installed_crds(kubectl: Kubectl) -> None:
    """The CRDs, served by the API server."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(crd.DIRECTORY))
    names = [f"crd/{definition.kind.crd_name}" for definition in crd.DEFINITIONS]
    kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)


@pytest.fixture
def cli(kubeconfig: Path, namespace: str) -> Iterator[Cli]:
    """Runs commands in a namespace of the test's own."""
    with Cli(kubeconfig, namespace) as made:
        yield made


@pytest.fixture
def runs(admin: Api, namespace: str, installed_crds: None) -> Runs:
    """Makes runs in the namespace of the test and plays the operator's part in their statuses."""
    return Runs(admin, namespace)
