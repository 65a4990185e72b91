"""A web server that counts what it is sent: the outside world, in which nothing can be undone."""

from __future__ import annotations

import dataclasses
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclasses.dataclass(frozen=True, slots=True)
class Delivery:
    """One POST: the path it was sent to, its idempotency key."""

    path: str
    key: str


class Counter:
    """The server; it answers each POST with the number it has on its path. Use it as a context manager."""

    def __init__(self) -> None:
        self._deliveries: list[Delivery] = []
        self._lock = threading.Lock()
        counter = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                number = counter.take(Delivery(self.path, self.headers.get("Idempotency-Key") or ""))
                body = str(number).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Tell nobody."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Counter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, delivery: Delivery) -> int:
        """Count a delivery; returns which one it is on its path."""
        with self._lock:
            self._deliveries.append(delivery)
            return sum(other.path == delivery.path for other in self._deliveries)

    def deliveries(self, path: str) -> list[Delivery]:
        """What was sent to a path."""
        with self._lock:
            return [delivery for delivery in self._deliveries if delivery.path == path]
