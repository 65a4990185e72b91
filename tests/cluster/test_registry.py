"""Clusters that join and leave by Secrets, on two real API servers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tools.apiserver import ApiServer
from tools.controlplane import ControlPlane
from tools.rest import Api
from vela_workflow.clusters import api, breaker, credentials, errors, registry, secrets

JSON = dict[str, Any]


class Changes:
    """The clusters that the registry has told of, and a way to wait for one."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._news = asyncio.Event()

    def __call__(self, name: str) -> None:
        self.names.append(name)
        self._news.set()

    async def next(self, name: str) -> None:
        """Wait until ``name`` has changed since the last call."""
        async with asyncio.timeout(10):
            while name not in self.names:
                self._news.clear()
                await self._news.wait()
        self.names.clear()


@pytest_asyncio.fixture
async def local(kubeconfig: Path) -> AsyncIterator[api.HttpClient]:
    made = api.connect("local", credentials.kubeconfig_file(str(kubeconfig)))
    yield made
    await made.close()


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest_asyncio.fixture
async def clusters(local: api.HttpClient, namespace: str, changes: Changes) -> AsyncIterator[registry.Registry]:
    """A registry whose system namespace is that of the test."""
    settings = registry.RegistrySettings(namespace=namespace, circuit=breaker.BreakerSettings(first=0.5, cap=0.5))
    made = registry.Registry(local, settings, on_change=changes)
    await made.start()
    yield made
    await made.close()


def encoded(data: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


def secret(namespace: str, name: str, data: dict[str, str], **labels: str) -> JSON:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "data": encoded(data),
    }


def by_token(namespace: str, server: ApiServer, name: str = "far", **data: str) -> JSON:
    values = {"endpoint": f"{server.url}\n", "ca.crt": server.ca, "token": server.token, **data}
    body = secret(namespace, name, {key: value for key, value in values.items() if value})
    body["metadata"]["labels"] = {secrets.CREDENTIAL_TYPE_LABEL: "ServiceAccountToken", "region": "eu"}
    return body


def by_kubeconfig(namespace: str, server: ApiServer, name: str = "far", **user: str) -> JSON:
    config = yaml.safe_load(server.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] |= user
    body = secret(namespace, name, {"kubeconfig": yaml.safe_dump(config)})
    body["metadata"]["labels"] = {secrets.KUBECONFIG_LABEL: "true", "region": "eu"}
    return body


FORMATS = [pytest.param(by_token, id="kubevela"), pytest.param(by_kubeconfig, id="kubeconfig")]


@pytest.mark.parametrize("make", FORMATS)
async def test_a_cluster_joins_is_used_and_leaves(
    clusters: registry.Registry,
    changes: Changes,
    local: api.HttpClient,
    namespace: str,
    second_cluster: ApiServer,
    *,
    make: Callable[[str, ApiServer], JSON],
) -> None:
    await local.create(make(namespace, second_cluster))
    await changes.next("far")
    assert clusters.names() == ("local", "far")
    _, joined = clusters.clusters()
    assert joined.labels == {"region": "eu", secrets.CONTROL_PLANE_LABEL: "false"}
    assert joined.endpoint == second_cluster.url

    client = clusters.client("far")
    here, there = [await one.get("v1", "Namespace", "", "kube-system") for one in (clusters.client(""), client)]
    assert here["metadata"]["uid"] != there["metadata"]["uid"]
    with pytest.raises(errors.NotFound, match="cluster far: v1 Namespace nowhere: not found"):
        await client.get("v1", "Namespace", "", "nowhere")
    probe = await clusters.probe("far")
    assert probe.version.startswith("v")
    assert probe.problem == ""

    await local.delete("v1", "Secret", namespace, "far")
    await changes.next("far")
    with pytest.raises(errors.Unavailable, match="no such cluster"):
        clusters.client("far")
    async with asyncio.timeout(10):
        with pytest.raises(errors.Unavailable, match="closed"):
            while True:
                await client.get("v1", "Namespace", "", "kube-system")


async def test_clusters_that_joined_before_are_there_after_the_start(
    local: api.HttpClient, namespace: str, second_cluster: ApiServer
) -> None:
    await local.create(by_token(namespace, second_cluster, "first"))
    await local.create(by_kubeconfig(namespace, second_cluster, "second"))
    await local.create(secret(namespace, "no-cluster", {"kubeconfig": "{}"}))
    made = registry.Registry(local, registry.RegistrySettings(namespace=namespace))
    await made.start()
    assert set(made.names()) == {"local", "first", "second"}
    assert made.names()[0] == "local"
    await made.close()


