"""The fence: nothing is written and nothing is done outside by a process that does not lead.

Losing the leadership stops the turns of runs, but a process may be frozen in the middle of one and wake up after
somebody else has taken over. So the clients that turns work with ask, right before each write, whether the Lease of the
run's shard can still be trusted, and so does every operation that must not be repeated, between its durable intent and
its effect. Whoever takes over reads contexts after that moment and finds the intent: never twice (decisions 19).

Which shard a turn is about is in a context variable, which the tasks of a turn inherit.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from vela_workflow.clusters.client import ClusterClient
from vela_workflow.providers.contract import Clusters
from vela_workflow.steps.journal import Superseded

Holds = Callable[[int], bool]
P = ParamSpec("P")
T = TypeVar("T")

_SHARD: ContextVar[int] = ContextVar("shard", default=0)


class NotLeadingError(Superseded):
    """Another replica may carry this run out by now, or soon: the Lease was not renewed in time."""

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


def _guarded(write: Callable[P, Coroutine[Any, Any, T]], holds: Holds) -> Callable[P, Coroutine[Any, Any, T]]:
    """The same method, behind the fence."""

    @functools.wraps(write)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        check(holds)
        return await write(*args, **kwargs)

    return guarded


class FencedClient:
    """A client whose writes pass the fence; reads are handed on as they are: they cannot hurt."""

    def __init__(self, client: ClusterClient, holds: Holds) -> None:
        self.name = client.name
        self.resource = client.resource
        self.get = client.get
        self.list = client.list
        self.watch = client.watch
        self.close = client.close
        self.create = _guarded(client.create, holds)
        self.apply = _guarded(client.apply, holds)
        self.patch = _guarded(client.patch, holds)
        self.replace = _guarded(client.replace, holds)
        self.delete = _guarded(client.delete, holds)
        self.delete_collection = _guarded(client.delete_collection, holds)


class FencedClusters:
    """Clusters whose clients are fenced."""

    def __init__(self, clusters: Clusters, holds: Holds) -> None:
        self._clusters = clusters
        self._holds = holds

    def client(self, cluster: str) -> FencedClient:
        """The client of a cluster; raises ``Transient`` when there is no such cluster."""
        return FencedClient(self._clusters.client(cluster), self._holds)
