"""The API server goes away for a while, or cannot answer, in the middle of many runs."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import operator_fixture as fixture
from tests.faults import scenario
from tests.faults.counter import Counter
from tests.faults.fragile import Fragile
from tools.processes import free_port
from tools.waiting import wait_for

JSON = dict[str, Any]

WAITING, BUSY = 25, 25
"""How many runs wait for something, and how many are in the middle of their work, when the server goes away."""

HALT = 15.0
"""Seconds for which etcd stands still."""


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fragile]:
    with Fragile(tmp_path_factory.mktemp("fragile")) as made:
        yield made


@pytest.fixture(scope="module")
def port() -> int:
    """The port on which the operator tells whether it is ready."""
    return free_port()


@pytest.fixture(scope="module")
def lonely(
    fragile: Fragile, cue_command: Path, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[fixture.OperatorProcess]:
    """An operator whose API server is ``fragile``."""
    folder = tmp_path_factory.mktemp("lonely")
    with fixture.OperatorProcess(
        kubeconfig=fragile.operator_kubeconfig,
        cue=cue_command,
        namespace=fragile.namespace,
        log=folder / "operator.log",
        metrics_address="127.0.0.1",
        metrics_port=port,
    ) as process:
        yield process


def readiness(port: int) -> tuple[int, str]:
    """What the operator answers when it is asked whether it is ready."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def all_wait(statuses: dict[str, JSON], names: list[str]) -> bool:
    """Whether the runs of these names are at their wait."""
    return all(scenario.is_at_its_wait(statuses[name]) for name in names)


OUTAGES: dict[str, Callable[[Fragile], None]] = {
    "the API server is killed and comes back": Fragile.restart,
    "etcd stands still": lambda fragile: fragile.halt(HALT),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES.keys())
def test_many_runs_outlive_an_outage(
    outage: Callable[[Fragile], None], fragile: Fragile, lonely: fixture.OperatorProcess, counter: Counter
) -> None:
    names = [fixture.unique("waiting") for _ in range(WAITING)] + [fixture.unique("busy") for _ in range(BUSY)]
    for name in names[:WAITING]:
        fragile.create(name, scenario.steps(name, counter))
    wait_for(lambda: all_wait(fragile.statuses(), names[:WAITING]), what="runs that wait")
    for name in names[WAITING:]:
        fragile.create(name, scenario.steps(name, counter))
    wait_for(
        lambda: sum(bool(counter.deliveries(f"/{name}")) for name in names[WAITING:]) > BUSY // 5, what="some work"
    )

    outage(fragile)

    for name in names:
        gate = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-gate"}, "data": {"ready": "yes"}}
        fragile.api.apply(gate, fragile.namespace)
    wait_for(
        lambda: all(status.get("finished") for name, status in fragile.statuses().items() if name in names),
        timeout=60,
        what="the end of all runs",
    )
    ended = fragile.statuses()
    assert {name: fixture.brief(ended[name]) for name in names} == {
        name: dict.fromkeys(scenario.STEPS, "succeeded") for name in names
    }
    assert {name: len(counter.deliveries(f"/{name}")) for name in names} == dict.fromkeys(names, 1)
    assert lonely.running


def test_an_operator_waits_for_an_api_server_that_is_away(
    fragile: Fragile, lonely: fixture.OperatorProcess, port: int
) -> None:
    lonely.kill()
    fragile.server.stop()
    try:
        lonely.start(wait=False)
        wait_for(lambda: "trying again" in lonely.output(), what="a word in the log")
        assert lonely.stop() == 0  # whoever waits can be told to end

        lonely.start(wait=False)
        wait_for(lambda: "trying again" in lonely.output(), what="a word in the log")
        status, text = readiness(port)
        assert status == 503
        assert text.startswith("starting: the API server cannot be reached: ")
        assert "cannot reach https://" in text
        assert fixture.READY not in lonely.output()
    finally:
        fragile.server.start()
    lonely.wait_ready()
    wait_for(lambda: readiness(port)[0] == 200, what="readiness")
    name = fixture.unique("after")
    fragile.create(name, [{"name": "a", "type": "echo"}])
    wait_for(lambda: fragile.statuses()[name].get("status") == "succeeded", what="a run that is carried out")
