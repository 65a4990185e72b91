"""Deleting runs that have ended long enough ago.

Two rules ask for it. A run with ``spec.ttlSecondsAfterFinished`` goes that many seconds after its end. Runs that carry
the group label are recycled: in each group, which is a namespace and a value of the label, the newest few stay, and the
others go when their end is older than a limit (engine 10.1; there the namespace was forgotten).

Watch events say when it is worth while to look: one heap of times, one task. What is deleted is decided on what the API
server has at that moment, never on what was remembered, so a watch that missed something deletes nothing. A run is
deleted only by its uid, and only while it is finished and nobody has asked for a restart.
"""

from __future__ import annotations

import asyncio
import bisect
import heapq
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.operator import background

logger = logging.getLogger(__name__)

JSON = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name of a run."""

LONGEST_NAP: Final = 600.0
"""Seconds after which the clock is looked at again, since clocks are set and machines sleep."""

RETRY_AFTER: Final = 30.0
"""Least seconds until something that failed is tried again."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is kept.

    ``label`` names the group label (empty: no groups), ``keep`` how many of a group stay at least, ``after`` how many
    seconds the others stay after their end.
    """

    label: str = constants.LABEL_PIPELINE
    keep: int = 1
    after: float = 720 * 3600.0


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that belong together."""

    namespace: str
    value: str


@dataclass(frozen=True, slots=True)
class _Ended:
    """What is remembered of a finished run; ``end`` is seconds since the epoch."""

    uid: str
    end: float
    ttl: int | None
    group: Group | None


@dataclass(slots=True)
class _Members:
    """The finished runs of a group as far as they are known, oldest first."""

    ends: list[tuple[float, str]] = field(default_factory=list)

    def add(self, end: float, name: str) -> None:
        bisect.insort(self.ends, (end, name))

    def remove(self, end: float, name: str) -> None:
        place = bisect.bisect_left(self.ends, (end, name))
        if place < len(self.ends) and self.ends[place] == (end, name):
            del self.ends[place]


def ended_at(body: Mapping[str, Any]) -> float | None:
    """When a run ended, in seconds since the epoch; ``None`` while it has not, or does not tell."""
    status = body.get("status") or {}
    if not status.get("finished"):
        return None
    try:
        return datetime.fromisoformat(str(status.get("endTime")).replace("Z", "+00:00")).timestamp()
    except (ValueError, TypeError):
        return None


def may_go(body: Mapping[str, Any]) -> bool:
    """Whether nothing speaks against deleting a run: it has ended, stays ended and is not on its way out already."""
    metadata = body["metadata"]
    restart = constants.ANNOTATION_RESTART in (metadata.get("annotations") or {})
    return bool((body.get("status") or {}).get("finished")) and not restart and not metadata.get("deletionTimestamp")


def time_to_live(body: Mapping[str, Any]) -> int | None:
    """``spec.ttlSecondsAfterFinished``; ``None`` when there is none."""
    found = (body.get("spec") or {}).get("ttlSecondsAfterFinished")
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def recyclable(runs: Iterable[Mapping[str, Any]], rules: Rules, now: float) -> list[Mapping[str, Any]]:
    """The runs of one group that go: finished, not among the newest ``keep``, ended long enough ago.

    A run that does not tell when it ended counts among the newest.
    """
    finished = [run for run in runs if (run.get("status") or {}).get("finished")]
    finished.sort(key=lambda run: (_or_last(ended_at(run)), run["metadata"]["name"]), reverse=True)
    return [run for run in finished[rules.keep :] if may_go(run) and _or_last(ended_at(run)) + rules.after <= now]


def _or_last(end: float | None) -> float:
    return float("inf") if end is None else end


