"""Rendering a configuration by its template (ops 3.8).

A template is CUE with a struct ``template``: ``parameter`` (the schema of the properties), ``output`` (a Secret),
``outputs`` (further objects) and ``validation.$returns``. This module builds the program; evaluating it is the job of
whatever the program is started with, so it is handed in once by ``use``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from vela_workflow import errors
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.cue import messages
from vela_workflow.providers import arguments
from vela_workflow.providers.config import storage
from vela_workflow.providers.contract import JSON, Call

RESULT: Final = "_velaConfigResult"
PROPERTIES: Final = "template.parameter"
SCHEMA: Final = f"{{config: {PROPERTIES}}}"

_PROGRAM: Final = """
context: %(context)s
template: parameter: %(parameter)s
%(result)s: {
	output: template.output
	if template.outputs != _|_ {outputs: template.outputs}
	if template.validation.$returns != _|_ {validation: template.validation.$returns}
}
"""


class Evaluate(Protocol):
    """Evaluates CUE: the JSON value of ``expression`` in the file ``source``, which imports nothing but CUE's own.

    Raises ``errors.Invalid`` when there is no such value.
    """

    async def __call__(self, source: str, expression: str) -> Any:
        """Evaluate ``expression``."""


class _Evaluator:
    """Where the evaluator of this process is kept between ``use`` and the first template."""

    evaluate: Evaluate | None = None


def use(evaluate: Evaluate | None) -> None:
    """Hand in what evaluates templates; called where the program is put together (``None`` takes it back)."""
    _Evaluator.evaluate = evaluate


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it is stored."""

    name: storage.TemplateName
    source: str
    scope: str
    sensitive: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a template makes of properties: the Secret's type and data (in base64) and further objects."""

    type: str
    data: dict[str, str]
    labels: dict[str, str]
    annotations: dict[str, str]
    outputs: tuple[JSON, ...]


async def load(call: Call, written: str) -> Template:
    """Read a template; raises ``Transient`` when there is none: it may still be installed."""
    name = storage.TemplateName.parse(written)
    try:
        found = await call.clusters.client("").get("v1", "ConfigMap", name.namespace, name.config_map)
    except cluster_errors.NotFound:
        raise errors.Transient(f"the template {name} does not exist") from None
    source = (found.get("data") or {}).get(storage.TEMPLATE_KEY, "")
    if not source.strip():
        raise errors.Transient(f"config template {name} has no template data")
    metadata = found["metadata"]
    return Template(
        name,
        source,
        scope=(metadata.get("labels") or {}).get(storage.SCOPE, ""),
        sensitive=(metadata.get("annotations") or {}).get(storage.SENSITIVE) == "true",
    )


async def render(template: Template, name: str, namespace: str, properties: JSON) -> Rendered:
    """Render a configuration.

    Raises ``Terminal`` when the properties do not fit the template, its own validation refuses them, or its output is
    no Secret.
    """
    if _Evaluator.evaluate is None:
        raise RuntimeError("templates.use was not called: there is nothing that evaluates CUE")
    program = template.source + _PROGRAM % {
        "context": orjson.dumps({"name": name, "namespace": namespace}).decode(),
        "parameter": orjson.dumps(properties).decode(),
        "result": RESULT,
    }
    try:
        result = await _Evaluator.evaluate(program, RESULT)
    except errors.Invalid as error:
        why = await _misfit(_Evaluator.evaluate, program) or str(error).replace(f"{RESULT}.", "template.")
        why = messages.redacted(why)  # Properties are passwords as often as not.
        raise arguments.wrong(f"config {namespace}/{name}: template {template.name}: {why}") from error
    _validate(result.get("validation"))
    output = result.get("output")
    if not isinstance(output, dict) or output.get("kind") != "Secret" or output.get("apiVersion") != "v1":
        raise arguments.wrong(f"config template {template.name}: the output format must be secret")
    metadata = output.get("metadata") or {}
    return Rendered(
        type=output.get("type") or f"/{template.name.name}",
        data=_data(output),
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        outputs=tuple((result.get("outputs") or {}).values()),
    )


async def _misfit(evaluate: Evaluate, program: str) -> str:
    """Why the properties do not fit the template's schema; empty when they do, and something else is wrong."""
    try:
        await evaluate(program, SCHEMA)
    except errors.Invalid as error:
        return str(error).replace(f"{PROPERTIES}.", "config.")
    return ""


def _validate(validation: Any) -> None:
    message = validation.get("message") if isinstance(validation, dict) else None
    if message:
        raise arguments.wrong(f"failed to validate config: {message}")


def _data(output: JSON) -> dict[str, str]:
    """``data`` and ``stringData`` of a Secret as ``data``: what is only written cannot be taken back by an apply."""
    plain = {key: storage.encoded(value) for key, value in (output.get("stringData") or {}).items()}
    return {**(output.get("data") or {}), **plain}
