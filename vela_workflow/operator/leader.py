"""Leadership: which replica carries out which runs.

A Lease per shard (one, unless runs are shared out over several active replicas) says who carries out its runs. Every
replica keeps what it sees up to date, but only the holder of the Lease acts on it. The holder renews its Lease every
few seconds; others take it over when it was not renewed for its whole duration, as seen by their own clock, so clocks
need not agree. A holder that is told to stop ends what it does and gives the Lease up, and others, who watch it, take
it at once.

A holder that could not renew in time stops *before* others may begin: it trusts its Lease for less than the Lease lasts
(``Timing.trusted``). ``holds`` is what the fence asks right before each write and each effect (``fence.py``), so a
process that was frozen and wakes up long after its Lease was taken over does nothing on its old view.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from vela_workflow import errors
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.operator import background, sharding

logger = logging.getLogger(__name__)

JSON = dict[str, Any]

API_VERSION: Final = "coordination.k8s.io/v1"
KIND: Final = "Lease"
LABEL: Final = "workflow.oam.dev/election"
"""On all Leases of one election; its value is the name of the election."""

LONG_DEAD: Final = 3
"""After so many times its duration the Lease of a replica that has gone without a word is deleted."""


@dataclasses.dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A Lease lasts ``duration`` after a renewal, is ``trusted`` by its holder, renewed every ``retry``."""

    duration: float = 15.0
    trusted: float = 10.0
    retry: float = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where the Leases are, what the election is called, and who takes part."""

    namespace: str
    name: str
    identity: str


class Follower(Protocol):
    """Who is told of leadership; ``lead`` may take its time, ``leave`` returns when nothing is under way any more."""

    async def lead(self, shard: int) -> None:
        """Begin to carry out the runs of a shard."""

    async def leave(self, shard: int, grace: float) -> None:
        """Take no more runs of a shard; what is under way may end within ``grace`` seconds, then it is cancelled."""


@dataclasses.dataclass(slots=True)
class _Held:
    """A Lease of ours: trusted ``until``; ``body`` is its last version."""

    until: float
    body: JSON
    task: asyncio.Task[None] | None = None
    leaving: bool = False


class Everything:
    """Leadership without an election: this process is the only one, and leads all shards from the start."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._task: asyncio.Task[None] | None = None

    shards: Final = 1

    @property
    def held(self) -> frozenset[int]:
        """The shards that this process leads."""
        return frozenset({0})

    def holds(self, shard: int) -> bool:  # noqa: ARG002 - as of ``Election``
        """Whether this process may act for a shard now."""
        return True

    async def start(self) -> None:
        """Lead; returns when that has begun."""
        await self._follower.lead(0)

    async def stop(self, grace: float) -> None:
        """End what is under way."""
        await self._follower.leave(0, grace)


