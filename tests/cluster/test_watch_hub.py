"""The watch hub on a real API server: who is woken by what, by how many watches, and what happens when one breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tools.apiserver import ApiServer
from tools.controlplane import ControlPlane
from tools.rest import Api
from vela_workflow.clusters import api, credentials, errors, transport, watch
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.clusters.interest import ABSENT, Interest

JSON = dict[str, Any]

SETTINGS = watch.HubSettings(poll=0.2, retry_refused=0.5, linger=0.2, named=2)


class Woken:
    """Whom the hub has woken, and a way to wait for it."""

    def __init__(self) -> None:
        self.keys: list[watch.Key] = []
        self._news = asyncio.Event()

    def __call__(self, key: watch.Key) -> None:
        self.keys.append(key)
        self._news.set()

    async def all_of(self, *keys: watch.Key) -> None:
        """Wait until each of these was woken since the last call, and forget that they were."""
        async with asyncio.timeout(10):
            while not set(keys) <= set(self.keys):
                self._news.clear()
                await self._news.wait()
        self.keys = [key for key in self.keys if key not in keys]


class Setup:
    """A hub, the client it watches with, and the calls it made."""

    def __init__(self, client: api.HttpClient, woken: Woken) -> None:
        self.client = client
        self.woken = woken
        self.calls: list[transport.FinishedCall] = []
        self.hub = watch.WatchHub(self.clients, woken, SETTINGS)

    def clients(self, cluster: str) -> ClusterClient:
        if cluster:
            raise errors.Unavailable(f"cluster {cluster}: no such cluster")
        return self.client

    def verbs(self, verb: str) -> int:
        return sum(call.verb == verb for call in self.calls)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that the hub does on the loop of this test."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  (the hub has no event for its numbers)
                await asyncio.sleep(0.01)

    async def settled(self, watches: int) -> None:
        """Wait until so many watches have been opened."""
        await self.until(lambda: self.verbs("watch") >= watches)


@pytest_asyncio.fixture
async def setup(kubeconfig: Path) -> AsyncIterator[Setup]:
    made = await _setup(credentials.kubeconfig_file(str(kubeconfig)))
    yield made
    await made.hub.close()
    await made.client.close()


async def _setup(source: credentials.Source) -> Setup:
    calls: list[transport.FinishedCall] = []
    made = Setup(api.connect("local", source, on_call=calls.append), Woken())
    made.calls = calls
    return made


def interest(namespace: str, name: str = "", version: str = "", **where: str) -> Interest:
    place = {"cluster": "", "api_version": "v1", "kind": "ConfigMap", **where}
    return Interest(**place, namespace=namespace, name=name, resource_version=version)


def config_map(namespace: str, name: str, **data: str) -> JSON:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def run(namespace: str, name: str = "run") -> watch.Key:
    return (namespace, name)


async def version_of(setup: Setup, body: JSON) -> str:
    return str((await setup.client.apply(body))["metadata"]["resourceVersion"])


async def test_a_change_wakes_at_once_who_is_interested_and_nobody_else(setup: Setup, namespace: str) -> None:
    first = await version_of(setup, config_map(namespace, "a"))
    second = await version_of(setup, config_map(namespace, "b"))
    setup.hub.register(run(namespace, "one"), [interest(namespace, "a", first)])
    setup.hub.register(run(namespace, "two"), [interest(namespace, "b", second)])
    await setup.settled(1)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await setup.client.apply(config_map(namespace, "a", colour="green"))
    await setup.woken.all_of(run(namespace, "one"))
    assert loop.time() - started < 5.0
    await setup.client.apply(config_map(namespace, "b", colour="green"))
    await setup.woken.all_of(run(namespace, "two"))
    assert setup.woken.keys == []


async def test_deletion_and_creation_wake(setup: Setup, namespace: str) -> None:
    first = await version_of(setup, config_map(namespace, "a"))
    setup.hub.register(run(namespace), [interest(namespace, "a", first), interest(namespace, "b", ABSENT)])
    await setup.settled(1)
    await setup.client.delete("v1", "ConfigMap", namespace, "a")
    await setup.woken.all_of(run(namespace))
    setup.hub.register(run(namespace), [interest(namespace, "a", ABSENT), interest(namespace, "b", ABSENT)])
    await setup.client.apply(config_map(namespace, "b"))
    await setup.woken.all_of(run(namespace))


async def test_interest_in_all_objects(setup: Setup, namespace: str) -> None:
    found = await setup.client.list("v1", "ConfigMap", namespace)
    setup.hub.register(run(namespace), [interest(namespace, version=found["metadata"]["resourceVersion"])])
    await setup.settled(1)
    await setup.client.apply(config_map(namespace, "a"))
    await setup.woken.all_of(run(namespace))


async def test_a_known_version_needs_one_request_and_no_wake(setup: Setup, namespace: str) -> None:
    version = await version_of(setup, config_map(namespace, "a"))
    setup.hub.register(run(namespace), [interest(namespace, "a", version)])
    await setup.settled(1)
    assert setup.verbs("list") == 0
    await setup.client.apply(config_map(namespace, "a", colour="green"))
    await setup.woken.all_of(run(namespace))
    assert setup.hub.state.wakes == 1


CHANGES_IN_BETWEEN = [
    pytest.param("changed", id="changed-between-read-and-watch"),
    pytest.param("deleted", id="deleted-between-read-and-watch"),
    pytest.param("created", id="created-between-read-and-watch"),
    pytest.param("unknown", id="version-unknown"),
]


@pytest.mark.parametrize("what", CHANGES_IN_BETWEEN)
@pytest.mark.parametrize("running", [False, True], ids=["new-watch", "running-watch"])
async def test_nothing_is_missed_between_read_and_watch(setup: Setup, namespace: str, what: str, running: bool) -> None:
    version = await version_of(setup, config_map(namespace, "a"))
    if running:
        setup.hub.register(
            run(namespace, "other"), [interest(namespace, "b", ABSENT), interest(namespace, "c", ABSENT)]
        )
        await setup.settled(1)
    seen = {"created": ABSENT, "unknown": ""}.get(what, version)
    if what == "changed":
        await setup.client.apply(config_map(namespace, "a", colour="green"))
    elif what == "deleted":
        await setup.client.delete("v1", "ConfigMap", namespace, "a")
    if running:
        # The running watch has told of the change already, when this later one arrives.
        await setup.client.apply(config_map(namespace, "b"))
        await setup.woken.all_of(run(namespace, "other"))
    setup.hub.register(run(namespace), [interest(namespace, "a", seen)])
    await setup.woken.all_of(run(namespace))


async def test_what_has_not_changed_does_not_wake(setup: Setup, second_cluster: ApiServer) -> None:
    # An object older than what the server remembers: a watch from its version is refused as too old.
    client = api.connect(
        "local", credentials.StaticSource(second_cluster.url, ca=second_cluster.ca, token=second_cluster.token)
    )
    mine = Setup(client, setup.woken)
    live = await client.get("v1", "Namespace", "", "kube-system")
    place = {"kind": "Namespace"}
    mine.hub.register(run("x"), [interest("", "kube-system", live["metadata"]["resourceVersion"], **place)])
    mine.hub.register(run("y"), [interest("", "default", "1", **place)])
    await mine.woken.all_of(run("y"))
    assert mine.woken.keys == [], "its version was too old for a watch, but it is what the list says"
    await mine.hub.close()
    await client.close()


async def test_one_object_is_watched_by_name_and_more_by_one_watch(
    setup: Setup, control_plane: ControlPlane, namespace: str
) -> None:
    versions = {name: await version_of(setup, config_map(namespace, name)) for name in "abc"}
    setup.hub.register(run(namespace, "a"), [interest(namespace, "a", versions["a"])])
    await setup.settled(1)
    for name in "bc":
        setup.hub.register(run(namespace, name), [interest(namespace, name, versions[name])])
    await setup.settled(2)
    assert setup.hub.state.streams == 1
    for name in "abc":
        await setup.client.apply(config_map(namespace, name, colour="green"))
    await setup.woken.all_of(*(run(namespace, name) for name in "abc"))
    assert setup.verbs("list") == 0, "the second watch starts where the first one was"
    requests = control_plane.audit_log.requests()
    uris = [one.uri for one in requests if one.verb == "watch" and one.namespace == namespace and one.stage != "Panic"]
    named = [uri for uri in uris if "fieldSelector=metadata.name%3Da" in uri]
    assert named
    assert any("fieldSelector" not in uri for uri in uris)


async def test_many_keys_share_one_watch(setup: Setup, namespace: str) -> None:
    version = await version_of(setup, config_map(namespace, "gate"))
    keys = [run(namespace, f"run-{index}") for index in range(2000)]
    tasks = len(asyncio.all_tasks())
    for key in keys:
        setup.hub.register(key, [interest(namespace, "gate", version)])
    await setup.settled(1)
    assert len(asyncio.all_tasks()) - tasks <= 2
    assert setup.hub.state == watch.HubState(keys=2000, scopes=1, streams=1, polled=0, refused=0, wakes=0)
    await setup.client.apply(config_map(namespace, "gate", open="yes"))
    await setup.woken.all_of(*keys)
    assert setup.hub.state.wakes == 2000


async def test_bursts_wake_once(setup: Setup, namespace: str) -> None:
    version = await version_of(setup, config_map(namespace, "a"))
    setup.hub.register(run(namespace), [interest(namespace, "a", version)])
    for _ in range(50):
        setup.hub.wake(run(namespace))
    await setup.woken.all_of(run(namespace))
    assert setup.hub.state.wakes == 1


async def test_a_watch_is_dropped_when_the_last_interest_goes(setup: Setup, namespace: str) -> None:
    version = await version_of(setup, config_map(namespace, "a"))
    setup.hub.register(run(namespace), [interest(namespace, "a", version)])
    await setup.settled(1)
    setup.hub.forget(run(namespace))
    await setup.until(lambda: setup.hub.state.scopes == 0)
    assert setup.hub.state == watch.HubState(keys=0, scopes=0, streams=0, polled=0, refused=0, wakes=0)
    setup.hub.forget(run(namespace))
    later = await version_of(setup, config_map(namespace, "a", colour="green"))
    setup.hub.register(run(namespace, "next"), [interest(namespace, "a", later)])
    await setup.client.apply(config_map(namespace, "a", colour="blue"))
    await setup.woken.all_of(run(namespace, "next"))
    assert setup.woken.keys == [], "who has been forgotten is not woken"


async def test_registering_again_replaces_and_keeps_the_watch(setup: Setup, namespace: str) -> None:
    first = await version_of(setup, config_map(namespace, "a"))
    setup.hub.register(run(namespace), [interest(namespace, "a", first)])
    await setup.settled(1)
    for _ in range(3):
        second = await version_of(setup, config_map(namespace, "a", colour="green"))
        setup.hub.register(run(namespace), [interest(namespace, "a", second)])
    assert setup.verbs("watch") == 1
    other = await version_of(setup, config_map(namespace, "b"))
    setup.hub.register(run(namespace), [interest(namespace, "b", other)])
    await setup.settled(2)
    assert setup.hub.state.streams == 1


# Rights.


@pytest_asyncio.fixture
async def limited(request: pytest.FixtureRequest, admin: Api, kubeconfig: Path, namespace: str) -> AsyncIterator[Setup]:
    """A hub with the rights of a service account; the parameter is the list of rules of its Role."""
    admin.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "hub", "namespace": namespace}})
    meta = {"metadata": {"name": "hub", "namespace": namespace}, "apiVersion": "rbac.authorization.k8s.io/v1"}
    admin.create({**meta, "kind": "Role", "rules": request.param})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "hub"}
    subjects = [{"kind": "ServiceAccount", "name": "hub", "namespace": namespace}]
    admin.create({**meta, "kind": "RoleBinding", "roleRef": reference, "subjects": subjects})
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/hub/token"
    answer = admin.request("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    endpoint = await credentials.kubeconfig_file(str(kubeconfig)).open()
    made = await _setup(credentials.StaticSource(endpoint.server, verify=False, token=answer["status"]["token"]))
    yield made
    await made.hub.close()
    await made.client.close()


def rule(*verbs: str, names: tuple[str, ...] = ()) -> JSON:
    named = {"resourceNames": list(names)} if names else {}
    return {"apiGroups": [""], "resources": ["configmaps"], "verbs": list(verbs), **named}


@pytest.mark.parametrize(
    "limited", [[rule("get", "list", "watch", names=("a", "b"))]], indirect=True, ids=["two-names"]
)
async def test_rights_on_single_objects_are_enough(limited: Setup, setup: Setup, namespace: str) -> None:
    for name in ("a", "b"):
        version = await version_of(setup, config_map(namespace, name))
        limited.hub.register(run(namespace, name), [interest(namespace, name, version)])
    await limited.until(lambda: limited.hub.state.streams == 2)
    for name in ("a", "b"):
        await setup.client.apply(config_map(namespace, name, colour="green"))
    await limited.woken.all_of(run(namespace, "a"), run(namespace, "b"))
    assert limited.hub.state.polled == 0


@pytest.mark.parametrize("limited", [[rule("get")]], indirect=True, ids=["no-watch"])
async def test_without_the_right_to_watch_runs_look_by_the_clock(
    limited: Setup, namespace: str, admin: Api, caplog: pytest.LogCaptureFixture
) -> None:
    limited.hub.register(run(namespace), [interest(namespace, "a", ABSENT)])
    for _ in range(3):
        await limited.woken.all_of(run(namespace))
    assert limited.hub.state.polled == 1
    assert limited.hub.state.refused >= 1
    said = [record.getMessage() for record in caplog.records if record.name == watch.__name__]
    assert len(said) == 1, "said once"
    assert "cannot list configmaps" in said[0]

    meta = {"metadata": {"name": "hub", "namespace": namespace}, "apiVersion": "rbac.authorization.k8s.io/v1"}
    admin.apply({**meta, "kind": "Role", "rules": [rule("get", "list", "watch")]})
    await limited.until(lambda: limited.hub.state.streams == 1 and limited.hub.state.polled == 0)
    limited.hub.register(run(namespace), [interest(namespace, "a", ABSENT)])


# What breaks.


async def test_a_server_that_comes_back_is_watched_again(control_plane: ControlPlane, setup: Setup) -> None:
    with control_plane.second("hub") as server:
        source = credentials.StaticSource(server.url, ca=server.ca, token=server.token)
        mine = await _setup(source)
        first = await version_of(mine, config_map("default", "a"))
        mine.hub.register(run("default"), [interest("default", "a", first)])
        await mine.settled(1)
        server.stop()
        with pytest.raises(errors.Unavailable):
            await mine.client.version()
        server.start()
        await mine.client.apply(config_map("default", "a", colour="green"))
        await mine.woken.all_of(run("default"))
        await mine.hub.close()
        await mine.client.close()


async def test_a_cluster_that_is_not_there_wakes_nobody_and_disturbs_nobody(setup: Setup, namespace: str) -> None:
    setup.hub.register(run(namespace, "far"), [interest(namespace, "a", ABSENT, cluster="far")])
    version = await version_of(setup, config_map(namespace, "a"))
    setup.hub.register(run(namespace, "near"), [interest(namespace, "a", version, cluster="local")])
    await setup.settled(1)
    await setup.client.apply(config_map(namespace, "a", colour="green"))
    await setup.woken.all_of(run(namespace, "near"))
    assert setup.woken.keys == []
    assert setup.hub.state.polled == 0


async def test_a_watch_that_ends_goes_on_where_it_was(kubeconfig: Path, namespace: str) -> None:
    calls: list[transport.FinishedCall] = []
    limits = transport.Limits(watch_seconds=1)
    client = api.connect("local", credentials.kubeconfig_file(str(kubeconfig)), limits=limits, on_call=calls.append)
    mine = Setup(client, Woken())
    mine.calls = calls
    version = await version_of(mine, config_map(namespace, "a"))
    mine.hub.register(run(namespace), [interest(namespace, "a", version)])
    await mine.settled(3)
    await client.apply(config_map(namespace, "a", colour="green"))
    await mine.woken.all_of(run(namespace))
    assert mine.verbs("list") == 0
    assert mine.hub.state.wakes == 1
    await mine.hub.close()
    await client.close()
