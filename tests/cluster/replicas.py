"""Several replicas of the operator, and a service that counts what is asked of it."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.cluster import operator_fixture as fixture
from tools.processes import free_port
from tools.rest import Api
from tools.waiting import wait_for

JSON = dict[str, Any]

LEASE_API = "coordination.k8s.io/v1"
QUICK = {"lease_duration": 3, "lease_trusted": 2, "lease_retry": 0.5}
"""Timing of tests that wait for a Lease to run out."""


class Replica(fixture.OperatorProcess):
    """One replica; its identity in the election is its name."""

    def __init__(self, name: str, **settings: Any) -> None:
        self.name = name
        self.port = free_port()
        super().__init__(
            **settings, identity=name, leader_election="true", metrics_port=self.port, metrics_address="127.0.0.1"
        )

    def read(self, path: str) -> tuple[int, str]:
        """Status and text that the metrics port answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def sample(self, name: str) -> float:
        """The value of a metric with all its labels as written, 0 when there is none."""
        for line in self.read("/metrics")[1].splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0


class Replicas:
    """Replicas of one operator in one namespace; ``settings`` are those of the next one that is added."""

    def __init__(self, api: Api, namespace: str, folder: Path, **settings: Any) -> None:
        self.api = api
        self.namespace = namespace
        self._folder = folder
        self.settings: dict[str, Any] = {"namespace": namespace, "lease_namespace": namespace, **settings}
        self.all: dict[str, Replica] = {}

    def add(self, name: str) -> Replica:
        """Start one more."""
        folder = self._folder / name
        folder.mkdir()
        replica = self.all[name] = Replica(name, log=folder / "operator.log", **self.settings)
        replica.start()
        return replica

    def leases(self) -> dict[str, str]:
        """The holders of the Leases of shards by name."""
        found = self.api.list(LEASE_API, "Lease", self.namespace)
        return {
            one["metadata"]["name"]: one["spec"].get("holderIdentity") or ""
            for one in found
            if "-member-" not in one["metadata"]["name"]
        }

    def leader(self, but: str = "", timeout: float = fixture.PATIENCE) -> Replica:
        """The replica that leads (another than ``but``), as soon as there is one."""

        def found() -> str:
            holder = self.leases().get("vela-workflow", "")
            return holder if holder != but else ""

        return self.all[wait_for(found, timeout, "a leader")]

    def close(self) -> None:
        """End all of them."""
        for replica in self.all.values():
            replica.kill()


@contextlib.contextmanager
def replicas(api: Api, namespace: str, folder: Path, **settings: Any) -> Iterator[Replicas]:
    """Replicas that end with the block."""
    made = Replicas(api, namespace, folder, **settings)
    try:
        yield made
    finally:
        made.close()


class Counting:
    """A service that counts POSTs by run and step; ``delay`` is how many seconds it takes for each."""

    def __init__(self, delay: float = 0.0) -> None:
        self.counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._delay = delay
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Counting:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def until(self, wanted: Callable[[Counter[str]], bool], timeout: float = fixture.PATIENCE) -> None:
        """Wait until the counts are as wanted."""
        with self._changed:
            assert self._changed.wait_for(lambda: wanted(self.counts), timeout), self.counts

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        counting = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                # uid / step / path / attempt: the same request again differs in the attempt at most
                key = self.headers["Idempotency-Key"].rpartition("/")[0]
                self.rfile.read(int(self.headers["Content-Length"]))
                with counting._changed:
                    counting.counts[key] += 1
                    counting._changed.notify_all()
                time.sleep(counting._delay)
                data = json.dumps({"done": True}).encode()
                with contextlib.suppress(ConnectionError):
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler
