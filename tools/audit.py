"""The audit log of a local API server: who asked for what, one event per request.

Tests and benchmarks count requests with it. A watch shows up twice, when it starts and when it ends.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request: ``subject`` is ``resource[/subresource]`` (or the path of what is no resource)."""

    user: str
    verb: str
    subject: str
    namespace: str
    name: str
    code: int
    stage: str
    uri: str
    agent: str


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The log file at ``path``."""

    path: Path

    def mark(self) -> int:
        """The present end of the log; ``requests`` takes it as the place to start."""
        return self.path.stat().st_size if self.path.exists() else 0

    def requests(self, since: int = 0, *, user: str = "") -> list[Request]:
        """The requests written after ``since``, of one user when ``user`` is not empty."""
        return [request for request in self._read(since) if not user or request.user == user]

    def _read(self, since: int) -> Iterator[Request]:
        with self.path.open("rb") as file:
            file.seek(since)
            for line in file:
                if line.endswith(b"\n"):  # the last one may be half written
                    yield _request(json.loads(line))


def _request(event: dict[str, Any]) -> Request:
    target = event.get("objectRef", {})
    parts = (target.get("resource", ""), target.get("subresource", ""))
    subject = "/".join(part for part in parts if part) or event["requestURI"].partition("?")[0]
    return Request(
        user=event["user"].get("username", ""),
        verb=event["verb"],
        subject=subject,
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        stage=event["stage"],
        uri=event["requestURI"],
        agent=event.get("userAgent", ""),
    )
