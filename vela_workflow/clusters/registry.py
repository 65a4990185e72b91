"""The clusters that workflows can act on: the local one, and those that have joined by a Secret.

A cluster joins when a Secret appears in the system namespace and leaves when it goes; the registry follows those
Secrets, so both take effect at once, and so do new credentials. Two formats are read (``secrets.py``). Each cluster has
a client of its own, with its own connections and circuit breaker, opened when it is first used. A name that is not
there is an error that says so; nothing ever falls back to the local cluster (decisions 31).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson

from vela_workflow.clusters import api, breaker, credentials, errors, follow, secrets, transport
from vela_workflow.clusters.client import ClusterClient, WatchEvent
from vela_workflow.errors import Transient, WorkflowError

JSON = dict[str, Any]

_log = logging.getLogger(__name__)


class LocalClient(ClusterClient, Protocol):
    """The client of the local cluster, which also tells its version."""

    async def version(self) -> JSON:
        """The server's version document."""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """Where cluster Secrets are (``namespace``), whether they may name commands to run, and the bounds of clients."""

    namespace: str = "vela-system"
    allow_exec: bool = False
    limits: transport.Limits = field(default_factory=transport.Limits)
    circuit: breaker.BreakerSettings = field(default_factory=breaker.BreakerSettings)


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of asking a cluster for its version: ``problem`` is empty when it answered, after ``seconds``."""

    name: str
    version: str
    seconds: float
    problem: str = ""


@dataclass(slots=True)
class _Member:
    info: secrets.Cluster
    fingerprint: str
    client: api.HttpClient | None
    problem: str = ""


class Registry:
    """The clusters by name; ``local`` is the client of the one that the operator runs in.

    ``on_call`` is told of every finished HTTP request to a joined cluster, ``on_change`` of every cluster that joined,
    left or got new credentials.
    """

    def __init__(
        self,
        local: LocalClient,
        settings: RegistrySettings | None = None,
        *,
        on_call: transport.OnCall | None = None,
        on_change: Callable[[str], None] | None = None,
    ) -> None:
        self._local = local
        self._settings = settings or RegistrySettings()
        self._on_call = on_call
        self._on_change = on_change
        self._members: dict[str, _Member] = {}
        self._followers: list[_Follower] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, *, patience: float = 10.0) -> None:
        """Read the cluster Secrets and follow them from now on.

        Returns when they have been read; when that is refused or takes longer than ``patience`` seconds it goes on
        being tried, and until then every name but the local one is unknown.
        """
        for selector in (secrets.CREDENTIAL_TYPE_LABEL, secrets.KUBECONFIG_LABEL):
            follower = _Follower(self, selector)
            self._followers.append(follower)
            selection = follow.Selection(
                "v1", "Secret", self._settings.namespace, label_selector=selector, metadata_only=False
            )
            self._spawn(follow.follow(lambda: self._local, selection, follower))
        waits = [asyncio.ensure_future(follower.tried.wait()) for follower in self._followers]
        _, late = await asyncio.wait(waits, timeout=patience)
        for wait in late:
            wait.cancel()

    def client(self, cluster: str) -> ClusterClient:
        """The client of a cluster; ``""`` and ``local`` are where the operator runs.

        Raises ``Unavailable`` when there is no such cluster, or when its Secret cannot be used.
        """
        if cluster in ("", errors.LOCAL):
            return self._local
        return self._joined(cluster)

    def names(self) -> tuple[str, ...]:
        """The names of all clusters: ``local``, then the joined ones, newest first."""
        return tuple(cluster.name for cluster in self.clusters())

    def clusters(self) -> tuple[secrets.Cluster, ...]:
        """All clusters with their labels: the local one, then the joined ones, newest first (application.md 5.3)."""
        joined = sorted((member.info for member in self._members.values()), key=lambda info: info.name)
        joined.sort(key=lambda info: info.created, reverse=True)
        return (secrets.LOCAL_CLUSTER, *joined)

    async def probe(self, cluster: str) -> Probe:
        """Ask a cluster for its version; never raises for a cluster that does not answer."""
        started = time.perf_counter()
        try:
            client = self._local if cluster in ("", errors.LOCAL) else self._joined(cluster)
            answer = await client.version()
        except WorkflowError as error:
            return Probe(cluster or errors.LOCAL, "", time.perf_counter() - started, error.message)
        return Probe(cluster or errors.LOCAL, str(answer.get("gitVersion", "")), time.perf_counter() - started)

    async def close(self) -> None:
        """Stop following the Secrets and close the clients of all joined clusters (not the local one)."""
        following = [task for task in self._tasks if not task.done()]
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
        clients = [member.client for member in self._members.values() if member.client is not None]
        self._members.clear()
        await asyncio.gather(*(client.close() for client in clients))

    def _joined(self, cluster: str) -> api.HttpClient:
        member = self._members.get(cluster)
        if member is None:
            raise errors.NotJoined(self._unknown(cluster))
        if member.client is None:
            raise errors.Unavailable(f"cluster {cluster}: {member.problem}")
        return member.client

    def _unknown(self, cluster: str) -> str:
        problem = next((follower.problem for follower in self._followers if follower.problem), "")
        if problem:
            return f"cluster {cluster}: the Secrets of joined clusters cannot be read: {problem}"
        known = f"joined: {', '.join(sorted(self._members))}" if self._members else "none has joined"
        return (
            f"cluster {cluster}: no such cluster ({known}); join it with `vela-workflow cluster join`, "
            f"or put its Secret into namespace {self._settings.namespace}"
        )

    # What the followers tell.

    def upsert(self, secret: JSON) -> None:
        """A Secret is there, new or changed."""
        name = secret["metadata"]["name"]
        if name == errors.LOCAL:
            _log.warning("The cluster Secret %r is ignored: that name stands for the local cluster", name)
            return
        info = secrets.describe(secret)
        fingerprint = _fingerprint(secret)
        member = self._members.get(name)
        if member is not None and member.fingerprint == fingerprint:
            member.info = info
            return
        what = f"Secret {self._settings.namespace}/{name}"
        try:
            source = secrets.source(secret, what, allow_exec=self._settings.allow_exec)
        except Transient as error:
            _log.warning("Cluster %s cannot be used: %s", name, error.message)
            self._members[name] = _Member(info, fingerprint, None, error.message)
        else:
            self._members[name] = _Member(info, fingerprint, self._connect(name, source))
        self._retire(member)
        self._changed(name)

    def remove(self, name: str) -> None:
        """The Secret is gone."""
        member = self._members.pop(name, None)
        if member is not None:
            self._retire(member)
            self._changed(name)

    def _connect(self, name: str, source: credentials.Source) -> api.HttpClient:
        return api.connect(
            name,
            source,
            limits=self._settings.limits,
            circuit=breaker.Breaker(self._settings.circuit),
            on_call=self._on_call,
        )

    def _retire(self, member: _Member | None) -> None:
        if member is not None and member.client is not None:
            self._spawn(member.client.close())

    def _changed(self, name: str) -> None:
        if self._on_change is not None:
            self._on_change(name)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Follower:
    """Follows the Secrets of one format for the registry; ``tried`` is set when the first list came or failed."""

    def __init__(self, registry: Registry, selector: str) -> None:
        self.tried = asyncio.Event()
        self.problem = ""
        self._registry = registry
        self._selector = selector
        self._names: set[str] = set()

    def listed(self, items: Sequence[JSON], resource_version: str) -> None:  # noqa: ARG002  (of the protocol)
        """Take these, and let go of those that are no longer there."""
        self.problem = ""
        names = {item["metadata"]["name"] for item in items}
        for gone in self._names - names:
            self._registry.remove(gone)
        for item in items:
            self._registry.upsert(item)
        self._names = names
        self.tried.set()

    def changed(self, event: WatchEvent) -> None:
        """One Secret changed."""
        name = event.object["metadata"]["name"]
        if event.type == "DELETED":
            self._names.discard(name)
            self._registry.remove(name)
        else:
            self._names.add(name)
            self._registry.upsert(event.object)

    def position(self, resource_version: str) -> None:
        """Nothing is kept of it: after an interruption everything is read anew."""

    def ended(self) -> bool:
        """Go on for ever."""
        return True

    def failed(self, error: WorkflowError) -> bool:
        """Say so once, and try again."""
        if not self.problem:
            _log.warning("The Secrets of joined clusters (%s) cannot be read: %s", self._selector, error.message)
        self.problem = error.message
        self.tried.set()
        return True


def _fingerprint(secret: JSON) -> str:
    """What the client was made from: labels and annotations may change without new connections."""
    labels = secret["metadata"].get("labels") or {}
    used = [labels.get(secrets.CREDENTIAL_TYPE_LABEL), labels.get(secrets.ENDPOINT_TYPE_LABEL), secret.get("data")]
    return hashlib.sha256(orjson.dumps(used, option=orjson.OPT_SORT_KEYS)).hexdigest()
