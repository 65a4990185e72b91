"""Events for users: on transitions only, written beside the work and never waited for (decisions 35)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.api.constants import EventReason
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.engine.summary import Transition
from vela_workflow.operator import background

logger = logging.getLogger(__name__)

COMPONENT = "WorkflowRun"
WAITING = 1000
"""How many Events may wait to be written; more are dropped, with a log line."""
REMEMBERED = 4096
"""How many Events are remembered so that a repetition counts up instead of making a new one."""


class EventReporter:
    """Writes Events about runs; ``start`` and ``close`` frame its life."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING)
        self._seen: OrderedDict[str, int] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = background.keep_up("the writing of Events", self._write)

    async def close(self) -> None:
        """Write what waits, for a moment, and stop."""
        if self._task is None:
            return
        try:
            async with asyncio.timeout(2.0):
                await self._queue.join()
        except TimeoutError:
            logger.warning("%d events were not written before the end", self._queue.qsize())
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def transitions(self, body: Mapping[str, Any], happened: tuple[Transition, ...]) -> None:
        """Tell what happened to a run."""
        for one in happened:
            self._post(body, one.reason, one.message, warning=one.warning)

    def warnings(self, body: Mapping[str, Any], step: str, texts: tuple[str, ...]) -> None:
        """Tell what a step wants to be known although it goes on."""
        for text in texts:
            self._post(body, EventReason.TEMPLATE, f'step "{step}": {text}' if step else text, warning=True)

    def _post(self, body: Mapping[str, Any], reason: EventReason, message: str, *, warning: bool) -> None:
        metadata, kind = body["metadata"], constants.WORKFLOW_RUN
        message = errors.bounded(message)
        key = hashlib.sha256(f"{metadata['uid']}\0{reason}\0{message}".encode()).hexdigest()[:16]
        if key in self._seen:
            self._seen.move_to_end(key)
            return
        self._seen[key] = 1
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        now = datetime.now(UTC)
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{metadata['name'][:200]}.{key}", "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": "Warning" if warning else "Normal",
            "reason": str(reason),
            "message": message,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "firstTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "count": 1,
        }
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            logger.warning("too many events wait to be written; dropped one on %s", metadata["name"])

    async def _write(self) -> None:
        while True:
            event = await self._queue.get()
            try:
                await self._client.create(event)
            except errors.WorkflowError as error:
                logger.debug("an event was not written: %s", error)
            finally:
                self._queue.task_done()
