"""A web server on a port of the loopback address: the world outside, as a test wants it to be.

What it answers is said by a subclass, in ``answer``; how it listens, reads and ends is the same for all. Each request
has a thread of its own, so an answer may take its time. Use it as a context manager.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import http.server
import json
import ssl
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What was asked; names of ``headers`` are found in any case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What is answered."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Self:
        """An answer in JSON."""
        return cls(status, json.dumps(value).encode())


class Server(abc.ABC):
    """Answers HTTP, or HTTPS with the settings of ``context``.

    ``requests`` are what it was asked, in order; ``closed`` is set when it ends.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        server = self

        class Handler(_Handler):
            outside = server

        self.requests: list[Request] = []
        self.closed = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"{'http' if context is None else 'https'}://{self.address}"

    @abc.abstractmethod
    def answer(self, request: Request) -> Answer:
        """What is answered to a request; called in several threads at the same time."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closed.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    outside: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        request = Request(self.command, path, query, self.headers, body)
        self.outside.requests.append(request)
        answer = self.outside.answer(request)
        with contextlib.suppress(ConnectionError):  # whoever asked may be killed meanwhile: that is what tests do
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

    do_POST = do_GET  # noqa: N815 - of the library

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""
