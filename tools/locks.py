"""File locks that survive the deletion of the file they live in and the death of who holds them.

The kernel releases an ``flock`` when the process that holds it ends, however it ends. That makes such locks safe
reference counts: everyone who uses a thing holds a shared lock, and who gets the exclusive one knows that nobody uses
it any more. A lock file may be deleted by its last user; who waited for the deleted file then notices that the path
leads to another file (or to none) and starts again, so two processes never hold "the same" lock on different files.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self


class Lock:
    """A held lock; releases itself at the end of a ``with`` block, or by ``release``."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.release()


def acquire(path: Path, *, shared: bool = False) -> Lock:
    """Wait for the lock at ``path`` (its folder is made when missing) and return it."""
    while True:
        lock = _attempt(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if lock is not None:
            return lock


def try_acquire(path: Path, *, shared: bool = False) -> Lock | None:
    """Return the lock at ``path``, or ``None`` when somebody else holds it."""
    while True:
        try:
            lock = _attempt(path, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        if lock is not None:
            return lock


def _attempt(path: Path, operation: int) -> Lock | None:
    """Lock the file at ``path``; ``None`` when the path leads to another file by the time the lock is held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        current = path.stat()
    except FileNotFoundError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    locked = os.fstat(descriptor)
    if (locked.st_dev, locked.st_ino) != (current.st_dev, current.st_ino):
        os.close(descriptor)
        return None
    return Lock(path, descriptor)
