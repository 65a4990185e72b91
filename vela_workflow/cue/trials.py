"""The first evaluation of a template is a trial: alone, and one at a time.

Programs that go together share their fate for a while, and nobody can tell from a text whether its evaluation comes to
an end. So a template goes with others only after it has been evaluated once, which takes it some milliseconds once in
the life of the process; whoever evaluates it in that moment waits for what comes of the trial. One without an end never
gets further than that: it can neither take others with it nor have more than one command to itself. Nor do all trials
together ever have all commands: what has stood its trial goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Final

from vela_workflow.cue.sandbox import LimitExceeded

SLOW: Final = 1.0
"""Seconds after which a trial, or a command, leaves its place to another while it goes on."""

REMEMBERED: Final = 2000
"""How many templates are remembered to have stood their trial."""


class Trials:
    """Which templates have stood their trial, by their keys; ``commands`` is how many may run at the same time."""

    def __init__(self, commands: int) -> None:
        self._places = max(1, commands - 1)
        self._stragglers = commands - 1
        self._running = 0
        self._slow: set[object] = set()
        self._changed = asyncio.Event()
        self._stood: OrderedDict[str, None] = OrderedDict()
        self._under_way: dict[str, asyncio.Event] = {}

    @contextlib.asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[bool]:
        """Evaluate a template inside of this; tells whether that is a trial, and to be done alone."""
        while key not in self._stood and key in self._under_way:
            await self._under_way[key].wait()
        if key in self._stood:
            try:
                yield False
            except LimitExceeded:
                self._stood.pop(key, None)
                raise
            return
        ended = self._under_way[key] = asyncio.Event()
        try:
            async with self._place():
                yield True
        except Exception as error:
            self._judge(key, error)
            raise
        else:
            self._judge(key, None)
        finally:
            del self._under_way[key]
            ended.set()

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the places for trials; whoever takes long leaves it to another, as long as not too many do."""
        while self._running - min(len(self._slow), self._stragglers) >= self._places:
            await self._changed.wait()
        self._running += 1
        mark = object()
        patience = asyncio.get_running_loop().call_later(SLOW, self._is_slow, mark)
        try:
            yield
        finally:
            patience.cancel()
            self._running -= 1
            self._slow.discard(mark)
            self._tell()

    def _is_slow(self, mark: object) -> None:
        self._slow.add(mark)
        self._tell()

    def _tell(self) -> None:
        """Let those that wait for a place look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _judge(self, key: str, error: Exception | None) -> None:
        if isinstance(error, LimitExceeded):
            return
        self._stood[key] = None
        if len(self._stood) > REMEMBERED:
            self._stood.popitem(last=False)
