"""Traces: a run is a trace, its steps, their operations and the requests these make are spans.

Runs outlive processes, so ids are derived: the trace from the uid of the run, the spans of run and step from their ids.
A span of a run or step is sent when it has ended, from the times in its status, by whichever process saw it end;
operations and requests are sent by the process that made them, below spans that are sent later. So a trace is whole
whatever happened to the operator meanwhile.

The library is an extra (``vela-workflow[tracing]``) and is imported only when an endpoint is configured.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from vela_workflow import __version__, errors
from vela_workflow.clusters.transport import FinishedCall
from vela_workflow.providers.contract import Call

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

JSON = Mapping[str, Any]

ENDED: Final = frozenset({"succeeded", "failed", "skipped"})

_OPERATION: ContextVar[tuple[int, int] | None] = ContextVar("operation", default=None)
"""Trace and span of the operation that is being carried out."""


def trace_id(uid: str) -> int:
    """The trace of a run."""
    return int.from_bytes(hashlib.sha256(f"run/{uid}".encode()).digest()[:16], "big") or 1


def span_id(*parts: str) -> int:
    """The span that the parts name."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big") or 1


class Tracer:
    """Sends spans; made by ``connect``."""

    def __init__(self, exporter: SpanExporter) -> None:
        from opentelemetry import trace  # noqa: PLC0415 - an extra, see the module
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415

        class Ids(RandomIdGenerator):
            """Ids that were decided on beforehand, else random ones; only the event loop makes spans."""

            trace = 0
            span = 0

            def generate_trace_id(self) -> int:
                return self.trace or super().generate_trace_id()

            def generate_span_id(self) -> int:
                return self.span or super().generate_span_id()

        self._trace = trace
        self._ids = Ids()
        resource = Resource.create({"service.name": "vela-workflow", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("vela_workflow", __version__)

    def close(self) -> None:
        """Send what has not been sent yet."""
        self._provider.shutdown()

    def turned(self, body: JSON, before: JSON, after: JSON) -> None:
        """Send the spans of what ended between two statuses of a run."""
        metadata = body["metadata"]
        uid, now = str(metadata["uid"]), time.time_ns()
        root = span_id("run", uid, str(after.get("startTime") or ""))
        finished = {step.get("id") for step in _steps(before) if step.get("phase") in ENDED}
        for step in _steps(after):
            if step.get("phase") not in ENDED or step.get("id") in finished or not step.get("firstExecuteTime"):
                continue
            parent = span_id("step", uid, step["parent"]) if step.get("parent") else root
            own = span_id("step", uid, str(step["id"]))
            attributes = {f"step.{key}": str(step[key]) for key in ("name", "type", "phase", "reason") if step.get(key)}
            attributes |= {"step.id": str(step["id"]), **_of_run(metadata)}
            self._send(
                f"step {step.get('type')}",
                ids=(trace_id(uid), own, parent),
                times=(_nanoseconds(step["firstExecuteTime"]), now),
                attributes=attributes,
                failure=str(step.get("message") or step.get("reason") or "") if step["phase"] == "failed" else None,
            )
        if after.get("finished") and not before.get("finished"):
            phase = str(after.get("status"))
            self._send(
                "run",
                ids=(trace_id(uid), root, 0),
                times=(_nanoseconds(after.get("startTime")) or now, now),
                attributes={"run.phase": phase, **_of_run(metadata)},
                failure=str(after.get("message") or phase) if phase != "succeeded" else None,
            )

    @contextlib.contextmanager
    def operation(self, call: Call, name: str) -> Iterator[None]:
        """A span around an operation; requests inside become its children."""
        trace, parent = trace_id(call.run_uid), span_id("step", call.run_uid, call.step_id)
        began = time.time_ns()
        own = span_id("operation", call.key, str(began))
        token = _OPERATION.set((trace, own))
        failure: str | None = None
        try:
            yield
        except BaseException as error:
            failure = errors.bounded(str(error)) or type(error).__name__
            raise
        finally:
            _OPERATION.reset(token)
            self._send(
                f"operation {name}",
                ids=(trace, own, parent),
                times=(began, time.time_ns()),
                attributes={
                    "operation.path": ".".join(str(part) for part in call.path),
                    "step.name": call.step_name,
                    "step.id": call.step_id,
                    "run.name": call.run_name,
                    "run.namespace": call.run_namespace,
                },
                failure=failure,
            )

    def api_call(self, call: FinishedCall) -> None:
        """The span of a request that an operation made; other requests have none."""
        current = _OPERATION.get()
        if current is None:
            return
        now = time.time_ns()
        self._send(
            f"request {call.verb}",
            ids=(current[0], 0, current[1]),
            times=(now - int(call.seconds * 1e9), now),
            attributes={"cluster": call.cluster, "verb": call.verb, "http.response.status_code": call.status},
            failure=f"status {call.status}" if call.status >= 400 or not call.status else None,
        )

    def _send(
        self,
        name: str,
        *,
        ids: tuple[int, int, int],
        times: tuple[int, int],
        attributes: Mapping[str, str | int],
        failure: str | None,
    ) -> None:
        """One span; ``ids`` are those of trace, span (0 for a random one) and parent (0 for none)."""
        trace = self._trace
        self._ids.trace, self._ids.span, parent = ids
        span = self._tracer.start_span(
            name, context=self._below(ids[0], parent), start_time=min(times), attributes=dict(attributes)
        )
        self._ids.trace = self._ids.span = 0
        if failure is not None:
            span.set_status(trace.Status(trace.StatusCode.ERROR, failure))
        span.end(max(times))

    def _below(self, trace_number: int, parent: int) -> Any:
        trace = self._trace
        if not parent:
            return trace.set_span_in_context(trace.INVALID_SPAN)
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        return trace.set_span_in_context(
            trace.NonRecordingSpan(trace.SpanContext(trace_number, parent, is_remote=True, trace_flags=flags))
        )


def connect(endpoint: str) -> Tracer:
    """A tracer that sends to an OTLP endpoint over HTTP, such as ``http://collector:4318``.

    Raises ``WorkflowError`` when the library is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    except ImportError as error:
        raise errors.WorkflowError(
            f"traces were asked for, but the library for them is not there ({error}); "
            "install it with `pip install 'vela-workflow[tracing]'`"
        ) from error
    return Tracer(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces"))


def _steps(status: JSON) -> Iterator[dict[str, Any]]:
    """All steps of a status; sub steps say which group is their ``parent``."""
    for step in status.get("steps") or ():
        yield step
        for sub in step.get("subSteps") or ():
            yield {**sub, "parent": str(step.get("id") or "")}


def _of_run(metadata: JSON) -> dict[str, str]:
    return {"run.name": str(metadata["name"]), "run.namespace": str(metadata["namespace"])}


def _nanoseconds(text: Any) -> int:
    if not text:
        return 0
    return int(datetime.fromisoformat(str(text)).timestamp() * 1e9)
