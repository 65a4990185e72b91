"""The journal of operations that must not be repeated (decisions 19).

Intent, effect, outcome: the intent is durable before the effect, and so is the way to find it, since ``status`` names
the context from then on. What the process that comes next finds in the journal decides: nothing means not begun, an
intent alone means that nobody knows, an outcome is used in the place of the effect.

A process that could not take an intent back, or not write its outcome down, because the API server was away or its
Lease was lost for a moment, does know. Each intent has a name, by which the process finds it again (``Intents``).
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import Any, Protocol

from vela_workflow import errors
from vela_workflow.providers.contract import Outcome
from vela_workflow.runs.context import GONE, RunContext
from vela_workflow.runs.stored import INTENT
from vela_workflow.steps.journal import Entry, Superseded

JSON = dict[str, Any]


class Persist(Protocol):
    """Writes the context of a run and makes sure that the status names it.

    It raises ``Superseded`` when another process has written it, unless ``insist`` says that something has happened
    which must be known.
    """

    async def __call__(self, *, insist: bool = False) -> None:
        """Write it."""


class Intents:
    """What this process knows of intents that may be stored without what came of them, by their names.

    ``None`` stands for one of which certainly nothing came. What another process does about the same intent is no
    concern: it takes it for unknown, and an operation that is begun again has an intent of another name.
    """

    KEPT = 4096
    """How many are remembered; more are left only by an outage in the middle of as many requests."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, JSON | None] = OrderedDict()

    def know(self, intent: str, entry: JSON | None) -> None:
        """Remember what came of an intent until that is stored."""
        self._known[intent] = entry
        if len(self._known) > self.KEPT:
            self._known.popitem(last=False)

    def settled(self, intent: str) -> None:
        """What came of an intent is stored."""
        self._known.pop(intent, None)

    def complete(self, journal: dict[str, JSON]) -> dict[str, JSON]:
        """A journal that was read, with what is known of it here."""
        completed: dict[str, JSON] = {}
        for key, entry in journal.items():
            known = self._known.get(entry.get(INTENT, ""), entry) if not entry["done"] else entry
            if known is not None:
                completed[key] = known
        return completed


class RunJournal:
    """The journal of one run, for one of its steps; ``doubtful`` says that nobody knows what the step has done."""

    def __init__(self, context: RunContext, persist: Persist, intents: Intents, *, doubtful: bool = False) -> None:
        self._context = context
        self._persist = persist
        self._intents = intents
        self._begun: dict[str, str] = {}
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
        self._begun[key] = intent = secrets.token_hex(8)
        self._context.journal[key] = {"done": False, INTENT: intent}
        try:
            await self._persist()
        except BaseException as error:
            # Nothing has happened yet; what could not be written, or was without an answer, must not look begun.
            self._context.journal.pop(key, None)
            if not isinstance(error, Superseded) and not self._context.taken_over:
                # It was not written over the intent of another process, which is perhaps at it.
                self._intents.know(intent, None)
            raise

    async def record(self, key: str, outcome: Outcome) -> None:
        """Record what came of it."""
        entry: JSON = {"done": True}
        if outcome.value is not None:
            entry["value"] = outcome.value
        if outcome.sensitive:
            entry["sensitive"] = True
        try:
            await self._settle(key, entry)
        except errors.Terminal:
            # The answer does not fit. That there was one must be known all the same; the step cannot go on without it.
            await self._settle(key, {"done": True, "answered": True})
            raise

    async def withdraw(self, key: str) -> None:
        """Record that it certainly was not carried out."""
        await self._settle(key, None)

    async def _settle(self, key: str, entry: JSON | None) -> None:
        """Store what came of an intent, and remember it until that is done."""
        intent = self._begun[key]
        self._intents.know(intent, entry)
        if entry is None:
            self._context.journal.pop(key, None)
        else:
            self._context.journal[key] = entry
        await self._persist(insist=True)
        self._intents.settled(intent)
