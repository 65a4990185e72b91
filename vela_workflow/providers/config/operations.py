"""Create, read, list and delete configurations (ops 3.8).

All four act on the local cluster and touch Secrets, so they taint the step. Only Secrets that carry the label of
configurations are read, changed or deleted: a name that another Secret happens to have is an error.
"""

from __future__ import annotations

from typing import Any

from vela_workflow import errors
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters import objects
from vela_workflow.clusters.interest import Interest
from vela_workflow.providers import arguments
from vela_workflow.providers.config import storage, templates
from vela_workflow.providers.contract import JSON, Call, Outcome


async def create(call: Call) -> Outcome:
    """``#CreateConfig``: creates or updates a configuration and what its template adds; there is no result.

    Raises ``Terminal`` when the configuration exists with another template or type, which cannot be changed.
    """
    name, namespace = _identity(call)
    properties = arguments.struct(call.args, "config")
    written = arguments.optional_text(call.args, "template")
    if call.again:
        return Outcome(sensitive=True)
    live = await _find(call, namespace, name)
    rendered = template = None
    if written:
        template = await templates.load(call, written)
        rendered = await templates.render(template, name, namespace, properties)
    secret = _secret(name, namespace, properties, template, rendered)
    if live is not None:
        _check_update(live, secret)
    outputs = _outputs(rendered, namespace)
    if outputs:
        secret["data"][storage.REFERENCES] = storage.encoded([_reference(one) for one in outputs])
    client = call.clusters.client("")
    # The configuration comes first: it lists the others, so that a delete finds them also after a crash in between.
    await client.apply(secret)
    warnings: list[str] = []
    for one in outputs:
        prepared = objects.clean(one)
        await client.apply(prepared.body)
        warnings += prepared.warnings
    return Outcome(sensitive=True, warnings=tuple(warnings))


async def read(call: Call) -> Outcome:
    """``#ReadConfig``: the properties as ``config``; raises ``Transient`` when there are none, or none to be shown."""
    name, namespace = _identity(call)
    secret = await _find(call, namespace, name)
    if secret is None:
        raise errors.Transient(f"the config {namespace}/{name} not found")
    if storage.is_sensitive(secret):
        raise arguments.wrong(f"the config is sensitive: the values of {namespace}/{name} cannot be read by a workflow")
    properties = storage.properties(secret)
    if properties is None:
        raise errors.Transient(f"config {namespace}/{name} has no properties data")
    return Outcome({"config": properties}, interest=(_interest(call, namespace, secret),), sensitive=True)


async def listing(call: Call) -> Outcome:
    """``#ListConfig``: the configurations of a template as ``configs``: name, alias, description, config."""
    template = storage.TemplateName.parse(arguments.text(call.args, "template"))
    namespace = arguments.text(call.args, "namespace")
    labels = {storage.CATALOG_LABEL: storage.CATALOG, storage.TYPE_LABEL: template.name}
    found = await call.clusters.client("").list("v1", "Secret", namespace, labels=labels)
    configs = []
    for secret in found["items"]:
        properties = storage.properties(secret)
        if properties is not None:
            configs.append(storage.listed(secret, properties))
    return Outcome({"configs": configs}, interest=(_interest(call, namespace, found),), sensitive=True)


async def delete(call: Call) -> Outcome:
    """``#DeleteConfig``: deletes a configuration and, before it, the objects that its template made.

    What does not exist is deleted already, as everywhere (decisions 29).
    """
    name, namespace = _identity(call)
    secret = None if call.again else await _find(call, namespace, name)
    if secret is None:
        return Outcome()
    client = call.clusters.client("")
    for one in storage.references(secret):
        try:
            await client.delete(one["apiVersion"], one["kind"], one.get("namespace") or namespace, one["name"])
        except cluster_errors.NotFound:
            continue
    try:
        await client.delete("v1", "Secret", namespace, name, uid=secret["metadata"]["uid"])
    except cluster_errors.NotFound:
        return Outcome()
    return Outcome()


def _identity(call: Call) -> tuple[str, str]:
    return arguments.text(call.args, "name"), arguments.text(call.args, "namespace")


async def _find(call: Call, namespace: str, name: str) -> JSON | None:
    """The Secret of a configuration; raises ``Terminal`` when a Secret of that name is none."""
    try:
        secret = await call.clusters.client("").get("v1", "Secret", namespace, name)
    except cluster_errors.NotFound:
        return None
    if not storage.is_config(secret):
        raise arguments.wrong(f"secret {namespace}/{name} is not a workflow config")
    return secret


def _secret(
    name: str,
    namespace: str,
    properties: JSON,
    template: templates.Template | None,
    rendered: templates.Rendered | None,
) -> JSON:
    labels = {storage.CATALOG_LABEL: storage.CATALOG, storage.TYPE_LABEL: ""}
    annotations = {storage.ALIAS: "", storage.DESCRIPTION: ""}
    data: dict[str, str] = {}
    kind = "Opaque"
    if template is not None and rendered is not None:
        kind = rendered.type
        data.update(rendered.data)
        labels = {**rendered.labels, **labels, storage.TYPE_LABEL: template.name.name, storage.SCOPE: template.scope}
        annotations = {
            **rendered.annotations,
            **annotations,
            storage.SENSITIVE: "true" if template.sensitive else "false",
            storage.TEMPLATE_NAMESPACE: template.name.namespace,
        }
    data[storage.PROPERTIES] = storage.encoded(properties)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations},
        "data": data,
    }


def _check_update(live: JSON, secret: JSON) -> None:
    where = storage.place(live)
    if storage.template_label(live) != storage.template_label(secret):
        raise arguments.wrong(f"the template of the config can not be changed: {where} exists with another one")
    if live.get("type", "Opaque") != secret["type"]:
        raise arguments.wrong(f"the secret type of the config can not be changed: {where} has {live.get('type')}")


def _outputs(rendered: templates.Rendered | None, namespace: str) -> list[JSON]:
    return [objects.with_namespace(one, namespace) for one in rendered.outputs] if rendered is not None else []


def _reference(one: JSON) -> dict[str, Any]:
    metadata = one.get("metadata") or {}
    return {
        "apiVersion": arguments.text(one, "apiVersion", where="template.outputs"),
        "kind": arguments.text(one, "kind", where="template.outputs"),
        "namespace": metadata.get("namespace", ""),
        "name": arguments.text(metadata, "name", where="template.outputs.metadata"),
    }


def _interest(call: Call, namespace: str, found: JSON) -> Interest:
    metadata = found.get("metadata") or {}
    version = metadata.get("resourceVersion", "")
    return Interest(call.clusters.client("").name, "v1", "Secret", namespace, metadata.get("name", ""), version)
