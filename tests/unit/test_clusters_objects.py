"""What is done to objects before they are applied: pure functions over plain dicts."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from vela_workflow.api import constants
from vela_workflow.clusters import objects

JSON = dict[str, Any]


def deployment(**container: Any) -> JSON:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [{"name": "web", **container}]}}},
    }


CLEANED = [
    pytest.param({"status": {"ready": True}}, {}, id="status"),
    pytest.param(
        {"metadata": {"name": "web", "uid": "1", "resourceVersion": "2", "managedFields": [], "generation": 3}},
        {"metadata": {"name": "web"}},
        id="metadata-of-the-server",
    ),
    pytest.param(
        {"metadata": {"name": "web", "creationTimestamp": None, "ownerReferences": [{"uid": "1"}]}},
        {"metadata": {"name": "web", "ownerReferences": [{"uid": "1"}]}},
        id="null-time-stamp-but-not-owners",
    ),
    pytest.param(
        {"metadata": {"annotations": {objects.LAST_APPLIED[0]: "{}", "a": "b"}}},
        {"metadata": {"annotations": {"a": "b"}}},
        id="last-applied",
    ),
    pytest.param(
        {"metadata": {"annotations": {objects.LAST_APPLIED[0]: "{}"}}}, {"metadata": {}}, id="only-last-applied"
    ),
    pytest.param({"metadata": None}, {"metadata": None}, id="left-to-the-server-to-refuse"),
]


@pytest.mark.parametrize(("body", "expected"), CLEANED)
def test_clean_drops_what_belongs_to_the_server(body: JSON, expected: JSON) -> None:
    before = copy.deepcopy(body)
    assert objects.clean(body) == objects.Prepared(expected)
    assert body == before


def env(*pairs: tuple[str, str]) -> list[JSON]:
    return [{"name": name, "value": value} for name, value in pairs]


DUPLICATES = [
    pytest.param(
        {"env": env(("A", "1"), ("B", "2"), ("A", "3"))}, {"env": env(("B", "2"), ("A", "3"))}, 1, id="last-wins"
    ),
    pytest.param({"env": env(("A", "1"), ("A", "2"), ("A", "3"))}, {"env": env(("A", "3"))}, 1, id="said-once"),
    pytest.param(
        {"ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "TCP", "name": "http"}]},
        {"ports": [{"containerPort": 80, "protocol": "TCP", "name": "http"}]},
        1,
        id="default-of-a-key",
    ),
    pytest.param(
        {"ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]},
        {"ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]},
        0,
        id="different-keys",
    ),
    pytest.param({"env": [{"value": "1"}, {"value": "2"}]}, {"env": [{"value": "1"}, {"value": "2"}]}, 0, id="no-key"),
    pytest.param({"env": ["A", "A"]}, {"env": ["A", "A"]}, 0, id="not-objects"),
    pytest.param({"args": ["a", "a"]}, {"args": ["a", "a"]}, 0, id="plain-list"),
]


@pytest.mark.parametrize(("container", "expected", "warnings"), DUPLICATES)
def test_clean_takes_duplicates_out_of_keyed_lists(container: JSON, expected: JSON, warnings: int) -> None:
    body = deployment(**container)
    before = copy.deepcopy(body)
    prepared = objects.clean(body)
    assert prepared.body["spec"]["template"]["spec"]["containers"] == [{"name": "web", **expected}]
    assert len(prepared.warnings) == warnings
    assert all(text.startswith("spec.template.spec.containers[0].") for text in prepared.warnings)
    assert body == before


def test_clean_leaves_lists_of_other_kinds_alone() -> None:
    body = {"apiVersion": "example.com/v1", "kind": "Deployment", "metadata": {}, "spec": deployment()["spec"]}
    body["spec"]["template"]["spec"]["containers"] *= 2
    assert objects.clean(body) == objects.Prepared(body)


NAMESPACES = [
    pytest.param({"name": "a"}, "runs", id="the-default"),
    pytest.param({"name": "a", "namespace": ""}, "runs", id="empty"),
    pytest.param({"name": "a", "namespace": "own"}, "own", id="its-own"),
]


@pytest.mark.parametrize(("metadata", "expected"), NAMESPACES)
def test_default_namespace(metadata: JSON, expected: str) -> None:
    assert objects.with_namespace({"metadata": metadata}, "runs")["metadata"]["namespace"] == expected


LABELS = [
    pytest.param("short", id="short"),
    pytest.param("x" * 63, id="just-fits"),
    pytest.param("x" * 64, id="too-long"),
    pytest.param("a" * 51 + "-." + "b" * 100, id="cut-at-a-dash"),
]


@pytest.mark.parametrize("value", LABELS)
def test_label_values_fit_and_tell_names_apart(value: str) -> None:
    label = objects.label_value(value)
    assert len(label) <= 63
    assert (label == value) is (len(value) <= 63)
    assert label[-1].isalnum()
    assert "--" not in label
    assert objects.label_value(value + "y" * 63) != objects.label_value(value + "z" * 63)


def test_run_labels_win_over_those_of_the_object() -> None:
    body = {"metadata": {"labels": {"app": "web", constants.LABEL_RUN_NAME: "another"}}}
    labels = objects.with_labels(body, objects.run_labels("build", "ci"))["metadata"]["labels"]
    assert labels == {"app": "web", "workflowrun.oam.dev/name": "build", "workflowrun.oam.dev/namespace": "ci"}


OWNER = {"apiVersion": "core.oam.dev/v1alpha1", "kind": "WorkflowRun", "name": "build", "uid": "1"}
OWNERS = [
    pytest.param("", "ci", True, True, id="local-same-namespace"),
    pytest.param("local", "", True, True, id="no-namespace-yet"),
    pytest.param("far", "ci", True, False, id="another-cluster"),
    pytest.param("", "shop", True, False, id="another-namespace"),
    pytest.param("", "", False, False, id="cluster-wide-kind"),
]


@pytest.mark.parametrize(("cluster", "namespace", "namespaced", "owned"), OWNERS)
def test_owner_references_only_where_the_garbage_collector_accepts_them(
    cluster: str, namespace: str, *, namespaced: bool, owned: bool
) -> None:
    body = {"metadata": {"name": "a", **({"namespace": namespace} if namespace else {})}}
    result = objects.with_owner(body, OWNER, namespace="ci", cluster=cluster, namespaced=namespaced)
    assert result["metadata"].get("ownerReferences") == ([OWNER] if owned else None)


def test_owner_references_are_not_repeated() -> None:
    other = {**OWNER, "uid": "2"}
    body = {"metadata": {"ownerReferences": [OWNER, other]}}
    result = objects.with_owner(body, OWNER, namespace="ci", cluster="", namespaced=True)
    assert result["metadata"]["ownerReferences"] == [other, OWNER]


def test_garbage_collection_is_asked_for_by_an_annotation() -> None:
    assert objects.wants_garbage_collection({"workflowrun.oam.dev/gc": "true"})
    assert not objects.wants_garbage_collection({"workflowrun.oam.dev/gc": "false"})
    assert not objects.wants_garbage_collection({})


def entry(manager: str, fields: JSON, operation: str = "Update", **more: str) -> JSON:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        **more,
    }


GO_FIELDS = {"f:metadata": {"f:annotations": {f"f:{objects.LAST_APPLIED[0]}": {}}}, "f:data": {"f:a": {}, "f:b": {}}}
OUR_FIELDS = {"f:data": {"f:a": {}, "f:c": {}}}
OURS = entry("vela-workflow", OUR_FIELDS, "Apply")
NOT_MIGRATED = [
    pytest.param([], id="nobody"),
    pytest.param([OURS], id="ours"),
    pytest.param([entry("manager", {"f:data": {}})], id="another-operator-of-the-same-name"),
    pytest.param([entry("kubevela", GO_FIELDS, "Apply")], id="applied"),
    pytest.param([entry("kubevela", GO_FIELDS, subresource="status")], id="status"),
]


@pytest.mark.parametrize("fields", NOT_MIGRATED)
def test_nothing_to_migrate(fields: list[JSON]) -> None:
    assert objects.migrate_ownership({"metadata": {"managedFields": fields}}) is None


def test_fields_of_the_go_controller_are_taken_over() -> None:
    status = entry("kubevela", {"f:status": {}}, subresource="status")
    other = entry("kubectl", {"f:data": {"f:d": {}}})
    managed = [entry("kubevela", GO_FIELDS), other, OURS, status, entry("kubevela", {"f:data": {"f:e": {}}})]
    patch = objects.migrate_ownership({"metadata": {"resourceVersion": "7", "managedFields": managed}})
    assert patch is not None
    test, replace = patch
    assert (test["op"], test["path"], test["value"]) == ("test", "/metadata/resourceVersion", "7")
    merged, *rest = replace["value"]
    assert (merged["manager"], merged["operation"]) == ("vela-workflow", "Apply")
    assert merged["fieldsV1"]["f:data"] == {"f:a": {}, "f:b": {}, "f:c": {}, "f:e": {}}
    assert merged["fieldsV1"]["f:metadata"] == GO_FIELDS["f:metadata"]
    assert rest == [other, status]


SELECTORS = [
    pytest.param(None, "", "", id="nothing"),
    pytest.param({"b": "2", "a": "1"}, "", "a=1,b=2", id="labels"),
    pytest.param({"a": "1"}, "b in (1,2)", "a=1,b in (1,2)", id="both"),
    pytest.param({}, "!c", "!c", id="selector"),
]


@pytest.mark.parametrize(("labels", "selector", "expected"), SELECTORS)
def test_label_selector(labels: dict[str, str] | None, selector: str, expected: str) -> None:
    assert objects.label_selector(labels, selector) == expected
