"""The demonstration, as ``make demo`` starts it, ends with succeeded runs and shows them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.cluster import operator_fixture as fixture
from tests.e2e.terminal import ROOT
from tools.demo import EXAMPLES
from tools.kubectl import Kubectl
from tools.rest import Api

RUN = fixture.RUN


def show(kubeconfig: Path, namespace: str, files: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the demonstration of the checkout ``files`` to its end."""
    command = [sys.executable, "-m", "tools.demo", f"--kubeconfig={kubeconfig}", f"--namespace={namespace}"]
    environment = {**os.environ, "PYTHONPATH": str(files)}
    return subprocess.run(command, cwd=files, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_it_ends_with_succeeded_runs(kubeconfig: Path, kubectl: Kubectl, admin: Api) -> None:
    namespace = fixture.unique("demo")
    done = show(kubeconfig, namespace)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        table = [
            re.split(r"\s+", line.strip()) for line in kubectl("get", RUN.crd_name, "-n", namespace).splitlines()[1:]
        ]
        assert {row[0]: row[1] for row in table} == {example.run: "succeeded" for example in EXAMPLES}
        shown = [re.split(r"\s+", line.strip()) for line in done.stdout.splitlines()]
        for name, phase, steps, *_ in table:
            assert [name, phase, steps] in [line[:3] for line in shown], "the table of kubectl is shown"
        assert "suspending   2/5     approve" in done.stdout, "the run is shown while it waits for the approval"
        assert "$ vela-workflow resume release" in done.stdout
    finally:
        admin.delete("v1", "Namespace", namespace)


def test_a_cluster_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        """
apiVersion: v1
kind: Config
current-context: dead
contexts: [{name: dead, context: {cluster: dead, user: nobody}}]
clusters: [{name: dead, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: nobody, user: {}}]
"""
    )
    done = show(kubeconfig, "demo")
    assert done.returncode == 1
    assert "error: `vela-workflow install` ended with 1" in done.stderr
