"""The patch strategy as a table, and the difference that is sent to an API server."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vela_workflow.providers import merge

BY_NAME = {"patchKey": "name"}
REPLACE = {"patchStrategy": "replace"}
RETAIN = {"patchStrategy": "retainKeys"}

DEPLOYMENT = {
    "spec": {
        "replicas": 1,
        "template": {
            "spec": {
                "containers": [
                    {"name": "a", "image": "ia", "env": [{"name": "E1", "value": "1"}]},
                    {"name": "b", "image": "ib"},
                ]
            }
        },
    }
}
CONTAINERS = ("spec", "template", "spec", "containers")


def in_template(containers: list[Any], **spec: Any) -> dict[str, Any]:
    return {"spec": {**spec, "template": {"spec": {"containers": containers}}}}


# reason: base, patch, tags, result
MERGED: dict[str, tuple[Any, Any, Any, Any]] = {
    "the example that was verified against the Go implementation": (
        DEPLOYMENT,
        in_template(
            [
                {"name": "b", "command": ["run"]},
                {"name": "c", "image": "ic"},
                {"name": "a", "env": [{"name": "E2", "value": "2"}]},
            ],
            replicas=3,
        ),
        {("spec", "replicas"): RETAIN, CONTAINERS: BY_NAME, (*CONTAINERS, 2, "env"): REPLACE},
        in_template(
            [
                {"name": "a", "image": "ia", "env": [{"name": "E2", "value": "2"}]},
                {"name": "b", "image": "ib", "command": ["run"]},
                {"name": "c", "image": "ic"},
            ],
            replicas=3,
        ),
    ),
    "structs are joined": ({"a": {"b": 1}}, {"a": {"c": 2}, "d": 3}, {}, {"a": {"b": 1, "c": 2}, "d": 3}),
    "equal values agree": ({"a": 1, "b": None, "c": "x"}, {"a": 1, "b": None}, {}, {"a": 1, "b": None, "c": "x"}),
    "lists without a key are joined by position": (
        {"l": [{"a": 1}]},
        {"l": [{"b": 2}, {"c": 3}]},
        {},
        {"l": [{"a": 1, "b": 2}, {"c": 3}]},
    ),
    "a list that is new is taken": ({}, {"l": [1]}, {("l",): BY_NAME}, {"l": [1]}),
    "the key holds for the lists below too": (
        {"l": [{"name": "a", "m": [{"name": "x", "v": 1}, {"name": "y"}]}]},
        {"l": [{"name": "a", "m": [{"name": "y", "w": 2}]}]},
        {("l",): BY_NAME},
        {"l": [{"name": "a", "m": [{"name": "x", "v": 1}, {"name": "y", "w": 2}]}]},
    ),
    "an inner key takes the place of the outer one": (
        {"l": [{"name": "a", "ports": [{"port": 80}]}]},
        {"l": [{"name": "a", "ports": [{"port": 443}]}]},
        {("l",): BY_NAME, ("l", 0, "ports"): {"patchKey": "port"}},
        {"l": [{"name": "a", "ports": [{"port": 80}, {"port": 443}]}]},
    ),
    "a key may be a path": (
        {"l": [{"ref": {"name": "a"}, "v": 1}]},
        {"l": [{"ref": {"name": "b"}}, {"ref": {"name": "a"}, "w": 2}]},
        {("l",): {"patchKey": "ref.name"}},
        {"l": [{"ref": {"name": "a"}, "v": 1, "w": 2}, {"ref": {"name": "b"}}]},
    ),
    "several keys": (
        {"l": [{"name": "a"}, {"id": 7}]},
        {"l": [{"id": 7, "v": 1}, {"name": "a", "v": 2}]},
        {("l",): {"patchKey": "name, id"}},
        {"l": [{"name": "a", "v": 2}, {"id": 7, "v": 1}]},
    ),
    "an element of the patch without the key is dropped": (
        {"l": [{"name": "a"}]},
        {"l": [{"v": 1}, {"name": "b"}]},
        {("l",): BY_NAME},
        {"l": [{"name": "a"}, {"name": "b"}]},
    ),
    "a patch in which no element has the key is joined by position": (
        {"l": [{"name": "a"}]},
        {"l": [{"v": 1}]},
        {("l",): BY_NAME},
        {"l": [{"name": "a", "v": 1}]},
    ),
    "replaced lists": ({"l": [1, 2, 3]}, {"l": [9]}, {("l",): REPLACE}, {"l": [9]}),
    "a value is replaced": ({"a": "1"}, {"a": "2"}, {("a",): RETAIN}, {"a": "2"}),
    "a struct is replaced whole": ({"s": {"rolling": 1}}, {"s": {"type": "R"}}, {("s",): RETAIN}, {"s": {"type": "R"}}),
    "partners in a keyed list are replaced": (
        {"l": [{"name": "a", "v": 1}, {"name": "b", "v": 1}]},
        {"l": [{"name": "b", "w": 2}]},
        {("l",): {**BY_NAME, **RETAIN}},
        {"l": [{"name": "a", "v": 1}, {"name": "b", "w": 2}]},
    ),
    "a tag in a comprehension is given for any element": (
        {"l": [{"name": "a", "v": 1}, {"name": "b", "v": 1}]},
        {"l": [{"name": "b", "v": 2}, {"name": "a", "v": 3}]},
        {("l",): BY_NAME, ("l", "*", "v"): RETAIN},
        {"l": [{"name": "a", "v": 3}, {"name": "b", "v": 2}]},
    ),
    "names with an underscore are data": ({"_a": 1}, {"_b": 2}, {}, {"_a": 1, "_b": 2}),
}

# reason: base, patch, tags, message
CONFLICTS: dict[str, tuple[Any, Any, Any, str]] = {
    "another value": ({"data": {"a": "1"}}, {"data": {"a": "2"}}, {}, 'data.a: conflicting values "2" and "1"'),
    "an integer is no float": ({"a": 1}, {"a": 1.0}, {}, "a: conflicting values 1.0 and 1"),
    "a bool is no integer": ({"a": 1}, {"a": True}, {}, "a: conflicting values true and 1"),
    "a struct is no list": ({"a": []}, {"a": {}}, {}, "a: conflicting values struct and list"),
    "a shorter list without a key": ({"l": [1, 2]}, {"l": [1]}, {}, "l: incompatible list lengths (1 and 2)"),
    "inside an element": (
        {"l": [{"name": "a", "v": 1}]},
        {"l": [{"name": "a", "v": 2}]},
        {("l",): BY_NAME},
        "l.0.v: conflicting values 2 and 1",
    ),
}


@pytest.mark.parametrize(("base", "patch", "tags", "expected"), MERGED.values(), ids=MERGED)
def test_merge(base: Any, patch: Any, tags: Any, expected: Any) -> None:
    before = copy.deepcopy((base, patch))
    assert merge.merge(base, patch, tags) == expected
    assert (base, patch) == before


@pytest.mark.parametrize(("base", "patch", "tags", "message"), CONFLICTS.values(), ids=CONFLICTS)
def test_contradictions(base: Any, patch: Any, tags: Any, message: str) -> None:
    with pytest.raises(merge.MergeError) as raised:
        merge.merge(base, patch, tags)
    assert str(raised.value) == message


VALUES = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def merge_patched(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2, as it is written there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patched(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
def test_a_difference_leads_from_one_to_the_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merge_patched(before, merge.difference(before, after)) == after


@given(OBJECTS)
def test_equal_objects_differ_in_nothing(value: dict[str, Any]) -> None:
    assert merge.difference(value, copy.deepcopy(value)) == {}


@given(OBJECTS)
def test_merging_with_itself_changes_nothing(value: dict[str, Any]) -> None:
    assert merge.merge(value, value) == value
