"""Operations on Kubernetes objects, carried out on a real API server."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.cluster.providers.conftest import Run
from tests.unit.providers import support
from tools.rest import Api
from vela_workflow import errors
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.clusters.interest import ABSENT
from vela_workflow.providers.kube import write

UID = "0b8c3d9e-0000-4000-8000-000000000001"


def config_map(name: str, namespace: str = "", **data: str) -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **place}, "data": data}


def found(admin: Api, namespace: str, name: str) -> dict[str, Any]:
    live = admin.get("v1", "ConfigMap", name, namespace)
    assert live is not None, f"there is no ConfigMap {namespace}/{name}"
    return live


async def test_apply_puts_an_object_into_the_namespace_of_the_run(run: Run, admin: Api, namespace: str) -> None:
    outcome = await run("vela/kube", "apply", {"value": config_map("cm", a="1")})
    live = found(admin, namespace, "cm")
    assert outcome.value == {"value": live}
    assert live["data"] == {"a": "1"}
    assert live["metadata"]["labels"] == {
        "workflowrun.oam.dev/name": "run",
        "workflowrun.oam.dev/namespace": namespace,
    }
    assert "ownerReferences" not in live["metadata"]
    assert "annotations" not in live["metadata"]
    (interest,) = outcome.interest
    assert dataclasses.astuple(interest) == (
        "local", "v1", "ConfigMap", namespace, "cm", live["metadata"]["resourceVersion"],
    )  # fmt: skip
    assert not outcome.sensitive


async def test_apply_takes_out_what_is_no_longer_wanted(run: Run, admin: Api, namespace: str) -> None:
    await run("vela/kube", "apply", {"value": config_map("cm", a="1", b="2")})
    await run("vela/kube", "apply", {"value": config_map("cm", a="3")})
    assert found(admin, namespace, "cm")["data"] == {"a": "3"}


async def test_a_live_object_can_be_applied_again_as_it_was_read(run: Run, admin: Api, namespace: str) -> None:
    await run("vela/kube", "apply", {"value": config_map("cm", a="1")})
    live = found(admin, namespace, "cm")
    live["data"]["a"] = "2"
    await run("vela/kube", "apply", {"value": live})
    assert found(admin, namespace, "cm")["data"] == {"a": "2"}


async def test_apply_merges_its_patch(run: Run, admin: Api, namespace: str) -> None:
    await run("vela/op", "apply", {"value": config_map("cm", a="1"), "patch": {"data": {"b": "2"}}})
    assert found(admin, namespace, "cm")["data"] == {"a": "1", "b": "2"}
    with pytest.raises(errors.Terminal, match=r'patch does not fit value: data\.a: conflicting values "9" and "1"'):
        await run("vela/op", "apply", {"value": config_map("cm", a="1"), "patch": {"data": {"a": "9"}}})


async def test_a_second_look_reads_and_does_not_correct_drift(run: Run, admin: Api, namespace: str) -> None:
    await run("vela/kube", "apply", {"value": config_map("cm", a="1")})
    admin.patch("v1", "ConfigMap", "cm", {"data": {"a": "drift"}}, namespace)
    outcome = await run("vela/kube", "apply", {"value": config_map("cm", a="1")}, again=True)
    assert outcome.value is not None
    assert outcome.value["value"]["data"] == {"a": "drift"}


async def test_a_second_look_makes_again_what_is_gone(run: Run, admin: Api, namespace: str) -> None:
    outcome = await run("vela/kube", "apply", {"value": config_map("cm", a="1")}, again=True)
    assert outcome.value == {"value": found(admin, namespace, "cm")}


async def test_a_secret_taints_the_step(run: Run) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}}
    args = {"value": secret}
    assert (await run("vela/kube", "apply", args)).sensitive
    assert (await run("vela/kube", "apply", args, again=True)).sensitive
    assert (await run("vela/kube", "read", args)).sensitive
    assert (await run("vela/kube", "list", {"resource": {"apiVersion": "v1", "kind": "Secret"}})).sensitive
    assert (await run("vela/kube", "patch", {**args, "patch": {"metadata": {"labels": {"x": "y"}}}})).sensitive


async def test_an_object_without_namespaces_gets_none(run: Run, admin: Api, namespace: str) -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": namespace}}
    annotations = {"workflowrun.oam.dev/gc": "true"}
    outcome = await run("vela/kube", "apply", {"value": {**role, "rules": []}}, run_annotations=annotations)
    try:
        live = admin.get(role["apiVersion"], "ClusterRole", namespace)
        assert live is not None
        assert "ownerReferences" not in live["metadata"]
        assert [one.namespace for one in outcome.interest] == [""]
    finally:
        await run("vela/kube", "delete", {"value": role})
    assert admin.get(role["apiVersion"], "ClusterRole", namespace) is None


async def test_an_owner_is_set_where_it_is_asked_for(run: Run, admin: Api, namespace: str) -> None:
    annotations = {"workflowrun.oam.dev/gc": "true"}
    here = await run("vela/kube", "apply", {"value": config_map("here")}, run_annotations=annotations)
    assert here.value is not None
    assert here.value["value"]["metadata"]["ownerReferences"] == [
        {"apiVersion": "core.oam.dev/v1alpha1", "kind": "WorkflowRun", "name": "run", "uid": UID}
    ]
    await run("vela/kube", "apply", {"value": config_map(f"{namespace}-x", "default")}, run_annotations=annotations)
    try:
        assert "ownerReferences" not in found(admin, "default", f"{namespace}-x")["metadata"]
    finally:
        admin.delete("v1", "ConfigMap", f"{namespace}-x", "default")


async def test_duplicate_keys_are_taken_out_with_a_warning(run: Run) -> None:
    container = {"name": "c", "image": "example.invalid/i:1", "env": [{"name": "A", "value": "1"}, {"name": "A"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    outcome = await run("vela/kube", "apply", {"value": pod})
    assert outcome.warnings
    assert outcome.value is not None
    assert outcome.value["value"]["spec"]["containers"][0]["env"] == [{"name": "A"}]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "ConfigMap", "metadata": {"name": "a"}}, "value.apiVersion"),
        ({"apiVersion": "v1", "metadata": {"name": "a"}}, "value.kind"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "value.metadata.name"),
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": []}, "value.metadata"),
    ],
)
@pytest.mark.parametrize("do", ["apply", "read", "patch", "delete"])
async def test_a_manifest_that_names_nothing_is_final(do: str, value: Any, message: str, run: Run) -> None:
    with pytest.raises(errors.Terminal, match=message):
        await run("vela/kube", do, {"value": value, "patch": {}})


async def test_another_cluster_is_never_taken_for_this_one(run: Run) -> None:
    with pytest.raises(errors.Transient, match="cluster far is not joined"):
        await run("vela/kube", "apply", {"cluster": "far", "value": config_map("cm")})


async def test_many_are_applied_at_once_and_in_order(run: Run, admin: Api, namespace: str) -> None:
    names = [f"cm-{index}" for index in range(write.PARALLEL + 4)]
    outcome = await run("vela/kube", "apply-in-parallel", {"value": [config_map(name) for name in names]})
    assert outcome.value is not None
    assert [one["metadata"]["name"] for one in outcome.value["value"]] == names
    assert [one.name for one in outcome.interest] == names
    assert all(one["metadata"]["labels"]["workflowrun.oam.dev/name"] == "run" for one in outcome.value["value"])


async def test_one_failure_among_many_does_not_stop_the_others(run: Run, admin: Api, namespace: str) -> None:
    bad = [{**config_map(f"bad-{index}"), "data": {"not a key": "x"}} for index in range(2)]
    with pytest.raises(errors.Transient, match=r"bad-0.*\(and 1 more of 3 objects failed\)") as raised:
        await run("vela/kube", "apply-in-parallel", {"value": [*bad, config_map("good")]})
    assert raised.value.after == cluster_errors.REFUSED_AFTER
    assert found(admin, namespace, "good")


async def test_reading_what_exists_and_what_does_not(run: Run, admin: Api, namespace: str) -> None:
    args = {"value": config_map("cm")}
    outcome = await run("vela/kube", "read", args)
    assert outcome.value is not None
    assert outcome.value["value"] == args["value"]
    assert "not found" in outcome.value["err"]
    assert [(one.name, one.resource_version) for one in outcome.interest] == [("cm", ABSENT)]
    admin.create(config_map("cm", namespace, a="1"))
    live = found(admin, namespace, "cm")
    assert (await run("vela/kube", "read", args)).value == {"value": live}
    assert (await run("vela/op", "read", args)).value == {"value": live, "workload": live}


async def test_only_not_found_is_no_error_of_a_read(run: Run) -> None:
    with pytest.raises(cluster_errors.UnknownKind):
        await run("vela/kube", "read", {"value": {"apiVersion": "v9", "kind": "None", "metadata": {"name": "a"}}})


async def test_listing_by_labels(run: Run, admin: Api, namespace: str) -> None:
    for name, tier in (("a", "1"), ("b", "2")):
        admin.create({**config_map(name, namespace), "metadata": {"name": name, "labels": {"tier": tier}}}, namespace)
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    chosen = {"namespace": namespace, "matchingLabels": {"tier": 2}}
    outcome = await run("vela/kube", "list", {"resource": kind, "filter": chosen})
    assert outcome.value is not None
    values = outcome.value["values"]
    assert values["kind"] == "ConfigMapList"
    assert [one["metadata"]["name"] for one in values["items"]] == ["b"]
    (interest,) = outcome.interest
    assert (interest.namespace, interest.name) == (namespace, "")
    assert interest.resource_version == values["metadata"]["resourceVersion"]
    everywhere = await run("vela/kube", "list", {"resource": kind})
    assert everywhere.value is not None
    assert {"a", "b"} < {one["metadata"]["name"] for one in everywhere.value["values"]["items"]}


async def test_patching_merges_into_the_live_object(run: Run, admin: Api, namespace: str) -> None:
    admin.create({**config_map("cm", namespace, a="1"), "immutable": False})
    outcome = await run("vela/kube", "patch", {"value": config_map("cm"), "patch": {"data": {"b": "2"}}})
    live = found(admin, namespace, "cm")
    assert outcome.value == {"result": live}
    assert live["data"] == {"a": "1", "b": "2"}
    assert live["metadata"]["labels"]["workflowrun.oam.dev/name"] == "run"
    version = live["metadata"]["resourceVersion"]
    await run("vela/kube", "patch", {"value": config_map("cm"), "patch": {"data": {"b": "2"}}})
    assert found(admin, namespace, "cm")["metadata"]["resourceVersion"] == version


async def test_patching_what_contradicts_or_is_missing(run: Run, admin: Api, namespace: str) -> None:
    args = {"value": config_map("cm"), "patch": {"data": {"a": "2"}}}
    with pytest.raises(cluster_errors.NotFound):
        await run("vela/kube", "patch", args)
    admin.create(config_map("cm", namespace, a="1"))
    with pytest.raises(errors.Transient, match=r'data\.a: conflicting values "2" and "1"'):
        await run("vela/kube", "patch", args)


async def test_patching_with_tags_and_against_a_change_in_between(
    client: ClusterClient, admin: Api, namespace: str
) -> None:
    admin.create(config_map("cm", namespace, a="1"))
    racing = Racing(client, admin, namespace)
    args = {"value": config_map("cm"), "patch": {"data": {"a": "2"}}}
    tags = {("data", "a"): {"patchStrategy": "retainKeys"}}
    outcome = await write.patch(support.call(args, clusters=racing, run_namespace=namespace, tags=tags))
    assert racing.changes == 1
    assert outcome.value is not None
    assert outcome.value["result"]["data"] == {"a": "2", "other": "meanwhile"}


class Racing:
    """The local cluster, in which somebody changes an object right after it was first read."""

    def __init__(self, client: ClusterClient, admin: Api, namespace: str) -> None:
        self._client = client
        self._admin = admin
        self._namespace = namespace
        self.changes = 0

    def client(self, cluster: str) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> Any:
        live = await self._client.get(api_version, kind, namespace, name)
        if not self.changes:
            self.changes += 1
            self._admin.patch(api_version, kind, name, {"data": {"other": "meanwhile"}}, self._namespace)
        return live


async def test_deleting_one_object(run: Run, admin: Api, namespace: str) -> None:
    admin.create(config_map("cm", namespace))
    args = {"value": config_map("cm", a="ignored")}
    assert (await run("vela/kube", "delete", args)).value is None
    assert (await run("vela/kube", "delete", args)).value is None, "what is gone is deleted already"
    assert admin.get("v1", "ConfigMap", "cm", namespace) is None


async def test_a_second_look_deletes_nothing_that_came_after(run: Run, admin: Api, namespace: str) -> None:
    admin.create(config_map("cm", namespace))
    await run("vela/kube", "delete", {"value": config_map("cm")}, again=True)
    assert found(admin, namespace, "cm")


async def test_deleting_by_labels(run: Run, admin: Api, namespace: str) -> None:
    for name in ("a", "b", "other"):
        labels = {"role": "other" if name == "other" else "temp"}
        admin.create({**config_map(name, namespace), "metadata": {"name": name, "labels": labels}}, namespace)
    kind = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}
    await run("vela/kube", "delete", {"value": kind, "filter": {"matchingLabels": {"role": "temp"}}})
    names = {one["metadata"]["name"] for one in admin.list("v1", "ConfigMap", namespace)}
    assert "other" in names
    assert not names & {"a", "b"}


async def test_a_kind_in_other_case_is_what_is_meant(run: Run, admin: Api, namespace: str) -> None:
    wanted = {**config_map("cm", a="1"), "kind": "configmap"}
    assert (await run("vela/kube", "apply", {"value": wanted})).value == {"value": found(admin, namespace, "cm")}
    again = await run("vela/kube", "apply", {"value": wanted}, again=True)
    assert [one.kind for one in again.interest] == ["ConfigMap"]
    assert (await run("vela/kube", "read", {"value": wanted})).value == {"value": found(admin, namespace, "cm")}
    await run("vela/kube", "delete", {"value": wanted})
    assert admin.get("v1", "ConfigMap", "cm", namespace) is None
    secret = {"apiVersion": "v1", "kind": "secret", "metadata": {"name": "none"}}
    assert (await run("vela/kube", "read", {"value": secret})).sensitive


async def test_the_client_itself_wants_the_exact_kind(client: ClusterClient, namespace: str) -> None:
    with pytest.raises(cluster_errors.UnknownKind):
        await client.get("v1", "secret", namespace, "none")


@pytest.mark.parametrize("chosen", [{}, {"matchingLabels": {}}, {"namespace": "default"}], ids=str)
async def test_nothing_is_deleted_because_of_an_empty_selector(
    chosen: dict[str, Any], run: Run, admin: Api, namespace: str
) -> None:
    admin.create(config_map("cm", namespace))
    with pytest.raises(errors.Terminal, match="matchingLabels is empty"):
        await run("vela/kube", "delete", {"value": config_map("cm"), "filter": chosen})
    assert found(admin, namespace, "cm")
