"""Starting, finding and stopping the local control plane.

``up`` leaves one running in the background until ``down``; ``shared`` gives one to several processes of one test run
and ends it with the last of them. Both may be called by many at once: one starts it, the others wait.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tools import locks
from tools.controlplane import ControlPlane
from tools.errors import ToolError, tail
from tools.supervisor import KUBECONFIG, START_LOCK, SUPERVISOR_LOCK, USERS_LOCK

ROOT = Path(__file__).resolve().parent.parent
SUPERVISOR_LOG = "supervisor.log"
STOP_SECONDS = 20


def default_folder() -> Path:
    """Where ``up`` keeps the state of the control plane of this checkout."""
    return ROOT / ".cluster"


def kubeconfig(folder: Path) -> Path:
    """The path of the administrator's kubeconfig while the control plane of ``folder`` runs."""
    return folder / KUBECONFIG


def running(folder: Path) -> ControlPlane | None:
    """The control plane of ``folder`` if its supervisor lives."""
    if not folder.exists():
        return None
    lock = locks.try_acquire(folder / SUPERVISOR_LOCK)
    if lock is not None:
        lock.release()
        return None
    return ControlPlane.load(folder)


def up(folder: Path, tell: Callable[[str], None]) -> ControlPlane:
    """Start the control plane of ``folder`` unless it runs, and leave it running; raises ``ToolError``."""
    with locks.acquire(folder / START_LOCK):
        return running(folder) or _start(folder, "keep", tell)


@contextlib.contextmanager
def shared(folder: Path, tell: Callable[[str], None]) -> Iterator[ControlPlane]:
    """A control plane that lives, with ``folder``, until the last process that uses it has ended or left the block."""
    with locks.acquire(folder / START_LOCK):
        users = locks.acquire(folder / USERS_LOCK, shared=True)
        control_plane = running(folder) or _start(folder, "shared", tell)
    with users:
        yield control_plane


def down(folder: Path) -> bool:
    """Stop the control plane of ``folder``; returns whether one was running."""
    if not folder.exists():
        return False
    with locks.acquire(folder / START_LOCK):
        found = running(folder)
        if found is None:
            return False
        os.kill(found.pid, signal.SIGTERM)
        if not _ended(folder, STOP_SECONDS):
            os.kill(found.pid, signal.SIGKILL)  # the kernel takes the rest along
            if not _ended(folder, STOP_SECONDS):
                raise ToolError(f"the supervisor (process {found.pid}) does not end; see {folder / SUPERVISOR_LOG}")
    return True


def _ended(folder: Path, seconds: float) -> bool:
    """Wait until the supervisor of ``folder`` has ended; whether it did within ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lock = locks.try_acquire(folder / SUPERVISOR_LOCK)
        if lock is not None:
            lock.release()
            return True
        time.sleep(0.02)
    return False


def _start(folder: Path, mode: str, tell: Callable[[str], None]) -> ControlPlane:
    """Start a supervisor, tell its progress, and return when it is ready."""
    if not _ended(folder, STOP_SECONDS):  # an earlier one that is just going down
        raise ToolError(f"a control plane that is not ready holds {folder}; see {folder / SUPERVISOR_LOG}")
    log = folder / SUPERVISOR_LOG
    command = [sys.executable, "-m", "tools.supervisor", str(folder.absolute()), mode]
    with (
        log.open("w", encoding="utf-8") as errors,
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            start_new_session=True,
        ) as supervisor,
    ):  # fmt: skip
        assert supervisor.stdout is not None
        for line in supervisor.stdout:
            tell(line.rstrip())
        found = ControlPlane.load(folder)
        if found is None:
            supervisor.wait()
            raise ToolError(f"the local control plane did not start:\n{tail(log, 60)}")
        supervisor.returncode = 0  # it goes on without us
    return found
