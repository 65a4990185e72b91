"""The client of one API server: ``ClusterClient`` straight on HTTP, over plain dicts.

Paths are built from discovery, never from what a template says: names that could leave their place in a path are
refused, as the API server does. Applying is server-side apply with this program's field manager; an object that the Go
controller wrote before has its ownership moved over on the first apply (decisions 29).
"""

from __future__ import annotations

import copy
import random
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import orjson

from vela_workflow.api import json_tree
from vela_workflow.clusters import breaker, credentials, discovery, errors, objects, paths, transport
from vela_workflow.clusters.client import PatchType, Resource, WatchEvent
from vela_workflow.errors import Invalid, Problem

JSON = dict[str, Any]

_PATCH_TYPES: dict[str, str] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
_APPLY_PATCH = "application/apply-patch+yaml"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_CHUNK = 500
_METHODS = {"get": "GET", "patch": "PATCH", "update": "PUT", "delete": "DELETE", "deletecollection": "DELETE"}


class HttpClient:
    """A ``ClusterClient``; make one with ``connect`` (or give it a ``Transport``)."""

    def __init__(self, connections: transport.Transport) -> None:
        self.name = connections.cluster
        self._transport = connections
        self._discovery = discovery.Discovery(self.name, self._discover)
        self._headers: tuple[tuple[str, str], ...] = ()
        self._owns_connections = True

    def as_user(self, user: str, groups: Sequence[str] = ()) -> HttpClient:
        """A view of this client that acts for ``user`` (impersonation); it shares connections and discovery.

        Closing the view closes nothing.
        """
        view = copy.copy(self)
        view._headers = (("Impersonate-User", user), *(("Impersonate-Group", group) for group in groups))
        view._owns_connections = False
        return view

    async def resource(self, api_version: str, kind: str) -> Resource:
        """What the server calls a kind, written in any case; raises ``UnknownKind`` after it was asked anew."""
        return await self._discovery.resource(api_version, kind, any_case=True)

    async def version(self) -> JSON:
        """The server's own version document (``gitVersion``, ``platform``, …)."""
        target = errors.Target(self.name, "", "version")
        answer: JSON = await self._transport.call(transport.Request("get", "GET", "/version", target, repeat=True))
        return answer

    async def get(self, api_version: str, kind: str, namespace: str, name: str) -> JSON:
        """One object; raises ``NotFound``."""
        return await self._call("get", api_version, kind, namespace, name, repeat=True)

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
        """All objects of a kind as one list; ``apiVersion`` and ``kind`` are filled in on each, which servers omit.

        The chunks count together against the limit for the size of an answer.
        """
        query = _selectors(objects.label_selector(labels, label_selector), field_selector)
        accept = _METADATA_LIST if metadata_only else transport.ACCEPT_JSON
        try:
            result = await self._chunks(api_version, kind, namespace, query=query, accept=accept, limit=_CHUNK)
        except errors.Gone:
            # The list changed too much while it was read in chunks; in one piece it is consistent.
            result = await self._chunks(api_version, kind, namespace, query=query, accept=accept, limit=0)
        if not metadata_only:
            for item in result["items"]:
                item.setdefault("apiVersion", api_version)
                item.setdefault("kind", kind)
        return result

    async def create(self, body: JSON, *, dry_run: bool = False) -> JSON:
        """Create an object; raises ``AlreadyExists``."""
        api_version, kind, namespace, name = paths.identity(body, name_required=False)
        resource = await self._discovery.resource(api_version, kind)
        target = errors.Target(self.name, api_version, kind, namespace, name)
        paths.check_namespace(resource, namespace, target)
        request = transport.Request(
            verb="create",
            method="POST",
            path=paths.path(resource, namespace),
            target=target,
            query=(("fieldManager", objects.FIELD_MANAGER), *_dry(dry_run)),
            body=orjson.dumps(paths.placed(body, resource)),
            headers=self._headers,
        )
        return await self._send(request)

    async def apply(self, body: JSON, *, force: bool = True, dry_run: bool = False) -> JSON:
        """Server-side apply; returns the live object.

        When the object turns out to carry fields of the Go controller, they become ours and the object is applied once
        more, so that what is no longer in ``body`` goes (decisions 29).
        """
        live = await self._apply(body, force=force, dry_run=dry_run)
        migration = None if dry_run else objects.migrate_ownership(live)
        if migration is None:
            return live
        api_version, kind, namespace, name = paths.identity(body)
        try:
            await self.patch(api_version, kind, namespace, name, migration, type="json")
        except (errors.Conflict, errors.Unprocessable):
            return live  # Somebody wrote in between; the next apply migrates.
        return await self._apply(body, force=force, dry_run=False)

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
        return await self._call(
            "patch",
            api_version,
            kind,
            namespace,
            name,
            subresource=subresource,
            query=(("fieldManager", objects.FIELD_MANAGER),),
            body=orjson.dumps(body),
            content_type=_PATCH_TYPES[type],
        )

    async def replace(self, body: JSON, *, subresource: str = "") -> JSON:
        """Replace an object or a subresource of it; raises ``Conflict`` when its ``resourceVersion`` is old."""
        api_version, kind, namespace, name = paths.identity(body)
        resource = await self._discovery.resource(api_version, kind)
        return await self._call(
            "update",
            api_version,
            kind,
            namespace,
            name,
            subresource=subresource,
            query=(("fieldManager", objects.FIELD_MANAGER),),
            body=orjson.dumps(paths.placed(body, resource)),
        )

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
        """Delete one object; raises ``NotFound``, or ``Conflict`` when its uid or version is another one."""
        options: JSON = {"propagationPolicy": propagation}
        wanted = {"uid": uid, "resourceVersion": resource_version}
        if preconditions := {key: value for key, value in wanted.items() if value}:
            options["preconditions"] = preconditions
        await self._call("delete", api_version, kind, namespace, name, body=orjson.dumps(options))

    async def delete_collection(
        self, api_version: str, kind: str, namespace: str, *, labels: Mapping[str, str], propagation: str = "Background"
    ) -> None:
        """Delete all objects of a kind in a namespace that carry the labels; ``ValueError`` without a label."""
        if not labels:
            raise ValueError("deleting a collection needs at least one label")
        await self._call(
            "deletecollection",
            api_version,
            kind,
            namespace,
            query=_selectors(objects.label_selector(labels), ""),
            body=orjson.dumps({"propagationPolicy": propagation}),
        )

    async def watch(
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
        """Events after ``resource_version``, with bookmarks; see ``ClusterClient.watch``."""
        resource = await self._discovery.resource(api_version, kind)
        # Spread over time, so that the watches of a busy operator do not all end at once.
        seconds = int(self._transport.limits.watch_seconds * random.uniform(0.8, 1.0))  # noqa: S311
        request = transport.Request(
            verb="watch",
            method="GET",
            path=paths.path(resource, namespace),
            target=errors.Target(self.name, api_version, kind, namespace),
            query=(
                ("watch", "true"),
                ("allowWatchBookmarks", "true"),
                ("timeoutSeconds", str(max(seconds, 1))),
                *((("resourceVersion", resource_version),) if resource_version else ()),
                *_selectors(label_selector, field_selector),
            ),
            accept=_METADATA if metadata_only else transport.ACCEPT_JSON,
            headers=self._headers,
        )
        async with aclosing(self._transport.stream(request)) as lines:
            try:
                async for line in lines:
                    yield _event(line, request.target)
            except errors.NotFound as error:
                raise self._clearer(error, request.target) from error

    async def close(self) -> None:
        """Close all connections."""
        if self._owns_connections:
            await self._transport.close()

    async def _apply(self, body: JSON, *, force: bool, dry_run: bool) -> JSON:
        api_version, kind, namespace, name = paths.identity(body)
        resource = await self._discovery.resource(api_version, kind)
        return await self._call(
            "patch",
            api_version,
            kind,
            namespace,
            name,
            query=(("fieldManager", objects.FIELD_MANAGER), ("force", "true" if force else "false"), *_dry(dry_run)),
            body=orjson.dumps(paths.placed(body, resource)),
            content_type=_APPLY_PATCH,
            repeat=True,
        )

    async def _call(
        self,
        verb: str,
        api_version: str,
        kind: str,
        namespace: str,
        name: str = "",
        *,
        subresource: str = "",
        query: tuple[tuple[str, str], ...] = (),
        body: bytes | None = None,
        content_type: str = transport.ACCEPT_JSON,
        accept: str = transport.ACCEPT_JSON,
        repeat: bool = False,
    ) -> JSON:
        """One request about one object, or (without a name) about a collection."""
        target = errors.Target(self.name, api_version, kind, namespace, name)
        if verb in _NAMED_VERBS and not name:
            raise Invalid([Problem(f"{target}: the name of the object is missing", path="metadata.name")])
        resource = await self._discovery.resource(api_version, kind)
        if verb in _NAMED_VERBS:
            paths.check_namespace(resource, namespace, target)
        request = transport.Request(
            verb=verb,
            method=_METHODS[verb],
            path=paths.path(resource, namespace, name, subresource),
            target=target,
            query=query,
            body=body,
            content_type=content_type,
            accept=accept,
            headers=self._headers,
            repeat=repeat,
        )
        return await self._send(request)

    async def _send(self, request: transport.Request) -> JSON:
        try:
            answer: JSON = await self._transport.call(request)
        except errors.NotFound as error:
            raise self._clearer(error, request.target) from error
        return answer

    def _clearer(self, error: errors.NotFound, target: errors.Target) -> errors.ApiError:
        """A 404 that speaks of no object means that the path is not served: the kind has gone since discovery."""
        if error.details.get("name") or error.details.get("kind"):
            return error
        self._discovery.forget(target.api_version)
        return self._discovery.unknown(target.api_version, target.kind, served=True)

    async def _chunks(
        self,
        api_version: str,
        kind: str,
        namespace: str,
        query: tuple[tuple[str, str], ...],
        accept: str,
        *,
        limit: int,
    ) -> JSON:
        resource = await self._discovery.resource(api_version, kind)
        target = errors.Target(self.name, api_version, kind, namespace)
        path = paths.path(resource, namespace)
        items: list[Any] = []
        result: JSON = {}
        token, size = "", 0
        while True:
            page = (*((("limit", str(limit)),) if limit else ()), *((("continue", token),) if token else ()))
            request = transport.Request(
                "list", "GET", path, target, query=(*query, *page), accept=accept, headers=self._headers, repeat=True
            )
            try:
                data = await self._transport.fetch(request)
            except errors.NotFound as error:
                raise self._clearer(error, target) from error
            size += len(data)
            if size > self._transport.limits.max_bytes:
                raise errors.TooLarge(f"{target}: the list is too large; ask for less, by a label selector")
            chunk = json_tree.loads(data)
            items += chunk.get("items") or []
            result = result or chunk
            token = (chunk.get("metadata") or {}).get("continue") or ""
            if not token:
                break
        # Only the first chunk's resourceVersion covers them all: the others are read at that same version.
        metadata = {key: value for key, value in result["metadata"].items() if key == "resourceVersion"}
        return {**result, "metadata": metadata, "items": items}

    async def _discover(self, path: str) -> JSON:
        target = errors.Target(self.name, path.split("/", 2)[2], "")
        answer: JSON = await self._transport.call(transport.Request("get", "GET", path, target, repeat=True))
        return answer


def connect(
    name: str,
    source: credentials.Source,
    *,
    limits: transport.Limits | None = None,
    circuit: breaker.Breaker | None = None,
    on_call: Callable[[transport.FinishedCall], None] | None = None,
    user_agent: str = "vela-workflow",
) -> HttpClient:
    """A client of the cluster that ``source`` leads to; nothing is opened before the first call.

    ``circuit`` belongs to joined clusters: the local one comes back at once after a restart, so it needs none.
    ``on_call`` is told of every finished HTTP request.
    """
    return HttpClient(
        transport.Transport(name, source, limits=limits, circuit=circuit, on_call=on_call, user_agent=user_agent)
    )


_NAMED_VERBS = frozenset({"get", "patch", "update", "delete"})


def _dry(dry_run: bool) -> tuple[tuple[str, str], ...]:
    return (("dryRun", "All"),) if dry_run else ()


def _selectors(label_selector: str, field_selector: str) -> tuple[tuple[str, str], ...]:
    pairs = (("labelSelector", label_selector), ("fieldSelector", field_selector))
    return tuple(pair for pair in pairs if pair[1])


def _event(line: bytes, target: errors.Target) -> WatchEvent:
    """One line of a watch; raises ``Gone`` (or what else the server says) for an ERROR event."""
    event = json_tree.loads(line)
    if event["type"] == "ERROR":
        status = event["object"]
        raise errors.from_status(int(status.get("code") or 500), status, target)
    return WatchEvent(event["type"], event["object"])
