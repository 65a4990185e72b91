"""What Prometheus is told.

Metrics that the Go controller has keep their names (engine 10.5), so dashboards and alerts go on working; where it
measured in another unit than the name says, ours is the unit of the name. ``phase`` and ``reason`` of a step are two
labels instead of one text. What only this program has begins with ``vela_workflow_``. No label ever holds the name of a
run, a step or a namespace: the number of series does not grow with use.

What changes all the time is counted as it happens; what can be looked up (queue, watches, evaluations, leadership) is
looked up when Prometheus asks (``Live``), on the event loop, so nothing is read while it changes.
"""

from __future__ import annotations

import dataclasses
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from vela_workflow.clusters.transport import FinishedCall

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
        registry.register(_Fixed(self._counted))
        self.reconcile = Histogram(
            "workflowrun_reconcile_time_seconds",
            "Seconds that one turn of a run took.",
            ("begin_phase", "end_phase"),
            buckets=SECONDS,
            registry=registry,
        )
        self.planned = Histogram(
            "generate_task_runners_time_seconds",
            "Seconds from the begin of a turn until its steps were planned.",
            ("controller",),
            buckets=SECONDS,
            registry=registry,
        )
        self.finished = Histogram(
            "workflowrun_finished_time_seconds",
            "Seconds from the start of a run to its end.",
            ("phase",),
            buckets=LONG_SECONDS,
            registry=registry,
        )
        self.step = Histogram(
            "workflowrun_step_duration_ms",
            "Milliseconds that one attempt of a step took.",
            ("controller", "step_type"),
            buckets=MILLISECONDS,
            registry=registry,
        )
        self.operation = Histogram(
            "vela_workflow_operation_seconds",
            "Seconds that one operation of a step took.",
            ("provider", "operation", "outcome"),
            buckets=SHORT_SECONDS,
            registry=registry,
        )
        self.call = Histogram(
            "vela_workflow_api_request_seconds",
            "Seconds that one request to an API server took; code 0 means no answer.",
            ("cluster", "verb", "code"),
            buckets=SHORT_SECONDS,
            registry=registry,
        )
        self.queue_wait = Histogram(
            "vela_workflow_queue_wait_seconds",
            "Seconds that a run waited for a worker.",
            buckets=SHORT_SECONDS,
            registry=registry,
        )
        self.wake = Histogram(
            "vela_workflow_wake_seconds",
            "Seconds from the change of an object to the turn of the run that waits for it.",
            buckets=SHORT_SECONDS,
            registry=registry,
        )
        self.retries = Counter(
            "vela_workflow_turn_failures",
            "Turns that failed and are tried again.",
            registry=registry,
        )

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
        self.step.labels(CONTROLLER, step_type).observe(1000 * seconds)

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
        for labels, number in sorted(sum((census.steps for census in led), Tally[tuple[str, str, str]]()).items()):
            steps.add_metric(labels, number)
        yield steps


class Census:
    """How many runs and steps are in which phase; of each run only what is counted of it is kept."""

    def __init__(self) -> None:
        self.runs: Tally[str] = Tally()
        self.steps: Tally[tuple[str, str, str]] = Tally()
        self._known: dict[Key, tuple[str, tuple[tuple[str, str, str], ...]]] = {}
        self._shared: dict[Any, Any] = {}

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
