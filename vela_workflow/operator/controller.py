"""Runs in memory, and when each has its turn.

Watch events bring runs in; the queue gives each its turn; a turn is one reconcile by the driver, which says when and
why to look again. Of a run that waits only a few texts are kept: its object, encoded, and what its steps wait for.

The newest object is kept whether it was seen or written: an event that is older than our own last write is dropped, so
a stale view is never acted on (design 3).

Runs of shards that another replica leads are kept too, without a turn. Whoever begins to lead reads all runs anew,
since its watch may be behind what the last leader wrote, and drops events that are older than that (``_horizon``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from vela_workflow import __version__, errors
from vela_workflow.api import constants
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters import versions
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.clusters.watch import WatchHub
from vela_workflow.operator import fence, own, sharding
from vela_workflow.operator.queue import WorkQueue
from vela_workflow.operator.telemetry import Telemetry
from vela_workflow.runs.contract import Decision, Memory
from vela_workflow.runs.definitions import Definitions
from vela_workflow.runs.driver import Driver
from vela_workflow.runs.reconcile import RefusedError
from vela_workflow.runs.record import RunReplacedError

logger = logging.getLogger(__name__)

JSON = dict[str, Any]
Key = tuple[str, str]

UNREADABLE = "the run is nested too deeply to be carried out"
"""What is kept as the steps of such a run, and told to who asks for them."""
EVERY_STEP = "*"
REMEMBERED = 20_000
"""How many ended runs are remembered by their last version."""
LEADING_AGAIN = 0.5
"""Seconds after which a run has its turn again that was not written because the Lease was not trusted any more.

