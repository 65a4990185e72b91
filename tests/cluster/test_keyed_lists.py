"""The table of keyed lists says what the schema of a real API server says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tools.rest import Api
from vela_workflow.clusters import keyed_lists

JSON = dict[str, Any]
Path = tuple[str, ...]
Lists = dict[Path, tuple[tuple[str, ...], JSON]]

READ_ONLY = {("", "ComponentStatus")}
"""Kinds that nobody writes."""


@pytest.fixture(scope="module")
def served(admin: Api) -> dict[tuple[str, str], Lists]:
    """The keyed lists of every built-in kind, without those in ``status`` and ``metadata``."""
    paths = [path for path in admin.request("GET", "/openapi/v3")["paths"] if _is_stable(path)]
    return {kind: lists for path in paths for kind, lists in _kinds(admin.request("GET", f"/openapi/v3/{path}"))}


def _is_stable(path: str) -> bool:
    """Whether a path of the index is a built-in group in its stable version; other groups come with CRDs of tests."""
    root, _, rest = path.partition("/")
    group, _, version = rest.rpartition("/")
    built_in = root == "api" or "." not in group or group.endswith(".k8s.io")
    return built_in and re.fullmatch(r"v\d+", version) is not None and bool(group or root == "api")


def _kinds(document: JSON) -> Iterator[tuple[tuple[str, str], Lists]]:
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        for served in schema.get("x-kubernetes-group-version-kind", ()):
            properties = {
                name: value
                for name, value in schema.get("properties", {}).items()
                if name not in ("status", "metadata", "items")
            }
            yield (served["group"], served["kind"]), dict(_lists({"properties": properties}, schemas, ()))


def _lists(schema: JSON, schemas: JSON, path: Path) -> Iterator[tuple[Path, tuple[tuple[str, ...], JSON]]]:
    schema = _resolved(schema, schemas)
    for name, value in schema.get("properties", {}).items():
        if name == "metadata":
            continue
        child = _resolved(value, schemas)
        here = (*path, name)
        if child.get("type") != "array":
            yield from _lists(child, schemas, here)
            continue
        element = _resolved(child["items"], schemas)
        if child.get("x-kubernetes-list-type") == "map":
            keys = tuple(child["x-kubernetes-list-map-keys"])
            defaults = {key: element["properties"][key].get("default") for key in keys}
            # An empty default is how the schema says that there is none.
            yield here, (keys, {key: value for key, value in defaults.items() if value})
            yield from _lists(element, schemas, here)


def _resolved(schema: JSON, schemas: JSON) -> JSON:
    reference = schema.get("$ref") or next((one["$ref"] for one in schema.get("allOf", ()) if "$ref" in one), "")
    if not reference:
        return schema
    found = schemas[reference.rpartition("/")[2]]
    if found.get("properties", {}).keys() & {"openAPIV3Schema", "$ref"}:
        return {}  # the schema of schemas refers to itself
    return {**found, **{key: value for key, value in schema.items() if key.startswith("x-")}}


def _table(shape: keyed_lists.Shape, path: Path = ()) -> Iterator[tuple[Path, tuple[tuple[str, ...], JSON]]]:
    for name, child in shape.inside.items():
        yield from _table(child, (*path, name))
    for name, keyed in shape.keyed.items():
        yield (*path, name), (keyed.keys, dict(keyed.defaults))
        yield from _table(keyed.element, (*path, name))


@pytest.mark.parametrize("kind", keyed_lists.BY_KIND, ids="/".join)
def test_the_table_is_what_the_server_says(served: dict[tuple[str, str], Lists], kind: tuple[str, str]) -> None:
    assert dict(_table(keyed_lists.BY_KIND[kind])) == served[kind]


def test_no_kind_is_missing(served: dict[tuple[str, str], Lists]) -> None:
    assert {kind for kind, lists in served.items() if lists} - READ_ONLY == keyed_lists.BY_KIND.keys()