class Election:
    """Takes part in the election of a leader for each shard; ``start`` and ``stop`` frame its life."""

    def __init__(
        self,
        client: ClusterClient,
        place: Place,
        follower: Follower,
        *,
        shards: int = 1,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._place = place
        self._follower = follower
        self.shards = shards
        self._timing = timing or Timing()
        self._clock = clock
        self._held: dict[int, _Held] = {}
        self._seen: dict[str, tuple[str, float]] = {}
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._told = ""
        self._leader = ""

    @property
    def held(self) -> frozenset[int]:
        """The shards that this process leads."""
        return frozenset(shard for shard in self._held if self.holds(shard))

    def holds(self, shard: int) -> bool:
        """Whether this process may act for a shard now: its Lease was renewed lately enough to be trusted."""
        held = self._held.get(shard)
        return held is not None and self._clock() < held.until

    async def start(self) -> None:
        """Take part from now on."""
        self._tasks = [
            background.keep_up("the election", self._campaign),
            background.keep_up("the watch of Leases", self._watch),
        ]

    async def stop(self, grace: float) -> None:
        """End what is under way within ``grace`` seconds, renewing meanwhile, then give up all Leases."""
        self._stopping = True
        await asyncio.gather(*(self._give_up(shard, grace) for shard in list(self._held)))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.shards > 1:
            with contextlib.suppress(errors.WorkflowError):
                await self._client.delete(API_VERSION, KIND, self._place.namespace, self._member_name)

    # Taking part.

    async def _campaign(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._timing.trusted):
                    await self._round()
                self._told = ""
            except (errors.WorkflowError, TimeoutError) as error:
                if str(error) != self._told:
                    logger.warning("the Leases of %s cannot be kept: %s", self._place.name, error or "no answer")
                self._told = str(error)
            await self._drop_stale()
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.retry):
                    await self._changed.wait()

    async def _round(self) -> None:
        for shard in list(self._held):
            await self._renew(shard)
        if self.shards == len(self._held) == 1:
            return
        if self.shards > 1:
            await self._announce()
        leases = await self._list()
        view = self._view(leases)
        if self._stopping:
            return
        if self.holds(0):
            await self._bury(leases)
        self._tell_who_leads(view.holders)
        for shard in sharding.to_take(view):
            await self._take(shard, view.leases.get(self._lease_name(shard)))
        for shard in sharding.to_give(view):
            if not self._held[shard].leaving:
                logger.info("giving shard %d to a replica with fewer", shard)
                self._tasks.append(asyncio.create_task(self._give_up(shard, self._timing.trusted)))

    async def _list(self) -> list[JSON]:
        labels = {LABEL: self._place.name}
        found = await self._client.list(API_VERSION, KIND, self._place.namespace, labels=labels)
        return list(found.get("items") or ())

    def _view(self, leases: list[JSON]) -> sharding.View:
        """What the Leases say, as far as they are alive by our own clock."""
        now = self._clock()
        alive: dict[str, str] = {}
        for lease in leases:
            name, version = lease["metadata"]["name"], str(lease["metadata"]["resourceVersion"])
            if self._seen.get(name, ("", 0.0))[0] != version:
                self._seen[name] = (version, now)
            spec = lease.get("spec") or {}
            lasts = float(spec.get("leaseDurationSeconds") or 0)
            if spec.get("holderIdentity") and now < self._seen[name][1] + lasts:
                alive[name] = str(spec["holderIdentity"])
        return sharding.View(
            identity=self._place.identity,
            leases={lease["metadata"]["name"]: lease for lease in leases},
            holders={shard: alive.get(self._lease_name(shard), "") for shard in range(self.shards)},
            members=frozenset(alive[name] for name in alive if name.startswith(self._member_prefix)),
            others=any(self._is_foreign(name) for name in alive),
        )

    async def _bury(self, leases: list[JSON]) -> None:
        """Delete the Leases by which replicas that are long dead once said that they are alive."""
        for lease in leases:
            name, spec = lease["metadata"]["name"], lease.get("spec") or {}
            version, since = self._seen[name]
            silent = self._clock() - since
            if name.startswith(self._any_member_prefix) and silent > LONG_DEAD * float(
                spec.get("leaseDurationSeconds") or self._timing.duration
            ):
                with contextlib.suppress(cluster_errors.NotFound, cluster_errors.Conflict):
                    await self._client.delete(API_VERSION, KIND, self._place.namespace, name, resource_version=version)
                del self._seen[name]

    def _is_foreign(self, name: str) -> bool:
        """Whether a Lease belongs to replicas that share runs out among another number of shards."""
        own = {self._lease_name(shard) for shard in range(self.shards)}
        return name not in own and not name.startswith(self._any_member_prefix)

    # Names.

    def _lease_name(self, shard: int) -> str:
        return self._place.name if self.shards == 1 else f"{self._place.name}-{shard}-of-{self.shards}"

    @property
    def _any_member_prefix(self) -> str:
        return f"{self._place.name}-member-"

    @property
    def _member_prefix(self) -> str:
        return f"{self._any_member_prefix}{self.shards}-"

    @property
    def _member_name(self) -> str:
        return f"{self._member_prefix}{sharding.short(self._place.identity)}"

    # One Lease.

    async def _announce(self) -> None:
        """Say that this replica is alive, so that others leave it its part."""
        await self._client.apply(self._lease(self._member_name, {"acquireTime": _now(), "leaseTransitions": 0}))

    def _tell_who_leads(self, holders: Mapping[int, str]) -> None:
        """Say once for each leader why this replica does nothing; with several shards every replica does something."""
        leader = holders[0]
        if self.shards == 1 and leader not in ("", self._leader, self._place.identity):
            logger.info("standing by, %s leads", leader)
        self._leader = leader

    async def _take(self, shard: int, lease: JSON | None) -> None:
        sent = self._clock()
        transitions = int(((lease or {}).get("spec") or {}).get("leaseTransitions") or 0)
        spec = {"acquireTime": _now(), "leaseTransitions": transitions + (1 if lease else 0)}
        body = self._lease(self._lease_name(shard), spec)
        try:
            if lease is None:
                stored = await self._client.create(body)
            else:
                body["metadata"]["resourceVersion"] = lease["metadata"]["resourceVersion"]
                stored = await self._client.replace(body)
        except (cluster_errors.Conflict, cluster_errors.AlreadyExists):
            return
        logger.info("%s leads%s now", self._place.identity, f" shard {shard}" if self.shards > 1 else "")
        self._held[shard] = held = _Held(sent + self._timing.trusted, stored)
        held.task = asyncio.create_task(self._follower.lead(shard))
        held.task.add_done_callback(_report)

    async def _renew(self, shard: int) -> None:
        held = self._held.get(shard)
        if held is None:
            return
        sent = self._clock()
        if sent >= held.until:
            return  # Too late: others may have begun.
        try:
            held.body = await self._client.replace(
                {**held.body, "spec": {**held.body["spec"], "renewTime": _now()}},
            )
        except (cluster_errors.Conflict, cluster_errors.NotFound):
            if not await self._is_still_ours(shard, held):
                held.until = 0.0
            return
        held.until = sent + self._timing.trusted

    async def _is_still_ours(self, shard: int, held: _Held) -> bool:
        """Whether somebody only touched our Lease (a label, say); then it is renewed in the next round."""
        try:
            found = await self._client.get(API_VERSION, KIND, self._place.namespace, self._lease_name(shard))
        except cluster_errors.NotFound:
            return False
        held.body = found
        self._changed.set()
        return bool((found.get("spec") or {}).get("holderIdentity") == self._place.identity)

    async def _drop_stale(self) -> None:
        """Stop what is led by a Lease that can no longer be trusted."""
        for shard, held in list(self._held.items()):
            if self._clock() < held.until or held.leaving:
                continue
            logger.warning("leadership%s is lost", f" of shard {shard}" if self.shards > 1 else "")
            del self._held[shard]
            await self._end(held, shard, 0.0)

    async def _give_up(self, shard: int, grace: float) -> None:
        """Let what is under way end, then give the Lease up."""
        held = self._held.get(shard)
        if held is None or held.leaving:
            return
        held.leaving = True
        await self._end(held, shard, grace)
        self._held.pop(shard, None)
        with contextlib.suppress(errors.WorkflowError):
            await self._release(held)

    async def _end(self, held: _Held, shard: int, grace: float) -> None:
        if held.task is not None and not held.task.done():
            held.task.cancel()
            await asyncio.gather(held.task, return_exceptions=True)
        await self._follower.leave(shard, grace)

    async def _release(self, held: _Held) -> None:
        """Say that nobody holds the Lease; refused when somebody does."""
        spec = {**held.body["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
        try:
            await self._client.replace({**held.body, "spec": spec})
        except cluster_errors.Conflict:
            found = await self._client.get(API_VERSION, KIND, self._place.namespace, held.body["metadata"]["name"])
            if found["spec"].get("holderIdentity") == self._place.identity:
                await self._client.replace({**found, "spec": spec})

    def _lease(self, name: str, spec: Mapping[str, Any]) -> JSON:
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {
                "name": name,
                "namespace": self._place.namespace,
                "labels": {LABEL: self._place.name},
            },
            "spec": {
                "holderIdentity": self._place.identity,
                "leaseDurationSeconds": max(1, round(self._timing.duration)),
                "renewTime": _now(),
                **spec,
            },
        }

    async def _watch(self) -> None:
        """Have a round as soon as a Lease is given up, rather than at the next retry."""
        while True:
            with contextlib.suppress(errors.WorkflowError):
                async for event in self._client.watch(
                    API_VERSION,
                    KIND,
                    self._place.namespace,
                    label_selector=f"{LABEL}={self._place.name}",
                    metadata_only=False,
                ):
                    spec = event.object.get("spec") or {}
                    if event.type == "DELETED" or (event.type == "MODIFIED" and not spec.get("holderIdentity")):
                        self._changed.set()
            await asyncio.sleep(self._timing.retry)


Leadership = Everything | Election


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("leadership could not be taken up", exc_info=error)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
