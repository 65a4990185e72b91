"""Answers of the ``cue`` command, kept.

The same program gives the same answer, so rendering again with nothing new costs nothing, and a program that is under
way is asked for only once however many want its answer. The store is bounded by bytes; what was used last stays.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict

from vela_workflow.cue.command import CueCommand, Refusal

CACHE_BYTES = 4 * 1024 * 1024

ENTRY = 240
"""Bytes that keeping an answer costs beside the answer itself."""


class Answers:
    """Asks ``cue`` for programs; ``hits`` and ``misses`` count."""

    def __init__(self, cue: CueCommand, *, limit: int = CACHE_BYTES) -> None:
        self._cue = cue
        self._limit = limit
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._size = 0
        self._waiting: dict[bytes, int] = {}
        self._under_way: dict[bytes, asyncio.Task[bytes | Refusal]] = {}
        self.hits = 0
        self.misses = 0

    async def ask(self, text: str, *, alone: bool = False) -> bytes | Refusal:
        """The value ``OUT`` of a program as JSON, or the refusal; raises ``LimitExceeded``."""
        key = hashlib.sha256(text.encode()).digest()
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            self.hits += 1
            return kept
        task = self._under_way.get(key)
        if task is None:
            self.misses += 1
            task = asyncio.get_running_loop().create_task(self._export(key, text, alone=alone))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        else:
            self.hits += 1
        self._waiting[key] = self._waiting.get(key, 0) + 1
        try:
            # Whoever gives up waiting must not take the answer from the others.
            return await asyncio.shield(task)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                task.cancel()  # Nobody wants the answer any more; one that is there already stays.
                self._ended(key, task)  # Whoever asks from now on must not be told of the end of this one.

    async def _export(self, key: bytes, text: str, *, alone: bool) -> bytes | Refusal:
        answer = await self._cue.export(text, alone=alone)
        if isinstance(answer, bytes):
            self._keep(key, answer)
        return answer

    def _ended(self, key: bytes, task: asyncio.Task[bytes | Refusal]) -> None:
        if self._under_way.get(key) is task:
            del self._under_way[key]
        if task.done() and not task.cancelled():
            task.exception()  # Nobody may be left to hear of it.

    def _keep(self, key: bytes, answer: bytes) -> None:
        self._kept[key] = answer
        self._size += len(answer) + ENTRY
        while self._size > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self._size -= len(dropped) + ENTRY
