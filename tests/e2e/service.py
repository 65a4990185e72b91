"""A service for examples: it makes images and caches, takes its time, and cannot make what is called ``broken``."""

from __future__ import annotations

import http.server
import json
import threading
from types import TracebackType
from typing import Any

LOOKS = 2
"""How often it is asked for a thing before that is done."""


class Service:
    """Answers on a port of the loopback address; ``requests`` are those that change something, as (path, body)."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self._looks: dict[str, int] = {}
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Service:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def posted(self, path: str, body: Any) -> dict[str, str]:
        """Take what was posted; what is made has an id of its name."""
        self.requests.append((path, body))
        return {"id": f"{body.get('name')}-{len(self.requests)}"}

    def looked(self, path: str) -> dict[str, str]:
        """Tell how the making of the thing at ``path`` gets on."""
        self._looks[path] = self._looks.get(path, 0) + 1
        if self._looks[path] < LOOKS:
            return {"phase": "running"}
        return {"phase": "failed" if "/broken-" in path else "done"}

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        service = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                self._answer(201, service.posted(self.path, json.loads(self.rfile.read(length))))

            def do_GET(self) -> None:
                self._answer(200, service.looked(self.path))

            def _answer(self, status: int, body: dict[str, str]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
