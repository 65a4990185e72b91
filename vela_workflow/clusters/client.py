"""How the program talks to an API server: one small protocol over plain dicts.

Everything above this package sees only ``ClusterClient``. Objects are JSON dicts as the API server sends them. Errors
are those of ``vela_workflow.clusters.errors``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

JSON = dict[str, Any]
PatchType = Literal["merge", "json", "strategic"]


@dataclass(frozen=True, slots=True)
class Resource:
    """What discovery says of a kind."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch: ``type`` is ADDED, MODIFIED, DELETED or BOOKMARK; ``object`` may be metadata only."""

    type: str
    object: JSON


class ClusterClient(Protocol):
    """One API server.

    ``namespace`` is ignored for kinds that have none. An unknown kind raises ``UnknownKind`` after discovery was asked
    once more.
    """

    name: str

    async def resource(self, api_version: str, kind: str) -> Resource:
        """What the server calls a kind, from the discovery cache, refreshed when the kind is not in it.

        Here the case of ``kind`` does not matter where only one can be meant; all other calls take its exact name.
        """

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> JSON:
        """One object; raises ``NotFound``."""

    async def list(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        label_selector: str = "",
        field_selector: str = "",
        metadata_only: bool = False,
    ) -> JSON:
        """All objects of a kind (read in chunks), as one list object; an empty namespace means all of them."""

    async def create(self, body: JSON, *, dry_run: bool = False) -> JSON:
        """Create an object; raises ``AlreadyExists``."""

    async def apply(self, body: JSON, *, force: bool = True, dry_run: bool = False) -> JSON:
        """Server-side apply with the field manager of this program; returns the live object."""

    async def patch(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        name: str,
        body: Any,
        *,
        type: PatchType = "merge",
        subresource: str = "",
    ) -> JSON:
        """Patch an object or a subresource of it; returns the live object."""

    async def replace(self, body: JSON, *, subresource: str = "") -> JSON:
        """Replace an object or a subresource of it; raises ``Conflict`` when its ``resourceVersion`` is old."""

    async def delete(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        name: str,
        *,
        propagation: str = "Background",
        uid: str = "",
        resource_version: str = "",
    ) -> None:
        """Delete one object; raises ``NotFound``."""

    async def delete_collection(
        self, api_version: str, kind: str, namespace: str, *, labels: Mapping[str, str], propagation: str = "Background"
    ) -> None:
        """Delete all objects of a kind in a namespace that carry the labels (at least one)."""

    def watch(
        self,
        api_version: str,
        kind: str,
        namespace: str = "",
        *,
        resource_version: str = "",
        field_selector: str = "",
        label_selector: str = "",
        metadata_only: bool = True,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Events after ``resource_version``; ends when the server ends it, raises ``Gone`` when that is too old."""

    async def close(self) -> None:
        """Close all connections."""
