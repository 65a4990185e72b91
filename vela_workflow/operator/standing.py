"""What the operator knows of itself: whether it is ready, and the numbers that are looked up for Prometheus."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from vela_workflow import errors
from vela_workflow.clusters.watch import WatchHub
from vela_workflow.cue.command import CueCommand
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.operator.controller import Controller
from vela_workflow.operator.leader import Leadership
from vela_workflow.operator.metrics import Live
from vela_workflow.runs.definitions import Definitions

READY_FOR: Final = 5.0
"""Seconds for which an answer of the API server is taken as a sign that it answers."""

ANSWER_WITHIN: Final = 3.0
"""Seconds that it has to answer."""


class HasVersion(Protocol):
    """A client that can be asked for something small."""

    async def version(self) -> dict[str, Any]:
        """The server's version document."""


class Readiness:
    """Whether the operator does what it is there for."""

    def __init__(
        self, client: HasVersion, watching: asyncio.Event, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._watching = watching
        self._clock = clock
        self._answered = float("-inf")
        self._trouble = ""
        self.stopping = False

    def trouble_is(self, text: str) -> None:
        """Tell what keeps the operator from starting; nothing when that is over."""
        self._trouble = text

    async def problem(self) -> str:
        """Why it is not ready; empty when it is."""
        if self.stopping:
            return "stopping"
        if not self._watching.is_set():
            return f"starting: {self._trouble or 'the first objects have not been read yet'}"
        if self._clock() - self._answered < READY_FOR:
            return ""
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._client.version()
        except TimeoutError:
            return f"the API server did not answer within {ANSWER_WITHIN:g} s"
        except errors.WorkflowError as error:
            return f"the API server does not answer: {error.message}"
        self._answered = self._clock()
        return ""


@dataclasses.dataclass(frozen=True, slots=True)
class Parts:
    """The parts of the operator that are looked at."""

    controller: Controller
    definitions: Definitions
    evaluator: Evaluator
    cue: CueCommand
    hub: WatchHub
    leadership: Leadership
    workers: int

    def live(self) -> Live:
        """The numbers of now, for metrics."""
        return Live(self._gauges, self._counters, self._leader)

    def _gauges(self) -> Mapping[str, float]:
        hub = self.hub.state
        return {
            "vela_workflow_queue_depth": len(self.controller.queue),
            "vela_workflow_workers_busy": self.controller.queue.busy,
            "vela_workflow_workers": self.workers,
            "vela_workflow_runs_in_memory": len(self.controller),
            "vela_workflow_definitions": len(self.definitions),
            "vela_workflow_watches": hub.streams,
            "vela_workflow_watched_steps": hub.keys,
            "vela_workflow_polled_scopes": hub.polled,
        }

    def _counters(self) -> Mapping[str, float]:
        hub, cue = self.hub.state, self.cue.counters
        return {
            "vela_workflow_cue_commands": cue.commands,
            "vela_workflow_cue_programs": cue.programs,
            "vela_workflow_cue_refused": cue.refused,
            "vela_workflow_cue_cache_hits": self.evaluator.answers.hits,
            "vela_workflow_cue_cache_misses": self.evaluator.answers.misses,
            "vela_workflow_wakes": hub.wakes,
            "vela_workflow_watches_refused": hub.refused,
        }

    def _leader(self) -> Mapping[str, float]:
        return {str(shard): float(shard in self.leadership.held) for shard in range(self.leadership.shards)}


def identity(chosen: str) -> str:
    """The name of this process in an election: unlike that of any other, also of the one before it on this host."""
    return chosen or f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"
