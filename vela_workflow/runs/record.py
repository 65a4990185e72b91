"""A run as it is stored: its object and its context, and how both are written.

The context is written only when there is something to keep, the status once at the end of a turn. What users asked for
meanwhile is folded in when a write is refused. Nothing is written over what another process has written.
"""

from __future__ import annotations

import asyncio
from typing import Any

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.engine import fold, summary
from vela_workflow.engine.summary import Conclusion
from vela_workflow.runs import patching
from vela_workflow.runs.context import RunContext
from vela_workflow.runs.context_store import ContextStore
from vela_workflow.runs.contract import Memory
from vela_workflow.steps.journal import Superseded, Unrecorded

JSON = dict[str, Any]

WRITES = 6
"""How often a status is written again because others wrote meanwhile, before the whole pass is repeated."""


class RunReplacedError(errors.WorkflowError):
    """The run was deleted and another one of its name made while it was worked on."""


class RunRecord:
    """One run. ``body`` is its object as it was read or written last; ``lock`` is held by whoever writes both parts.

    ``folded`` says that users asked for something which was taken into the status and not acted on yet.
    """

    def __init__(
        self, client: ClusterClient, contexts: ContextStore, *, body: JSON, context: RunContext, memory: Memory
    ) -> None:
        self._client = client
        self._contexts = contexts
        self.body = body
        self.context = context
        self.memory = memory
        self.lock = asyncio.Lock()
        self.folded = False
        self._doubtful: set[str] = set()
        self._attempted: JSON | None = None
        self._revision = context.variables.revision
        self._memos = dict(context.memos)

    @property
    def status(self) -> JSON:
        """The status of the run."""
        return self.body.get("status") or {}

    @property
    def namespace(self) -> str:
        """Where the run is."""
        return str(self.body["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """The name of the run."""
        return str(self.body["metadata"]["name"])

    @property
    def backend(self) -> JSON:
        """What ``status.contextBackend`` says of the context."""
        where = {"name": self.context.name, "namespace": self.namespace, "uid": self.context.uid}
        return {"apiVersion": "v1", "kind": "ConfigMap", **where}

    @property
    def _key(self) -> tuple[str, str, str, str]:
        kind = constants.WORKFLOW_RUN
        return kind.api_version, kind.kind, self.namespace, self.name

    async def keep(self, *, insist: bool = False) -> bool:
        """Write the context; false when there is nothing to keep. Raises ``Conflict`` when somebody else wrote it.

        ``insist`` writes all the same: something has happened that must be known.
        """
        return await self._contexts.save(self.body, self.context, insist=insist)

    async def persist(self, *, insist: bool = False) -> None:
        """Make the context durable, and findable: for the journal, in the middle of a pass.

        Raises ``Superseded``, and ``Unrecorded`` when it is refused before anything has happened.
        """
        async with self.lock:
            try:
                await self.keep(insist=insist)
                if not insist:
                    await self._settle()
                while not self.status.get("contextBackend"):
                    try:
                        await self.patch({"contextBackend": self.backend}, guarded=True)
                    except cluster_errors.Conflict:
                        await self._take_theirs()
            except cluster_errors.Conflict as error:
                raise Superseded(str(error)) from error
            except cluster_errors.REFUSALS as error:
                if insist:
                    raise
                raise Unrecorded(str(error), after=error.after) from error

    async def store(self, conclusion: Conclusion) -> None:
        """Write what a pass has come to: the context if there is something to keep, and the status.

        Raises ``Unrecorded`` when the context is refused: the status must not tell of what is remembered nowhere.
        """
        context = self.context
        changed = conclusion.state_changed or context.variables.revision != self._revision
        changed = changed or context.memos != self._memos or bool(context.notes)
        # An operation may set more while this is written.
        revision, memos = context.variables.revision, dict(context.memos)
        status = dict(conclusion.status)
        await self._settle()
        context.engine = self._based(conclusion.state)
        context.waiting = _waiting(self.memory)
        self._doubtful.add(summary.digest(status))
        needed = conclusion.state_needed or context.variables.values or context.memos or context.journal
        # One that the status names, and that is not known here, is found out about by writing it.
        if context.exists or needed or status.get("contextBackend"):
            if changed or not context.exists:
                try:
                    await self.keep()
                except cluster_errors.REFUSALS as error:
                    raise Unrecorded(str(error), after=error.after) from error
                context.notes = ()
            status["contextBackend"] = self.backend
        self._revision, self._memos = revision, memos
        await self.write(status)
        self._doubtful.clear()

    def _based(self, state: JSON) -> JSON:
        """The state with what the status may be if the write that follows is lost.

        A pass that takes long writes more than once. What comes next must not be taken for a restart by a user when
        the process ends before the last of these writes: neither on the status of the one before, nor on that of one
        whose answer was lost.
        """
        before = sorted({summary.digest(self.status), *self._doubtful})
        return {**state, "known": {**(state.get("known") or {}), "before": before}}

    async def write(self, ours: JSON) -> None:
        """Write the status once; what users asked for meanwhile is folded in (decisions 25).

        Raises ``RunReplacedError``, and ``Superseded`` when another process carries the run out as well.
        """
        for attempt in range(WRITES):
            patch = patching.status_patch(self.status, ours, self.body["metadata"]["resourceVersion"])
            if patch is None:
                return
            self.memory.doubtful, self._attempted = True, ours
            try:
                self.body = await self._client.patch(*self._key, patch, subresource="status")
            except cluster_errors.Conflict:
                if attempt == WRITES - 1:
                    raise
                theirs = await self._theirs()
                ours = fold.fold(self.status, ours, theirs.get("status") or {})
                self.folded = True
                self.body = theirs
                continue
            self._known_as_written()
            return

    def _known_as_written(self) -> None:
        self.memory.written, self.memory.doubtful, self._attempted = True, False, None

    async def _settle(self) -> None:
        """Find out whether the last status was written, if its answer was lost: else it looks like another process."""
        if self._attempted is None:
            return
        theirs = await self._client.get(*self._key)
        if theirs["metadata"]["uid"] == self.body["metadata"]["uid"] and theirs.get("status") == self._attempted:
            self.body = theirs
            self._known_as_written()
        self._attempted = None

    async def patch(self, changes: JSON, *, guarded: bool = False) -> None:
        """Merge changes into the status, whatever others wrote meanwhile, or ``guarded`` only if nobody did."""
        body: JSON = {"status": changes}
        if guarded:
            body["metadata"] = {"resourceVersion": self.body["metadata"]["resourceVersion"]}
        self.body = await self._client.patch(*self._key, body, subresource="status")

    async def check_current(self) -> None:
        """Raise ``Superseded`` when the run is not any more as it is known here."""
        theirs = await self._client.get(*self._key)
        if theirs["metadata"]["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
            raise Superseded(f"run {self.name} was changed by others while its restart was begun")

    async def drop_annotation(self, name: str) -> None:
        """Remove an annotation of the run."""
        self.body = await self._client.patch(*self._key, {"metadata": {"annotations": {name: None}}})

    async def _theirs(self) -> JSON:
        """The run as somebody else has left it."""
        theirs = await self._client.get(*self._key)
        if theirs["metadata"]["uid"] != self.body["metadata"]["uid"]:
            raise RunReplacedError(f"run {self.name} was replaced by another one of its name")
        if fold.is_by_another_process(self.status, theirs.get("status") or {}):
            raise Superseded(f"run {self.name} is carried out by another process as well")
        return theirs

    async def _take_theirs(self) -> None:
        """See what others wrote; raises ``Conflict`` when somebody else carries this run out."""
        theirs = await self._client.get(*self._key)
        status = dict(theirs.get("status") or {})
        # Our own write may have been carried out though its answer was lost.
        named = status.pop("contextBackend", None) is not None
        # But one that was written over what somebody had left may have met somebody who was still at it.
        ours = not named or not self.context.taken_over
        ours = ours and (not named or await self._contexts.is_current(self.body, self.context))
        if status != self.status or not ours:
            raise cluster_errors.Conflict(f"run {self.name} was changed by others while it was carried out")
        self.body = theirs


def _waiting(memory: Memory) -> JSON:
    """What waiting steps wait for, for those who ask why (``explain``)."""
    return {
        step_id: {
            "interests": [
                {
                    "cluster": interest.cluster,
                    "apiVersion": interest.api_version,
                    "kind": interest.kind,
                    "namespace": interest.namespace,
                    "name": interest.name,
                }
                for interest in interests
            ]
        }
        for step_id, interests in sorted(memory.interests.items())
    }
