"""What a replica decides about shards, and the fence; that it all works on an API server is tested on one."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from tools.processes import free_port
from vela_workflow.api import constants
from vela_workflow.clusters import api, credentials, errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.operator import fence, sharding


@pytest.mark.parametrize(
    ("reason", "metadata", "shards", "expected"),
    [
        ("one shard takes all", {"uid": "x", "labels": {constants.LABEL_SHARD: "3"}}, 1, 0),
        ("a label names it", {"uid": "x", "labels": {constants.LABEL_SHARD: "3"}}, 4, 3),
        ("stable over processes", {"uid": "a"}, 4, 2),
    ],
)
def test_shard_of(reason: str, metadata: dict[str, object], shards: int, expected: int) -> None:
    assert sharding.shard_of(metadata, shards) == expected, reason


@pytest.mark.parametrize("label", ["4", "-1", "master", "", "³", "1.0"])
def test_a_label_that_names_no_shard_counts_as_missing(label: str) -> None:
    plain = sharding.shard_of({"uid": "a"}, 4)
    assert sharding.shard_of({"uid": "a", "labels": {constants.LABEL_SHARD: label}}, 4) == plain


def test_runs_are_shared_out_evenly() -> None:
    counts = Counter(sharding.shard_of({"uid": str(number)}, 5) for number in range(5000))
    assert set(counts) == set(range(5))
    assert max(counts.values()) - min(counts.values()) < 200


def view(holders: str, members: str = "ab", others: bool = False) -> sharding.View:
    """What replica ``a`` sees; ``holders`` has a letter for each shard, a dot for a free one."""
    held = {shard: "" if letter == "." else letter for shard, letter in enumerate(holders)}
    return sharding.View("a", held, frozenset(members), others)


@pytest.mark.parametrize(
    ("reason", "seen", "takes", "gives"),
    [
        ("nothing is free", view("ab"), False, False),
        ("a free one when nobody has fewer", view(".b"), True, False),
        ("first come, first served", view("..."), True, False),
        ("not when somebody has fewer", view("a."), False, False),
        ("alone it takes all", view("aa.", members="a"), True, False),
        ("gives when somebody has two fewer", view("aa"), False, True),
        ("a difference of one stays", view("aab"), False, False),
        ("gives although one is free", view("aaa."), False, True),
        ("nothing while others share out differently", view("..", others=True), False, False),
        ("one that is not announced yet counts", view(".b", members="b"), True, False),
    ],
)
def test_what_is_taken_and_given(reason: str, seen: sharding.View, takes: bool, gives: bool) -> None:
    assert (bool(sharding.to_take(seen)), bool(sharding.to_give(seen))) == (takes, gives), reason


def test_what_is_taken_is_free_and_what_is_given_is_held() -> None:
    free, full = view(".ab.", members="ab"), view("abaa", members="ab")
    assert [free.holders[shard] for shard in sharding.to_take(free)] == [""]
    assert [full.holders[shard] for shard in sharding.to_give(full)] == ["a"]


@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_shards_come_to_rest_evenly_held(shards: int, replicas: int) -> None:
    """Replicas that look in turn, whatever they began with."""
    names = [chr(ord("a") + number) for number in range(replicas)]
    holders = dict.fromkeys(range(shards), names[0])
    for _ in range(4 * shards * replicas):
        for name in names:
            seen = sharding.View(name, dict(holders), frozenset(names))
            holders |= dict.fromkeys(sharding.to_take(seen), name)
            holders |= dict.fromkeys(sharding.to_give(seen), "")
    counts = Counter(dict.fromkeys(names, 0))
    counts.update(holders.values())
    assert "" not in counts
    assert max(counts.values()) - min(counts.values()) <= 1


async def test_the_fence_knows_the_shard_of_a_turn() -> None:
    seen: list[int] = []

    def holds(shard: int) -> bool:
        seen.append(shard)
        return shard == 2

    async def inside() -> None:
        fence.check(holds)

    with fence.shard(2):
        await asyncio.gather(inside(), asyncio.create_task(inside()))
    with pytest.raises(fence.NotLeadingError):
        await inside()
    assert seen == [2, 2, 0]


READS = {"name", "resource", "get", "list", "watch", "close"}
BODY = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "y"}}
WRITES: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "create": ((BODY,), {"dry_run": True}),
    "apply": ((BODY,), {"force": False}),
    "patch": (("v1", "ConfigMap", "y", "x", {}), {"type": "json"}),
    "replace": ((BODY,), {}),
    "delete": (("v1", "ConfigMap", "y", "x"), {"uid": "1"}),
    "delete_collection": (("v1", "ConfigMap", "y"), {"labels": {"a": "b"}}),
}


def test_the_fence_knows_every_method_of_a_client() -> None:
    methods = {name for name in dir(ClusterClient) if not name.startswith("_")}
    assert READS | WRITES.keys() == methods | {"name"}


@pytest.mark.parametrize("method", WRITES)
async def test_no_write_passes_the_fence_of_a_process_that_does_not_lead(method: str) -> None:
    leads = False
    nowhere = api.connect("local", credentials.StaticSource(f"http://127.0.0.1:{free_port()}"))
    client = fence.FencedClient(nowhere, lambda _: leads)
    positional, named = WRITES[method]
    with pytest.raises(fence.NotLeadingError):
        await getattr(client, method)(*positional, **named)
    leads = True
    with pytest.raises(errors.Unavailable):
        await getattr(client, method)(*positional, **named)
    with pytest.raises(errors.Unavailable):
        await fence.FencedClient(nowhere, lambda _: False).get("v1", "ConfigMap", "y", "x")
    await nowhere.close()
