"""The process that owns a local control plane: ``python -m tools.supervisor STATE_FOLDER keep|shared``.

It starts all processes, writes ``state.json`` when they are ready, and ends them when it is told to (SIGTERM), when one
of them ends by itself, or, when it is *shared*, when nobody uses the control plane any more: every user holds a shared
lock on ``users.lock``, which the kernel gives back even for a user that is killed. If the supervisor is killed itself,
the kernel kills what it started (see ``tools/tether.py``).

Until it is ready its standard output is a pipe to whoever started it; a line there is a line of progress.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from tools import binaries, locks
from tools.controlplane import STATE_FILE, Stack, data_root
from tools.errors import ToolError
from tools.processes import Process

START_LOCK = "start.lock"
USERS_LOCK = "users.lock"
SUPERVISOR_LOCK = "supervisor.lock"
LOGS = "logs"
KUBECONFIG = "kubeconfig"
UNUSED = "nobody uses the control plane any more"


def main(arguments: list[str]) -> int:
    """Run a control plane for the folder that is the first argument; returns the exit code."""
    folder, mode = Path(arguments[0]), arguments[1]
    reasons: queue.SimpleQueue[str] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: reasons.put(signal.Signals(received).name))
    lock = locks.try_acquire(folder / SUPERVISOR_LOCK)
    if lock is None:
        print(f"another supervisor runs in {folder}", file=sys.stderr)
        return 1
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(lock)
        try:
            _run(folder, reasons, cleanup, shared=mode == "shared")
        except (ToolError, BrokenPipeError) as error:
            print(f"stopping: {error}", file=sys.stderr)
            return 1
    return 0


def _run(folder: Path, reasons: queue.SimpleQueue[str], cleanup: contextlib.ExitStack, *, shared: bool) -> None:
    """Start, wait for a reason to stop, and leave to ``cleanup`` what has to be undone (in the opposite order)."""
    if shared:
        cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
    found = binaries.ensure(binaries.CONTROL_PLANE, tell=_say)
    data = _data_folder(folder)
    cleanup.callback(shutil.rmtree, data, ignore_errors=True)
    stack = Stack(found, data)
    cleanup.callback(stack.stop)
    control_plane = stack.start(_say)
    (folder / KUBECONFIG).symlink_to(control_plane.kubeconfig)
    cleanup.callback((folder / KUBECONFIG).unlink, missing_ok=True)
    control_plane.save(folder)
    cleanup.callback((folder / STATE_FILE).unlink, missing_ok=True)
    _let_go_of_starter()
    for process in stack.processes:
        _watch(process, reasons)
    print(f"stopping: {_wait(folder, reasons, shared=shared)}", file=sys.stderr)


def _say(line: str) -> None:
    """Tell whoever started this process; fails when that one is gone."""
    print(line, flush=True)


def _let_go_of_starter() -> None:
    """Close the pipe, which tells that everything is ready."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def _data_folder(folder: Path) -> Path:
    """Make the folder of the data, one and the same for every start in ``folder``.

    What a killed supervisor left there goes away; our lock says that nobody uses it. Logs are written next to the
    state, where they outlive the data.
    """
    identity = hashlib.sha256(str(folder).encode()).hexdigest()[:12]
    data = data_root() / f"vela-workflow-data-{os.getuid()}-{identity}"
    logs = folder / LOGS
    for stale in (data, logs):
        shutil.rmtree(stale, ignore_errors=True)
    for stale in (folder / STATE_FILE, folder / KUBECONFIG):
        stale.unlink(missing_ok=True)
    data.mkdir(mode=0o700)
    logs.mkdir()
    (folder / ".gitignore").write_text("*\n", encoding="utf-8")  # it lies in the checkout
    (data / LOGS).symlink_to(logs, target_is_directory=True)
    return data


def _watch(process: Process, reasons: queue.SimpleQueue[str]) -> None:
    """Give a reason to stop when ``process`` ends."""

    def wait() -> None:
        process.wait()
        reasons.put(str(process.failure()))

    _thread(wait)


def _wait(folder: Path, reasons: queue.SimpleQueue[str], *, shared: bool) -> str:
    """Wait for a reason to stop and return it.

    A new user may come between the end of the last one and ours. So the start lock, which every new user holds while
    it looks, is taken before the last look; both locks are held to the end of this process.
    """

    def unused() -> None:
        locks.acquire(folder / USERS_LOCK).release()
        reasons.put(UNUSED)

    if shared:
        _thread(unused)
    while True:
        reason = reasons.get()
        if reason != UNUSED:
            return reason
        start = locks.acquire(folder / START_LOCK)
        users = locks.try_acquire(folder / USERS_LOCK)
        if users is not None:
            return reason
        start.release()
        _thread(unused)


def _thread(run: Callable[[], None]) -> None:
    threading.Thread(target=run, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
