"""Start a program that cannot outlive its parent: ``python -I -S tether.py PARENT_PID PROGRAM ARGUMENT…``.

On Linux the kernel is asked to kill this process when the thread that started it ends (``PR_SET_PDEATHSIG``), however
that happens; the wish survives ``exec``, so the program that takes this process over has it too. It is a program of its
own, not a ``preexec_fn``, because that may deadlock in a process with threads. Elsewhere the program is simply started.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent and become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:  # it ended before the kernel was asked
            sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - no shell is the point


main()
