"""Runs in memory, and when each has its turn.

Watch events bring runs in; the queue gives each its turn; a turn is one reconcile by the driver, which says when and
why to look again. Of a run that waits only a few texts are kept: its object, encoded, and what its steps wait for.

The newest object is kept whether it was seen or written: an event that is older than our own last write is dropped, so
a stale view is never acted on (design 3).
"""

from __future__ import annotations

import dataclasses
import logging
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import orjson

from vela_workflow import __version__
from vela_workflow.api import constants
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters import versions
from vela_workflow.clusters.watch import WatchHub
from vela_workflow.operator.queue import WorkQueue
from vela_workflow.runs.definitions import Definitions
from vela_workflow.runs.driver import Driver, Memory, RunReplacedError

logger = logging.getLogger(__name__)

JSON = dict[str, Any]
Key = tuple[str, str]
EVERY_STEP = "*"
REMEMBERED = 20_000
"""How many ended runs are remembered by their last version."""


@dataclasses.dataclass(slots=True)
class _Record:
    """A run that has not ended. ``body`` is its object as JSON text.

    ``seen`` is what the watch told while the run was worked on: most of it is what we wrote ourselves. ``stale`` says
    that a turn broke off, so what is known may be older than what it wrote.
    """

    uid: str
    version: str
    body: bytes
    seen: tuple[str, bytes] | None = None
    busy: bool = False
    stale: bool = False
    memory: Memory = dataclasses.field(default_factory=Memory)
    woken: set[str] = dataclasses.field(default_factory=set)
    watched: set[str] = dataclasses.field(default_factory=set)


class Controller:
    """Keeps the runs and gives them their turns."""

    def __init__(self, driver: Driver, hub: WatchHub, definitions: Definitions, *, workers: int) -> None:
        self._driver = driver
        self._hub = hub
        self._records: dict[Key, _Record] = {}
        self._ended: OrderedDict[str, str] = OrderedDict()
        self.queue: WorkQueue[Key] = WorkQueue(self._turn, workers=workers)
        definitions.listen(self._definition_changed)

    def __len__(self) -> int:
        """How many runs have not ended."""
        return len(self._records)

    # What happens outside.

    def seen(self, body: Mapping[str, Any]) -> None:
        """Take in a run that is there or has changed."""
        metadata = body["metadata"]
        key = (str(metadata["namespace"]), str(metadata["name"]))
        record = self._records.get(key)
        if record is not None and record.uid != metadata["uid"]:
            self._drop(key)
            record = None
        version = str(metadata["resourceVersion"])
        known = record.version if record is not None else self._ended.get(str(metadata["uid"]), "")
        if not versions.is_newer(version, known):
            return
        if (record is None and not _wants_a_turn(body)) or not _is_for_us(body):
            return
        if record is None:
            self._records[key] = _Record(str(metadata["uid"]), version, _encoded(body))
        elif record.busy:
            record.seen = (version, _encoded(body))
            return
        else:
            record.version, record.body = version, _encoded(body)
        self.queue.add(key)

    def gone(self, body: Mapping[str, Any]) -> None:
        """Forget a run that was deleted."""
        metadata = body["metadata"]
        key = (str(metadata["namespace"]), str(metadata["name"]))
        record = self._records.get(key)
        self._ended.pop(str(metadata["uid"]), None)
        if record is not None and record.uid == metadata["uid"]:
            self._drop(key)

    def wake(self, hub_key: tuple[str, str]) -> None:
        """Look again at a step: something that it waits for has changed."""
        run, step_id = hub_key
        namespace, _, name = run.partition("/")
        record = self._records.get((namespace, name))
        if record is not None:
            record.woken.add(step_id)
            self.queue.add((namespace, name))

    def _definition_changed(self, key: Key) -> None:
        record = self._records.get(key)
        if record is not None:
            record.woken.add(EVERY_STEP)
            self.queue.add(key)

    # A turn.

    async def _turn(self, key: Key) -> float | None:
        record = self._records.get(key)
        if record is None:
            return None
        woken = frozenset(record.woken)
        record.woken.clear()
        record.busy = True
        try:
            body: JSON = await self._driver.read(*key) if record.stale else orjson.loads(record.body)
            record.stale = False
            decision = await self._driver.reconcile(body, record.memory, woken)
        except (cluster_errors.NotFound, RunReplacedError):
            # The run went away while it was worked on; the watch will say so too.
            logger.info("run %s/%s is gone", *key)
            if self._records.get(key) is record:
                self._drop(key)
            return None
        except BaseException:
            # What was written in part is read again, so that nothing is done on an old view.
            record.woken |= woken
            record.stale = True
            record.memory = Memory(succeeded=record.memory.succeeded, written=record.memory.written)
            raise
        finally:
            record.busy = False
        if self._records.get(key) is not record:
            return None
        self._keep(record, decision.body)
        if self._take_seen(key, record):
            return None
        if decision.finished:
            self._end(key, record)
            return None
        self._watch(key, record, decision.interests)
        return decision.after

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


def _wants_a_turn(body: Mapping[str, Any]) -> bool:
    """Whether there is anything to do for a run that is not known: it has not ended, or is to be restarted."""
    annotations = body["metadata"].get("annotations") or {}
    if constants.ANNOTATION_RESTART in annotations:
        return True
    return not (body.get("status") or {}).get("finished")


def _is_for_us(body: Mapping[str, Any]) -> bool:
    """Whether the run does not ask for another version of the controller (engine 2.2)."""
    required = (body["metadata"].get("annotations") or {}).get(constants.ANNOTATION_CONTROLLER_VERSION)
    return required is None or required == __version__


def _encoded(body: Mapping[str, Any]) -> bytes:
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return orjson.dumps({**body, "metadata": metadata})
