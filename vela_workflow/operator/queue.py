"""A queue of keys to work on: one at a time per key, bursts coalesced, delays, back-off on errors, bounded concurrency.

A key that is added while it waits is worked on once; one that is added while it is worked on is worked on again
afterwards. A delayed key keeps its earliest time. The queue knows nothing of what a key stands for.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, Protocol, TypeVar

from vela_workflow import errors

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

FIRST_DELAY = 0.1
MAX_DELAY = 60.0
DOUBLINGS = 16
"""Seconds until a turn that failed is tried again: doubling from the first, so often at most."""


class Observer(Protocol):
    """Who counts."""

    def taken(self, seconds: float) -> None:
        """A key has its turn after it waited so long."""

    def failed(self) -> None:
        """A turn failed and will be tried again."""


class WorkQueue(Generic[K]):
    """Calls ``work(key)``; what it returns is the number of seconds until the key's next turn, if it wants one."""

    def __init__(
        self, work: Callable[[K], Awaitable[float | None]], *, workers: int, observer: Observer | None = None
    ) -> None:
        self._work = work
        self._observer = observer
        self._workers = workers
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: dict[K, float] = {}
        self._busy: set[K] = set()
        self._again: set[K] = set()
        self._delayed: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._failures: dict[K, int] = {}
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        """How many keys wait for a worker."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """How many keys are worked on now."""
        return len(self._busy)

    def start(self) -> None:
        """Start the workers."""
        for _ in range(self._workers):
            self._hire()

    def add(self, key: K) -> None:
        """Let a key have its turn as soon as a worker is free."""
        if self._closing:
            return
        self._delayed.pop(key, None)
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = time.monotonic()
            self._ready.put_nowait(key)

    def add_after(self, key: K, seconds: float) -> None:
        """Let a key have its turn after some time, unless it has one earlier."""
        if seconds <= 0:
            self.add(key)
            return
        when = asyncio.get_running_loop().time() + seconds
        if key in self._waiting or self._delayed.get(key, when + 1) <= when:
            return
        self._delayed[key] = when
        heapq.heappush(self._heap, (when, next(self._order), key))
        self._set_timer()

    def forget(self, key: K) -> None:
        """Drop the delay and the failures of a key."""
        self._delayed.pop(key, None)
        self._failures.pop(key, None)
        self._again.discard(key)

    async def close(self, *, grace: float = 0.0) -> None:
        """Take no more keys; let those that are worked on come to an end within ``grace`` seconds."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        try:
            async with asyncio.timeout(grace):
                await self._idle.wait()
        except TimeoutError:
            logger.warning("%d keys were still worked on at the end", len(self._busy))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hire(self) -> None:
        task = asyncio.create_task(self._serve())
        self._tasks.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        """Put another worker in the place of one that an error of ours has ended: without workers all runs stand."""
        self._tasks.discard(task)
        if self._closing or task.cancelled():
            return
        logger.error("a worker has ended, another takes its place", exc_info=task.exception())
        self._hire()

    async def _serve(self) -> None:
        while True:
            key = await self._ready.get()
            since = self._waiting.pop(key)
            if self._closing:
                continue
            if self._observer is not None:
                self._observer.taken(time.monotonic() - since)
            self._busy.add(key)
            self._idle.clear()
            try:
                delay = await self._attempt(key)
            finally:
                self._busy.discard(key)
                if not self._busy:
                    self._idle.set()
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif delay is not None:
                self.add_after(key, delay)

    async def _attempt(self, key: K) -> float | None:
        try:
            delay = await self._work(key)
        except errors.Transient as error:
            return self._back_off(key, error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Something within the turn was cancelled, not the turn.
            logger.exception("working on %s was broken off", key)
            return self._back_off(key, error)
        except Exception as error:
            logger.exception("working on %s failed", key)
            return self._back_off(key, error)
        self._failures.pop(key, None)
        return delay

    def _back_off(self, key: K, error: BaseException) -> float:
        if self._observer is not None:
            self._observer.failed()
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(MAX_DELAY, FIRST_DELAY * 2 ** min(failures, DOUBLINGS))
        if isinstance(error, errors.Transient):
            delay = min(delay, error.most)
            delay = max(delay, error.after)
            logger.warning("working on %s failed, next try in %.1f s: %s", key, delay, error)
        return float(delay)

    def _set_timer(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._heap or self._closing:
            return
        when = self._heap[0][0]
        # A handle does not always know its time: uvloop gives one without for a time that has come.
        if self._timer is None or when < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_at = loop.call_at(when, self._due), when

    def _due(self) -> None:
        now = asyncio.get_running_loop().time()
        self._timer = None
        while self._heap and self._heap[0][0] <= now:
            when, _, key = heapq.heappop(self._heap)
            if self._delayed.get(key) == when:
                self.add(key)
        self._set_timer()
