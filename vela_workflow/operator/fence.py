"""The fence: nothing is written and nothing is done outside by a process that does not lead.

Losing the leadership stops the turns of runs, but a process may be frozen in the middle of one and wake up after
somebody else has taken over. So the clients that turns work with ask, right before each write, whether the Lease of the
run's shard can still be trusted, and so does every operation that must not be repeated, between its durable intent and
its effect. Whoever takes over reads contexts after that moment and finds the intent: never twice (decisions 19).

Which shard a turn is about is in a context variable, which the tasks of a turn inherit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from vela_workflow import errors
from vela_workflow.clusters.client import JSON, ClusterClient, PatchType
from vela_workflow.providers.contract import Clusters

Holds = Callable[[int], bool]

_SHARD: ContextVar[int] = ContextVar("shard", default=0)


class NotLeadingError(errors.Transient):
    """Another replica may carry this run out by now."""

    def __init__(self) -> None:
        super().__init__("this replica does not lead any more; the one that does goes on with the run")


@contextlib.contextmanager
def shard(number: int) -> Iterator[None]:
    """What happens inside is about a run of this shard."""
    token = _SHARD.set(number)
    try:
        yield
    finally:
        _SHARD.reset(token)


def check(holds: Holds) -> None:
    """Raise ``NotLeadingError`` unless the shard of this turn is led by this process now."""
    if not holds(_SHARD.get()):
        raise NotLeadingError


class FencedClient:
    """A client whose writes pass the fence; everything else is the client's own."""

    def __init__(self, client: ClusterClient, holds: Holds) -> None:
        self._client = client
        self._holds = holds
        self.name = client.name
        # Reads are handed on as they are: they cost nothing extra and cannot hurt.
        self.resource = client.resource
        self.get = client.get
        self.list = client.list
        self.watch = client.watch
        self.close = client.close

    async def create(self, body: JSON, *, dry_run: bool = False) -> JSON:
        """Create an object; raises ``AlreadyExists``."""
        check(self._holds)
        return await self._client.create(body, dry_run=dry_run)

    async def apply(self, body: JSON, *, force: bool = True, dry_run: bool = False) -> JSON:
        """Server-side apply."""
        check(self._holds)
        return await self._client.apply(body, force=force, dry_run=dry_run)

    async def patch(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        name: str,
        body: Any,
        *,
        type: PatchType = "merge",
        subresource: str = "",
    ) -> JSON:
        """Patch an object or a subresource of it."""
        check(self._holds)
        return await self._client.patch(api_version, kind, namespace, name, body, type=type, subresource=subresource)

    async def replace(self, body: JSON, *, subresource: str = "") -> JSON:
        """Replace an object or a subresource of it."""
        check(self._holds)
        return await self._client.replace(body, subresource=subresource)

    async def delete(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        name: str,
        *,
        propagation: str = "Background",
        uid: str = "",
        resource_version: str = "",
    ) -> None:
        """Delete one object; raises ``NotFound``."""
        check(self._holds)
        await self._client.delete(
            api_version, kind, namespace, name, propagation=propagation, uid=uid, resource_version=resource_version
        )

    async def delete_collection(
        self, api_version: str, kind: str, namespace: str, *, labels: Mapping[str, str], propagation: str = "Background"
    ) -> None:
        """Delete all objects of a kind in a namespace that carry the labels."""
        check(self._holds)
        await self._client.delete_collection(api_version, kind, namespace, labels=labels, propagation=propagation)


class FencedClusters:
    """Clusters whose clients are fenced."""

    def __init__(self, clusters: Clusters, holds: Holds) -> None:
        self._clusters = clusters
        self._holds = holds

    def client(self, cluster: str) -> FencedClient:
        """The client of a cluster; raises ``Transient`` when there is no such cluster."""
        return FencedClient(self._clusters.client(cluster), self._holds)
