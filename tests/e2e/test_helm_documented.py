"""The commands for Helm in the README and in that of the chart: what they install carries a workflow out.

A cluster of its own: what is installed is for all namespaces. Its Nodes run nothing, so after the commands the operator
is started as a Pod of the release would be (``deploy/release.py``), and the first workflow of the README is given to it.
"""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.release import Release
from tests.e2e import test_readme as readme
from tests.e2e.terminal import ROOT, Terminal
from tools import binaries, lifecycle
from tools.controlplane import ControlPlane, data_root
from tools.kubectl import Kubectl
from tools.waiting import wait_for

DOCUMENTS = ("README.md", "deploy/charts/vela-workflow/README.md")
NAME, SYSTEM = "vela-workflow", "vela-system"


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[ControlPlane]:
    folder = data_root() / f"vela-workflow-documented-{os.getpid()}-{secrets.token_hex(4)}"
    with lifecycle.shared(folder, lambda _: None) as started:
        yield started


def commands(document: str) -> str:
    """The one block of a document that calls Helm."""
    (block,) = (block for block in readme.blocks(ROOT / document) if block.is_helm)
    return block.text


def carried_out(script: str, helm: Path, kubeconfig: Path, folder: Path) -> str:
    """What commands print that find Helm on the path, and the cluster where Helm looks for it."""
    program = folder / "helm"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(str(helm))} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.defpath}", "HOME": str(folder), "KUBECONFIG": str(kubeconfig)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("document", DOCUMENTS)
def test_what_they_install_carries_a_workflow_out(
    document: str, own_cluster: ControlPlane, helm_command: Path, cue_command: Path, tmp_path: Path
) -> None:
    kubectl = Kubectl(binaries.ensure(["kubectl"], tell=lambda _: None)["kubectl"], own_cluster.kubeconfig)
    # Of this machine: where cue lies; and nothing answers on the address of a Service here, so webhooks are not asked.
    values = {"settings.cue": str(cue_command), "admission.namespaceSelector.matchLabels.nobody": "nobody"}
    release = Release(NAME, SYSTEM, helm_command, kubectl, tmp_path, values)
    try:
        told = carried_out(commands(document), helm_command, own_cluster.kubeconfig, tmp_path)
        assert "STATUS: deployed" in told
        assert "Phase:          Succeeded" in told
        image = release.deployment()["spec"]["template"]["spec"]["containers"][0]["image"]
        assert image.startswith("registry.example.com/vela-workflow:")
        release.install()
        carries_out_the_first_workflow(release, Terminal(own_cluster.kubeconfig, "default"))
    finally:
        release.uninstall()


def carries_out_the_first_workflow(release: Release, terminal: Terminal) -> None:
    """The run of the README, up to its approval and on to its end."""
    (first,) = (block for block in readme.README if block.file)
    name = yaml.safe_load(first.text)["metadata"]["name"]
    replica = release.process("first", lambda ready, what: wait_for(ready, 40, what))
    try:
        release.kubectl("apply", "-n", "default", "-f", "-", stdin=first.text)
        terminal("wait", name, "--for", "suspended", "--timeout", "1m")
        terminal("resume", name)
        terminal("wait", name, "--timeout", "1m")
        release.kubectl("delete", "workflowrun", name, "-n", "default")
    finally:
        replica.stop()
