"""What the operator tells of its work: metrics, log fields and spans, from one set of hooks.

The controller tells of runs and turns, clients of requests; every operation is wrapped once at the start, which is also
where the fence stands: an operation that must not be repeated is begun only by a process that leads (``fence.py``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from vela_workflow import errors
from vela_workflow.clusters.transport import FinishedCall
from vela_workflow.cue import compat
from vela_workflow.operator import fence, logs
from vela_workflow.operator.metrics import CONTROLLER, Metrics
from vela_workflow.operator.tracing import Tracer
from vela_workflow.providers.contract import Call, Effect, Operation, Outcome, Package

logger = logging.getLogger(__name__)

JSON = dict[str, Any]
Key = tuple[str, str]


class Turn:
    """One turn of a run; ``ended`` is told the object that it left, if it left one.

    ``before`` is the status that it began with, after a restart that it carried out; ``execution`` counts restarts.
    """

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.before: Mapping[str, Any] = body.get("status") or {}
        self.execution = 0
        self.left: JSON | None = None

    def ended(self, body: JSON | None) -> None:
        """The turn has come to its end."""
        self.left = body


class Packages(Mapping[str, Package]):
    """A table of packages whose operations are told of; the table behind it may change (packages from outside)."""

    def __init__(self, table: Mapping[str, Package], telemetry: Telemetry, holds: fence.Holds) -> None:
        self._table = table
        self._telemetry = telemetry
        self._holds = holds
        self._made: dict[str, tuple[Package, Package]] = {}

    def __len__(self) -> int:
        """How many packages there are."""
        return len(self._table)

    def __iter__(self) -> Iterator[str]:
        """The paths of the packages."""
        return iter(self._table)

    def __getitem__(self, path: str) -> Package:
        """The package of a path; raises ``KeyError``."""
        package = self._table[path]
        made = self._made.get(path)
        if made is None or made[0] is not package:
            operations = _Told(package, self._telemetry, self._holds)
            made = self._made[path] = (package, dataclasses.replace(package, operations=operations))
        return made[1]


class _Told(Mapping[str, Operation]):
    """The operations of a package, each told of. A package from outside may know more of them than it lists."""

    def __init__(self, package: Package, telemetry: Telemetry, holds: fence.Holds) -> None:
        self._package = package
        self._telemetry = telemetry
        self._holds = holds
        self._made: dict[str, Operation] = {}

    def __len__(self) -> int:
        return len(self._package.operations)

    def __iter__(self) -> Iterator[str]:
        return iter(self._package.operations)

    def __getitem__(self, do: str) -> Operation:
        made = self._made.get(do)
        if made is None:
            operation = self._package.operations[do]
            made = self._made[do] = self._telemetry.operation(self._package.provider, do, operation, self._holds)
        return made


class Telemetry:
    """The hooks; ``tracer`` is ``None`` when nobody collects traces."""

    def __init__(self, metrics: Metrics, tracer: Tracer | None = None) -> None:
        self.metrics = metrics
        self._tracer = tracer
        self._turns: dict[Key, Turn] = {}

    def close(self) -> None:
        """Send what has not been sent yet."""
        if self._tracer is not None:
            self._tracer.close()

    # Of the controller.

    def seen(self, key: Key, shard: int, body: Mapping[str, Any]) -> None:
        """A run is there or has changed."""
        self.metrics.seen(key, shard, body.get("status") or {})

    def gone(self, key: Key) -> None:
        """A run was deleted."""
        self.metrics.gone(key)

    def known(self) -> set[Key]:
        """The runs that are counted."""
        return {key for census in self.metrics.census.values() for key in census.known}

    def taken(self, seconds: float) -> None:
        """A run has its turn after it waited so long for a worker."""
        self.metrics.queue_wait.observe(seconds)

    def failed(self) -> None:
        """A turn failed and will be tried again."""
        self.metrics.retries.inc()

    def begun(self, body: Mapping[str, Any], execution: int) -> None:
        """The turn of a run goes on from here, after the restart that it carried out if there was one."""
        turn = self._turns.get(_key(body))
        if turn is not None:
            turn.before, turn.execution = body.get("status") or {}, execution

    def planned(self, seconds: float) -> None:
        """The steps of a run were planned so long after its turn had begun."""
        self.metrics.planned.labels(CONTROLLER).observe(seconds)

    def attempted(self, step_type: str, seconds: float) -> None:
        """An attempt of a step took so long."""
        self.metrics.attempted(step_type, seconds)

    def woken(self, seconds: float) -> None:
        """A run has its turn so long after something that it waits for has changed."""
        self.metrics.wake.observe(seconds)

    @contextlib.contextmanager
    def turn(self, key: Key, body: JSON) -> Iterator[Turn]:
        """Around a turn of a run."""
        one, began = Turn(body), time.perf_counter()
        self._turns[key] = one
        try:
            with logs.bound(run=f"{key[0]}/{key[1]}"):
                yield one
                if one.left is not None:
                    self._turned(one, one.left, time.perf_counter() - began)
        finally:
            del self._turns[key]

    def _turned(self, one: Turn, left: JSON, seconds: float) -> None:
        before, after = one.before, left.get("status") or {}
        self.metrics.turned(before, after, seconds)
        if after.get("finished") and not before.get("finished"):
            self.metrics.ended(str(after.get("status") or ""), _since(after.get("startTime")))
        if self._tracer is not None:
            self._tracer.turned(left, before, one.execution)

    # Of templates, clients and operations.

    def upgraded(self, found: compat.Upgraded) -> None:
        """The text of a template was looked through for older spellings."""
        self.metrics.upgraded(found)

    def evicted(self) -> None:
        """A prepared template was dropped because there are too many."""
        self.metrics.evicted()

    def api_call(self, call: FinishedCall) -> None:
        """A request to an API server has ended."""
        self.metrics.api_call(call)
        if self._tracer is not None:
            self._tracer.api_call(call)

    def operation(self, provider: str, name: str, operation: Operation, holds: fence.Holds) -> Operation:
        """An operation that is told of and, if it must not be repeated, passes the fence."""

        async def run(call: Call) -> Outcome:
            once = operation.classify(call.args) is Effect.ONCE
            began, outcome = time.perf_counter(), "error"
            attempt = call.key.rpartition("/")[2]
            cluster = call.args.get("cluster")
            span = self._span(call, f"{provider}.{name}")
            with logs.bound(step=call.step_name, attempt=attempt, cluster=cluster), span:
                try:
                    if once:
                        fence.check(holds)
                    found = await operation.run(call)
                    outcome = "ok"
                except errors.WorkflowError as error:
                    outcome = type(error).__name__.removesuffix("Error")
                    said = "it dealt with Secrets, the status says why" if call.sensitive else error.message
                    logger.info("operation %s.%s failed: %s", provider, name, said)
                    raise
                finally:
                    self.metrics.operation.labels(provider, name, outcome).observe(time.perf_counter() - began)
            return found

        return dataclasses.replace(operation, run=run)

    def _span(self, call: Call, name: str) -> contextlib.AbstractContextManager[None]:
        if self._tracer is None:
            return contextlib.nullcontext()
        turn = self._turns.get((call.run_namespace, call.run_name))
        return self._tracer.operation(call, name, turn.execution if turn is not None else 0)


def _key(body: Mapping[str, Any]) -> Key:
    return body["metadata"]["namespace"], body["metadata"]["name"]


def _since(text: Any) -> float:
    """Seconds since a time of a status."""
    if not text:
        return 0.0
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(str(text))).total_seconds())
