"""The demonstration of the chart: ``python -m deploy.demo``, or ``make demo-helm``.

Installs the chart by Helm on the local cluster, runs the operator as a Pod of the release would (its environment, its
arguments, the rights of its ServiceAccount), carries a workflow out, replaces the replica in its middle, and ends with
exit code 0 only if the run has succeeded all the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from deploy.release import ROOT, Release
from tools import binaries, lifecycle
from tools.errors import ToolError
from tools.kubectl import Kubectl
from tools.waiting import wait_for

SYSTEM: Final = "vela-demo-helm"
PATIENCE: Final = 60.0
RUN: Final = "release"


def tell(line: str) -> None:
    """Say what happens."""
    sys.stdout.write(f"\n==> {line}\n")
    sys.stdout.flush()


def _progress(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def wait(condition: Callable[[], bool], what: str) -> object:
    """Wait for a condition; raises ``AssertionError``."""
    return wait_for(condition, PATIENCE, what)


def main() -> int:
    """Show it."""
    found = binaries.ensure(["helm", "kubectl", "cue"], tell=lambda _: None)
    tell("A local cluster")
    cluster = lifecycle.up(lifecycle.default_folder(), _progress)
    kubectl = Kubectl(found["kubectl"], cluster.kubeconfig)
    with tempfile.TemporaryDirectory() as folder:
        values = {
            "settings.cue": str(found["cue"]),
            # Nothing answers on the address of a Service here, so the webhooks are asked about nothing.
            "admission.namespaceSelector.matchLabels.nobody": "nobody",
            "rbac.scope": "namespaces",
        }
        release = Release("vela-workflow", SYSTEM, found["helm"], kubectl, Path(folder), values)
        tell("helm upgrade --install vela-workflow deploy/charts/vela-workflow --set rbac.scope=namespaces")
        sys.stdout.write(release.install())
        try:
            return demonstrate(release, kubectl)
        finally:
            tell("helm uninstall vela-workflow")
            release.uninstall()


def demonstrate(release: Release, kubectl: Kubectl) -> int:
    """Carry a workflow out, with a change of replicas in its middle."""
    tell("Two replicas, with the ServiceAccount of the release and nothing more")
    first = release.process("first", wait)
    second = release.process("second", wait)
    try:
        tell("kubectl apply -f examples/demo.yaml")
        kubectl("delete", "workflowrun", RUN, "-n", SYSTEM, "--ignore-not-found")
        sys.stdout.write(kubectl("apply", "-n", SYSTEM, "-f", str(ROOT / "examples" / "demo.yaml")))
        vela(kubectl, "wait", RUN, "--for", "suspended", "--timeout", "1m")
        tell("The leader is stopped while the run waits for an approval; the other replica goes on")
        began = time.monotonic()
        first.stop()
        tell(f"stopped within {time.monotonic() - began:.1f} s; vela-workflow resume {RUN}")
        vela(kubectl, "resume", RUN)
        code = vela(kubectl, "wait", RUN, "--timeout", "1m")
        sys.stdout.write(kubectl("get", "workflowrun", RUN, "-n", SYSTEM))
        return code
    finally:
        first.kill()
        second.kill()


def vela(kubectl: Kubectl, *arguments: str) -> int:
    """Run ``vela-workflow``; returns its exit code."""
    environment = {**os.environ, "KUBECONFIG": str(kubectl.kubeconfig), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "vela_workflow.cli.main", *arguments, "--namespace", SYSTEM]
    return subprocess.run(command, env=environment, check=False, timeout=120).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ToolError as error:
        sys.exit(f"demo: {error}")
