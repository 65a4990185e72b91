"""A TCP proxy before an API server, whose connections can be cut at any time."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import urllib.parse
from pathlib import Path
from typing import Any

import yaml


class Proxy(socketserver.ThreadingTCPServer):
    """Passes bytes on to the server of a kubeconfig."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self._config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        (cluster,) = (one["cluster"] for one in self._config["clusters"])
        address = urllib.parse.urlsplit(cluster["server"])
        self._target = (address.hostname or "", address.port or 443)
        self._open: list[socket.socket] = []
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        cluster["server"] = f"https://127.0.0.1:{self.server_address[1]}"
        self.kubeconfig = folder / "through-the-proxy"
        self.kubeconfig.write_text(yaml.safe_dump(self._config), encoding="utf-8")
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Join a connection with one to the API server, until either ends."""
        with socket.create_connection(self._target) as upstream:
            self._open += [request, upstream]
            other_way = threading.Thread(target=_pass_on, args=(upstream, request), daemon=True)
            other_way.start()
            _pass_on(request, upstream)
            other_way.join()

    def cut(self) -> None:
        """Break all connections."""
        for one in self._open:
            _shut(one)
        self._open.clear()

    def __exit__(self, *arguments: Any) -> None:
        self.cut()
        self.shutdown()
        super().__exit__(*arguments)


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    _shut(source)
    _shut(target)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
