"""The watch hub: whoever waits for an object is woken when it changes, without asking for it again and again.

Waiting runs register their interests; the hub keeps one watch per (cluster, kind, namespace) while anybody is
interested, narrowed to one object by a field selector while only one is wanted there, so that it also works with rights
on that object alone (decisions 33). A waiting run costs dictionary entries, no task. A wake only says "look again": a
wake too many costs a look, a wake too few would be a hang, so whatever is uncertain wakes once.

Uncertain is what happened between the read of an operation and the start of the watch. An interest therefore says
which resourceVersion was read: a watch that starts there misses nothing, and one that runs already knows what it has
told of since (``stream.py``). Runs stay registered until their next ``register`` or ``forget``; a wake does not end it.
Where watching is refused, the runs are woken by a timer instead.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from vela_workflow.clusters import errors, versions
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.clusters.interest import Interest
from vela_workflow.clusters.stream import Scope, ScopeId, Stream
from vela_workflow.errors import Transient, WorkflowError

Key = tuple[str, str]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HubSettings:
    """How the hub behaves in time; all times are in seconds.

    ``debounce`` gathers wakes, ``poll`` replaces a watch that is refused, which is asked for again after
    ``retry_refused``; ``linger`` keeps a watch that nobody needs, for the next step of the same run.
    ``named`` is how many objects are watched one by one where the namespace as a whole may not be watched.
    """

    debounce: float = 0.005
    poll: float = 5.0
    retry_refused: float = 60.0
    linger: float = 5.0
    named: int = 16


@dataclass(frozen=True, slots=True)
class HubState:
    """What the hub has now (``keys`` to ``polled``) and has done so far (``refused``, ``wakes``)."""

    keys: int
    scopes: int
    streams: int
    polled: int
    refused: int
    wakes: int


class WatchHub:
    """See the module. ``client`` gives the client of a cluster (``Registry.client``), ``wake`` is told whom to wake.

    Everything happens on the event loop that the first ``register`` runs on.
    """

    def __init__(
        self,
        client: Callable[[str], ClusterClient],
        wake: Callable[[Key], None],
        settings: HubSettings | None = None,
    ) -> None:
        self._client = client
        self._wake = wake
        self._settings = settings or HubSettings()
        self._interests: dict[Key, tuple[Interest, ...]] = {}
        self._scopes: dict[ScopeId, Scope] = {}
        self._to_plan: set[ScopeId] = set()
        self._to_wake: set[Key] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._refused = 0
        self._wakes = 0

    @property
    def state(self) -> HubState:
        """Numbers for metrics and tests."""
        return HubState(
            keys=len(self._interests),
            scopes=len(self._scopes),
            streams=sum(len(scope.streams) for scope in self._scopes.values()),
            polled=sum(scope.polled for scope in self._scopes.values()),
            refused=self._refused,
            wakes=self._wakes,
        )

    def register(self, key: Key, interests: Iterable[Interest]) -> None:
        """Wake ``key`` when one of these changes; replaces what it was interested in before.

        An interest that ``key`` had already goes on without a gap. For a new one the key is woken at once when the
        object may have changed since it was read.
        """
        before = {(ScopeId.of(one), one.name) for one in self._interests.get(key, ())}
        wanted: dict[tuple[ScopeId, str], Interest] = {}
        for one in interests:
            place = (ScopeId.of(one), one.name)
            other = wanted.get(place)
            # The same object read twice in one pass: the older read decides, its reader may need the newer state.
            if other is None or (
                other.resource_version and versions.is_newer(other.resource_version, one.resource_version)
            ):
                wanted[place] = one
        for place in before - wanted.keys():
            self._remove(key, *place)
        for (scope_id, name), one in wanted.items():
            self._add(key, scope_id, name, one.resource_version, fresh=(scope_id, name) not in before)
        self._interests.pop(key, None)
        if wanted:
            self._interests[key] = tuple(wanted.values())

    def forget(self, key: Key) -> None:
        """``key`` waits no longer."""
        self.register(key, ())
        self._to_wake.discard(key)

    async def close(self) -> None:
        """End all watches and timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for scope in self._scopes.values():
            for stream in scope.streams.values():
                stream.stop()
        self._scopes.clear()
        self._interests.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What streams tell.

    def wake(self, key: Key) -> None:
        """Wake ``key`` in a moment, once however often it is asked for."""
        self._to_wake.add(key)
        self._later("wake", self._settings.debounce, self._flush)

    def replan(self, scope: Scope) -> None:
        """Look anew at what the scope has to watch."""
        self._to_plan.add(scope.id)
        self._later("plan", self._settings.debounce, self._plan_all)

    def refused(self, scope: Scope, stream: Stream, error: WorkflowError) -> bool:
        """A watch failed for ``error``; whether it is worth trying again in the same way."""
        forbidden = isinstance(error, errors.Forbidden)
        impossible = not isinstance(error, Transient) or (isinstance(error, errors.ApiError) and error.status == 405)
        if not forbidden and not impossible:
            return True
        if forbidden and not stream.name and not scope.narrow and "" not in scope.wanted:
            scope.narrow = True
        else:
            self._poll(scope, error)
        if scope.streams.get(stream.name) is stream:
            del scope.streams[stream.name]
        self._later(f"retry {scope.id}", self._settings.retry_refused, lambda: self._retry(scope))
        self.replan(scope)
        return False

    # The index.

    def _add(self, key: Key, scope_id: ScopeId, name: str, version: str, *, fresh: bool) -> None:
        scope = self._scopes.get(scope_id)
        if scope is None:
            scope = self._scopes[scope_id] = Scope(scope_id)
        scope.wanted.setdefault(name, {})[key] = version
        if not fresh:
            return
        stream = scope.covering(name)
        if stream is None:
            self.replan(scope)
        elif stream.may_have_missed(name, version):
            self.wake(key)

    def _remove(self, key: Key, scope_id: ScopeId, name: str) -> None:
        scope = self._scopes[scope_id]
        keys = scope.wanted[name]
        del keys[key]
        if not keys:
            del scope.wanted[name]
        if not scope.wanted:
            self._later(f"drop {scope_id}", self._settings.linger, lambda: self._drop(scope))
        elif not keys and name in scope.streams:
            self.replan(scope)

    def _drop(self, scope: Scope) -> None:
        if scope.wanted or self._scopes.get(scope.id) is not scope:
            return
        for stream in scope.streams.values():
            stream.stop()
        del self._scopes[scope.id]

    # The watches.

    def _plan_all(self) -> None:
        for scope_id in self._to_plan:
            scope = self._scopes.get(scope_id)
            if scope is not None and scope.wanted and not scope.polled:
                self._plan(scope)
        self._to_plan.clear()

    def _plan(self, scope: Scope) -> None:
        names = scope.selectors(self._settings.named)
        if names is None:
            self._poll(scope, None)
            names = frozenset()
        replaced = {name: stream for name, stream in scope.streams.items() if name not in names}
        for name in names - scope.streams.keys():
            scope.streams[name] = stream = Stream(self, scope, name)
            task = stream.start(self._client, tuple(replaced.values()))
            self._tasks.add(task)
            task.add_done_callback(functools.partial(self._done, scope))
        for name, stream in replaced.items():
            stream.stop()
            del scope.streams[name]

    def _done(self, scope: Scope, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        _log.error("The watch for %s died", scope.id, exc_info=task.exception())
        self._poll(scope, None)

    def _poll(self, scope: Scope, error: WorkflowError | None) -> None:
        """Wake the keys of the scope by a timer from now on."""
        scope.polled = True
        self._refused += 1
        if not scope.reported:
            scope.reported = True
            why = error.message if error is not None else "its objects cannot be watched one by one"
            _log.warning("No watch for %s, looking every %g s instead: %s", scope.id, self._settings.poll, why)
        self._later("poll", self._settings.poll, self._tick)

    def _tick(self) -> None:
        polled = [scope for scope in self._scopes.values() if scope.polled and scope.wanted]
        for scope in polled:
            for keys in scope.wanted.values():
                for key in keys:
                    self.wake(key)
        if polled:
            self._later("poll", self._settings.poll, self._tick)

    def _retry(self, scope: Scope) -> None:
        """Rights may have been granted in the meantime."""
        if self._scopes.get(scope.id) is not scope:
            return
        scope.polled = scope.narrow = False
        self.replan(scope)

    def _flush(self) -> None:
        try:
            while self._to_wake:
                self._wakes += 1
                self._wake(self._to_wake.pop())
        finally:
            if self._to_wake:
                self._later("wake", self._settings.debounce, self._flush)

    def _later(self, what: str, seconds: float, action: Callable[[], None]) -> None:
        """Do ``action`` in so many seconds, unless the same is on its way already."""
        if what in self._timers:
            return

        def run() -> None:
            del self._timers[what]
            action()

        self._timers[what] = asyncio.get_running_loop().call_later(seconds, run)
