"""The journal of operations that must not be repeated (decisions 19).

Intent, effect, outcome: the intent is durable before the effect, and so is the way to find it, since ``status`` names
the context from then on. What the process that comes next finds in the journal decides: nothing means not begun, an
intent alone means that nobody knows, an outcome is used in the place of the effect.
"""

from __future__ import annotations

from typing import Protocol

from vela_workflow import errors
from vela_workflow.providers.contract import Outcome
from vela_workflow.runs.context import GONE, RunContext
from vela_workflow.steps.journal import Entry


class Persist(Protocol):
    """Writes the context of a run and makes sure that the status names it.

    It raises ``Superseded`` when another process has written it, unless ``insist`` says that something has happened
    which must be known.
    """

    async def __call__(self, *, insist: bool = False) -> None:
        """Write it."""


class RunJournal:
    """The journal of one run, for one of its steps; ``doubtful`` says that nobody knows what the step has done."""

    def __init__(self, context: RunContext, persist: Persist, *, doubtful: bool = False) -> None:
        self._context = context
        self._persist = persist
        self._doubtful = doubtful

    def entry(self, key: str) -> Entry | None:
        """What is known of an operation; ``None`` when it was never begun."""
        found = self._context.journal.get(key)
        if found is None:
            return Entry(done=False, why=f"{GONE}: it may have been carried out") if self._doubtful else None
        if found["done"] and found.get("answered") and "value" not in found:
            return Entry(done=False, why="it was carried out, but its answer was not kept, or was deleted")
        return Entry(found["done"], found.get("value"), bool(found.get("sensitive")))

    async def intend(self, key: str) -> None:
        """Record, durably, that the operation is about to be carried out."""
        self._context.journal[key] = {"done": False}
        try:
            await self._persist()
        except BaseException:
            # Nothing has happened yet; what could not be written must not look begun.
            self._context.journal.pop(key, None)
            raise

    async def record(self, key: str, outcome: Outcome) -> None:
        """Record what came of it."""
        entry: dict[str, object] = {"done": True}
        if outcome.value is not None:
            entry["value"] = outcome.value
        if outcome.sensitive:
            entry["sensitive"] = True
        self._context.journal[key] = entry
        try:
            await self._persist(insist=True)
        except errors.Terminal:
            # The answer does not fit. That there was one must be known all the same; the step cannot go on without it.
            self._context.journal[key] = {"done": True, "answered": True}
            await self._persist(insist=True)
            raise

    async def withdraw(self, key: str) -> None:
        """Record that it certainly was not carried out."""
        self._context.journal.pop(key, None)
        await self._persist(insist=True)
