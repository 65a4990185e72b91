"""How configurations and their templates are stored (ops 3.8). KubeVela reads and writes the same format."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from vela_workflow import errors
from vela_workflow.api import constants

CATALOG_LABEL: Final = "config.oam.dev/catalog"
CATALOG: Final = "velacore-config"
TYPE_LABEL: Final = "config.oam.dev/type"
SCOPE: Final = "config.oam.dev/scope"
ALIAS: Final = "config.oam.dev/alias"
DESCRIPTION: Final = "config.oam.dev/description"
SENSITIVE: Final = "config.oam.dev/sensitive"
TEMPLATE_NAMESPACE: Final = "config.oam.dev/template-namespace"

PROPERTIES: Final = "input-properties"
REFERENCES: Final = "objects-reference"

TEMPLATE_KEY: Final = "template"
TEMPLATE_PREFIX: Final = "config-template-"

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TemplateName:
    """The name of a template, ``name`` or ``namespace/name`` in arguments."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, written: str) -> TemplateName:
        """Read the name; without a namespace it is that of the system."""
        namespace, slash, name = written.partition("/")
        return cls(namespace, name) if slash else cls(constants.DEFAULT_SYSTEM_NAMESPACE, written)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def config_map(self) -> str:
        """The name of the ConfigMap that holds the template."""
        return TEMPLATE_PREFIX + self.name


def place(secret: Mapping[str, Any]) -> str:
    """Namespace and name of a Secret, for messages."""
    metadata = secret["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"


def is_config(secret: Mapping[str, Any]) -> bool:
    """Whether a Secret is a configuration."""
    return _labels(secret).get(CATALOG_LABEL) == CATALOG


def is_sensitive(secret: Mapping[str, Any]) -> bool:
    """Whether the values of a configuration are not to be shown."""
    return _annotations(secret).get(SENSITIVE) == "true"


def template_label(secret: Mapping[str, Any]) -> str:
    """The name of the template that a configuration was made from, without its namespace; empty for none."""
    return str(_labels(secret).get(TYPE_LABEL, ""))


def properties(secret: Mapping[str, Any]) -> JSON | None:
    """The properties of a configuration; ``None`` when the Secret has none."""
    value = _decoded(secret, PROPERTIES)
    return value if isinstance(value, dict) else None


def references(secret: Mapping[str, Any]) -> list[JSON]:
    """The further objects that the template of a configuration made: apiVersion, kind, namespace, name."""
    value = _decoded(secret, REFERENCES)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def listed(secret: Mapping[str, Any], values: JSON) -> JSON:
    """An entry of ``#ListConfig``; the values of a sensitive configuration are left out."""
    annotations = _annotations(secret)
    return {
        "name": secret["metadata"]["name"],
        "alias": annotations.get(ALIAS, ""),
        "description": annotations.get(DESCRIPTION, ""),
        "config": {} if is_sensitive(secret) else values,
    }


def encoded(value: Any) -> str:
    """A value as it stands in the data of a Secret: JSON in base64; text is taken as it is."""
    data = value.encode() if isinstance(value, str) else orjson.dumps(value)
    return base64.b64encode(data).decode("ascii")


def _decoded(secret: Mapping[str, Any], key: str) -> Any:
    written = (secret.get("data") or {}).get(key)
    if not written:
        return None
    try:
        return orjson.loads(base64.b64decode(written, validate=True))
    except (binascii.Error, orjson.JSONDecodeError):
        raise errors.Transient(f"config {place(secret)}: the key {key} holds no JSON") from None


def _labels(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return item["metadata"].get("labels") or {}


def _annotations(item: Mapping[str, Any]) -> Mapping[str, Any]:
    return item["metadata"].get("annotations") or {}
