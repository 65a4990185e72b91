"""Several replicas of the operator, and a service that counts what is asked of it."""

from __future__ import annotations

import contextlib
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests import web
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
        return {name: holder for name, holder in self._holders().items() if "-member-" not in name}

    def members(self) -> list[str]:
        """The replicas that have a Lease that says that they are alive, dead or not."""
        return [holder for name, holder in self._holders().items() if "-member-" in name]

    def _holders(self) -> dict[str, str]:
        found = self.api.list(LEASE_API, "Lease", self.namespace)
        return {one["metadata"]["name"]: one["spec"].get("holderIdentity") or "" for one in found}

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


class Counting(web.Server):
    """A service that counts POSTs by run and step; ``delay`` is how many seconds it takes for each."""

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._delay = delay

    def until(self, wanted: Callable[[Counter[str]], bool], timeout: float = fixture.PATIENCE) -> None:
        """Wait until the counts are as wanted."""
        with self._changed:
            met = self._changed.wait_for(lambda: wanted(self.counts), timeout)
            assert met, f"{len(self.counts)} requests, sent {self.counts.total()} times in all"

    def answer(self, request: web.Request) -> web.Answer:
        # uid / step / path / attempt: the same request again differs in the attempt at most
        key = request.headers["Idempotency-Key"].rpartition("/")[0]
        with self._changed:
            self.counts[key] += 1
            self._changed.notify_all()
        self.closed.wait(self._delay)
        return web.Answer.of({"done": True})
