"""Which lists of the built-in kinds are keyed, and how duplicates in them are taken out.

Server-side apply treats such a list as a map: two elements with the same key are an error, where a plain create
accepted them (decisions 29). The tables repeat ``x-kubernetes-list-map-keys`` of the API server's own schema for what
people write in a ``spec``; a test holds them against the schema of a real server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Shape:
    """Where keyed lists lie in an object: ``keyed`` by field name, and ``inside`` the fields that hold further ones."""

    keyed: Mapping[str, Keyed] = field(default_factory=dict)
    inside: Mapping[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Keyed:
    """One keyed list: the fields that make the key, what they are when left out, and the shape of the elements."""

    keys: tuple[str, ...]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    element: Shape = Shape()


_NAMED = Keyed(("name",))
_RESOURCES = Shape(keyed={"claims": _NAMED})
_TCP = {"protocol": "TCP"}

_CONTAINER = Shape(
    keyed={
        "env": _NAMED,
        "ports": Keyed(("containerPort", "protocol"), _TCP),
        "volumeMounts": Keyed(("mountPath",)),
        "volumeDevices": Keyed(("devicePath",)),
    },
    inside={"resources": _RESOURCES},
)
_CONTAINERS = Keyed(("name",), element=_CONTAINER)
POD_SPEC = Shape(
    keyed={
        "containers": _CONTAINERS,
        "initContainers": _CONTAINERS,
        "ephemeralContainers": _CONTAINERS,
        "volumes": _NAMED,
        "imagePullSecrets": _NAMED,
        "hostAliases": Keyed(("ip",)),
        "topologySpreadConstraints": Keyed(("topologyKey", "whenUnsatisfiable")),
        "resourceClaims": _NAMED,
        "schedulingGates": _NAMED,
    },
    inside={"resources": _RESOURCES},
)
_POD = Shape(inside={"spec": POD_SPEC})
_WORKLOAD = Shape(inside={"spec": Shape(inside={"template": _POD})})
_MATCHED = Shape(keyed={"matchConditions": _NAMED})
_WEBHOOKS = Shape(keyed={"webhooks": Keyed(("name",), element=_MATCHED)})

BY_KIND: dict[tuple[str, str], Shape] = {
    ("", "Pod"): _POD,
    ("", "PodTemplate"): Shape(inside={"template": _POD}),
    ("", "ReplicationController"): _WORKLOAD,
    ("", "Service"): Shape(inside={"spec": Shape(keyed={"ports": Keyed(("port", "protocol"), _TCP)})}),
    ("", "ServiceAccount"): Shape(keyed={"secrets": _NAMED}),
    ("apps", "DaemonSet"): _WORKLOAD,
    ("apps", "Deployment"): _WORKLOAD,
    ("apps", "ReplicaSet"): _WORKLOAD,
    ("apps", "StatefulSet"): _WORKLOAD,
    ("batch", "Job"): _WORKLOAD,
    ("batch", "CronJob"): Shape(inside={"spec": Shape(inside={"jobTemplate": _WORKLOAD})}),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): _WEBHOOKS,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): Shape(
        inside={"spec": Shape(keyed={"matchConditions": _NAMED, "variables": _NAMED})}
    ),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): _WEBHOOKS,
    ("storage.k8s.io", "CSINode"): Shape(inside={"spec": Shape(keyed={"drivers": _NAMED})}),
}
"""The shapes of built-in kinds by API group and kind; other kinds have no keyed list in what users write."""


def without_duplicates(value: Any, shape: Shape, path: str = "") -> tuple[Any, list[str]]:
    """``value`` with duplicates taken out of its keyed lists (the last one stays, in its place), and the warnings.

    Nothing is changed in place; parts without duplicates are shared with the argument.
    """
    if not isinstance(value, dict):
        return value, []
    changes: dict[str, Any] = {}
    warnings: list[str] = []
    for name, child in shape.inside.items():
        if name in value:
            changes[name], found = without_duplicates(value[name], child, f"{path}.{name}" if path else name)
            warnings += found
    for name, keyed in shape.keyed.items():
        if isinstance(value.get(name), list):
            changes[name], found = _list(value[name], keyed, f"{path}.{name}" if path else name)
            warnings += found
    return ({**value, **changes} if changes else value), warnings


def _list(elements: list[Any], keyed: Keyed, path: str) -> tuple[list[Any], list[str]]:
    last = {_key(element, keyed, index): index for index, element in enumerate(elements)}
    kept: list[Any] = []
    warnings: list[str] = []
    for index, element in enumerate(elements):
        key = _key(element, keyed, index)
        if last[key] != index:
            words = ", ".join(f"{name} {value}" for name, value in zip(keyed.keys, key, strict=True))
            warnings.append(f"{path}: more than one element with {words}; the last one is used")
            continue
        cleaned, found = without_duplicates(element, keyed.element, f"{path}[{len(kept)}]")
        kept.append(cleaned)
        warnings += found
    return kept, list(dict.fromkeys(warnings))


def _key(element: Any, keyed: Keyed, index: int) -> tuple[Any, ...]:
    """The key of an element; one that lacks a part of it equals no other, so that the server can say what is wrong."""
    if not isinstance(element, dict):
        return (index,)
    values = tuple(element.get(name, keyed.defaults.get(name)) for name in keyed.keys)
    return values if all(isinstance(value, str | int) for value in values) else (index,)
