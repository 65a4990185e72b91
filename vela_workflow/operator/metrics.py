"""What Prometheus is told.

Metrics that the Go controller has keep their names (engine 10.5), so dashboards and alerts go on working; where it
measured in another unit than the name says, ours is the unit of the name. ``phase`` and ``reason`` of a step are two
labels instead of one text. What only this program has begins with ``vela_workflow_``. No label ever holds the name of a
run, a step or a namespace: the number of series does not grow with use. Types of steps are names that users choose,
also of types that there are not, so only so many of them are told apart.

What changes all the time is counted as it happens; what can be looked up (queue, watches, evaluations, leadership) is
looked up when Prometheus asks (``Live``), on the event loop, so nothing is read while it changes.
"""

from __future__ import annotations

import dataclasses
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from vela_workflow.api import constants
from vela_workflow.clusters.transport import FinishedCall
from vela_workflow.cue import compat

JSON = dict[str, Any]
Key = tuple[str, str]
T = TypeVar("T")

CONTROLLER: Final = "workflowrun"
"""The value of the label ``controller`` that the Go controller's metrics have."""

# The buckets of the Go controller (engine 10.5), in seconds.
SECONDS: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9),
    *(1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60),
)
MILLISECONDS: Final = tuple(round(1000 * bound, 3) for bound in SECONDS)
LONG_SECONDS: Final = (*SECONDS, 120.0, 300.0, 600.0, 1800.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
SHORT_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
TINY_SECONDS: Final = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1)


@dataclasses.dataclass(frozen=True, slots=True)
class Live:
    """What is looked up when metrics are read; each returns name → value, or label values → value."""

    gauges: Callable[[], Mapping[str, float]]
    counters: Callable[[], Mapping[str, float]]
    leader: Callable[[], Mapping[str, float]]


