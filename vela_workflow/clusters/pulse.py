"""Telling a cluster that is slow from one that is dead, long before the time limit of a call is over.

A call may take long: admission webhooks have thirty seconds. But whoever waits for a cluster that takes connections and
never answers occupies a place among the runs that are worked on, and the time limit of a call is no measure for that.
So while calls are under way and none has been answered for ``PATIENCE`` seconds, the cluster is asked for its version,
which costs it nothing. When that gets no answer either, all calls under way end as if their time were over. The breaker
then sees to it that no others follow.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

PATIENCE: Final = 2.0
"""Seconds without any answer after which the cluster is asked for its version."""

ANSWER_WITHIN: Final = 3.0
"""Seconds that it has for that."""


class NoPulseError(TimeoutError):
    """The cluster answers nobody."""


class Pulse:
    """The calls of one cluster that are under way; ``ask`` gets any answer at all from it, or raises ``OSError``.

    ``ask`` has to end by itself, within ``ANSWER_WITHIN`` seconds.
    """

    def __init__(self, ask: Callable[[], Awaitable[None]], *, patience: float = PATIENCE) -> None:
        self._ask = ask
        self._patience = patience
        self._calls: set[asyncio.Timeout] = set()
        self._ended: set[asyncio.Timeout] = set()
        self._answered = 0.0
        self._watcher: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Make a call inside of this; raises ``NoPulseError`` when the cluster is found dead meanwhile."""
        loop = asyncio.get_running_loop()
        scope = asyncio.timeout(None)
        if not self._calls:
            self._answered = loop.time()  # Nobody has waited so far.
        if self._watcher is None:
            self._watcher = loop.create_task(self._watch())
        try:
            async with scope:
                self._calls.add(scope)
                yield
                self._answered = loop.time()
        except TimeoutError:
            if scope not in self._ended:
                raise
            said = f"no answer within {self._patience:g} s, nor to the question for its version"
            raise NoPulseError(said) from None
        finally:
            self._calls.discard(scope)
            self._ended.discard(scope)

    def close(self) -> None:
        """Watch no more."""
        if self._watcher is not None:
            self._watcher.cancel()

    async def _watch(self) -> None:
        """Look after the calls until none is left."""
        loop = asyncio.get_running_loop()
        try:
            while self._calls:
                left = self._answered + self._patience - loop.time()
                if left > 0:
                    await asyncio.sleep(left)
                    continue
                since = self._answered
                if await self._is_dead() and self._answered == since:
                    self._end_all(loop.time())
                self._answered = max(self._answered, loop.time())
        finally:
            self._watcher = None

    async def _is_dead(self) -> bool:
        try:
            await self._ask()
        except (OSError, TimeoutError):
            return True
        return False

    def _end_all(self, now: float) -> None:
        for scope in self._calls:
            self._ended.add(scope)
            scope.reschedule(now)
