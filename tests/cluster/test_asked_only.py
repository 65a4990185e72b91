"""Beside another controller: an operator that carries out only the runs that ask for its version."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import operator_fixture as fixture
from tests.cluster.conftest import namespace_for_runs
from tools.kubectl import Kubectl
from tools.rest import Api
from vela_workflow import __version__
from vela_workflow.api import constants

STEPS = "[{name: a, type: echo}]"
ASKED = {constants.ANNOTATION_CONTROLLER_VERSION: __version__}


@pytest.fixture
def runs(
    admin: Api, kubectl: Kubectl, installed: None, operator_kubeconfig: Path, cue_command: Path, tmp_path: Path
) -> Iterator[fixture.Runs]:
    with (
        namespace_for_runs(admin) as place,
        fixture.OperatorProcess(
            kubeconfig=operator_kubeconfig,
            cue=cue_command,
            namespace=place,
            log=tmp_path / "operator.log",
            ignore_workflow_without_controller_requirement=True,
        ),
        fixture.Recorder(kubectl, place) as recorder,
    ):
        yield fixture.Runs(admin, recorder, place)


def test_runs_that_ask_for_no_version_are_left_alone_until_they_do(runs: fixture.Runs) -> None:
    unasked, other = runs.start(STEPS), runs.start(STEPS, annotations={constants.ANNOTATION_CONTROLLER_VERSION: "v9"})
    # Events come in order, so those of the runs before are known when this one is.
    runs.start(STEPS, annotations=ASKED).ended("succeeded")
    assert unasked.status == other.status == {}
    for run in (unasked, other):
        run.patch({"metadata": {"annotations": ASKED}})
        run.ended("succeeded")
