"""Kopf's bookkeeping, left out.

For each event kopf would copy the object, take out what it keeps in annotations, and compare the rest with what it
handled last. Handlers of raw events use nothing of that, and it would be a third of what an event costs. And it would
keep a kibibyte of each object as long as that exists, also of runs that ended long ago.
"""

from __future__ import annotations

from typing import Any

import kopf
from kopf._core.reactor import inventory  # what ``kopf.operator`` takes as ``memories`` has no public name


class NoDifferences(kopf.DiffBaseStorage):
    """Remembers nothing of objects and sees no differences."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Nothing of an object is essential."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Nothing was handled before."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""


class NoProgress(kopf.ProgressStorage):
    """Remembers nothing of handlers."""

    def fetch(self, **_: Any) -> None:
        """No handler has been tried before."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""

    def purge(self, **_: Any) -> None:
        """There is nothing to remove."""

    def touch(self, **_: Any) -> None:
        """There is nothing to touch."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """What is essential, as it is."""
        return essence


class NoMemories(inventory.ResourceMemories):
    """Keeps nothing of an object from one event to the next."""

    async def recall(self, *args: Any, **options: Any) -> inventory.ResourceMemory:
        """A new memory, for one event."""
        return await super().recall(*args, **{**options, "ephemeral": True})
