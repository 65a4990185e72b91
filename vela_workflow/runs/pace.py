"""A limit on how often something happens that is worth while only as long as there is little of it."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Lets something happen once in so many seconds, whoever asks."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next = float("-inf")

    def allows(self) -> bool:
        """Whether it may happen now; whoever is told no asks again later."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
