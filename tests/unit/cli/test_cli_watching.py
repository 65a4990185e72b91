from __future__ import annotations

import pytest

from vela_workflow.cli import view
from vela_workflow.cli.errors import ExitCode
from vela_workflow.cli.watching import Goal, verdict


def run(phase: str, *, suspend: bool = False, restart: bool = False) -> view.Run:
    finished = phase in {"succeeded", "failed", "terminated"}
    return view.read(
        {
            "metadata": {"name": "r", "annotations": {"workflowrun.oam.dev/restart": "*"} if restart else {}},
            "status": {"status": phase, "finished": finished, "suspend": suspend},
        }
    )


OK, FAILED, SUSPENDED = ExitCode.OK, ExitCode.FAILED, ExitCode.SUSPENDED


@pytest.mark.parametrize(
    ("state", "succeeded", "finished", "suspended"),
    [
        pytest.param(run(""), None, None, None, id="not-started"),
        pytest.param(run("executing"), None, None, None, id="executing"),
        pytest.param(run("succeeded"), OK, OK, FAILED, id="succeeded"),
        pytest.param(run("failed"), FAILED, OK, FAILED, id="failed"),
        pytest.param(run("terminated"), FAILED, OK, FAILED, id="terminated"),
        pytest.param(run("suspending", suspend=True), None, None, OK, id="suspended"),
        pytest.param(run("suspending"), None, None, None, id="resumed"),
        pytest.param(run("failed", restart=True), None, None, None, id="failed-but-to-be-restarted"),
    ],
)
def test_verdict(
    state: view.Run, succeeded: ExitCode | None, finished: ExitCode | None, suspended: ExitCode | None
) -> None:
    assert verdict(state, Goal.SUCCEEDED) is succeeded
    assert verdict(state, Goal.FINISHED) is finished
    assert verdict(state, Goal.SUSPENDED) is suspended


def test_not_waiting_while_suspended() -> None:
    assert verdict(run("suspending", suspend=True), Goal.SUCCEEDED, wait_suspended=False) is SUSPENDED
    assert verdict(run("suspending", suspend=True), Goal.SUSPENDED, wait_suspended=False) is OK
    assert verdict(run("executing"), Goal.SUCCEEDED, wait_suspended=False) is None
