"""What stands at the other end of ``pods/log``: a node whose kubelet says lines that the test chose.

Nothing runs containers here, so the API server asks this for logs as it would ask a kubelet: over HTTPS, at the address
that the Node says.
"""

from __future__ import annotations

import http.server
import queue
import threading
import urllib.parse
from pathlib import Path
from typing import Any

from tests.cluster.providers.certificates import Authority
from tools.rest import Api

NODE = "log-node"


class Kubelet(http.server.ThreadingHTTPServer):
    """Serves the logs of containers: ``logs["pod/container"]`` is a queue of lines, ``None`` ends it."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path) -> None:
        self.logs: dict[str, queue.Queue[str | None]] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        context = Authority.make().server_context(folder)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *arguments: Any) -> None:
        self.shutdown()
        super().__exit__(*arguments)

    def say(self, container: str, *lines: str | None) -> None:
        """Let a container (``pod/container``) log lines; ``None`` ends its log."""
        log = self.logs.setdefault(container, queue.Queue())
        for line in lines:
            log.put(line)

    def add_to(self, api: Api) -> None:
        """Make the Node, with the address of this server."""
        api.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.server_address[1]}},
        }
        api.patch("v1", "Node", NODE, {"status": status}, subresource="status")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Kubelet
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        _, _, _, pod, container = path.split("/")
        self.server.asked.append(query)
        follow = urllib.parse.parse_qs(query).get("follow") == ["true"]
        log = self.server.logs.setdefault(f"{pod}/{container}", queue.Queue())
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while follow or not log.empty():
            line = log.get()
            if line is None:
                break
            data = line.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""
