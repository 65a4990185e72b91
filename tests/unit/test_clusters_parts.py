"""The small parts of the client: circuit breaker, discovery cache, comparing versions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from vela_workflow.clusters import breaker, discovery, errors, versions
from vela_workflow.clusters.interest import ABSENT
from vela_workflow.errors import Invalid


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> breaker.Breaker:
    made = breaker.Breaker(breaker.BreakerSettings(threshold=3, first=1.0, cap=4.0), clock=clock)
    for _ in range(3):
        made.failed("connection refused")
    return made


def test_a_breaker_opens_after_failures_in_a_row_only() -> None:
    made = breaker.Breaker(breaker.BreakerSettings(threshold=3), clock=Clock())
    for _ in range(5):
        made.failed("x")
        made.failed("x")
        made.succeeded()
    assert made.admit() == 0.0
    for _ in range(3):
        assert made.admit() == 0.0
        made.failed("connection refused")
    assert made.admit() > 0
    assert made.last_error == "connection refused"


def test_an_open_breaker_lets_one_probe_through_at_a_time() -> None:
    clock = Clock()
    made = opened(clock)
    assert made.admit() == 1.0
    clock.now += 1.0
    assert made.admit() == 0.0, "the probe"
    assert made.admit() > 0, "nobody else"
    made.succeeded()
    assert not made.is_open
    assert made.admit() == 0.0


def test_a_probe_that_never_returns_blocks_nobody_for_good() -> None:
    clock = Clock()
    made = opened(clock)
    clock.now += 1.0
    assert made.admit() == 0.0
    clock.now += 1.0
    assert made.admit() == 0.0


def test_intervals_grow_up_to_a_cap() -> None:
    clock = Clock()
    made = opened(clock)
    waits = []
    for _ in range(5):
        waits.append(made.admit())
        clock.now += waits[-1]
        assert made.admit() == 0.0
        made.failed("still dead")
    assert waits == [1.0, 2.0, 4.0, 4.0, 4.0]


class Server:
    """Answers discovery requests from a dict and counts them."""

    def __init__(self, **kinds: str) -> None:
        self.kinds = kinds
        self.asked: list[str] = []
        self.missing = False

    async def __call__(self, path: str) -> dict[str, Any]:
        self.asked.append(path)
        await asyncio.sleep(0)
        if self.missing:
            raise errors.NotFound("404", status=404)
        resources = [{"name": plural, "kind": kind, "namespaced": True} for kind, plural in self.kinds.items()]
        return {"resources": [*resources, {"name": "wheels/status", "kind": "Wheel", "namespaced": False}]}


async def test_a_group_version_is_asked_once_by_many() -> None:
    server = Server(Wheel="wheels")
    found = discovery.Discovery("", server, clock=Clock())
    resources = await asyncio.gather(*(found.resource("example.com/v1", "Wheel") for _ in range(10)))
    assert {(one.plural, one.namespaced) for one in resources} == {("wheels", True)}
    assert server.asked == ["/apis/example.com/v1"]


async def test_a_new_kind_is_found_after_a_moment() -> None:
    clock = Clock()
    server = Server(Wheel="wheels")
    found = discovery.Discovery("", server, min_interval=1.0, clock=clock)
    for _ in range(3):
        with pytest.raises(errors.UnknownKind, match="'Door'") as caught:
            await found.resource("example.com/v1", "Door")
    assert len(server.asked) == 1
    assert caught.value.after == 1.0
    server.kinds["Door"] = "doors"
    clock.now += 1.0
    assert (await found.resource("example.com/v1", "Door")).plural == "doors"
    assert (await found.resource("example.com/v1", "Wheel")).plural == "wheels"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [("Wheel", "Wheel"), ("wheel", "Wheel"), ("WHEEL", "Wheel"), ("Door", "Door"), ("door", "door"), ("dOOR", None)],
)
async def test_a_kind_is_found_in_any_case_where_only_one_is_meant(asked: str, kind: str | None) -> None:
    found = discovery.Discovery("", Server(Wheel="wheels", Door="doors", door="gates"), clock=Clock())
    if kind is None:
        with pytest.raises(errors.UnknownKind, match=f"'{asked}'"):
            await found.resource("example.com/v1", asked, any_case=True)
    else:
        assert (await found.resource("example.com/v1", asked, any_case=True)).kind == kind


async def test_without_being_asked_to_discovery_minds_the_case() -> None:
    with pytest.raises(errors.UnknownKind, match="'wheel'"):
        await discovery.Discovery("", Server(Wheel="wheels"), clock=Clock()).resource("example.com/v1", "wheel")


async def test_a_group_version_that_is_not_served() -> None:
    server = Server()
    server.missing = True
    with pytest.raises(errors.UnknownKind, match=r"cluster far: .*example.com/v1 is not served"):
        await discovery.Discovery("far", server).resource("example.com/v1", "Wheel")


async def test_a_forgotten_group_version_is_read_again() -> None:
    clock = Clock()
    server = Server(Wheel="wheels")
    found = discovery.Discovery("", server, clock=clock)
    await found.resource("v1", "Wheel")
    found.forget("v1")
    found.forget("v2")
    clock.now += 1.0
    await found.resource("v1", "Wheel")
    assert server.asked == ["/api/v1", "/api/v1"]


API_VERSIONS = [
    pytest.param("v1", "/api/v1", id="core"),
    pytest.param("apps/v1", "/apis/apps/v1", id="group"),
    pytest.param("core.oam.dev/v1beta1", "/apis/core.oam.dev/v1beta1", id="domain"),
    pytest.param("../v1", None, id="dots"),
    pytest.param("apps/v1/namespaces", None, id="too-long"),
    pytest.param("apps/v1?watch=1", None, id="query"),
    pytest.param("", None, id="empty"),
    pytest.param(None, None, id="nothing"),
]


@pytest.mark.parametrize(("api_version", "path"), API_VERSIONS)
def test_paths_of_group_versions(api_version: Any, path: str | None) -> None:
    if path is None:
        with pytest.raises(Invalid):
            discovery.base_path(api_version)
    else:
        assert discovery.base_path(api_version) == path


NEWER = [
    pytest.param("10", "9", True, id="numbers-not-texts"),
    pytest.param("9", "10", False, id="older"),
    pytest.param("9", "9", False, id="same"),
    pytest.param("9", "", True, id="nothing-is-known"),
    pytest.param("", "9", True, id="unknown-state"),
    pytest.param("9", ABSENT, True, id="appeared"),
    pytest.param(ABSENT, "9", True, id="vanished"),
    pytest.param(ABSENT, ABSENT, False, id="still-absent"),
    pytest.param("x", "y", True, id="not-numbers"),
    pytest.param("x", "x", False, id="not-numbers-the-same"),
]


@pytest.mark.parametrize(("version", "than", "expected"), NEWER)
def test_is_newer(version: str, than: str, *, expected: bool) -> None:
    assert versions.is_newer(version, than) is expected


OLDEST = [
    pytest.param([], "", id="none"),
    pytest.param(["10", "9", "11"], "9", id="numbers"),
    pytest.param(["10", ABSENT], "", id="absent"),
    pytest.param(["10", ""], "", id="unknown"),
]


@pytest.mark.parametrize(("given", "expected"), OLDEST)
def test_oldest(given: list[str], expected: str) -> None:
    assert versions.oldest(given) == expected
