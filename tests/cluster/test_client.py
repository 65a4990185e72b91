"""The client of an API server, against a real one: every method, and every way in which a call can be refused."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tools.apiserver import ApiServer
from tools.controlplane import ControlPlane
from tools.rest import Api
from vela_workflow.clusters import api, breaker, credentials, errors, objects, transport
from vela_workflow.errors import Invalid

JSON = dict[str, Any]


@pytest.fixture
def calls() -> list[transport.FinishedCall]:
    """Every HTTP request that the client of the test has finished."""
    return []


@pytest_asyncio.fixture
async def client(kubeconfig: Path, calls: list[transport.FinishedCall]) -> AsyncIterator[api.HttpClient]:
    made = api.connect("local", credentials.kubeconfig_file(str(kubeconfig)), on_call=calls.append)
    yield made
    await made.close()


def config_map(namespace: str, name: str = "settings", **data: str) -> JSON:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": "shop"}},
        "data": data or {"colour": "green"},
    }


def deployment(namespace: str, **spec: Any) -> JSON:
    labels = {"app": "web"}
    container = {"name": "web", "image": "nginx"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": pod, **spec},
    }


async def test_an_object_from_creation_to_deletion(client: api.HttpClient, namespace: str) -> None:
    created = await client.create(config_map(namespace))
    assert created["metadata"]["uid"]

    patched = await client.patch("v1", "ConfigMap", namespace, "settings", {"data": {"size": "7"}})
    assert patched["data"] == {"colour": "green", "size": "7"}
    operations = [{"op": "remove", "path": "/data/size"}]
    patched = await client.patch("v1", "ConfigMap", namespace, "settings", operations, type="json")
    assert patched["data"] == {"colour": "green"}

    replaced = await client.replace({**patched, "data": {"colour": "blue"}})
    assert (await client.get("v1", "ConfigMap", namespace, "settings"))["data"] == {"colour": "blue"}
    with pytest.raises(errors.Conflict):
        await client.replace({**patched, "data": {"colour": "red"}})

    with pytest.raises(errors.Conflict, match="UID"):
        await client.delete("v1", "ConfigMap", namespace, "settings", uid="another")
    await client.delete("v1", "ConfigMap", namespace, "settings", uid=replaced["metadata"]["uid"])
    with pytest.raises(errors.NotFound):
        await client.get("v1", "ConfigMap", namespace, "settings")


async def test_apply_creates_changes_and_takes_back(client: api.HttpClient, namespace: str) -> None:
    await client.apply(config_map(namespace, colour="green", size="7"))
    live = await client.apply(config_map(namespace, colour="blue"))
    assert live["data"] == {"colour": "blue"}, "a field that is no longer applied goes"
    managers = {(entry["manager"], entry["operation"]) for entry in live["metadata"]["managedFields"]}
    assert managers == {("vela-workflow", "Apply")}


async def test_apply_without_force_respects_other_owners(client: api.HttpClient, admin: Api, namespace: str) -> None:
    admin.create(config_map(namespace, colour="green"))
    with pytest.raises(errors.Conflict):
        await client.apply(config_map(namespace, colour="blue"), force=False)
    assert (await client.apply(config_map(namespace, colour="blue")))["data"] == {"colour": "blue"}


async def test_dry_runs_leave_nothing_behind(client: api.HttpClient, namespace: str) -> None:
    assert (await client.create(config_map(namespace), dry_run=True))["data"]
    assert (await client.apply(config_map(namespace), dry_run=True))["data"]
    with pytest.raises(errors.NotFound):
        await client.get("v1", "ConfigMap", namespace, "settings")


async def test_a_cluster_wide_kind_has_no_namespace(client: api.HttpClient, admin: Api) -> None:
    name = f"level-{secrets.token_hex(4)}"
    body = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name, "namespace": "default"},
        "value": 10,
    }
    try:
        assert "namespace" not in (await client.apply(body))["metadata"]
        assert (await client.get("scheduling.k8s.io/v1", "PriorityClass", "default", name))["value"] == 10
    finally:
        await client.delete("scheduling.k8s.io/v1", "PriorityClass", "", name)


async def test_status_is_written_as_a_subresource(client: api.HttpClient, namespace: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    }
    await client.apply(service)
    status = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ipMode": "VIP"}]}}
    live = await client.patch("v1", "Service", namespace, "web", {"status": status}, subresource="status")
    assert live["status"] == status


async def test_lists_are_read_in_chunks(client: api.HttpClient, admin: Api, namespace: str, monkeypatch: Any) -> None:
    for index in range(5):
        admin.create(config_map(namespace, f"settings-{index}"))
    monkeypatch.setattr(api, "_CHUNK", 2)
    found = await client.list("v1", "ConfigMap", namespace, labels={"app": "shop"}, label_selector="app!=other")
    assert [item["metadata"]["name"] for item in found["items"]] == [f"settings-{index}" for index in range(5)]
    assert {(item["apiVersion"], item["kind"]) for item in found["items"]} == {("v1", "ConfigMap")}
    assert "continue" not in found["metadata"]

    one = await client.list("v1", "ConfigMap", namespace, field_selector="metadata.name=settings-3", metadata_only=True)
    assert [item["metadata"]["name"] for item in one["items"]] == ["settings-3"]
    assert "data" not in one["items"][0]
    assert (await client.list("v1", "ConfigMap", namespace, labels={"app": "none"}))["items"] == []


async def test_a_collection_is_deleted_by_labels_only(client: api.HttpClient, namespace: str) -> None:
    await client.apply(config_map(namespace, "goes"))
    stays = config_map(namespace, "stays")
    stays["metadata"]["labels"] = {"app": "other"}
    await client.apply(stays)
    await client.delete_collection("v1", "ConfigMap", namespace, labels={"app": "shop"})
    left = {item["metadata"]["name"] for item in (await client.list("v1", "ConfigMap", namespace))["items"]}
    assert "stays" in left
    assert "goes" not in left
    with pytest.raises(ValueError, match="label"):
        await client.delete_collection("v1", "ConfigMap", namespace, labels={})


async def test_a_watch_tells_of_changes_after_a_version(client: api.HttpClient, namespace: str) -> None:
    first = await client.apply(config_map(namespace))
    events = []
    watch = client.watch(
        "v1",
        "ConfigMap",
        namespace,
        resource_version=first["metadata"]["resourceVersion"],
        label_selector="app=shop",
        field_selector="metadata.name=settings",
    )
    async with asyncio.timeout(20), aclosing(watch) as stream:
        await client.apply(config_map(namespace, colour="blue"))
        await client.delete("v1", "ConfigMap", namespace, "settings")
        async for event in stream:
            events.append(event)
            if event.type == "DELETED":
                break
    told = [event.type for event in events if event.type != "BOOKMARK"]
    assert told == ["MODIFIED", "DELETED"]
    assert all("data" not in event.object for event in events)


async def test_a_watch_ends_when_the_server_ends_it(kubeconfig: Path, namespace: str) -> None:
    limits = transport.Limits(watch_seconds=2)
    client = api.connect("local", credentials.kubeconfig_file(str(kubeconfig)), limits=limits)
    async with asyncio.timeout(20):
        events = [event async for event in client.watch("v1", "ConfigMap", namespace)]
    await client.close()
    assert {event.type for event in events} <= {"ADDED", "BOOKMARK"}


async def test_a_version_from_before_the_memory_of_the_server_is_gone(second_cluster: ApiServer) -> None:
    client = _breaking(second_cluster)
    with pytest.raises(errors.Gone):
        async with asyncio.timeout(20):
            async for _ in client.watch("v1", "ConfigMap", resource_version="1"):
                pass
    await client.close()


async def test_an_unfinished_watch_ends_with_the_client(client: api.HttpClient, namespace: str) -> None:
    started = asyncio.Event()

    async def watch() -> None:
        async for _ in client.watch("v1", "ConfigMap", namespace, metadata_only=False):
            started.set()

    task = asyncio.create_task(watch())
    await client.apply(config_map(namespace))
    async with asyncio.timeout(20):
        await started.wait()
        await client.close()
        with pytest.raises(errors.Unavailable):
            await task
    with pytest.raises(errors.Unavailable, match="closed"):
        await client.get("v1", "ConfigMap", namespace, "settings")


REFUSALS = [
    pytest.param("no such object", "get", errors.NotFound, "v1 ConfigMap {ns}/missing: not found", id="404-object"),
    pytest.param("no such namespace", "create", errors.NotFound, 'namespaces "nowhere" not found', id="404-namespace"),
    pytest.param("it exists", "twice", errors.AlreadyExists, "v1 ConfigMap {ns}/settings: already exists", id="409"),
    pytest.param("selector is immutable", "immutable", errors.Unprocessable, "spec.selector", id="422"),
    pytest.param(
        "not in the schema", "undeclared", errors.Unprocessable, ".spec.colour: field not declared", id="500-schema"
    ),
    pytest.param("wrong type", "type", errors.Unprocessable, ".spec.replicas", id="500-type"),
]


@pytest.mark.parametrize(("reason", "case", "expected", "text"), REFUSALS)
async def test_refusals_say_what_and_where(
    client: api.HttpClient, namespace: str, *, reason: str, case: str, expected: type[errors.ApiError], text: str
) -> None:
    async def provoke() -> None:
        match case:
            case "get":
                await client.get("v1", "ConfigMap", namespace, "missing")
            case "create":
                await client.create(config_map("nowhere"))
            case "twice":
                await client.create(config_map(namespace))
                await client.create(config_map(namespace))
            case "immutable":
                await client.apply(deployment(namespace))
                await client.apply(deployment(namespace, selector={"matchLabels": {"app": "other"}}))
            case "undeclared":
                await client.apply(deployment(namespace, colour="green"))
            case "type":
                await client.apply(deployment(namespace, replicas="many"))

    with pytest.raises(expected) as caught:
        await provoke()
    assert text.format(ns=namespace) in caught.value.message, reason
    assert caught.value.after == (5.0 if expected is errors.Unprocessable else 0.0)


SECRETS = [
    pytest.param({"stringData": {"not a key": "sesame"}}, "create", "data[not a key]", id="422-tells-the-field"),
    pytest.param({"data": {"word": "$sesame$"}}, "create", "invalid", id="400-tells-nothing"),
    pytest.param({"data": {"word": ["sesame"]}}, "apply", "invalid", id="500-tells-nothing"),
]


@pytest.mark.parametrize(("content", "how", "text"), SECRETS)
async def test_errors_never_quote_a_secret(
    client: api.HttpClient, namespace: str, content: JSON, how: str, text: str
) -> None:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": namespace}, **content}
    with pytest.raises(errors.Unprocessable) as caught:
        await (client.create(body) if how == "create" else client.apply(body))
    assert text in caught.value.message
    assert "sesame" not in caught.value.message
    assert "sesame" not in repr(caught.value.details)


@pytest_asyncio.fixture
async def limited(admin: Api, kubeconfig: Path, namespace: str) -> AsyncIterator[api.HttpClient]:
    """A client with the token of a service account that may only read ConfigMaps of its namespace."""
    admin.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": namespace}})
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    role = {"metadata": {"name": "reader", "namespace": namespace}, "apiVersion": "rbac.authorization.k8s.io/v1"}
    admin.create({**role, "kind": "Role", "rules": rules})
    binding = {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
    }
    admin.create({**role, "kind": "RoleBinding", **binding})
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/reader/token"
    answer = admin.request("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    made = await _with_token(kubeconfig, answer["status"]["token"])
    yield made
    await made.close()


async def test_a_refusal_by_rbac_names_verb_resource_namespace_and_account(
    limited: api.HttpClient, client: api.HttpClient, namespace: str
) -> None:
    await client.apply(config_map(namespace))
    assert (await limited.get("v1", "ConfigMap", namespace, "settings"))["data"]
    with pytest.raises(errors.Forbidden) as caught:
        await limited.apply(deployment(namespace))
    wanted = f"ServiceAccount {namespace}/reader cannot patch deployments.apps in namespace {namespace}"
    assert caught.value.message == f"apps/v1 Deployment {namespace}/web: forbidden: {wanted}"
    assert caught.value.after == 5.0
    with pytest.raises(errors.Forbidden, match="cannot list namespaces in the whole cluster"):
        await limited.list("v1", "Namespace")


async def test_impersonation_acts_with_the_rights_of_the_user(client: api.HttpClient, namespace: str) -> None:
    await client.apply(config_map(namespace))
    with pytest.raises(errors.Forbidden, match="User alice cannot get configmaps"):
        await client.as_user("alice").get("v1", "ConfigMap", namespace, "settings")
    master = client.as_user("alice", ["developers", "system:masters"])
    assert (await master.get("v1", "ConfigMap", namespace, "settings"))["data"]
    await master.close()
    assert (await client.get("v1", "ConfigMap", namespace, "settings"))["data"], "closing a view closes nothing"


async def test_a_wrong_token_is_told(kubeconfig: Path, namespace: str) -> None:
    client = await _with_token(kubeconfig, "wrong")
    with pytest.raises(errors.Unauthorized, match="does not accept the credentials"):
        await client.get("v1", "ConfigMap", namespace, "settings")
    await client.close()


async def test_a_kind_is_found_once_its_definition_is_installed(
    client: api.HttpClient, admin: Api, namespace: str, calls: list[transport.FinishedCall]
) -> None:
    group = f"g{secrets.token_hex(4)}.example.com"
    body = {"apiVersion": f"{group}/v1", "kind": "Wheel", "metadata": {"name": "one", "namespace": namespace}}
    for _ in range(5):
        with pytest.raises(errors.UnknownKind, match="CustomResourceDefinition") as caught:
            await client.apply(body)
    assert len(calls) == 1, "a kind that is not there is asked for once in a while only"
    assert 0 < caught.value.after <= 1.0

    admin.create(_definition(group))
    try:
        async with asyncio.timeout(20):
            await _until_served(client, body)
        assert (await client.resource(f"{group}/v1", "Wheel")).plural == "wheels"
    finally:
        admin.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"wheels.{group}")
    async with asyncio.timeout(20):
        with pytest.raises(errors.UnknownKind):
            while True:
                await client.list(f"{group}/v1", "Wheel", namespace)


NAMES = [
    pytest.param({"metadata": {"name": "../../secrets/x"}}, "metadata.name", id="slashes"),
    pytest.param({"metadata": {"name": ".."}}, "metadata.name", id="dots"),
    pytest.param({"metadata": {"name": "a%2fb"}}, "metadata.name", id="per-cent"),
    pytest.param({"metadata": {}}, "metadata.name", id="no-name"),
    pytest.param({"metadata": {"name": "a", "namespace": "a/b"}}, "metadata.namespace", id="namespace"),
    pytest.param({"metadata": {"name": "a", "namespace": ""}}, "metadata.namespace", id="no-namespace"),
    pytest.param({"apiVersion": "../v1"}, "apiVersion", id="api-version"),
    pytest.param({"kind": None}, "kind", id="no-kind"),
]


@pytest.mark.parametrize(("change", "path"), NAMES)
async def test_what_would_lead_elsewhere_is_refused_before_it_is_sent(
    client: api.HttpClient, namespace: str, change: JSON, path: str
) -> None:
    body = config_map(namespace)
    body |= {key: value for key, value in change.items() if key != "metadata"}
    if "metadata" in change:
        body["metadata"] = {"namespace": namespace, **change["metadata"]}
    with pytest.raises(Invalid) as caught:
        await client.apply(body)
    assert [problem.path for problem in caught.value.problems] == [path]


async def test_an_answer_over_the_limit_is_refused(kubeconfig: Path, admin: Api, namespace: str) -> None:
    admin.create(config_map(namespace, text="x" * 300_000))
    limits = transport.Limits(max_bytes=200_000)
    client = api.connect("local", credentials.kubeconfig_file(str(kubeconfig)), limits=limits)
    with pytest.raises(errors.TooLarge):
        await client.get("v1", "ConfigMap", namespace, "settings")
    with pytest.raises(errors.TooLarge):
        await client.list("v1", "ConfigMap", namespace)
    assert (await client.list("v1", "ConfigMap", namespace, labels={"app": "other"}))["items"] == []
    await client.close()


async def test_finished_calls_are_told(
    client: api.HttpClient, namespace: str, calls: list[transport.FinishedCall]
) -> None:
    await client.apply(config_map(namespace))
    with pytest.raises(errors.NotFound):
        await client.get("v1", "ConfigMap", namespace, "missing")
    assert [(call.verb, call.status) for call in calls] == [("get", 200), ("patch", 201), ("get", 404)]
    assert all(call.cluster == "local" and 0 < call.seconds < 30 for call in calls)


async def test_many_calls_at_once_are_bounded(kubeconfig: Path, namespace: str) -> None:
    limits = transport.Limits(concurrency=4)
    client = api.connect("local", credentials.kubeconfig_file(str(kubeconfig)), limits=limits)
    bodies = [config_map(namespace, f"settings-{index}") for index in range(40)]
    await asyncio.gather(*(client.apply(body) for body in bodies))
    assert len((await client.list("v1", "ConfigMap", namespace, labels={"app": "shop"}))["items"]) == 40
    await client.close()


async def test_fields_of_the_go_controller_become_ours(client: api.HttpClient, admin: Api, namespace: str) -> None:
    written = config_map(namespace, colour="green", size="7")
    written["metadata"]["annotations"] = {objects.LAST_APPLIED[0]: "{}"}
    admin.request("POST", f"/api/v1/namespaces/{namespace}/configmaps?fieldManager=kubevela", written)

    live = await client.apply(config_map(namespace, colour="blue"))

    assert live["data"] == {"colour": "blue"}, "what the new template leaves out goes, though another wrote it"
    assert objects.LAST_APPLIED[0] not in live["metadata"].get("annotations", {})
    managers = [(entry["manager"], entry["operation"]) for entry in live["metadata"]["managedFields"]]
    assert managers == [("vela-workflow", "Apply")]


async def test_fields_of_others_stay_theirs(client: api.HttpClient, admin: Api, namespace: str) -> None:
    written = config_map(namespace, colour="green", size="7")
    admin.request("POST", f"/api/v1/namespaces/{namespace}/configmaps?fieldManager=manager", written)
    live = await client.apply(config_map(namespace, colour="blue"))
    assert live["data"] == {"colour": "blue", "size": "7"}


async def test_duplicates_that_apply_refuses_can_be_cleaned(client: api.HttpClient, namespace: str) -> None:
    body = deployment(namespace)
    container = body["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}, {"name": "A", "value": "3"}]
    with pytest.raises(errors.Unprocessable, match="duplicate"):
        await client.apply(body)
    prepared = objects.clean(body)
    live = await client.apply(prepared.body)
    assert live["spec"]["template"]["spec"]["containers"][0]["env"] == container["env"][1:]
    assert len(prepared.warnings) == 1


async def test_a_dead_cluster_fails_fast_and_comes_back(control_plane: ControlPlane) -> None:
    with control_plane.second("dying") as server:
        client = _breaking(server)
        assert (await client.version())["major"] == "1"
        server.stop()
        async with asyncio.timeout(20):
            for _ in range(3):
                with pytest.raises(errors.Unavailable, match="cluster dying"):
                    await client.version()
        with pytest.raises(errors.Unavailable, match="next try in") as refused:
            await client.version()
        assert 0 < refused.value.after <= 1.0
        server.start()
        async with asyncio.timeout(20):
            await _until_answered(client)
        await client.close()


async def test_requests_in_flight_when_a_server_goes_are_told(control_plane: ControlPlane) -> None:
    with control_plane.second("going") as server:
        client = _breaking(server)
        watch = client.watch("v1", "Namespace")
        async with asyncio.timeout(20), aclosing(watch) as events:
            await anext(events)
            server.stop()
            with pytest.raises(errors.Unavailable):
                async for _ in events:
                    pass
        await client.close()


UNREACHABLE = [
    pytest.param("https://127.0.0.1:1", "connection refused", id="refused"),
    pytest.param("https://no-such-host.invalid", "cannot be resolved", id="name"),
]


@pytest.mark.parametrize(("server", "text"), UNREACHABLE)
async def test_an_endpoint_that_is_not_there(server: str, text: str) -> None:
    client = api.connect("far", credentials.StaticSource(server, token="any"))
    async with asyncio.timeout(20):
        with pytest.raises(errors.Unavailable, match=f"(?i)cluster far: .*{text}"):
            await client.get("v1", "ConfigMap", "default", "settings")
    await client.close()


async def test_a_certificate_of_another_authority_is_not_trusted(second_cluster: ApiServer) -> None:
    source = credentials.StaticSource(second_cluster.url, token=second_cluster.token)
    client = api.connect("far", source)
    with pytest.raises(errors.Unavailable, match="TLS"):
        await client.version()
    await client.close()


def _breaking(server: ApiServer) -> api.HttpClient:
    source = credentials.StaticSource(server.url, ca=server.ca, token=server.token)
    return api.connect(server.name, source, circuit=breaker.Breaker(breaker.BreakerSettings(first=1.0, cap=1.0)))


async def _until_answered(client: api.HttpClient) -> None:
    while True:
        try:
            await client.version()
        except errors.Unavailable as error:
            await asyncio.sleep(error.after or 0.05)
        else:
            return


async def _until_served(client: api.HttpClient, body: JSON) -> None:
    while True:
        try:
            await client.apply(body)
        except (errors.UnknownKind, errors.NotFound) as error:
            await asyncio.sleep(error.after or 0.05)
        else:
            return


async def _with_token(kubeconfig: Path, token: str) -> api.HttpClient:
    """A client of the same server with another token."""
    endpoint = await credentials.kubeconfig_file(str(kubeconfig)).open()
    source = credentials.StaticSource(endpoint.server, verify=False, token=token)
    return api.connect("local", source)


def _definition(group: str) -> JSON:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"wheels.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Wheel", "plural": "wheels"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
