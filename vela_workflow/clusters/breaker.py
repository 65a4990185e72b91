"""A circuit breaker: a dead cluster must not cost every step its full time limit.

After some connection failures in a row the breaker opens: calls fail at once, for an interval that doubles with every
further failure. When the interval is over one call is let through (half-open); if it gets an answer, whatever it says,
the breaker closes. A refusal by the API server is an answer, not a failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """``threshold`` failures in a row open it; intervals in seconds grow from ``first`` by doubling up to ``cap``."""

    threshold: int = 3
    first: float = 1.0
    cap: float = 60.0


class Breaker:
    """The state of one cluster's connections; ``clock`` returns seconds and never runs backwards."""

    def __init__(self, settings: BreakerSettings | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings or BreakerSettings()
        self._clock = clock
        self._failures = 0
        self._blocked_until = 0.0
        self._probing = False
        self.last_error = ""

    @property
    def is_open(self) -> bool:
        """Whether the last calls failed so often that the next ones are refused or probe."""
        return self._failures >= self._settings.threshold

    def admit(self) -> float:
        """0 when a call may go, else the seconds until the next one may.

        In the open state the call that is let through is the probe; others are refused for one more interval, so a
        probe that is cancelled blocks nobody for good.
        """
        if not self.is_open:
            return 0.0
        left = self._blocked_until - self._clock()
        if left > 0:
            return left
        self._blocked_until = self._clock() + self._interval()
        self._probing = True
        return 0.0

    def succeeded(self) -> None:
        """An answer came: close."""
        self._failures = 0
        self.last_error = ""

    def failed(self, error: str) -> None:
        """No answer came, because of ``error``."""
        if self.is_open and not self._probing:
            return  # It was under way when the breaker opened, and tells nothing new.
        self._probing = False
        self._failures += 1
        self.last_error = error
        if self.is_open:
            self._blocked_until = self._clock() + self._interval()

    def dead(self, error: str) -> None:
        """Nobody is answered, because of ``error``: open at once."""
        if not self.is_open:
            self._failures = self._settings.threshold - 1
        self.failed(error)

    def _interval(self) -> float:
        doublings = min(self._failures - self._settings.threshold, 16)
        return min(self._settings.first * 2.0**doublings, self._settings.cap)
