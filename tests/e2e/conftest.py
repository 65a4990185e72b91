"""What the end-to-end tests share: a namespace with everything installed by the command line, and the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import operator_fixture as fixture
from tests.e2e.terminal import Terminal
from tools.kubectl import Kubectl
from tools.rest import Api


@pytest.fixture(scope="session")
def terminal(
    admin: Api, kubeconfig: Path, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    """A terminal whose kubeconfig names a fresh namespace, in a cluster where everything is installed."""
    namespace = fixture.unique("e2e")
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    own = tmp_path_factory.mktemp("terminal") / "kubeconfig"
    shutil.copy(kubeconfig, own)
    Kubectl(kubectl.binary, own)("config", "set-context", "--current", f"--namespace={namespace}")
    made = Terminal(own, namespace)
    made("install")
    yield made
    admin.delete("v1", "Namespace", namespace)
