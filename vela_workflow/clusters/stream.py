"""One watch of the hub, and what it knows: which state of which object it has told of, and since when.

A stream that started at resourceVersion ``since`` has seen every change after it. So an interest in an object that was
read at a later version is safe if no newer event has come; one that was read at an earlier version is safe only if the
stream knows the object's version (from its list, or from an event). Everything else is uncertain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from vela_workflow.clusters import follow, versions
from vela_workflow.clusters.client import ClusterClient, WatchEvent
from vela_workflow.clusters.interest import ABSENT, Interest
from vela_workflow.errors import WorkflowError

if TYPE_CHECKING:
    from vela_workflow.clusters.watch import Key, WatchHub

JSON = dict[str, Any]

_KNOWN_LIMIT = 4096
"""How many objects a stream keeps the version of; beyond that it knows only about what changes from now on."""


class ScopeId(NamedTuple):
    """A kind in a namespace of a cluster: what one watch can cover."""

    cluster: str
    api_version: str
    kind: str
    namespace: str

    @classmethod
    def of(cls, interest: Interest) -> ScopeId:
        """The scope that an interest lies in; the empty name and ``local`` are the same cluster."""
        cluster = "" if interest.cluster == "local" else interest.cluster
        return cls(cluster, interest.api_version, interest.kind, interest.namespace)

    def __str__(self) -> str:
        place = f" in namespace {self.namespace}" if self.namespace else ""
        where = f" of cluster {self.cluster}" if self.cluster else ""
        return f"{self.api_version} {self.kind}{place}{where}"


@dataclass(slots=True, eq=False)
class Scope:
    """Who wants what in a scope: for each name (empty for all) the keys and the versions that they have seen.

    ``narrow``: the namespace as a whole may not be watched. ``polled``: nothing may be, a timer wakes the keys.
    """

    id: ScopeId
    wanted: dict[str, dict[Key, str]] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    narrow: bool = False
    polled: bool = False
    reported: bool = False

    def covering(self, name: str) -> Stream | None:
        """The running stream that tells of ``name``, if there is one."""
        return self.streams.get("") or (self.streams.get(name) if name else None)

    def selectors(self, named: int) -> frozenset[str] | None:
        """The names to watch one by one, or the empty name for all; ``None`` when neither is possible."""
        names = frozenset(self.wanted)
        if "" in names or "" in self.streams:
            return frozenset({""})
        if len(names) == 1:
            return names
        if not self.narrow:
            return frozenset({""})
        return names if len(names) <= named else None


class Stream:
    """One watch, for the object ``name`` or (when that is empty) for the whole scope; a ``follow.Listener``."""

    def __init__(self, hub: WatchHub, scope: Scope, name: str) -> None:
        self.name = name
        self._hub = hub
        self._scope = scope
        self._position = ""
        self._since = ""
        self._newest = ""
        self._complete = False
        self._known: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self, client: Callable[[str], ClusterClient], replaced: Collection[Stream]) -> asyncio.Task[None]:
        """Watch until stopped, in a task of its own; ``replaced`` are the streams whose place this one takes."""
        self._task = asyncio.get_running_loop().create_task(self._run(client, replaced))
        return self._task

    async def _run(self, client: Callable[[str], ClusterClient], replaced: Collection[Stream]) -> None:
        scope = self._scope.id
        selection = follow.Selection(
            scope.api_version,
            scope.kind,
            scope.namespace,
            field_selector=f"metadata.name={self.name}" if self.name else "",
        )
        self._since = self._position = self._start(replaced)
        await follow.follow(lambda: client(scope.cluster), selection, self, position=self._position)

    def stop(self) -> None:
        """End the watch."""
        if self._task is not None:
            self._task.cancel()

    def may_have_missed(self, name: str, version: str) -> bool:
        """Whether ``name`` may have changed after it was read at ``version``, without this stream telling of it yet."""
        if not self._position:
            return False  # It starts with a list, or at this version: both look at every interest there is by then.
        if not name:
            return not versions.is_number(version) or self._unseen(version) or _newer(self._newest, version)
        last = self._known.get(name, ABSENT if self._complete else "")
        if last:
            return not version or versions.is_newer(last, version)
        return not versions.is_number(version) or self._unseen(version)

    # What follow tells.

    def listed(self, items: Sequence[JSON], resource_version: str) -> None:
        """Wake all whose object is not as they saw it."""
        before = self._known
        now = {item["metadata"]["name"]: str(item["metadata"]["resourceVersion"]) for item in items}
        for name, keys in self._covered():
            live = now.get(name, ABSENT)
            for key, seen in keys.items():
                known = seen or before.get(name, "")
                # Objects that are gone leave no trace in a list, so who wants all of them always looks again.
                if not name or versions.is_newer(live, known):
                    self._hub.wake(key)
        self._complete = len(now) <= _KNOWN_LIMIT
        self._known = now if self._complete else {name: now[name] for name in self._scope.wanted if name in now}
        self._since = self._position = self._newest = resource_version

    def changed(self, event: WatchEvent) -> None:
        """Wake all who have not seen this state."""
        metadata = event.object["metadata"]
        name, version = metadata["name"], str(metadata["resourceVersion"])
        self._remember(name, ABSENT if event.type == "DELETED" else version, version)
        self._newest = version
        for wanted in (name, ""):
            for key, seen in self._scope.wanted.get(wanted, {}).items():
                if versions.is_newer(version, seen):
                    self._hub.wake(key)

    def position(self, resource_version: str) -> None:
        """Remember how far the watch has come."""
        self._position = resource_version

    def ended(self) -> bool:
        """Go on, unless one object is all that is wanted of the whole scope by now."""
        if (
            self.name
            or "" in self._scope.wanted
            or len(self._scope.wanted) != 1
            or self._scope.streams.get("") is not self
        ):
            return True
        del self._scope.streams[""]
        self._hub.replan(self._scope)
        return False

    def failed(self, error: WorkflowError) -> bool:
        """Let the hub decide."""
        return self._hub.refused(self._scope, self, error)

    # What it knows.

    def _start(self, replaced: Collection[Stream]) -> str:
        """Where the watch can start without a list: the oldest state that anybody has seen; empty when unknown."""
        positions: list[str] = []
        taken_over: set[str] = set()
        for stream in replaced:
            names = {name for name, keys in stream._covered() if keys}
            if stream._position and names:
                positions.append(stream._position)
                taken_over |= names
                self._known |= stream._known
        for name, keys in self._covered():
            if name not in taken_over:
                positions += keys.values()
        return versions.oldest(positions)

    def _covered(self) -> list[tuple[str, dict[Key, str]]]:
        if not self.name:
            return list(self._scope.wanted.items())
        return [(self.name, self._scope.wanted.get(self.name, {}))]

    def _unseen(self, version: str) -> bool:
        """Whether changes after ``version`` may have come before this stream began to look."""
        return _newer(self._since, version)

    def _remember(self, name: str, state: str, version: str) -> None:
        self._known.pop(name, None)
        self._known[name] = state
        if len(self._known) > _KNOWN_LIMIT:
            del self._known[next(iter(self._known))]
            self._complete = False
            self._since = version


def _newer(version: str, than: str) -> bool:
    return bool(version) and versions.is_newer(version, than)
