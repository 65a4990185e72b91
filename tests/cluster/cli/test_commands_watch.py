"""Following runs: ``wait``, ``run --watch``, ``status --watch``."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
from cli_proxy import Proxy
from cli_support import EXECUTING, FAILED, RUN, STEPS, SUCCEEDED, SUSPENDED, UNATTENDED, Cli, Runs, entry

from vela_workflow.cli import kube
from vela_workflow.cli.errors import Gone

JSON = dict[str, Any]


def line(process: subprocess.Popen[str]) -> str:
    """The next line that a command prints, without the time before it."""
    assert process.stdout is not None
    return process.stdout.readline().strip().partition("  ")[2]


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and the rest of standard error."""
    _, error = process.communicate(timeout=20)
    return process.returncode, error.strip()


@pytest.mark.parametrize(
    ("status", "arguments", "code"),
    [
        pytest.param(SUCCEEDED, [], 0, id="succeeded"),
        pytest.param(FAILED, [], 1, id="failed"),
        pytest.param(FAILED, ["--for", "finished"], 0, id="finished"),
        pytest.param(SUSPENDED, ["--for", "suspended"], 0, id="suspended"),
        pytest.param(SUCCEEDED, ["--for", "suspended"], 1, id="never-suspended"),
        pytest.param(SUSPENDED, ["--no-wait-suspended"], 3, id="not-waiting-for-a-person"),
        pytest.param(EXECUTING, ["--timeout", "300ms"], 4, id="too-late"),
        pytest.param(SUSPENDED, ["--timeout", "300ms"], 4, id="too-late-for-a-person"),
    ],
)
def test_wait_for_what_is_there_already(cli: Cli, runs: Runs, status: JSON, arguments: list[str], code: int) -> None:
    runs.create("a", status)
    done = cli("wait", "a", *arguments)
    assert (done.code, done.out) == (code, "")
    assert bool(done.err) == (code != 0)
    if code == 4:
        assert f"the time is over, a is {status['status']}" in done.err


def test_wait_for_what_comes_later(cli: Cli, runs: Runs) -> None:
    runs.create("a", EXECUTING)
    later = threading.Thread(target=runs.write, args=("a",), kwargs=SUCCEEDED)
    later.start()
    assert cli("wait", "a", "--timeout", "20s").code == 0
    later.join()


def test_wait_after_a_restart_does_not_take_the_old_end_for_the_new(cli: Cli, runs: Runs) -> None:
    runs.create("a", FAILED)
    assert cli("restart", "a").code == 0
    assert cli("wait", "a", "--timeout", "300ms").code == 4


def test_watch_of_a_new_run(cli: Cli, runs: Runs, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    body = {"apiVersion": RUN.api_version, "kind": RUN.kind, "metadata": {"name": "a", "annotations": UNATTENDED}}
    file.write_text(json.dumps({**body, "spec": {"workflowSpec": {"steps": STEPS}}}), encoding="utf-8")
    process = cli.start("run", str(file), "--watch")
    assert process.stdout is not None
    assert process.stdout.readline() == "workflowrun.core.oam.dev/a created\n"
    runs.write("a", **EXECUTING)
    assert line(process) == "step build: running"
    assert line(process) == "run a: executing"
    runs.write("a", **SUSPENDED)
    assert line(process) == "step build: succeeded"
    assert line(process) == "step approve: suspending (Suspend): please look"
    assert line(process) == 'run a: suspending: step "approve": please look'
    runs.write("a", **SUCCEEDED, suspend=False, message="")
    assert line(process) == "step approve: succeeded"
    assert line(process) == "step release: succeeded"
    assert line(process) == "run a: succeeded"
    assert ended(process) == (0, "")


def test_watch_of_a_run_that_fails(cli: Cli, runs: Runs) -> None:
    runs.create("a", EXECUTING)
    process = cli.start("status", "a", "-w")
    assert line(process) == "step build: running"
    runs.write("a", **FAILED)
    assert ended(process) == (1, 'a failed: step "build" failed (Action): no')


def test_ctrl_c_leaves_the_run_alone(cli: Cli, runs: Runs) -> None:
    before = runs.create("a", EXECUTING)
    process = cli.start("status", "a", "--watch")
    assert line(process) == "step build: running"
    process.send_signal(signal.SIGINT)
    assert ended(process) == (130, "error: stopped watching; a goes on")
    assert runs.get("a")["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_watch_of_a_run_that_is_deleted(cli: Cli, runs: Runs) -> None:
    runs.create("a", EXECUTING)
    process = cli.start("status", "a", "--watch")
    assert line(process) == "step build: running"
    runs.admin.delete(RUN.api_version, RUN.kind, "a", runs.namespace)
    assert ended(process) == (1, 'error: workflowruns.core.oam.dev "a" was deleted')


def test_a_broken_connection_is_made_again(cli: Cli, runs: Runs, tmp_path: Path) -> None:
    runs.create("a", EXECUTING)
    with Proxy(cli.kubeconfig, tmp_path) as proxy, Cli(proxy.kubeconfig, runs.namespace) as through:
        process = through.start("status", "a", "--watch")
        assert line(process) == "step build: running"
        assert line(process) == "run a: executing"
        proxy.cut()
        runs.write("a", steps=[entry("build", "succeeded"), entry("approve", "running")])
        assert line(process) == "step build: succeeded"
        proxy.cut()
        runs.write("a", **SUCCEEDED)
        assert ended(process) == (0, "")


def test_a_watch_that_ends_goes_on_where_it_was(cli: Cli, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "WATCH_SECONDS", 1)
    runs.create("a", EXECUTING)
    assert cli("wait", "a", "--timeout", "2500ms").code == 4


def test_a_version_that_the_server_has_forgotten(cli: Cli, runs: Runs) -> None:
    runs.create("a", EXECUTING)
    with kube.Kube(str(cli.kubeconfig), namespace=runs.namespace) as cluster, pytest.raises(Gone):
        list(cluster.watch(kube.RUNS, "a", runs.namespace, since="1", seconds=5))
