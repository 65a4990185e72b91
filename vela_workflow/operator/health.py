"""The port for Prometheus and for probes: ``/metrics``, ``/healthz``, ``/readyz``.

It is served by a thread of its own, and that is the point: ``/healthz`` asks the event loop to do something and says
so when that does not happen within ``PATIENCE``. A long queue is no reason to be killed; a loop that is stuck is.
``/readyz`` says whether the operator does what it is there for: definitions loaded, watches open, API server answering,
not about to stop. A replica that does not lead is ready: it serves admission and would take over.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import http.server
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from vela_workflow import errors

PATIENCE: Final = 5.0
"""Seconds that the event loop has to answer."""

TEXT: Final = "text/plain; charset=utf-8"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"

Check = Callable[[], Awaitable[str]]
"""Says what is wrong, or nothing when all is well."""


@dataclass(frozen=True, slots=True)
class Routes:
    """What the paths answer; all of it runs on the event loop."""

    metrics: Callable[[], bytes]
    ready: Check


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    kind: str = TEXT


class Endpoint:
    """The port; ``start`` on the event loop that is to be watched, ``close`` in the end."""

    def __init__(self, address: str, port: int, routes: Routes, *, patience: float = PATIENCE) -> None:
        self._address = (address, port)
        self._routes = routes
        self._patience = patience
        self._server: http.server.ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen; raises ``WorkflowError`` when the port cannot be had."""
        self._loop = asyncio.get_running_loop()
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            server_version = "vela-workflow"
            sys_version = ""
            timeout = 10

            def do_GET(self) -> None:
                answer = endpoint.answer(self.path.partition("?")[0])
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.kind)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: Any) -> None:
                """Probes are no news."""

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in endpoint._address[0] else socket.AF_INET

        try:
            self._server = Server(self._address, Handler)
        except OSError as error:
            host, port = self._address
            raise errors.WorkflowError(
                f"cannot listen on {host}:{port} for metrics and probes: {error.strerror}"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="probes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def answer(self, path: str) -> _Answer:
        """The answer to a GET, asked for from any thread but that of the loop."""
        match path:
            case "/healthz" | "/livez":
                return self._on_loop(self._alive)
            case "/readyz":
                return self._on_loop(self._ready)
            case "/metrics":
                return self._on_loop(self._metrics)
        return _Answer(404, b"there are /metrics, /healthz and /readyz\n")

    def _on_loop(self, work: Callable[[], Coroutine[Any, Any, _Answer]]) -> _Answer:
        assert self._loop is not None
        if self._loop.is_closed():
            return _Answer(503, b"the operator has ended\n")
        future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            return future.result(self._patience)
        except (TimeoutError, concurrent.futures.CancelledError):
            future.cancel()
            return _Answer(503, f"the event loop did not answer within {self._patience:g} s\n".encode())

    @staticmethod
    async def _alive() -> _Answer:
        return _Answer(200, b"ok\n")

    async def _ready(self) -> _Answer:
        problem = await self._routes.ready()
        return _Answer(503, f"{problem}\n".encode()) if problem else _Answer(200, b"ok\n")

    async def _metrics(self) -> _Answer:
        return _Answer(200, self._routes.metrics(), METRICS)
