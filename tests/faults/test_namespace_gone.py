"""A namespace is deleted with many runs in it: the operator stays calm and forgets them."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests import web
from tests.cluster import operator_fixture as fixture
from tests.cluster.conftest import make_run_namespace
from tests.faults.proxy import Proxy
from tools.kubectl import Kubectl
from tools.processes import free_port
from tools.rest import Api
from tools.waiting import wait_for

MANY: Final = 20
"""How many runs there are of each sort."""

SORTS: Final = {
    "waits": "[{name: a, type: await, properties: {name: no-such}}]",
    "suspended": "[{name: a, type: suspend}]",
    "posts": "[{name: a, type: post, properties: {url: %s}}, {name: b, type: touch, properties: {name: made}}]",
}
KEPT: Final = ("vela_workflow_runs_in_memory", "vela_workflow_watched_steps", "vela_workflow_watches")
"""What must go with the runs."""

LINES: Final = 2 * MANY * len(SORTS)
"""Lines that the operator may log of it."""

WRITES: Final = 6 * MANY * len(SORTS)
"""Writes that it may make, all in all."""


class Slow(web.Server):
    """Answers when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Semaphore(0)
        self.may_answer = threading.Event()

    def answer(self, request: web.Request) -> web.Answer:
        self.asked.release()
        self.may_answer.wait()
        return web.Answer.of(1)


@pytest.fixture
def slow() -> Iterator[Slow]:
    with Slow() as made:
        yield made
        made.may_answer.set()


def values(port: int) -> dict[str, float]:
    """The metrics without labels, by name."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.split() for line in lines if not line.startswith("#") and "{" not in line]
    return {pair[0]: float(pair[1]) for pair in pairs}


def test_the_runs_of_a_namespace_that_is_deleted_are_forgotten(
    admin: Api,
    installed: None,
    kubectl: Kubectl,
    operator_kubeconfig: Path,
    cue_command: Path,
    slow: Slow,
    tmp_path: Path,
) -> None:
    namespace, port = make_run_namespace(admin), free_port()
    with (
        Proxy(operator_kubeconfig, namespace) as proxy,
        fixture.OperatorProcess(
            kubeconfig=proxy.kubeconfig(tmp_path / "kubeconfig.json"),
            cue=cue_command,
            namespace=namespace,
            log=tmp_path / "operator.log",
            metrics_address="127.0.0.1",
            metrics_port=port,
        ) as operator,
        fixture.Recorder(kubectl, namespace) as recorder,
    ):
        runs = fixture.Runs(admin, recorder, namespace)
        steps = {**SORTS, "posts": SORTS["posts"] % slow.url}
        started = {sort: [runs.start(text) for _ in range(MANY)] for sort, text in steps.items()}
        for run in started["waits"]:
            run.until_step("a", "running", "Wait")
        for run in started["suspended"]:
            run.until_step("a", "suspending")
        for _ in range(4):
            assert slow.asked.acquire(timeout=20)
        admin.delete("v1", "Namespace", namespace)
        wait_for(lambda: admin.get("v1", "Namespace", namespace) is None, timeout=40, what="the end of the namespace")
        slow.may_answer.set()
        wait_for(lambda: not any(values(port)[name] for name in KEPT), what="runs that are forgotten")
        logged = operator.output().splitlines()
        assert len(logged) < LINES
        assert len(proxy.writes) < WRITES
        assert "Traceback" not in operator.output()
