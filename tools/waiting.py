"""Waiting for something outside of this process: the one place where tests poll."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02


class WaitFor(Protocol):
    """The type of ``wait_for``, for the annotations of tests that take it as a fixture."""

    def __call__(self, predicate: Callable[[], T], timeout: float = 50, what: str = "") -> T:
        """See ``wait_for``."""


def wait_for(predicate: Callable[[], T], timeout: float = 50, what: str = "") -> T:
    """Call ``predicate`` until it returns something true in a boolean sense, and return that.

    Exceptions of the predicate pass through: it says "not yet" by what it returns. Raises ``AssertionError`` after
    ``timeout`` seconds, which tells ``what`` was awaited and the last value seen.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            awaited = what or "the condition"
            raise AssertionError(f"{awaited}: not within {timeout:g} s; the last value seen was {value!r}")
        time.sleep(POLL_SECONDS)
