"""Following objects: list them once, then watch, for as long as somebody listens.

A watch that ends is started again from where it stood; one that stood too far back (``Gone``) begins with a new list;
one that cannot be had is tried again with a growing delay. Whoever follows gives a ``Listener`` and runs ``follow`` in
a task of its own; cancelling the task ends it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from vela_workflow.clusters import errors
from vela_workflow.clusters.client import ClusterClient, WatchEvent
from vela_workflow.errors import Transient, WorkflowError

logger = logging.getLogger(__name__)

JSON = dict[str, Any]

_FIRST_DELAY = 0.2
_STEADY_SECONDS = 5.0
_FORGET_POSITION = 4


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects to follow."""

    api_version: str
    kind: str
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""
    metadata_only: bool = True


class Listener(Protocol):
    """Who is told; all methods return at once."""

    def listed(self, items: Sequence[JSON], resource_version: str) -> None:
        """These are all the objects, at ``resource_version``; what was told before may be outdated."""

    def changed(self, event: WatchEvent) -> None:
        """An object was added, modified or deleted."""

    def position(self, resource_version: str) -> None:
        """Everything up to ``resource_version`` has been told."""

    def ended(self) -> bool:
        """A watch ended in the ordinary way; whether to go on with another one."""

    def failed(self, error: WorkflowError) -> bool:
        """A list or a watch was refused or broke; whether to try again."""


async def follow(
    client: Callable[[], ClusterClient],
    selection: Selection,
    listener: Listener,
    *,
    position: str = "",
    max_delay: float = 10.0,
) -> None:
    """Tell ``listener`` of all objects of the selection and their changes, until it wants no more.

    ``client`` is asked anew for every attempt, since clusters leave, join and change credentials. With ``position`` (a
    resourceVersion) the first list is left out and the watch starts there. ``max_delay`` bounds the seconds between
    attempts.
    """
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        started = loop.time()
        told = False
        problem: WorkflowError | None = None
        try:
            if not position:
                position = await _list(client(), selection, listener)
            async with aclosing(_watch(client(), selection, position)) as events:
                async for event in events:
                    told = True
                    position = event.object["metadata"]["resourceVersion"]
                    if event.type != "BOOKMARK":
                        listener.changed(event)
                    listener.position(position)
        except errors.Gone:
            position = ""
        except WorkflowError as error:
            problem = error
        except Exception as error:
            logger.exception("the watch of %s broke off", selection.kind)
            problem = Transient(f"what the API server tells of {selection.kind} is not understood: {error}")
        steady = told or loop.time() - started > _STEADY_SECONDS
        failures = 0 if steady else failures + 1
        if problem is not None and failures >= _FORGET_POSITION:
            # The position itself may be at fault: a restored cluster counts from an earlier one.
            position = ""
        if not (listener.ended() if problem is None else listener.failed(problem)):
            return
        if problem is not None or failures > 1:
            await asyncio.sleep(_delay(failures, problem, max_delay))


async def _list(client: ClusterClient, selection: Selection, listener: Listener) -> str:
    found = await client.list(
        selection.api_version,
        selection.kind,
        selection.namespace,
        label_selector=selection.label_selector,
        field_selector=selection.field_selector,
        metadata_only=selection.metadata_only,
    )
    position = str(found["metadata"]["resourceVersion"])
    listener.listed(found["items"], position)
    return position


def _watch(client: ClusterClient, selection: Selection, position: str) -> Any:
    return client.watch(
        selection.api_version,
        selection.kind,
        selection.namespace,
        resource_version=position,
        label_selector=selection.label_selector,
        field_selector=selection.field_selector,
        metadata_only=selection.metadata_only,
    )


def _delay(failures: int, problem: WorkflowError | None, most: float) -> float:
    """Seconds before the next attempt: doubling, spread, and not less than the server or the breaker asks for."""
    asked = problem.after if isinstance(problem, Transient) else 0.0
    delay = max(_FIRST_DELAY * 2.0 ** min(failures, 16), asked)
    return min(delay, most) * random.uniform(0.7, 1.0)  # noqa: S311  (spreads load, hides nothing)
