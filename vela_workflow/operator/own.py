"""What is the operator's own: what it lives on, and no step of a user may see or change.

Steps act with the account of the operator, which must be able to read how to reach joined clusters, to keep the
certificate of the webhooks and to renew Leases. Without a guard whoever may create a run in some namespace could read
those credentials, put a cluster of theirs in the place of a joined one, or take the leadership away. So the clients
that steps get refuse, in the system namespace of the local cluster: Secrets with credentials of joined clusters, of
admission, of accounts and of Helm; Leases too. Runs of the system namespace itself are trusted with them: whoever may
create one there has the Secrets anyway.

For which namespace a turn works is in a context variable, which the tasks of a turn inherit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api.constants import Reason
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters import secrets
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.providers.contract import Clusters

JSON = dict[str, Any]

CLUSTER_LABELS: Final = (secrets.CREDENTIAL_TYPE_LABEL, secrets.KUBECONFIG_LABEL)
PRIVATE_TYPES: Final = ("kubernetes.io/service-account-token", "helm.sh/release.v1")
LEASES: Final = "coordination.k8s.io/"
"""How the versions of the group of Leases begin."""

_NAMESPACE: ContextVar[str] = ContextVar("namespace", default="")


@contextlib.contextmanager
def acting_for(namespace: str) -> Iterator[None]:
    """What happens inside is done for a run of this namespace."""
    token = _NAMESPACE.set(namespace)
    try:
        yield
    finally:
        _NAMESPACE.reset(token)


@dataclass(frozen=True, slots=True)
class Own:
    """What is the operator's own: ``names`` are Secrets in its ``namespace``, the Leases are in ``lease_namespace``."""

    namespace: str
    lease_namespace: str
    names: frozenset[str] = frozenset()

    def may_hold(self, api_version: str, kind: str, namespace: str) -> bool:
        """Whether there may be something of the operator's among such objects; an empty namespace means all of them."""
        if (api_version, kind) == ("v1", "Secret"):
            return namespace in ("", self.namespace)
        return api_version.startswith(LEASES) and namespace in ("", self.lease_namespace)

    def holds(self, api_version: str, body: Mapping[str, Any]) -> bool:
        """Whether an object of a kind that ``may_hold`` names is the operator's."""
        metadata = body.get("metadata") or {}
        if api_version.startswith(LEASES):
            return bool(metadata.get("namespace") == self.lease_namespace)
        if metadata.get("namespace") != self.namespace:
            return False
        return metadata.get("name") in self.names or body.get("type") in PRIVATE_TYPES or _is_cluster(metadata)

    def refusal(self, kind: str, place: str) -> errors.Terminal:
        """What a step is told that wants something of the operator's."""
        return errors.Terminal(
            f"{kind} {place}: the operator itself lives on it; only runs in namespace {self.namespace} may see or "
            "change it",
            reason=Reason.EXECUTE,
        )


def _is_cluster(metadata: Mapping[str, Any]) -> bool:
    labels = metadata.get("labels")
    return isinstance(labels, Mapping) and any(label in labels for label in CLUSTER_LABELS)


class GuardedClient:
    """A client of the local cluster that keeps what is the operator's own from those who use it."""

    def __init__(self, client: ClusterClient, own: Own) -> None:
        self.name = client.name
        self.resource = client.resource
        self.close = client.close
        self.watch = client.watch
        self._client = client
        self._own = own

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> JSON:
        """One object; raises ``NotFound``."""
        found = await self._client.get(api_version, kind, namespace, name)
        self._check(api_version, kind, found)
        return found

    async def list(self, api_version: str, kind: str, namespace: str = "", **how: Any) -> JSON:
        """The objects of a kind, without those of the operator."""
        found = await self._client.list(api_version, kind, namespace, **how)
        if not self._own.may_hold(api_version, kind, namespace):
            return found
        return {**found, "items": [one for one in found.get("items") or () if not self._own.holds(api_version, one)]}

    async def create(self, body: JSON, *, dry_run: bool = False) -> JSON:
        """Create an object; raises ``AlreadyExists``."""
        self._check(str(body.get("apiVersion")), str(body.get("kind")), body)
        return await self._client.create(body, dry_run=dry_run)

    async def apply(self, body: JSON, *, force: bool = True, dry_run: bool = False) -> JSON:
        """Server-side apply; returns the live object."""
        await self._check_write(body)
        return await self._client.apply(body, force=force, dry_run=dry_run)

    async def replace(self, body: JSON, *, subresource: str = "") -> JSON:
        """Replace an object."""
        await self._check_write(body)
        return await self._client.replace(body, subresource=subresource)

    async def patch(self, api_version: str, kind: str, namespace: str, name: str, body: Any, **how: Any) -> JSON:
        """Patch an object; returns the live object."""
        if self._own.may_hold(api_version, kind, namespace):
            changed = body if isinstance(body, dict) else {}
            metadata = {**(changed.get("metadata") or {}), "namespace": namespace, "name": name}
            await self._check_write({**changed, "apiVersion": api_version, "kind": kind, "metadata": metadata})
        return await self._client.patch(api_version, kind, namespace, name, body, **how)

    async def delete(self, api_version: str, kind: str, namespace: str, name: str, **how: Any) -> None:
        """Delete one object; raises ``NotFound``."""
        metadata = {"namespace": namespace, "name": name}
        await self._check_write({"apiVersion": api_version, "kind": kind, "metadata": metadata})
        await self._client.delete(api_version, kind, namespace, name, **how)

    async def delete_collection(
        self, api_version: str, kind: str, namespace: str, *, labels: Mapping[str, str], **how: Any
    ) -> None:
        """Delete all objects of a kind in a namespace that carry the labels, unless one of them is the operator's."""
        if self._own.may_hold(api_version, kind, namespace):
            for one in (await self._client.list(api_version, kind, namespace, labels=labels)).get("items") or ():
                self._check(api_version, kind, one)
        await self._client.delete_collection(api_version, kind, namespace, labels=labels, **how)

    async def _check_write(self, body: Mapping[str, Any]) -> None:
        """Raise ``Terminal`` when an object is the operator's as it is to be, or as it is now."""
        api_version, kind = str(body.get("apiVersion")), str(body.get("kind"))
        metadata = body.get("metadata") or {}
        namespace = str(metadata.get("namespace") or "")
        if not self._own.may_hold(api_version, kind, namespace):
            return
        self._check(api_version, kind, body)
        try:
            live = await self._client.get(api_version, kind, namespace, str(metadata.get("name")))
        except cluster_errors.NotFound:
            return
        self._check(api_version, kind, live)

    def _check(self, api_version: str, kind: str, body: Mapping[str, Any]) -> None:
        metadata = body.get("metadata") or {}
        namespace = str(metadata.get("namespace") or "")
        if self._own.may_hold(api_version, kind, namespace) and self._own.holds(api_version, body):
            raise self._own.refusal(kind, f"{namespace}/{metadata.get('name')}")


class GuardedClusters:
    """The clusters that steps act on; ``own`` is out of the reach of runs outside the system namespace."""

    def __init__(self, clusters: Clusters, own: Own) -> None:
        self._clusters = clusters
        self._own = own

    def client(self, cluster: str) -> ClusterClient:
        """The client of a cluster; raises ``Transient`` when there is no such cluster."""
        client = self._clusters.client(cluster)
        if cluster not in ("", cluster_errors.LOCAL) or _NAMESPACE.get() == self._own.namespace:
            return client
        return GuardedClient(client, self._own)