A renewal that was on its way may have arrived by then; else the shard has been left, and the turn does nothing.
"""
LIST_RETRY = 1.0
"""Seconds between attempts to read all runs."""


@dataclasses.dataclass(slots=True)
class _Record:
    """A run that has not ended. ``body`` is its object as compressed JSON.

    ``seen`` is what the watch told while the run was worked on: most of it is what we wrote ourselves. ``stale`` says
    that a turn broke off, so what is known may be older than what it wrote.
    """

    uid: str
    version: str
    body: bytes
    shard: int = 0
    turn: asyncio.Task[Decision] | None = None
    woken_at: float = 0.0
    seen: tuple[str, bytes] | None = None
    busy: bool = False
    stale: bool = False
    memory: Memory = dataclasses.field(default_factory=Memory)
    woken: set[str] = dataclasses.field(default_factory=set)
    watched: set[str] = dataclasses.field(default_factory=set)


class Controller:
    """Keeps the runs and gives them their turns; those of the shards only that it was told to ``lead``."""

    def __init__(
        self,
        driver: Driver,
        hub: WatchHub,
        definitions: Definitions,
        telemetry: Telemetry,
        *,
        workers: int,
        shards: int = 1,
        asked_only: bool = False,
    ) -> None:
        """``asked_only`` leaves runs alone that do not ask for this version of the controller by name."""
        self._driver = driver
        self._hub = hub
        self._telemetry = telemetry
        self._shards = shards
        self._asked_only = asked_only
        self._leading: set[int] = set()
        self._horizon: dict[str, str] = {}
        self._records: dict[Key, _Record] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()
        self.queue: WorkQueue[Key] = WorkQueue(self._turn, workers=workers, observer=telemetry)
        definitions.listen(self._definition_changed)

    def __len__(self) -> int:
        """How many runs have not ended."""
        return len(self._records)

    def known(self) -> dict[Key, str]:
        """The uids of all runs that are known, empty for those of which nothing but the number is kept."""
        return dict.fromkeys(self._telemetry.known(), "") | {key: one.uid for key, one in self._records.items()}

    # What happens outside.

    def seen(self, body: Mapping[str, Any]) -> None:
        """Take in a run that is there or has changed."""
        metadata = body["metadata"]
        key = (str(metadata["namespace"]), str(metadata["name"]))
        record = self._records.get(key)
        if record is not None and record.uid != metadata["uid"]:
            self._drop(key)
            record = None
        version, shard = str(metadata["resourceVersion"]), sharding.shard_of(metadata, self._shards)
        self._telemetry.seen(key, shard, body)
        if not versions.is_newer(version, self._known_version(key, record, str(metadata["uid"]))):
            return
        if not self._is_for_us(body):
            if record is not None:
                self._drop(key)  # handed over to another version while it was under way
            return
        if not _wants_a_turn(body) and (record is None or shard not in self._leading):
            if record is not None:
                record.version = version
                self._end(key, record)
            return
        if record is None:
            uid = str(metadata["uid"])
            # One that ended here and has not ended now was restarted, however new it looks.
            memory = Memory(written=uid in self._ended)
            record = self._records[key] = _Record(uid, version, _encoded(body), shard, memory=memory)
        elif record.busy:
            record.seen = (version, _encoded(body))
        else:
            record.version, record.body = version, _encoded(body)
        if record.shard != shard:
            self._moved(record, shard)
        if shard in self._leading and not record.busy:
            self.queue.add(key)

    def _is_for_us(self, body: Mapping[str, Any]) -> bool:
        """Whether the run asks for this version of the controller, or for none where that is enough (engine 2.2)."""
        required = (body["metadata"].get("annotations") or {}).get(constants.ANNOTATION_CONTROLLER_VERSION)
        return not self._asked_only if required is None else required == __version__

    def _known_version(self, key: Key, record: _Record | None, uid: str) -> str:
        """The latest version that is known of a run; what is not newer is no news."""
        if record is not None:
            return record.version
        # A run that is not kept, although it was there when all were read, had ended by then.
        horizon = self._horizon.get(key[0]) or self._horizon.get("", "")
        ended = self._ended.get(uid, "")
        return ended if ended and versions.is_newer(ended, horizon) else horizon

    def gone(self, body: Mapping[str, Any]) -> None:
        """Forget a run that was deleted."""
        metadata = body["metadata"]
        key = (str(metadata["namespace"]), str(metadata["name"]))
        record = self._records.get(key)
        self._ended.pop(str(metadata["uid"]), None)
        if record is not None and record.uid != metadata["uid"]:
            return
        self._telemetry.gone(key)
        if record is not None:
            self._drop(key)

    def wake(self, hub_key: tuple[str, str]) -> None:
        """Look again at a step: something that it waits for has changed."""
        run, step_id = hub_key
        namespace, _, name = run.partition("/")
        record = self._records.get((namespace, name))
        if record is not None and record.shard in self._leading:
            record.woken.add(step_id)
            record.woken_at = record.woken_at or time.monotonic()
            self.queue.add((namespace, name))

    def _definition_changed(self, key: Key) -> None:
        record = self._records.get(key)
        if record is not None and record.shard in self._leading:
            record.woken.add(EVERY_STEP)
            self.queue.add(key)

    # Leadership.

    async def lead(self, shard: int, client: ClusterClient | None = None, namespaces: Sequence[str] = ("",)) -> None:
        """Give the runs of a shard their turns from now on.

        With a ``client`` all runs are read first: another process may have worked on them until a moment ago.
        """
        if client is not None:
            for namespace in namespaces:
                self._read_anew(namespace, await _patiently(client, namespace))
        self._leading.add(shard)
        for key, record in self._records.items():
            if record.shard == shard:
                record.memory, record.woken_at = Memory(), 0.0
                self.queue.add(key)

    def _read_anew(self, namespace: str, found: JSON) -> None:
        """Take in a list of all runs; what is older than it and not in it is gone."""
        horizon = str((found.get("metadata") or {}).get("resourceVersion") or "")
        there = set()
        for body in found.get("items") or ():
            there.add(str(body["metadata"]["uid"]))
            self.seen(body)
        for key, record in list(self._records.items()):
            listed = namespace in ("", key[0]) and record.uid not in there
            if listed and not versions.is_newer(record.version, horizon):
                self._drop(key)
        # From here on, and not before: what is in the list is no older than the list.
        self._horizon[namespace] = horizon

    async def leave(self, shard: int, grace: float) -> None:
        """Give the runs of a shard no more turns and forget all but their objects.

        Turns under way may end within ``grace`` seconds; then they are cancelled.
        """
        self._leading.discard(shard)
        records = {key: record for key, record in self._records.items() if record.shard == shard}
        for key in records:
            self.queue.forget(key)
        turns = {record.turn for record in records.values() if record.turn is not None}
        if turns:
            _, late = await asyncio.wait(turns, timeout=grace)
            for turn in late:
                turn.cancel()
            await asyncio.gather(*turns, return_exceptions=True)
        for key, record in records.items():
            self._watch(key, record, {})
            record.memory = Memory()
            record.woken.clear()

    def _moved(self, record: _Record, shard: int) -> None:
        """A label was changed: the run belongs to another shard now, perhaps of another replica."""
        record.shard = shard
        if shard not in self._leading and record.turn is not None:
            record.turn.cancel()
        record.memory = Memory()

    # A turn.

    async def _turn(self, key: Key) -> float | None:
        record = self._records.get(key)
        if record is None or record.shard not in self._leading:
            return None
        if record.woken_at:
            self._telemetry.woken(time.monotonic() - record.woken_at)
            record.woken_at = 0.0
        woken = frozenset(record.woken)
        record.woken.clear()
        record.busy = True
        try:
            decision = await self._reconcile(key, record, woken)
        except (cluster_errors.NotFound, RunReplacedError) as error:
            self._doubt(record, woken)
            if not await self._went_away(key, record):
                raise errors.Transient(f"what belongs to the run went away: {error}") from error
            # The watch will say so too.
            logger.info("run %s/%s is gone", *key)
            if self._records.get(key) is record:
                self._drop(key)
            return None
        except BaseException as error:
            self._doubt(record, woken)
            if isinstance(error, fence.NotLeadingError):
                return LEADING_AGAIN
            if isinstance(error, RefusedError):
                self._keep(record, error.body)  # so that our own words are no news, which would end the back-off
            raise
        finally:
            record.busy, record.turn = False, None
        if decision is None or self._records.get(key) is not record:
            return None
        return self._follow(key, record, decision)

    @staticmethod
    def _doubt(record: _Record, woken: frozenset[str]) -> None:
        """What was written in part is read again, so that nothing is done on an old view."""
        record.woken |= woken
        record.stale = True
        kept = record.memory
        record.memory = Memory(succeeded=kept.succeeded, written=kept.written, doubtful=kept.doubtful)

    async def _went_away(self, key: Key, record: _Record) -> bool:
        """Whether the run itself is gone, and not something that belongs to it."""
        try:
            found = await self._driver.read(*key)
        except cluster_errors.NotFound:
            return True
        return bool(found["metadata"]["uid"] != record.uid)

    def _follow(self, key: Key, record: _Record, decision: Decision) -> float | None:
        """Do as the driver decided."""
        self._keep(record, decision.body)
        if self._take_seen(key, record):
            return None
        if decision.finished:
            self._end(key, record)
            return None
        self._watch(key, record, decision.interests)
        return decision.after

    async def _reconcile(self, key: Key, record: _Record, woken: frozenset[str]) -> Decision | None:
        """Let the driver work on a run, in a task that ``leave`` can cancel; ``None`` when it did."""
        body: JSON = await self._driver.read(*key) if record.stale else _decoded(record.body)
        record.stale = False
        with fence.shard(record.shard), own.acting_for(key[0]), self._telemetry.turn(key, body) as turn:
            work = record.turn = asyncio.ensure_future(self._driver.reconcile(body, record.memory, woken))
            try:
                await asyncio.wait({work})
            finally:
                work.cancel()
            if work.cancelled():
                record.stale, record.memory = True, Memory()
                return None
            decision = work.result()
            turn.ended(decision.body)
            return decision

    def _take_seen(self, key: Key, record: _Record) -> bool:
        """Take in what others wrote while the run was worked on; true when there was something."""
        seen, record.seen = record.seen, None
        if seen is None or not versions.is_newer(seen[0], record.version):
            return False
        record.version, record.body = seen
        self.queue.add(key)
        return True

    def _end(self, key: Key, record: _Record) -> None:
        """Forget a run that has ended, but not that it has: events from before may still come."""
        self._ended[record.uid] = record.version
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        self._drop(key)

    def _keep(self, record: _Record, body: JSON | None) -> None:
        """Remember what was written, unless something newer was seen meanwhile."""
        if body is None:
            return
        version = str(body["metadata"]["resourceVersion"])
        if version == record.version or versions.is_newer(version, record.version):
            record.version, record.body = version, _encoded(body)

    def _watch(self, key: Key, record: _Record, interests: Mapping[str, tuple[Any, ...]]) -> None:
        run = f"{key[0]}/{key[1]}"
        for step_id in record.watched - set(interests):
            self._hub.forget((run, step_id))
        for step_id, wanted in interests.items():
            self._hub.register((run, step_id), wanted)
        record.watched = set(interests)

    def _drop(self, key: Key) -> None:
        record = self._records.pop(key)
        for step_id in record.watched:
            self._hub.forget((f"{key[0]}/{key[1]}", step_id))
        self.queue.forget(key)


async def _patiently(client: ClusterClient, namespace: str) -> JSON:
    """All runs, as soon as they can be had."""
    kind = constants.WORKFLOW_RUN
    while True:
        try:
            return await client.list(kind.api_version, kind.kind, namespace)
        except cluster_errors.UnknownKind:
            return {}
        except errors.WorkflowError as error:
            logger.warning("the runs cannot be read, trying again: %s", error)
            await asyncio.sleep(LIST_RETRY)


def _wants_a_turn(body: Mapping[str, Any]) -> bool:
    """Whether there is anything to do for a run that is not known: it has not ended, or is to be restarted."""
    annotations = body["metadata"].get("annotations") or {}
    if constants.ANNOTATION_RESTART in annotations:
        return True
    return not (body.get("status") or {}).get("finished")


def _decoded(text: bytes) -> JSON:
    body: JSON = orjson.loads(zlib.decompress(text))
    return body


def _encoded(body: Mapping[str, Any]) -> bytes:
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    try:
        text = orjson.dumps({**body, "metadata": metadata})
    except TypeError:  # So deep that nobody can work with it: what is kept in its place says so.
        named = {key: body[key] for key in ("apiVersion", "kind") if key in body}
        text = orjson.dumps({**named, "metadata": metadata, "spec": {"workflowSpec": UNREADABLE}})
    return zlib.compress(text, 1)
