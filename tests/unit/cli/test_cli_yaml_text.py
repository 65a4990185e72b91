from __future__ import annotations

import json
from typing import Any

import pytest

from vela_workflow.cli import yaml_text
from vela_workflow.cli.errors import CommandError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("2024-01-01", "2024-01-01", id="date"),
        pytest.param("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z", id="time"),
        pytest.param("1:30", "1:30", id="no-sexagesimal"),
        pytest.param("1e3", 1000, id="exponent"),
        pytest.param("1.5", 1.5, id="float"),
        pytest.param(".5", 0.5, id="float-without-zero"),
        pytest.param("0777", 511, id="octal-of-yaml-1.1"),
        pytest.param("0o17", 15, id="octal-of-yaml-1.2"),
        pytest.param("0x1f", 31, id="hexadecimal"),
        pytest.param("-12", -12, id="negative"),
        pytest.param("1_000", 1000, id="underscore"),
        pytest.param("08", 8, id="no-octal"),
        pytest.param("0x", "0x", id="no-number"),
        pytest.param("1.2.3", "1.2.3", id="version"),
        pytest.param("yes", True, id="yes"),
        pytest.param("on", True, id="on-as-a-value"),
        pytest.param('"on"', "on", id="quoted"),
        pytest.param("~", None, id="null"),
        pytest.param("", None, id="empty"),
        pytest.param("{on: [error], yes: 1, 1: one}", {"on": ["error"], "yes": 1, "1": "one"}, id="keys-are-texts"),
        pytest.param("[a, 2]", ["a", 2], id="list"),
        pytest.param("nginx:1.29", "nginx:1.29", id="image"),
    ],
)
def test_values_are_read_as_kubectl_reads_them(text: str, value: Any) -> None:
    found = yaml_text.value(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        "on",
        "yes",
        "1e3",
        "1:30",
        "2024-01-01",
        "0777",
        "null",
        "",
        "a: b",
        "two\nlines\n",
        "0o17",
        "- x",
        "ünïcode",
        "#x",
    ],
)
def test_texts_come_back_as_texts(value: str) -> None:
    data = {"on": value, "list": [value]}
    assert yaml_text.value(yaml_text.dump(data)) == data


def test_merge_keys() -> None:
    found = yaml_text.value("base: &b {a: 1, c: 2}\nmore: {<<: *b, a: 3}")
    assert found["more"] == {"a": 3, "c": 2}


def test_documents_and_lists() -> None:
    one, two = {"apiVersion": "v1", "kind": "A"}, {"apiVersion": "v1", "kind": "B"}
    text = f"---\n{json.dumps(one)}\n---\n# nothing\n---\n" + yaml_text.dump(
        {"apiVersion": "v1", "kind": "List", "items": [two, one]}
    )
    assert list(yaml_text.documents(text, "f")) == [one, two, one]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("a: [", "f: line 1:5", id="no-yaml"),
        pytest.param("a: 1\na: 2\n", 'key "a" is there twice', id="duplicate-key"),
        pytest.param("[a]: 1", "a key must be a text", id="key-that-is-a-list"),
        pytest.param("a: !!python/object:os.system {}", "could not determine a constructor", id="python-object"),
        pytest.param("hello", "f: no Kubernetes object", id="a-text"),
        pytest.param("kind: A", "f: no Kubernetes object", id="no-api-version"),
        pytest.param("kind: A\napiVersion: v1\n---\n3", "f, document 2: no", id="second-document"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(CommandError, match=r"^f") as error:
        list(yaml_text.documents(text, "f"))
    assert said in str(error.value)
    assert "\n" not in str(error.value)
