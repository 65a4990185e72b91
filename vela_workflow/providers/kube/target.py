"""Which object, in which cluster, an operation means.

Arguments name objects as manifests do: ``apiVersion``, ``kind``, ``metadata.name``, ``metadata.namespace``. A
namespaced object without a namespace belongs to the namespace of the run (decisions 28); an object of a kind that has
no namespaces never gets one. Only the API server knows which kinds those are, so it is asked (the client caches it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vela_workflow.clusters.client import ClusterClient
from vela_workflow.clusters.interest import ABSENT, Interest
from vela_workflow.providers import arguments
from vela_workflow.providers.contract import Call


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of objects in one cluster; ``namespace`` is empty where the kind has none."""

    client: ClusterClient
    api_version: str
    kind: str
    namespace: str
    namespaced: bool

    @property
    def is_secret(self) -> bool:
        """Whether objects of this kind hold secrets, which taints the step (decisions 22)."""
        return is_secret(self.api_version, self.kind)

    def interest(self, live: Mapping[str, Any]) -> Interest:
        """Interest in an object, or in all of a list, as the API server gave it."""
        found = live.get("metadata") or {}
        return self._interest(found.get("name", ""), found.get("resourceVersion", ""))

    def interest_in_absent(self, name: str) -> Interest:
        """Interest in an object that was looked for and not found."""
        return self._interest(name, ABSENT)

    def _interest(self, name: str, version: str) -> Interest:
        return Interest(self.client.name, self.api_version, self.kind, self.namespace, name, version)


def client(call: Call) -> ClusterClient:
    """The client of the cluster that the argument ``cluster`` names; raises ``Transient`` when it is not joined."""
    return call.clusters.client(arguments.optional_text(call.args, "cluster"))


async def kind(call: Call, manifest: Mapping[str, Any], *, where: str, namespace: str | None = None) -> Kind:
    """The kind that a manifest is of, and the namespace that it goes to.

    The kind has the name that the API server knows it by, whatever the case in which the manifest writes it.

    ``where`` names the argument for messages. ``namespace`` takes the place of the manifest's own when it is given.
    Raises ``Terminal`` for a manifest without ``apiVersion`` or ``kind``, and what the API server raises.
    """
    api_version = arguments.text(manifest, "apiVersion", where=where)
    name = arguments.text(manifest, "kind", where=where)
    if namespace is None:
        namespace = arguments.optional_text(metadata(manifest, where), "namespace", where=f"{where}.metadata")
        namespace = namespace or call.run_namespace
    server = client(call)
    resource = await server.resource(api_version, name)
    return Kind(server, api_version, resource.kind, namespace if resource.namespaced else "", resource.namespaced)


def object_name(manifest: Mapping[str, Any], *, where: str) -> str:
    """``metadata.name`` of a manifest; raises ``Terminal`` when there is none."""
    return arguments.text(metadata(manifest, where), "name", where=f"{where}.metadata")


def metadata(manifest: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``metadata`` of a manifest, empty when there is none; raises ``Terminal`` when it is no struct."""
    return arguments.optional_struct(manifest, "metadata", where=where) or {}


def is_secret(api_version: str, kind_name: str) -> bool:
    """Whether this is the kind ``Secret`` of the core API."""
    return api_version == "v1" and kind_name in {"Secret", "SecretList"}
