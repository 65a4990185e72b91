"""Objects that were deleted while nobody looked.

Whoever watches for long has to list anew now and then: an API server that begins anew does not know what came before.
Kopf tells of what is in its list, and nothing of what is not there any more. A run that is taken to be there still
would be carried on, and kept for ever. So after each list of kopf's all objects that are known are compared with a list
of our own, and what is not in it is taken for deleted.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.operator import background

logger = logging.getLogger(__name__)

JSON = dict[str, Any]
Key = tuple[str, str]

RETRY: Final = 2.0
"""Seconds before a comparison that could not be made is tried again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """What is known of the objects of a kind: their uids by namespace and name, and who is told of one that is gone.

    Where the uid is not known, or does not matter, it is empty.
    """

    kind: constants.Kind
    known: Callable[[], Mapping[Key, str]]
    gone: Callable[[JSON], None]


class Relist:
    """Compares what is known with what is there; ``start`` and ``close`` frame its life."""

    def __init__(self, client: ClusterClient, kept: Collection[Kept], namespaces: Collection[str]) -> None:
        self._client = client
        self._kept = {one.kind.plural: one for one in kept}
        self._namespaces = tuple(namespaces) or ("",)
        self._asked: set[str] = set()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Compare from now on."""
        self._task = background.keep_up("the look for deleted objects", self._serve)

    async def close(self) -> None:
        """Stop comparing."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def listed(self, plural: str) -> None:
        """Kopf has listed the objects of a kind."""
        if plural in self._kept:
            self._asked.add(plural)
            self._changed.set()

    async def _serve(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            for plural in sorted(self._asked):
                self._asked.discard(plural)  # before, so that it can be asked for again meanwhile
                try:
                    await self._compare(self._kept[plural])
                except errors.WorkflowError as error:
                    logger.warning("the %s cannot be listed, trying again in %g s: %s", plural, RETRY, error)
                    await asyncio.sleep(RETRY)
                    self.listed(plural)

    async def _compare(self, kept: Kept) -> None:
        known = kept.known()  # taken first: what comes while the list is on its way is not missing in it
        if not known:
            return
        there: dict[Key, str] = {}
        for namespace in self._namespaces:
            try:
                found = await self._client.list(kept.kind.api_version, kept.kind.kind, namespace, metadata_only=True)
            except cluster_errors.UnknownKind:
                continue
            for item in found.get("items") or ():
                metadata = item["metadata"]
                there[(str(metadata["namespace"]), str(metadata["name"]))] = str(metadata["uid"])
        for key, uid in known.items():
            if key not in there or uid not in ("", there[key]):
                logger.info("%s %s/%s was deleted while it was not watched", kept.kind.kind, *key)
                kept.gone({"metadata": {"namespace": key[0], "name": key[1], "uid": uid}})
