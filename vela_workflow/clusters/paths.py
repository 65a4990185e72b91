"""Where an object lives: its identity, and the URL path that discovery and identity make together.

Names come from templates, so a name that would lead to another place in the path is refused here, by the API server's
own rule, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from vela_workflow.clusters import discovery, errors
from vela_workflow.clusters.client import Resource
from vela_workflow.errors import Invalid, Problem

JSON = dict[str, Any]


def identity(body: Mapping[str, Any], *, name_required: bool = True) -> tuple[str, str, str, str]:
    """apiVersion, kind, namespace and name of an object; raises ``Invalid`` with everything that is missing."""
    metadata = body.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    values = {
        "apiVersion": body.get("apiVersion"),
        "kind": body.get("kind"),
        "metadata.name": metadata.get("name") or ("-" if metadata.get("generateName") and not name_required else None),
    }
    problems = [
        Problem("must be a text that is not empty", path=path)
        for path, value in values.items()
        if not isinstance(value, str) or not value
    ]
    if problems:
        raise Invalid(problems, summary="the object cannot be sent to a cluster")
    return (
        str(body["apiVersion"]),
        str(body["kind"]),
        str(metadata.get("namespace") or ""),
        str(metadata.get("name") or ""),
    )


def path(resource: Resource, namespace: str, name: str = "", subresource: str = "") -> str:
    """The URL path of an object or a collection; raises ``Invalid`` for names that would lead elsewhere."""
    parts = [discovery.base_path(resource.api_version)]
    if resource.namespaced and namespace:
        parts += ["namespaces", _segment(namespace, "metadata.namespace")]
    parts.append(resource.plural)
    if name:
        parts.append(_segment(name, "metadata.name"))
    if subresource:
        parts.append(_segment(subresource, "subresource"))
    return "/".join(parts)


def check_namespace(resource: Resource, namespace: str, target: errors.Target) -> None:
    """Raise ``Invalid`` when an object of a namespaced kind has no namespace."""
    if resource.namespaced and not namespace:
        raise Invalid([Problem(f"{target}: the namespace of the object is missing", path="metadata.namespace")])


def _segment(value: str, field: str) -> str:
    """One segment of a path, by the API server's own rule for names (no ``.``, ``..``, slash or per cent)."""
    if value in {".", ".."} or "/" in value or "%" in value:
        raise Invalid([Problem(f"{value!r} cannot be a name", path=field)])
    return quote(value, safe=":")


def placed(body: JSON, resource: Resource) -> JSON:
    """``body`` without a namespace when its kind has none."""
    metadata = body["metadata"]
    if resource.namespaced or "namespace" not in metadata:
        return body
    return {**body, "metadata": {key: value for key, value in metadata.items() if key != "namespace"}}
