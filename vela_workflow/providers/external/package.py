"""From a ``Package`` object to a package with operations.

Differences from the reference, all of them defects there: the status of an answer counts, any JSON is an answer,
integers stay integers, TLS is verified, a call is never sent twice (``once``), and a package cannot take the place of
one that this program brings along.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from vela_workflow import errors
from vela_workflow.cue import scanner, template
from vela_workflow.cue.library import Library
from vela_workflow.providers import arguments
from vela_workflow.providers.contract import Call, Effect, Operation, OperationFunction, Outcome, Package
from vela_workflow.providers.http import exchange

PROTOCOLS: Final = ("http", "https")
TIMEOUT: Final = "60s"


Key = tuple[str, str]
"""Namespace and name of a ``Package`` object."""


def key_of(body: Mapping[str, Any]) -> Key:
    """The key of an object."""
    metadata = body.get("metadata") or {}
    return str(metadata.get("namespace") or "default"), str(metadata.get("name"))


def from_object(body: Mapping[str, Any], taken: Mapping[str, Package]) -> Package:
    """The package of a ``Package`` object.

    ``taken`` are packages that it must not replace, by path. Raises ``Invalid`` with what is wrong with the object.
    """
    name = str((body.get("metadata") or {}).get("name") or "")
    spec = body.get("spec") or {}
    path = str(spec.get("path") or "")
    templates = spec.get("templates")
    if not path or not isinstance(templates, dict):
        raise errors.Invalid([errors.Problem("path and templates are required", path="spec")])
    if path in taken or path.startswith("vela/"):
        raise errors.Invalid([errors.Problem(f"{path} is a package of this program", path="spec.path")])
    if name in {package.provider for package in taken.values()}:
        raise errors.Invalid([errors.Problem(f"{name} is a provider of this program", path="metadata.name")])
    provider = spec.get("provider")
    source = _joined(path, templates)
    operations: Mapping[str, Operation] = {}
    if isinstance(provider, dict):
        operations = _Service(_poster(name, provider), _declared(path, name, source))
    try:
        Library.build({path: source})
    except scanner.ScanError as error:
        raise errors.Invalid([errors.Problem(str(error), path="spec.templates")]) from error
    return Package(path, name, source, operations)


def ranked(found: Mapping[Key, Package], system_namespace: str) -> tuple[dict[Key, Package], dict[Key, Key]]:
    """The packages that can be used, and those left out, each with the one whose path or name it has.

    Those of ``system_namespace`` come before others, else their order is that of namespaces and names.
    """
    kept: dict[Key, Package] = {}
    left_out: dict[Key, Key] = {}
    by_path: dict[str, Key] = {}
    by_name: dict[str, Key] = {}
    for key in sorted(found, key=lambda key: (key[0] != system_namespace, key)):
        package = found[key]
        winner = by_path.get(package.path) or by_name.get(package.provider)
        if winner is not None:
            left_out[key] = winner
            continue
        by_path[package.path] = by_name[package.provider] = key
        kept[key] = package
    return kept, left_out


def _declared(path: str, name: str, source: str) -> tuple[str, ...]:
    """The operations that the definitions of a package stand for."""
    found: dict[str, None] = {}
    for definition in Library.build({path: source}).packages[path].definitions.values():
        actions = [definition.action, *(action for _, action in definition.nested)]
        found |= {action.do: None for action in actions if action is not None and action.provider == name}
    return tuple(found)


class _Service(Mapping[str, Operation]):
    """Every operation of a service: those that are declared, and any that a template writes by hand (``#do``)."""

    def __init__(self, run: OperationFunction, declared: tuple[str, ...]) -> None:
        self._run = run
        self._declared = declared

    def __getitem__(self, do: str) -> Operation:
        async def run(call: Call) -> Outcome:
            return await self._run(dataclasses.replace(call, args={"do": do, "parameters": call.args}))

        return Operation(run, Effect.ONCE)

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)


def _poster(name: str, provider: Mapping[str, Any]) -> OperationFunction:
    protocol = str(provider.get("protocol") or "")
    endpoint = str(provider.get("endpoint") or "").rstrip("/")
    if protocol not in PROTOCOLS:
        problem = errors.Problem(f"{protocol or 'nothing'} is not one of http, https", path="spec.provider.protocol")
        raise errors.Invalid([problem])
    if "://" not in endpoint:
        endpoint = f"{protocol}://{endpoint}"
    header = {str(key): str(value) for key, value in (provider.get("header") or {}).items()}

    async def post(call: Call) -> Outcome:
        request = {
            "method": "POST",
            "url": f"{endpoint}/{call.args['do']}",
            "request": {
                "body": orjson.dumps(call.args["parameters"]).decode(),
                "header": {"Content-Type": "application/json", **header},
                "timeout": TIMEOUT,
            },
        }
        outcome = await exchange.do(dataclasses.replace(call, args=request))
        return dataclasses.replace(outcome, value=_answer(name, str(call.args["do"]), outcome.value or {}))

    return post


def _answer(name: str, do: str, response: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of an answer; anything but a status of success is an error."""
    status, body = int(response["statusCode"]), str(response["body"])
    if not 200 <= status < 300:
        raise arguments.wrong(f"{name} answered {do} with status {status}: {errors.bounded(body, 200)}")
    try:
        value = orjson.loads(body) if body.strip() else {}
    except orjson.JSONDecodeError:
        raise arguments.wrong(f"{name} answered {do} with something else than JSON") from None
    return value if isinstance(value, dict) else {"value": value}


def _joined(path: str, templates: Mapping[str, Any]) -> str:
    """The files of a package as one text: one package clause, all imports, all bodies."""
    imports: dict[str, None] = {}
    bodies: list[str] = []
    clause = ""
    for name in sorted(templates):
        text = str(templates[name])
        try:
            file = scanner.scan(text)
        except scanner.ScanError as error:
            raise errors.Invalid([errors.Problem(error.message, path=f"spec.templates.{name}")]) from None
        for attribute, _ in template.reaching_out(text):
            problem = errors.Problem(f"attribute {attribute} is not allowed", path=f"spec.templates.{name}")
            raise errors.Invalid([problem])
        found = _clause(text)
        if clause and found and found != clause:
            problem = errors.Problem(f"package {found} beside package {clause}", path=f"spec.templates.{name}")
            raise errors.Invalid([problem])
        clause = clause or found
        for item in file.imports:
            imports[f"import {item.alias} {json.dumps(item.path)}"] = None
        for start, end in reversed(file.preamble):
            text = text[:start] + text[end:]
        bodies.append(text)
    identifier = clause or path.rsplit("/", 1)[-1].replace("-", "_")
    return "\n".join([f"package {identifier}", *imports, *bodies]) + "\n"


def _clause(text: str) -> str:
    for line in text.splitlines():
        words = line.split()
        if words and not words[0].startswith("//"):
            return words[1] if words[0] == "package" and len(words) > 1 else ""
    return ""
