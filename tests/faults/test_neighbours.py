"""What goes wrong for some runs, and what fifty others that are under way at the same time notice of it: nothing."""

from __future__ import annotations

import base64
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import operator_fixture as fixture
from tests.cluster.runaway import RUNAWAY
from tools.rest import Api
from vela_workflow.api import constants
from vela_workflow.clusters import secrets

JSON = dict[str, Any]

GOOD = 50
"""How many good runs there are beside the others."""

SLOWER = 4
"""How many times as long the good runs may take beside the others as alone; the others share the machine too."""

LEAST = 12.0
"""Seconds that the good runs may take on any machine."""

HUNG = 40
"""How many runs want something of a cluster that hangs: more than the operator works on at the same time."""

HOSTILE = {
    **RUNAWAY,
    "talker": """
import (
	"list"
	"strings"
)
result: list.Repeat([strings.Repeat("x", 1000)], 100*1000)
parameter: {}
""",
}
"""Templates without an end: in time, in memory, in both, and in what they print."""


LARGE = """
import (
	"list"
	"strings"
)
result: list.Repeat([strings.Repeat("x", 1024)], parameter.kib)
parameter: kib: int
"""


def start_good(runs: fixture.Runs) -> list[fixture.Run]:
    """Start the good runs."""
    return [
        runs.start([
            {"name": "make", "type": "touch", "properties": {"name": fixture.unique("good")}},
            {"name": "tell", "type": "echo"},
        ])
        for _ in range(GOOD)
    ]  # fmt: skip


def all_end(good: list[fixture.Run], within: float) -> None:
    """Wait until all good runs have succeeded; ``within`` are seconds from now."""
    deadline = time.monotonic() + within
    for run in good:
        run.ended("succeeded", timeout=max(0.1, deadline - time.monotonic()))


@pytest.fixture(scope="module")
def soon(admin: Api, operator: fixture.OperatorProcess, recorder: fixture.Recorder, run_namespace: str) -> float:
    """Seconds within which the good runs end when they are not held up, by how long they take alone."""
    runs = fixture.Runs(admin, recorder, run_namespace)
    # A template that nobody has evaluated yet may have to wait for the trials of others.
    runs.start("[{name: a, type: touch, properties: {name: tried}}, {name: b, type: echo}]").ended("succeeded")
    began = time.monotonic()
    all_end(start_good(runs), 60.0)
    return max(LEAST, SLOWER * (time.monotonic() - began))


@pytest.fixture
def hanging_cluster(admin: Api) -> Iterator[str]:
    """A cluster that takes connections and never answers."""
    name = fixture.unique("hangs")
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        server = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": {secrets.KUBECONFIG_LABEL: "true"}},
            "data": {"kubeconfig": base64.b64encode(json.dumps(config).encode()).decode()},
        }
        admin.create(secret, constants.DEFAULT_SYSTEM_NAMESPACE)
        yield name
        admin.delete("v1", "Secret", name, constants.DEFAULT_SYSTEM_NAMESPACE)


def test_a_cluster_that_hangs_holds_up_only_what_needs_it(
    runs: fixture.Runs, soon: float, hanging_cluster: str
) -> None:
    value = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    step = {"name": "far", "type": "apply-object", "properties": {"value": value, "cluster": hanging_cluster}}
    hung = [runs.start([step]) for _ in range(HUNG)]
    all_end(start_good(runs), soon)
    for run in hung[:3]:
        entry = run.until_step("far", "running", "Wait", timeout=60)
        assert f"cluster {hanging_cluster}" in entry["message"]
    for run in hung:
        run.patch_status({"terminated": True})
    for run in hung:
        run.ended("terminated", timeout=60)


def test_templates_without_an_end_are_ended_and_hold_up_nobody(runs: fixture.Runs, soon: float) -> None:
    kinds = {name: fixture.unique(name) for name in HOSTILE}
    for name, kind in kinds.items():
        runs.definition(kind, HOSTILE[name])
    output = [{"name": "o", "valueFrom": "result"}]
    bad = [runs.start([{"name": "a", "type": kind, "outputs": output}]) for kind in kinds.values()]
    all_end(start_good(runs), soon)
    for run in bad:
        status = run.ended("failed", timeout=90)
        assert fixture.brief(status) == {"a": "failed/Rendering"}
        assert re.search(r"longer than|more than|more memory|exceeds limit", fixture.step(status, "a")["message"])


def test_outputs_that_do_not_fit_fail_their_step(runs: fixture.Runs, soon: float) -> None:
    kind = fixture.unique("large")
    runs.definition(kind, LARGE)

    def step(name: str, kib: int) -> JSON:
        outputs = [{"name": name, "valueFrom": "result"}]
        return {"name": name, "type": kind, "properties": {"kib": kib}, "outputs": outputs}

    one = runs.start([step("a", 2048), {"name": "b", "type": "echo", "if": "always"}])
    two = runs.start([step("a", 600), step("b", 600), {"name": "c", "type": "echo", "if": "always"}])
    all_end(start_good(runs), soon)
    status = one.ended("failed")
    assert fixture.brief(status) == {"a": "failed/Output", "b": "succeeded"}
    assert "outputs of 20" in fixture.step(status, "a")["message"]
    status = two.ended("failed")
    assert fixture.brief(status) == {"a": "succeeded", "b": "failed/Output", "c": "succeeded"}
    assert [value is None for value in two.variables().values()] == [False, True]