class Retention:
    """Remembers finished runs, and deletes those whose time has come.

    ``seen`` and ``gone`` take in watch events; between ``start`` and ``close`` a task deletes.
    """

    def __init__(
        self,
        client: ClusterClient,
        rules: Rules | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._rules = rules or Rules()
        self._clock = clock
        self._known: dict[Key, _Ended] = {}
        self._groups: dict[Group, _Members] = {}
        self._heap: list[tuple[float, int, Key | Group]] = []
        self._order = itertools.count()
        self._due: dict[Key | Group, float] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """How many finished runs wait for their time."""
        return len(self._known)

    def known(self) -> dict[Key, str]:
        """The uids of the finished runs that wait for their time."""
        return {key: known.uid for key, known in self._known.items()}

    def start(self) -> None:
        """Delete from now on; also again after ``close``, as a leader does that comes back."""
        self._heap.clear()
        self._due.clear()
        for key, known in self._known.items():
            if known.ttl is not None:
                self._look_at(key, known.end + known.ttl)
        for group in self._groups:
            self._look_at_group(group)
        self._task = background.keep_up("the deletion of finished runs", self._serve)

    async def close(self) -> None:
        """Stop deleting."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # What happens outside.

    def seen(self, body: Mapping[str, Any]) -> None:
        """Take in a run that is there or has changed."""
        key = _key(body)
        found = self._ended(body)
        known = self._known.get(key)
        if found == known:
            return
        self._forget(key)
        if found is None:
            return
        self._known[key] = found
        if found.ttl is not None:
            self._look_at(key, found.end + found.ttl)
        if found.group is not None:
            self._groups.setdefault(found.group, _Members()).add(found.end, key[1])
            self._look_at_group(found.group)

    def gone(self, body: Mapping[str, Any]) -> None:
        """Forget a run that was deleted."""
        known = self._known.get(_key(body))
        if known is not None and known.uid == body["metadata"]["uid"]:
            self._forget(_key(body))

    def _ended(self, body: Mapping[str, Any]) -> _Ended | None:
        """What is to be remembered of a run: nothing when no rule concerns it."""
        if not may_go(body):
            return None
        key, metadata = _key(body), body["metadata"]
        value = (metadata.get("labels") or {}).get(self._rules.label) if self._rules.label else None
        end, ttl = ended_at(body), time_to_live(body)
        group = Group(key[0], value) if value is not None and end is not None else None
        if group is None and ttl is None:
            return None
        if end is None:
            known = self._known.get(key)
            same = known is not None and known.uid == metadata["uid"]
            end = known.end if known is not None and same else self._clock().timestamp()
        return _Ended(str(metadata["uid"]), end, ttl, group)

    def _forget(self, key: Key) -> None:
        known = self._known.pop(key, None)
        self._due.pop(key, None)
        if known is None or known.group is None:
            return
        members = self._groups[known.group]
        members.remove(known.end, key[1])
        if not members.ends:
            del self._groups[known.group]
            self._due.pop(known.group, None)

    # When to look.

    def _look_at_group(self, group: Group) -> None:
        """Look when the oldest run that need not stay is old enough."""
        members = self._groups.get(group)
        if members is not None and len(members.ends) > self._rules.keep:
            self._look_at(group, members.ends[0][0] + self._rules.after)

    def _look_at(self, what: Key | Group, when: float) -> None:
        if self._due.get(what) == when:
            return
        self._due[what] = when
        heapq.heappush(self._heap, (when, next(self._order), what))
        self._changed.set()

    async def _serve(self) -> None:
        while True:
            now = self._clock().timestamp()
            while self._heap and self._heap[0][0] <= now:
                when, _, what = heapq.heappop(self._heap)
                if self._due.get(what) == when:
                    del self._due[what]
                    await self._look(what)
            nap = LONGEST_NAP
            if self._heap:
                nap = min(nap, max(0.0, self._heap[0][0] - self._clock().timestamp()))
            self._changed.clear()
            try:
                async with asyncio.timeout(nap):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _look(self, what: Key | Group) -> None:
        """Delete what is due; what fails is tried again later."""
        try:
            await (self._recycle(what) if isinstance(what, Group) else self._expire(what))
        except errors.WorkflowError as error:
            logger.warning("finished runs could not be cleaned up, next try in %.0f s: %s", RETRY_AFTER, error)
        except Exception:
            logger.exception("cleaning up finished runs failed")
        else:
            return
        if what in self._known or what in self._groups:
            self._look_at(what, self._clock().timestamp() + RETRY_AFTER)

    # What is deleted.

    async def _expire(self, key: Key) -> None:
        """Delete a run whose time to live is over, unless it has changed since."""
        known = self._known.get(key)
        if known is None:
            return
        live = await self._live(key)
        if live is None:
            return
        found = self._ended(live)
        if found != known:
            # The watch is behind; it will tell the same, but nothing is lost by knowing it now.
            self.seen(live)
            return
        await self._delete(live, f"{known.ttl} s after its end")

    async def _recycle(self, group: Group) -> None:
        """Delete what need not stay of a group."""
        kind, label = constants.WORKFLOW_RUN, {self._rules.label: group.value}
        found = await self._client.list(kind.api_version, kind.kind, group.namespace, labels=label)
        runs: list[JSON] = list(found.get("items") or ())
        self._correct(group, runs)
        for run in recyclable(runs, self._rules, self._clock().timestamp()):
            live = await self._live(_key(run))
            if live is not None and _version(live) == _version(run):
                await self._delete(live, f'newer runs of "{group.value}" have ended')
            elif live is not None:
                self.seen(live)
        self._look_at_group(group)

    async def _live(self, key: Key) -> JSON | None:
        """The run as it is now; ``None``, and forgotten, when it is gone."""
        kind = constants.WORKFLOW_RUN
        try:
            return await self._client.get(kind.api_version, kind.kind, *key)
        except cluster_errors.NotFound:
            self._forget(key)
            return None

    def _correct(self, group: Group, runs: list[JSON]) -> None:
        """Put right what is remembered of a group, which the watch may have missed."""
        live = {_key(run) for run in runs}
        members = self._groups.get(group) or _Members()
        for _, name in list(members.ends):
            if (group.namespace, name) not in live:
                self._forget((group.namespace, name))
        for run in runs:
            self.seen(run)

    async def _delete(self, run: Mapping[str, Any], why: str) -> None:
        kind, metadata, key = constants.WORKFLOW_RUN, run["metadata"], _key(run)
        try:
            await self._client.delete(
                kind.api_version,
                kind.kind,
                *key,
                uid=str(metadata["uid"]),
                resource_version=str(metadata["resourceVersion"]),
            )
        except (cluster_errors.NotFound, cluster_errors.Conflict):
            logger.debug("run %s/%s was gone already", *key)
        else:
            logger.info("deleted run %s/%s: %s", *key, why)
        known = self._known.get(key)
        if known is not None and known.uid == metadata["uid"]:
            self._forget(key)


def _version(body: Mapping[str, Any]) -> tuple[str, str]:
    return str(body["metadata"]["uid"]), str(body["metadata"]["resourceVersion"])


def _key(body: Mapping[str, Any]) -> Key:
    metadata = body["metadata"]
    return str(metadata["namespace"]), str(metadata["name"])
