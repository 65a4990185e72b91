"""Traces: a run is a trace, its steps, their operations and the requests these make are spans.

Runs outlive processes, so ids are derived: the trace from the uid of the run, the spans of run and step from their ids.
A span of a run or step is sent when it has ended, from the times in its status, by whichever process saw it end;
operations and requests are sent by the process that made them, below spans that are sent later. So a trace is whole
whatever happened to the operator meanwhile.

A run that is restarted begins a new trace, whose first span is linked to that of the trace before. What is sent out on
the way, to API servers and by HTTP operations, carries the span of its operation (``clusters/spans.py``).

The library is an extra (``vela-workflow[tracing]``) and is imported only when an endpoint is configured.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from vela_workflow import __version__, errors
from vela_workflow.clusters import spans
from vela_workflow.clusters.spans import Span
from vela_workflow.clusters.transport import FinishedCall
from vela_workflow.providers.contract import Call

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import NonRecordingSpan

JSON = Mapping[str, Any]

ENDED: Final = frozenset({"succeeded", "failed", "skipped"})


def trace_id(uid: str, execution: int = 0) -> int:
    """The trace of a run; of one that was restarted, the trace of that execution."""
    name = f"run/{uid}/{execution}" if execution else f"run/{uid}"
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big") or 1


def span_id(*parts: str) -> int:
    """The span that the parts name."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "big") or 1


def root(uid: str, execution: int) -> Span:
    """The span of a whole execution of a run."""
    return Span(trace_id(uid, execution), span_id("run", uid, str(execution)))


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

    def turned(self, body: JSON, before: JSON, execution: int) -> None:
        """Send the spans of what ended between a status and that of ``body``, in this execution of the run."""
        metadata, after = body["metadata"], body.get("status") or {}
        uid, now = str(metadata["uid"]), time.time_ns()
        run = root(uid, execution)
        finished = {step.get("id") for step in _steps(before) if step.get("phase") in ENDED}
        for step in _steps(after):
            if step.get("phase") not in ENDED or step.get("id") in finished or not step.get("firstExecuteTime"):
                continue
            parent = span_id("step", uid, step["parent"]) if step.get("parent") else run.number
            attributes = {f"step.{key}": str(step[key]) for key in ("name", "type", "phase", "reason") if step.get(key)}
            attributes |= {"step.id": str(step["id"]), **_of_run(metadata)}
            self._send(
                f"step {step.get('type')}",
                Span(run.trace, span_id("step", uid, str(step["id"]))),
                parent,
                times=(_nanoseconds(step["firstExecuteTime"]), now),
                attributes=attributes,
                failure=str(step.get("message") or step.get("reason") or "") if step["phase"] == "failed" else None,
            )
        if after.get("finished") and not before.get("finished"):
            phase = str(after.get("status"))
            self._send(
                "run",
                run,
                times=(_nanoseconds(after.get("startTime")) or now, now),
                attributes={"run.phase": phase, **_of_run(metadata)},
                failure=str(after.get("message") or phase) if phase != "succeeded" else None,
                follows=root(uid, execution - 1) if execution else None,
            )

    @contextlib.contextmanager
    def operation(self, call: Call, name: str, execution: int = 0) -> Iterator[None]:
        """A span around an operation; requests inside become its children."""
        began = time.time_ns()
        own = Span(trace_id(call.run_uid, execution), span_id("operation", call.key, str(began)))
        failure: str | None = None
        try:
            with spans.inside(own):
                yield
        except BaseException as error:
            failure = errors.bounded(str(error)) or type(error).__name__
            raise
        finally:
            self._send(
                f"operation {name}",
                own,
                span_id("step", call.run_uid, call.step_id),
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
        current = spans.current()
        if current is None:
            return
        now = time.time_ns()
        self._send(
            f"request {call.verb}",
            Span(current.trace, 0),
            current.number,
            times=(now - int(call.seconds * 1e9), now),
            attributes={
                "cluster": call.cluster,
                "verb": call.verb,
                "kind": call.kind,
                "http.response.status_code": call.status,
            },
            failure=f"status {call.status}" if call.status >= 400 or not call.status else None,
        )

    def _send(
        self,
        name: str,
        own: Span,
        parent: int = 0,
        *,
        times: tuple[int, int],
        attributes: Mapping[str, str | int],
        failure: str | None,
        follows: Span | None = None,
    ) -> None:
        """One span, with a random number if it has none; ``parent`` is a number too, 0 for none."""
        trace = self._trace
        self._ids.trace, self._ids.span = own.trace, own.number
        span = self._tracer.start_span(
            name,
            context=trace.set_span_in_context(self._remote(Span(own.trace, parent)) if parent else trace.INVALID_SPAN),
            start_time=min(times),
            attributes=dict(attributes),
            links=[trace.Link(self._remote(follows).get_span_context())] if follows else (),
        )
        self._ids.trace = self._ids.span = 0
        if failure is not None:
            span.set_status(trace.Status(trace.StatusCode.ERROR, failure))
        span.end(max(times))

    def _remote(self, span: Span) -> NonRecordingSpan:
        """A span that is sent at another time."""
        trace = self._trace
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        context = trace.SpanContext(span.trace, span.number, is_remote=True, trace_flags=flags)
        made: NonRecordingSpan = trace.NonRecordingSpan(context)
        return made


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
