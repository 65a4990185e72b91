"""Child processes of the local cluster: tied to their parent, with a log file each.

Nothing here is stopped gently: the data of a local cluster is thrown away, so a killed process loses nothing, and the
end of a test session takes no time.
"""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from tools.errors import ToolError, tail

T = TypeVar("T")

TETHER = Path(__file__).with_name("tether.py")
# Below the ephemeral range of Linux and macOS, so that no outgoing connection takes a port between choice and use.
PORTS = range(18000, 32000)


class Process:
    """A running program, the name it is known by and the log it writes."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path, home: Path) -> None:
        """Start ``command``; its home is the folder ``home``, so it reads no configuration of the user's."""
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        tethered = [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), *map(str, command)]
        environment = _environment(home)
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                tethered, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, cwd=home
            )

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._popen.poll() is None

    def wait(self) -> int:
        """Wait for the end of the process and return its exit code."""
        return self._popen.wait()

    def kill(self) -> None:
        """End the process at once and wait until it is gone; a second call does nothing."""
        if self.running:
            self._popen.kill()
        self._popen.wait()

    def failure(self) -> ToolError:
        """The error that tells how this process ended, with the end of its log."""
        return ToolError(f"{self.name} ended with code {self._popen.poll()}; the end of {self.log}:\n{tail(self.log)}")


def _environment(home: Path) -> Mapping[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home)}


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    for port in random.sample(PORTS, 200):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ToolError(f"no free port on 127.0.0.1 between {PORTS.start} and {PORTS.stop}")


def wait_until(what: str, attempt: Callable[[], T | None], process: Process, seconds: float = 60) -> T:
    """Call ``attempt`` until it returns something and return that.

    Raises ``ToolError`` when ``process`` ends before, or after ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while True:
        result = attempt()
        if result is not None:
            return result
        if not process.running:
            raise process.failure()
        if time.monotonic() > deadline:
            raise ToolError(f"{what}: not within {seconds:.0f} s; the end of {process.log}:\n{tail(process.log)}")
        time.sleep(0.02)