GAUGES: Final[Mapping[str, str]] = {
    "vela_workflow_queue_depth": "Runs that wait for a worker.",
    "vela_workflow_workers_busy": "Runs that are worked on now.",
    "vela_workflow_workers": "Runs that can be worked on at the same time.",
    "vela_workflow_runs_in_memory": "Runs that have not ended and are kept in memory.",
    "vela_workflow_definitions": "Step definitions that are known.",
    "vela_workflow_watches": "Watches that are open for waiting steps.",
    "vela_workflow_watched_steps": "Steps that wait for objects.",
    "vela_workflow_polled_scopes": "Kinds of objects that may not be watched and are polled instead.",
}
COUNTERS: Final[Mapping[str, str]] = {
    "vela_workflow_cue_commands": "Commands of cue that were started.",
    "vela_workflow_cue_programs": "Evaluations that were asked for; divided by commands it is the size of batches.",
    "vela_workflow_cue_refused": "Evaluations that cue refused.",
    "vela_workflow_cue_cache_hits": "Evaluations that were answered from the cache.",
    "vela_workflow_cue_cache_misses": "Evaluations that were not in the cache.",
    "vela_workflow_wakes": "Times that a waiting step was woken by a change.",
    "vela_workflow_watches_refused": "Watches that were refused.",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """What one metric looks like: name, help, labels, and the bounds of its buckets if it is a histogram."""

    name: str
    told: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SECONDS

    def histogram(self, registry: CollectorRegistry) -> Histogram:
        """A histogram of this shape."""
        return Histogram(self.name, self.told, self.labels, buckets=self.buckets, registry=registry)

    def counter(self, registry: CollectorRegistry) -> Counter:
        """A counter of this shape; the library puts ``_total`` behind its name."""
        return Counter(self.name, self.told, self.labels, registry=registry)


RECONCILE: Final = Shape(
    "workflowrun_reconcile_time_seconds", "Seconds that one turn of a run took.", ("begin_phase", "end_phase")
)
PLANNED: Final = Shape(
    "generate_task_runners_time_seconds",
    "Seconds from the begin of a turn until its steps were planned.",
    ("controller",),
)
FINISHED: Final = Shape(
    "workflowrun_finished_time_seconds", "Seconds from the start of a run to its end.", ("phase",), LONG_SECONDS
)
STEP: Final = Shape(
    "workflowrun_step_duration_ms",
    "Milliseconds that one attempt of a step took.",
    ("controller", "step_type"),
    MILLISECONDS,
)
CLIENT_REQUEST: Final = Shape(
    "kubevela_controller_client_request_time_seconds",
    "Seconds that one request to an API server took, by what it was about; no kind means discovery.",
    ("controller", "cluster", "verb", "kind", "apiVersion", "unstructured"),
    SHORT_SECONDS,
)
COMPAT_UPGRADE: Final = Shape(
    "kubevela_workflow_cue_compat_upgrade_duration_seconds",
    "Seconds that looking through one template for older spellings took.",
    ("definition_kind",),
    TINY_SECONDS,
)
COMPAT_REWRITES: Final = Shape(
    "kubevela_workflow_cue_compat_rewrite",
    "Templates in which an older spelling was replaced.",
    ("upgrade_id", "upgrade_version", "definition_kind", "template_area"),
)
COMPAT_EVICTIONS: Final = Shape(
    "kubevela_workflow_cue_compat_cache_evictions",
    "Prepared templates that were dropped for want of room; nothing is dropped because of its age.",
    ("reason",),
)
OPERATION: Final = Shape(
    "vela_workflow_operation_seconds",
    "Seconds that one operation of a step took.",
    ("provider", "operation", "outcome"),
    SHORT_SECONDS,
)
CALL: Final = Shape(
    "vela_workflow_api_request_seconds",
    "Seconds that one request to an API server took; code 0 means no answer.",
    ("cluster", "verb", "code"),
    SHORT_SECONDS,
)
QUEUE_WAIT: Final = Shape(
    "vela_workflow_queue_wait_seconds", "Seconds that a run waited for a worker.", buckets=SHORT_SECONDS
)
WAKE: Final = Shape(
    "vela_workflow_wake_seconds",
    "Seconds from the change of an object to the turn of the run that waits for it.",
    buckets=SHORT_SECONDS,
)
RETRIES: Final = Shape("vela_workflow_turn_failures", "Turns that failed and are tried again.")

MOST_TYPES: Final = 300
"""How many types of steps are told apart."""

OTHER_TYPES: Final = "other"
"""What all further ones are called."""

CAPACITY: Final = "capacity"
"""Why a template is dropped, as the Go controller says it."""

TEMPLATE_AREA: Final = "template"
"""The part of a definition that is rewritten; there is only one."""


class Metrics:
    """All metrics of one operator, in a registry of their own."""

    def __init__(self) -> None:
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=registry)
        prometheus_client.GCCollector(registry=registry)
        self.census: dict[int, Census] = {}
        self.leads: Callable[[], Iterable[int]] = tuple
        self.initialised = 0
        self._types: set[str] = set()
        registry.register(_Fixed(self._counted))
        self.reconcile = RECONCILE.histogram(registry)
        self.planned = PLANNED.histogram(registry)
        self.finished = FINISHED.histogram(registry)
        self.step = STEP.histogram(registry)
        self.operation = OPERATION.histogram(registry)
        self.call = CALL.histogram(registry)
        self.client_request = CLIENT_REQUEST.histogram(registry)
        self.queue_wait = QUEUE_WAIT.histogram(registry)
        self.wake = WAKE.histogram(registry)
        self.compat_upgrade = COMPAT_UPGRADE.histogram(registry)
        self.compat_rewrites = COMPAT_REWRITES.counter(registry)
        self.compat_evictions = COMPAT_EVICTIONS.counter(registry)
        self.retries = RETRIES.counter(registry)
        # Known from the start, so that the first one is a growth.
        self.compat_evictions.labels(CAPACITY)
        for name in compat.UPGRADES:
            self._rewrites(name)

    def seen(self, key: Key, shard: int, status: Mapping[str, Any]) -> None:
        """Count a run with its status of now."""
        for other, census in self.census.items():
            if other != shard:
                census.gone(key)
        self.census.setdefault(shard, Census()).seen(key, status)

    def gone(self, key: Key) -> None:
        """Count a run no longer."""
        for census in self.census.values():
            census.gone(key)

    def look_at(self, live: Live, versions: Mapping[str, str]) -> None:
        """Look these up when metrics are read; ``versions`` by name go into ``vela_workflow_info``."""
        self.registry.register(_Fixed(lambda: _looked_up(live, versions)))

    def api_call(self, call: FinishedCall) -> None:
        """Count a request to an API server."""
        self.call.labels(call.cluster, call.verb, str(call.status)).observe(call.seconds)
        # Objects are plain JSON here, whatever their kind.
        labels = (CONTROLLER, call.cluster, call.verb, call.kind, call.api_version, "true")
        self.client_request.labels(*labels).observe(call.seconds)

    def upgraded(self, found: compat.Upgraded) -> None:
        """Count a template that was looked through for older spellings."""
        self.compat_upgrade.labels(constants.STEP_DEFINITION.kind).observe(found.seconds)
        for name in found.upgrades:
            self._rewrites(name).inc()

    def evicted(self) -> None:
        """Count a prepared template that was dropped for want of room."""
        self.compat_evictions.labels(CAPACITY).inc()

    def _rewrites(self, name: str) -> Counter:
        return self.compat_rewrites.labels(name, compat.LANGUAGE, constants.STEP_DEFINITION.kind, TEMPLATE_AREA)

    def turned(self, before: Mapping[str, Any], after: Mapping[str, Any], seconds: float) -> None:
        """Count a turn that led from one status to another."""
        self.reconcile.labels(str(before.get("status") or ""), str(after.get("status") or "")).observe(seconds)
        if not before.get("startTime") and after.get("startTime"):
            self.initialised += 1

    def ended(self, phase: str, seconds: float) -> None:
        """Count a run that has come to its end so many seconds after its start."""
        self.finished.labels(phase).observe(seconds)

    def attempted(self, step_type: str, seconds: float) -> None:
        """Count an attempt of a step."""
        self.step.labels(CONTROLLER, self._told_apart(step_type)).observe(1000 * seconds)

    def _told_apart(self, step_type: str) -> str:
        if step_type not in self._types and len(self._types) >= MOST_TYPES:
            return OTHER_TYPES
        self._types.add(step_type)
        return step_type

    def text(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return prometheus_client.generate_latest(self.registry)

    def _counted(self) -> Iterator[Metric]:
        # The name has no `_total`, so it cannot be a counter of the client library.
        found = Metric("workflowrun_initialized_num", "Runs that were begun.", "unknown")
        found.add_sample("workflowrun_initialized_num", {}, self.initialised)
        yield found
        # Runs are counted by the replica that leads their shard, so that a sum over replicas is right.
        led = [self.census[shard] for shard in self.leads() if shard in self.census]
        phases = GaugeMetricFamily("workflowrun_phase_number", "Runs by phase.", labels=["phase"])
        for phase, number in sorted(sum((census.runs for census in led), Tally[str]()).items()):
            phases.add_metric([phase or "-"], number)
        yield phases
        steps = GaugeMetricFamily(
            "workflowrun_step_phase_number", "Steps by type, phase and reason.", labels=["step_type", "phase", "reason"]
        )
        counted = Tally[tuple[str, str, str]]()
        for (step_type, phase, reason), number in sum((census.steps for census in led), counted.copy()).items():
            counted[self._told_apart(step_type), phase, reason] += number
        for labels, number in sorted(counted.items()):
            steps.add_metric(labels, number)
        yield steps


class Census:
    """How many runs and steps are in which phase; of each run only what is counted of it is kept."""

    def __init__(self) -> None:
        self.runs: Tally[str] = Tally()
        self.steps: Tally[tuple[str, str, str]] = Tally()
        self._known: dict[Key, tuple[str, tuple[tuple[str, str, str], ...]]] = {}
        self._shared: dict[Any, Any] = {}

    @property
    def known(self) -> Collection[Key]:
        """The runs that are counted."""
        return self._known.keys()

    def seen(self, key: Key, status: Mapping[str, Any]) -> None:
        """Count a run with its status of now."""
        steps = tuple(
            self._same((str(step.get("type") or ""), str(step.get("phase") or ""), str(step.get("reason") or "")))
            for step in status.get("steps") or ()
        )
        entry = (self._same(str(status.get("status") or "")), self._same(steps))
        if self._known.get(key) == entry:
            return
        self.gone(key)
        self._known[key] = entry
        self.runs[entry[0]] += 1
        self.steps.update(steps)

    def gone(self, key: Key) -> None:
        """Count a run no longer."""
        phase, steps = self._known.pop(key, (None, ()))
        if phase is None:
            return
        self._less(self.runs, (phase,))
        self._less(self.steps, steps)

    @staticmethod
    def _less(tally: Tally[T], counted: tuple[T, ...]) -> None:
        tally.subtract(counted)
        for one in counted:
            if tally[one] <= 0:
                del tally[one]

    def _same(self, value: Any) -> Any:
        """One object for all equal ones: thousands of finished runs look alike."""
        if len(self._shared) > 65536:
            self._shared.clear()
        return self._shared.setdefault(value, value)


class _Fixed(Collector):
    """A collector that is a function."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def _looked_up(live: Live, versions: Mapping[str, str]) -> Iterator[Metric]:
    yield InfoMetricFamily("vela_workflow", "Versions.", value=dict(versions))
    gauges, counters = live.gauges(), live.counters()
    for name, told in GAUGES.items():
        yield GaugeMetricFamily(name, told, value=gauges[name])
    for name, told in COUNTERS.items():
        yield CounterMetricFamily(name, told, value=counters[name])
    leader = GaugeMetricFamily("vela_workflow_leader", "1 where this replica leads the shard.", labels=["shard"])
    for shard, leads in live.leader().items():
        leader.add_metric([shard], leads)
    yield leader
