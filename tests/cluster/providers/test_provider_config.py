"""Configurations on a real API server, with templates rendered by the real ``cue`` command."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.providers.conftest import Run
from tools.rest import Api
from vela_workflow import errors
from vela_workflow.providers.config import storage, templates

TEMPLATE = """
import "strings"

metadata: {name: "registry", scope: "system"}
template: {
	parameter: {
		host:  string
		user?: string
		port:  *443 | int
	}
	output: {
		apiVersion: "v1"
		kind:       "Secret"
		metadata: {name: context.name, namespace: context.namespace, labels: tier: "gold"}
		stringData: address: "\\(parameter.host):\\(parameter.port)"
	}
	outputs: map: {
		apiVersion: "v1"
		kind:       "ConfigMap"
		metadata: name: context.name + "-map"
		data: host: strings.ToUpper(parameter.host)
	}
	if parameter.user != _|_ {
		validation: $returns: {result: false, message: "users are not welcome"}
	}
}
"""


@pytest.fixture(autouse=True)
def evaluator(cue_command: Path, tmp_path: Path) -> Iterator[None]:
    """What evaluates templates: the ``cue`` command itself."""

    async def evaluate(source: str, expression: str) -> Any:
        (tmp_path / "template.cue").write_text(source, "utf-8")
        process = await asyncio.create_subprocess_exec(
            cue_command, "export", "-e", expression, "template.cue",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        if process.returncode:
            raise errors.Invalid([errors.Problem(err.decode().splitlines()[0])])
        return json.loads(out)

    templates.use(evaluate)
    yield
    templates.use(None)


def install(admin: Api, namespace: str, source: str = TEMPLATE, *, sensitive: bool = False) -> str:
    """Install a template ``registry`` in the namespace of the test; returns its name for arguments."""
    metadata = {
        "name": "config-template-registry",
        "labels": {storage.SCOPE: "system"},
        "annotations": {storage.SENSITIVE: "true" if sensitive else "false"},
    }
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"template": source}}
    admin.create(body, namespace)
    return f"{namespace}/registry"


def decoded(secret: dict[str, Any], key: str) -> str:
    return base64.b64decode(secret["data"][key]).decode()


def stored(admin: Api, namespace: str, name: str) -> dict[str, Any]:
    secret = admin.get("v1", "Secret", name, namespace)
    assert secret is not None
    return secret


async def create(run: Run, namespace: str, config: dict[str, Any], template: str = "", name: str = "cfg") -> None:
    args = {"name": name, "namespace": namespace, "config": config}
    outcome = await run("vela/config", "create", {**args, "template": template} if template else args)
    assert (outcome.value, outcome.sensitive) == (None, True)


async def test_without_a_template(run: Run, admin: Api, namespace: str) -> None:
    await create(run, namespace, {"n": 1, "f": 1.5, "deep": {"l": [True, None]}})
    secret = stored(admin, namespace, "cfg")
    assert secret["type"] == "Opaque"
    assert secret["metadata"]["labels"] == {"config.oam.dev/catalog": "velacore-config", "config.oam.dev/type": ""}
    assert set(secret["data"]) == {"input-properties"}
    outcome = await run("vela/op", "read-config", {"name": "cfg", "namespace": namespace})
    assert outcome.value == {"config": {"n": 1, "f": 1.5, "deep": {"l": [True, None]}}}
    assert isinstance(outcome.value["config"]["n"], int)
    assert [(one.kind, one.name) for one in outcome.interest] == [("Secret", "cfg")]
    await create(run, namespace, {"n": 2})
    outcome = await run("vela/config", "read", {"name": "cfg", "namespace": namespace})
    assert outcome.value == {"config": {"n": 2}}


async def test_with_a_template(run: Run, admin: Api, namespace: str) -> None:
    template = install(admin, namespace)
    await create(run, namespace, {"host": "example.com"}, template)
    secret = stored(admin, namespace, "cfg")
    assert secret["type"] == "/registry"
    assert secret["metadata"]["labels"] == {
        "tier": "gold",
        "config.oam.dev/catalog": "velacore-config",
        "config.oam.dev/type": "registry",
        "config.oam.dev/scope": "system",
    }
    assert secret["metadata"]["annotations"] == {
        "config.oam.dev/alias": "",
        "config.oam.dev/description": "",
        "config.oam.dev/sensitive": "false",
        "config.oam.dev/template-namespace": namespace,
    }
    assert decoded(secret, "address") == "example.com:443"
    assert json.loads(decoded(secret, "input-properties")) == {"host": "example.com"}
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": namespace, "name": "cfg-map"}
    assert json.loads(decoded(secret, "objects-reference")) == [reference]
    made = admin.get("v1", "ConfigMap", "cfg-map", namespace)
    assert made is not None, "further objects are made at the first creation"
    assert made["data"] == {"host": "EXAMPLE.COM"}
    await create(run, namespace, {"host": "other", "port": 1}, template)
    assert decoded(stored(admin, namespace, "cfg"), "address") == "other:1"


async def test_what_cannot_be_changed(run: Run, admin: Api, namespace: str) -> None:
    template = install(admin, namespace)
    await create(run, namespace, {}, name="cfg")
    with pytest.raises(errors.Terminal, match="the template of the config can not be changed"):
        await create(run, namespace, {"host": "h"}, template)
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "foreign"}, "stringData": {"a": "b"}}
    admin.create(body, namespace)
    for do in ("create", "read", "delete"):
        args = {"name": "foreign", "namespace": namespace, "config": {}}
        with pytest.raises(errors.Terminal, match=f"secret {namespace}/foreign is not a workflow config"):
            await run("vela/config", do, args)
    assert decoded(stored(admin, namespace, "foreign"), "a") == "b"


# reason: template, properties, part of the message
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "properties that do not fit": (TEMPLATE, {"host": 1}, "config.host: conflicting values"),
    "missing properties": (TEMPLATE, {}, "config.host: incomplete"),
    "a value that may be secret": (TEMPLATE, {"host": "h", "user": {"a": "word"}}, r"(?s)^(?!.*word).*config.user: "),
    "the template's own validation": (
        TEMPLATE, {"host": "h", "user": "u"}, "failed to validate config: users are not welcome"
    ),
    "no secret": (
        'template: {parameter: {}, output: {apiVersion: "v1", kind: "ConfigMap"}}', {}, "output format must be secret"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
async def test_what_a_template_refuses(
    case: tuple[str, dict[str, Any], str], run: Run, admin: Api, namespace: str
) -> None:
    source, properties, message = case
    template = install(admin, namespace, source)
    with pytest.raises(errors.Terminal, match=message):
        await create(run, namespace, properties, template)
    assert admin.get("v1", "Secret", "cfg", namespace) is None


async def test_templates_that_are_missing_or_empty(run: Run, admin: Api, namespace: str) -> None:
    with pytest.raises(errors.Transient, match="the template vela-system/registry does not exist"):
        await create(run, namespace, {}, "registry")
    template = install(admin, namespace, "  ")
    with pytest.raises(errors.Transient, match="has no template data"):
        await create(run, namespace, {}, template)


async def test_a_list_shows_no_sensitive_values(run: Run, admin: Api, namespace: str) -> None:
    template = install(admin, namespace)
    await create(run, namespace, {"host": "a"}, template, name="one")
    await create(run, namespace, {"host": "b"}, template, name="two")
    await create(run, namespace, {}, name="without-template")
    admin.patch("v1", "Secret", "two", {"metadata": {"annotations": {storage.SENSITIVE: "true"}}}, namespace)
    admin.patch("v1", "Secret", "one", {"metadata": {"annotations": {storage.ALIAS: "First"}}}, namespace)
    outcome = await run("vela/config", "list", {"template": template, "namespace": namespace})
    assert outcome.value == {
        "configs": [
            {"name": "one", "alias": "First", "description": "", "config": {"host": "a"}},
            {"name": "two", "alias": "", "description": "", "config": {}},
        ]
    }
    assert outcome.sensitive
    with pytest.raises(errors.Terminal, match="the config is sensitive"):
        await run("vela/config", "read", {"name": "two", "namespace": namespace})


async def test_reading_what_is_not_there(run: Run, admin: Api, namespace: str) -> None:
    args = {"name": "cfg", "namespace": namespace}
    with pytest.raises(errors.Transient, match=f"the config {namespace}/cfg not found"):
        await run("vela/config", "read", args)
    labels = {storage.CATALOG_LABEL: storage.CATALOG}
    admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cfg", "labels": labels}}, namespace)
    with pytest.raises(errors.Transient, match="has no properties data"):
        await run("vela/config", "read", args)


async def test_deleting_takes_the_further_objects_along(run: Run, admin: Api, namespace: str) -> None:
    await create(run, namespace, {"host": "h"}, install(admin, namespace))
    args = {"name": "cfg", "namespace": namespace}
    await run("vela/config", "delete", args, again=True)
    assert admin.get("v1", "Secret", "cfg", namespace) is not None
    for _ in range(2):
        assert (await run("vela/config", "delete", args)).value is None
        assert admin.get("v1", "Secret", "cfg", namespace) is None
        assert admin.get("v1", "ConfigMap", "cfg-map", namespace) is None


@pytest.mark.parametrize(
    ("do", "args", "message"),
    [
        ("list", {"template": "", "namespace": "n"}, "template must be"),
        ("list", {"template": "t", "namespace": ""}, "namespace must be"),
        ("read", {"name": "", "namespace": "n"}, "name must be"),
        ("create", {"name": "a", "namespace": "n"}, "config must be a struct"),
    ],
)
async def test_arguments_that_are_wrong(do: str, args: dict[str, Any], message: str, run: Run) -> None:
    with pytest.raises(errors.Terminal, match=message):
        await run("vela/config", do, args)
