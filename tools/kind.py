"""A kind cluster as the local cluster (``CLUSTER=kind``), for machines where a Docker engine answers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tools import binaries, lifecycle
from tools.errors import ToolError

NAME = "vela-workflow"


def up(folder: Path, tell: Callable[[str], None]) -> Path:
    """Create the kind cluster unless it exists; returns the path of its kubeconfig. Raises ``ToolError``."""
    command = _command(tell)
    target = lifecycle.kubeconfig(folder.absolute())
    target.parent.mkdir(parents=True, exist_ok=True)
    if NAME in _clusters(command):
        _run([command, "export", "kubeconfig", "--name", NAME, "--kubeconfig", target])
    else:
        _run([command, "create", "cluster", "--name", NAME, "--kubeconfig", target, "--wait", "120s"])
    return target


def down(folder: Path, tell: Callable[[str], None]) -> bool:
    """Delete the kind cluster; returns whether there was one. Raises ``ToolError``."""
    command = _command(tell)
    if NAME not in _clusters(command):
        return False
    target = lifecycle.kubeconfig(folder.absolute())
    _run([command, "delete", "cluster", "--name", NAME, "--kubeconfig", target])
    target.unlink(missing_ok=True)
    return True


def _command(tell: Callable[[str], None]) -> Path:
    """The kind command, on a machine where it can be used."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "version"], capture_output=True, check=False).returncode:
        raise ToolError("CLUSTER=kind needs a Docker engine, and none answers; leave CLUSTER unset to do without")
    return binaries.ensure(["kind"], tell=tell)["kind"]


def _clusters(command: Path) -> list[str]:
    found = subprocess.run([command, "get", "clusters"], capture_output=True, text=True, check=False)
    return found.stdout.split() if found.returncode == 0 else []


def _run(command: list[str | Path]) -> None:
    if subprocess.run(command, check=False).returncode:
        raise ToolError(f"`{' '.join(map(str, command))}` failed; its own words are above")
