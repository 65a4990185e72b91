"""A web server that counts what it is sent: the outside world, in which nothing can be undone."""

from __future__ import annotations

import dataclasses
import threading

from tests import web


@dataclasses.dataclass(frozen=True, slots=True)
class Delivery:
    """One POST: the path it was sent to, its idempotency key."""

    path: str
    key: str


class Counter(web.Server):
    """The server; it answers each POST with the number it has on its path."""

    def __init__(self) -> None:
        super().__init__()
        self._deliveries: list[Delivery] = []
        self._lock = threading.Lock()

    def answer(self, request: web.Request) -> web.Answer:
        with self._lock:
            self._deliveries.append(Delivery(request.path, request.headers.get("Idempotency-Key") or ""))
            number = sum(other.path == request.path for other in self._deliveries)
        return web.Answer.of(number)

    def deliveries(self, path: str) -> list[Delivery]:
        """What was sent to a path."""
        with self._lock:
            return [delivery for delivery in self._deliveries if delivery.path == path]
