"""Which span of a trace requests belong to, and the header that says so to whoever receives them.

The header is ``traceparent`` of the W3C (Trace Context). An operation sets its span around all it does
(``operator/tracing.py``), and whatever sends requests below it asks here. When nobody collects traces there is no span,
and requests carry nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

TRACEPARENT: Final = "traceparent"


@dataclass(frozen=True, slots=True)
class Span:
    """A span by the numbers of its trace and of itself."""

    trace: int
    number: int

    @property
    def traceparent(self) -> str:
        """The value of the header: version 00, and the flag of a trace that is kept."""
        return f"00-{self.trace:032x}-{self.number:016x}-01"


_CURRENT: ContextVar[Span | None] = ContextVar("span", default=None)


@contextlib.contextmanager
def inside(span: Span) -> Iterator[None]:
    """Requests that are sent inside belong to this span."""
    token = _CURRENT.set(span)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Span | None:
    """The span that requests of now belong to; ``None`` when nobody collects traces."""
    return _CURRENT.get()


def headers() -> dict[str, str]:
    """The headers that say so."""
    span = _CURRENT.get()
    return {} if span is None else {TRACEPARENT: span.traceparent}
