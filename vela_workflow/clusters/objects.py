"""What is done to an object before it is sent to an API server, and to its ownership after that.

All functions are pure: they take plain dicts, leave them as they are and return new ones. What they do is decided in
decisions 28 to 30: a default namespace, labels that lead back to the run, no fields that belong to the server, no
duplicates in keyed lists, and one owner of the fields that the Go controller wrote before us.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vela_workflow.api import constants
from vela_workflow.clusters import errors, keyed_lists

JSON = dict[str, Any]

FIELD_MANAGER = "vela-workflow"
"""The field manager of everything that this program applies (decisions 29)."""

LAST_APPLIED = ("workflow.oam.dev/last-applied-configuration", "app.oam.dev/last-applied-configuration")
"""Annotations in which the Go controllers keep what they applied; they also tell which field manager was theirs."""

_CLIENT_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_SERVER_METADATA = (
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generation",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_LABEL_LIMIT = 63
_HASH_LENGTH = 10


@dataclass(frozen=True, slots=True)
class Prepared:
    """An object that is ready to be applied, and what a user should be told about it."""

    body: JSON
    warnings: tuple[str, ...] = ()


def clean(body: Mapping[str, Any]) -> Prepared:
    """``body`` without what belongs to the server and without duplicates in keyed lists (decisions 29)."""
    result = {key: value for key, value in body.items() if key != "status"}
    metadata = body.get("metadata")
    if isinstance(metadata, dict):
        result["metadata"] = _clean_metadata(metadata)
    api_version, kind = str(body.get("apiVersion", "")), str(body.get("kind", ""))
    group = api_version.rpartition("/")[0]
    shape = keyed_lists.BY_KIND.get((group, kind))
    if shape is None:
        return Prepared(result)
    result, warnings = keyed_lists.without_duplicates(result, shape)
    return Prepared(result, tuple(warnings))


def _clean_metadata(metadata: Mapping[str, Any]) -> JSON:
    result = {key: value for key, value in metadata.items() if key not in _SERVER_METADATA}
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict):
        dropped = (*LAST_APPLIED, _CLIENT_LAST_APPLIED)
        result["annotations"] = {key: value for key, value in annotations.items() if key not in dropped}
        if not result["annotations"]:
            del result["annotations"]
    return result


def with_namespace(body: Mapping[str, Any], namespace: str) -> JSON:
    """``body`` in ``namespace``, unless it names one itself (decisions 28).

    Harmless for kinds without namespaces: the client leaves the field out for those.
    """
    metadata = body.get("metadata") or {}
    if metadata.get("namespace"):
        return dict(body)
    return {**body, "metadata": {**metadata, "namespace": namespace}}


def with_labels(body: Mapping[str, Any], labels: Mapping[str, str]) -> JSON:
    """``body`` with ``labels`` added; they win over labels of the same name."""
    metadata = body.get("metadata") or {}
    merged = {**(metadata.get("labels") or {}), **labels}
    return {**body, "metadata": {**metadata, "labels": merged}}


def label_value(value: str) -> str:
    """``value`` as a label value: itself up to 63 characters, else a beginning of it and a hash (decisions 30)."""
    if len(value) <= _LABEL_LIMIT:
        return value
    digest = hashlib.sha256(value.encode()).hexdigest()[:_HASH_LENGTH]
    head = value[: _LABEL_LIMIT - _HASH_LENGTH - 1].rstrip("-_.")
    return f"{head}-{digest}"


def run_labels(name: str, namespace: str) -> dict[str, str]:
    """The labels that lead from an applied object back to its run (decisions 30)."""
    return {constants.LABEL_RUN_NAME: label_value(name), constants.LABEL_RUN_NAMESPACE: label_value(namespace)}


def wants_garbage_collection(annotations: Mapping[str, str]) -> bool:
    """Whether a run with these annotations asks for owner references (decisions 30)."""
    return annotations.get(constants.ANNOTATION_GARBAGE_COLLECT) == "true"


def with_owner(
    body: Mapping[str, Any], owner: Mapping[str, str], *, namespace: str, cluster: str, namespaced: bool
) -> JSON:
    """``body`` owned by ``owner``, where that is possible: in the local cluster and in the owner's ``namespace``.

    ``owner`` has ``apiVersion``, ``kind``, ``name`` and ``uid``; ``namespaced`` says whether the kind of the body is.
    An owner in another namespace or cluster would make the garbage collector delete the object at once, so the body
    then comes back as it is (decisions 30).
    """
    metadata = body.get("metadata") or {}
    here = namespaced and metadata.get("namespace", namespace) == namespace
    if cluster not in ("", errors.LOCAL) or not here:
        return dict(body)
    others = [one for one in metadata.get("ownerReferences") or [] if one.get("uid") != owner["uid"]]
    return {**body, "metadata": {**metadata, "ownerReferences": [*others, dict(owner)]}}


def migrate_ownership(live: Mapping[str, Any], manager: str = FIELD_MANAGER) -> list[JSON] | None:
    """A JSON patch that makes the fields written by the Go controller ours; ``None`` when there are none.

    The Go controller wrote by create and patch, so the server noted its fields as an ``Update`` of a manager named
    after its binary. Server-side apply leaves fields of another manager in place when they vanish from what is applied;
    after the migration they are ours and go like any other. The manager is recognised by owning the annotation in which
    that controller keeps what it applied, not by its name: binaries called ``manager`` are many.
    """
    metadata = live.get("metadata") or {}
    entries = [entry for entry in metadata.get("managedFields") or [] if isinstance(entry, dict)]
    legacy = {entry.get("manager") for entry in entries if _is_update(entry) and _owns_last_applied(entry)}
    if not legacy:
        return None
    taken = [entry for entry in entries if _is_update(entry) and entry.get("manager") in legacy]
    ours = [entry for entry in entries if entry.get("manager") == manager and entry.get("operation") == "Apply"]
    fields: JSON = {}
    for entry in [*taken, *ours]:
        fields = _union(fields, entry.get("fieldsV1") or {})
    base = (ours or taken)[0]
    merged = {**base, "manager": manager, "operation": "Apply", "fieldsV1": fields}
    rest = [entry for entry in entries if entry not in taken and entry not in ours]
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": metadata.get("resourceVersion", "")},
        {"op": "replace", "path": "/metadata/managedFields", "value": [merged, *rest]},
    ]


def _is_update(entry: Mapping[str, Any]) -> bool:
    return entry.get("operation") == "Update" and not entry.get("subresource")


def _owns_last_applied(entry: Mapping[str, Any]) -> bool:
    fields = entry.get("fieldsV1") or {}
    annotations = (fields.get("f:metadata") or {}).get("f:annotations") or {}
    return any(f"f:{name}" in annotations for name in LAST_APPLIED)


def _union(one: JSON, other: JSON) -> JSON:
    """The union of two field sets; a leaf is an empty object, so deeper knowledge only adds."""
    result = dict(one)
    for key, value in other.items():
        result[key] = _union(result[key], value) if isinstance(result.get(key), dict) else value
    return result


def label_selector(labels: Mapping[str, str] | None, selector: str = "") -> str:
    """The label selector that means ``labels`` and ``selector`` together."""
    parts: Iterable[str] = [f"{key}={value}" for key, value in sorted((labels or {}).items())]
    return ",".join([*parts, selector] if selector else parts)