async def test_new_credentials_take_effect(
    clusters: registry.Registry, changes: Changes, local: api.HttpClient, namespace: str, second_cluster: ApiServer
) -> None:
    await local.create(by_token(namespace, second_cluster, token="old"))
    await changes.next("far")
    before = clusters.client("far")
    with pytest.raises(errors.Unauthorized, match="cluster far"):
        await before.list("v1", "Namespace")
    await local.apply(by_token(namespace, second_cluster))
    await changes.next("far")
    assert (await clusters.client("far").list("v1", "Namespace"))["items"]

    kept = clusters.client("far")
    relabelled = {"metadata": {"labels": {"region": "us"}}}
    await local.patch("v1", "Secret", namespace, "far", relabelled)
    async with asyncio.timeout(10):
        while clusters.clusters()[1].labels["region"] != "us":  # noqa: ASYNC110  (labels alone are no change of a cluster)
            await asyncio.sleep(0.01)
    assert clusters.client("far") is kept, "labels need no new connections"


async def test_an_unknown_name_is_never_the_local_cluster(clusters: registry.Registry, namespace: str) -> None:
    assert clusters.client("") is clusters.client("local")
    with pytest.raises(errors.Unavailable) as caught:
        clusters.client("prod")
    assert "cluster prod: no such cluster (none has joined)" in caught.value.message
    assert "cluster join" in caught.value.message
    assert namespace in caught.value.message
    assert "no such cluster" in (await clusters.probe("prod")).problem


BROKEN = [
    pytest.param({"endpoint": ""}, "endpoint is missing", id="no-endpoint"),
    pytest.param({"token": ""}, "token is missing", id="no-token"),
]


@pytest.mark.parametrize(("data", "problem"), BROKEN)
async def test_a_broken_secret_is_a_cluster_that_says_what_is_wrong(
    clusters: registry.Registry,
    changes: Changes,
    local: api.HttpClient,
    namespace: str,
    second_cluster: ApiServer,
    *,
    data: dict[str, str],
    problem: str,
) -> None:
    await local.create(by_token(namespace, second_cluster, **data))
    await changes.next("far")
    assert clusters.names() == ("local", "far")
    with pytest.raises(errors.Unavailable, match=f"cluster far: Secret {namespace}/far: {problem}"):
        clusters.client("far")


async def test_the_name_local_cannot_be_taken(
    clusters: registry.Registry, changes: Changes, local: api.HttpClient, namespace: str, second_cluster: ApiServer
) -> None:
    await local.create(by_token(namespace, second_cluster, "local"))
    await local.create(by_token(namespace, second_cluster))
    await changes.next("far")
    assert clusters.client("local") is local
    assert clusters.names() == ("local", "far")


async def test_a_dead_cluster_does_not_delay_others(
    clusters: registry.Registry, changes: Changes, local: api.HttpClient, namespace: str, control_plane: ControlPlane
) -> None:
    with control_plane.second("mortal") as server:
        await local.create(by_token(namespace, server, "mortal"))
        await changes.next("mortal")
        assert not (await clusters.probe("mortal")).problem
        server.stop()
        assert "cluster mortal" in (await clusters.probe("mortal")).problem
        assert not (await clusters.probe("local")).problem
        server.start()
        async with asyncio.timeout(20):
            while (await clusters.probe("mortal")).problem:  # noqa: ASYNC110  (an outside condition)
                await asyncio.sleep(0.05)


async def test_without_rights_on_secrets_the_message_says_so(
    kubeconfig: Path, admin: Api, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    admin.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "poor", "namespace": namespace}})
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/poor/token"
    answer = admin.request("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    endpoint = await credentials.kubeconfig_file(str(kubeconfig)).open()
    poor = api.connect(
        "local", credentials.StaticSource(endpoint.server, verify=False, token=answer["status"]["token"])
    )
    made = registry.Registry(poor, registry.RegistrySettings(namespace=namespace))
    await made.start()
    with pytest.raises(errors.Unavailable, match=f"cannot be read: .*{namespace}/poor cannot list secrets"):
        made.client("prod")
    assert made.client("local") is poor
    assert [record.levelname for record in caplog.records if record.name == registry.__name__] == ["WARNING"] * 2
    await made.close()
    await poor.close()
