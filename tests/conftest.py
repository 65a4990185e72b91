"""Fixtures that all tests share: a real control plane, clients of it, and the real ``cue`` command.

Nothing is started before a test asks for it. One control plane serves a whole run, also with several pytest-xdist
workers: the first worker that needs it starts it, and it ends with the last one. With ``VELA_WORKFLOW_TEST_KUBECONFIG``
an existing cluster is used instead: ``make cluster-up`` saves the few seconds of the start, and what belongs to our own
control plane only (``second_cluster``, the audit log) is there too if the file is what ``make cluster-up`` printed.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the tools are no part of the installed package

from tests.cluster.operator_fixture import complaints  # noqa: E402
from tools import binaries, lifecycle  # noqa: E402
from tools.apiserver import ApiServer  # noqa: E402
from tools.controlplane import ControlPlane, data_root  # noqa: E402
from tools.kubectl import Kubectl  # noqa: E402
from tools.rest import Api  # noqa: E402
from tools.waiting import WaitFor, wait_for  # noqa: E402

# The same examples in every run, unless others are asked for: ``--hypothesis-profile=default``.
hypothesis.settings.register_profile("steady", derandomize=True)
hypothesis.settings.load_profile("steady")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the operators had to say belongs to the report of a test that failed."""
    report = yield
    if report.failed:
        report.sections += [(f"log of the operator, {path}", text) for path, text in complaints().items()]
    return report


def _tell(line: str) -> None:
    sys.stderr.write(f"[tools] {line}\n")


def _require(*names: str) -> dict[str, Path]:
    """Paths of tools, found or built; ``make test`` has usually prepared them."""
    return binaries.ensure(names, tell=lambda line: None if ": /" in line else _tell(line))


@pytest.fixture(scope="session")
def existing_kubeconfig() -> Path | None:
    """The kubeconfig that ``VELA_WORKFLOW_TEST_KUBECONFIG`` names, if it is set."""
    value = os.environ.get("VELA_WORKFLOW_TEST_KUBECONFIG")
    return Path(value).absolute() if value else None


@pytest.fixture(scope="session")
def control_plane(existing_kubeconfig: Path | None) -> Iterator[ControlPlane]:
    """Our own control plane, with its audit log and further clusters; one for the whole test run."""
    if existing_kubeconfig is not None:
        found = ControlPlane.load(existing_kubeconfig.parent)
        if found is None:
            pytest.fail(f"{existing_kubeconfig} is not a kubeconfig of `make cluster-up`, and this test needs that")
        yield found
        return
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"{os.getpid()}-{secrets.token_hex(4)}"
    with lifecycle.shared(data_root() / f"vela-workflow-tests-{os.getuid()}-{run}", _tell) as started:
        yield started


@pytest.fixture(scope="session")
def kubeconfig(existing_kubeconfig: Path | None, request: pytest.FixtureRequest) -> Path:
    """The kubeconfig of an administrator of the cluster under test."""
    if existing_kubeconfig is not None:
        return existing_kubeconfig
    control_plane: ControlPlane = request.getfixturevalue("control_plane")
    return control_plane.kubeconfig


@pytest.fixture(scope="session")
def kubectl(kubeconfig: Path) -> Kubectl:
    """The real kubectl: ``kubectl("get", "pods", stdin=None) -> str``, ``kubectl.json(...)``, ``kubectl.run(...)``."""
    return Kubectl(_require("kubectl")["kubectl"], kubeconfig)


@pytest.fixture(scope="session")
def admin(kubeconfig: Path, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Api:
    """A synchronous client with all rights, much quicker than kubectl: ``get/list/create/apply/patch/delete``."""
    flat = tmp_path_factory.mktemp("kubeconfig") / "flat.json"
    flat.write_text(kubectl("config", "view", "--raw", "--flatten", "-o", "json"), encoding="utf-8")
    return Api.from_kubeconfig(flat)


@pytest.fixture
def namespace(admin: Api) -> Iterator[str]:
    """A fresh namespace; it is deleted afterwards, without waiting for its end."""
    name = f"test-{secrets.token_hex(4)}"
    admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    admin.delete("v1", "Namespace", name)


@pytest.fixture(scope="session")
def second_cluster(control_plane: ControlPlane) -> Iterator[ApiServer]:
    """A further cluster (an API server without controllers), shared by all tests of this process.

    A test that stops or breaks it makes its own: ``with control_plane.second("name") as cluster``.
    """
    with control_plane.second() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def cue_command() -> Path:
    """The path of the ``cue`` command, in the pinned version."""
    return _require("cue")["cue"]


@pytest.fixture(scope="session")
def helm_command() -> Path:
    """The path of the ``helm`` command."""
    return _require("helm")["helm"]


@pytest.fixture(scope="session", name="wait_for")
def wait_for_fixture() -> WaitFor:
    """Wait for a condition outside of this process: ``wait_for(predicate, timeout=50, what="…")``."""
    return wait_for
