"""An operator whose every request goes through a proxy of the test's, and a world outside that counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import operator_fixture as fixture
from tests.cluster.conftest import installed, namespace_for_runs, operator_kubeconfig
from tests.faults.counter import Counter
from tests.faults.proxy import Proxy
from tools.kubectl import Kubectl
from tools.rest import Api

__all__ = ["installed", "operator_kubeconfig"]


@pytest.fixture(scope="module")
def run_namespace(admin: Api, installed: None) -> Iterator[str]:
    """The namespace that the operators of a module look after."""
    with namespace_for_runs(admin) as name:
        yield name


@pytest.fixture(scope="module")
def proxy(operator_kubeconfig: Path, run_namespace: str) -> Iterator[Proxy]:
    """The proxy between operators and API server."""
    with Proxy(operator_kubeconfig, run_namespace) as made:
        yield made


@pytest.fixture(scope="module")
def counter() -> Iterator[Counter]:
    """The world outside."""
    with Counter() as made:
        yield made


@pytest.fixture(scope="module")
def operator(
    proxy: Proxy, cue_command: Path, run_namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[fixture.OperatorProcess]:
    """An operator behind the proxy; tests kill it and start it again."""
    folder = tmp_path_factory.mktemp("operator")
    kubeconfig = proxy.kubeconfig(folder / "kubeconfig.json")
    log = folder / "operator.log"
    # Templates without an end are among the faults: they need not take their full time.
    with fixture.OperatorProcess(
        kubeconfig=kubeconfig, cue=cue_command, namespace=run_namespace, log=log, cue_timeout=8
    ) as process:
        yield process


@pytest.fixture(scope="module")
def recorder(kubectl: Kubectl, run_namespace: str) -> Iterator[fixture.Recorder]:
    """The versions of all runs."""
    with fixture.Recorder(kubectl, run_namespace) as made:
        yield made


@pytest.fixture
def runs(
    admin: Api, operator: fixture.OperatorProcess, recorder: fixture.Recorder, run_namespace: str, proxy: Proxy
) -> Iterator[fixture.Runs]:
    """Makes runs that ``operator`` carries out."""
    if not operator.running:
        operator.start()
    yield fixture.Runs(admin, recorder, run_namespace)
    proxy.follow()
