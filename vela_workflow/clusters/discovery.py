"""What an API server calls its kinds: the discovery cache of one cluster.

One request per group version, kept until a kind is looked for that is not in it (a CRD was installed) or until a path
built from it turns out not to exist (a CRD was removed). So that a template with a typing mistake does not ask the
server in a loop, a group version is asked at most once in ``min_interval`` seconds.

On demand a kind is found that is written in other case than the server's (``pod``): definitions that are in use
everywhere write it so, where nobody noticed because the errors of a deletion were swallowed. Requests themselves want
the exact name, so that whoever guards some kinds need not think of case.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from vela_workflow.clusters import errors
from vela_workflow.clusters.client import Resource
from vela_workflow.errors import Invalid, Problem

JSON = dict[str, Any]

_API_VERSION = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?/)?v[a-z0-9]+")


def base_path(api_version: str) -> str:
    """The URL path under which a group version is served; raises ``Invalid`` for what cannot be an apiVersion."""
    if not isinstance(api_version, str) or not _API_VERSION.fullmatch(api_version):
        raise Invalid([Problem(f"{api_version!r} is not an API version such as v1 or apps/v1", path="apiVersion")])
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


class _GroupVersion:
    """One group version: its kinds, when they were read, and a lock so that they are read once."""

    __slots__ = ("asked_at", "kinds", "lock")

    def __init__(self) -> None:
        self.kinds: dict[str, Resource] = {}
        self.asked_at: float | None = None
        self.lock = asyncio.Lock()

    def find(self, kind: str, *, any_case: bool) -> Resource | None:
        """The kind of this name, or else, with ``any_case``, the only one whose name differs in case alone."""
        if (exact := self.kinds.get(kind)) is not None or not any_case:
            return exact
        alike = [one for name, one in self.kinds.items() if name.lower() == kind.lower()]
        return alike[0] if len(alike) == 1 else None


class Discovery:
    """The kinds of one cluster; ``fetch`` reads a discovery document by its path and raises ``ApiError``."""

    def __init__(
        self,
        cluster: str,
        fetch: Callable[[str], Awaitable[JSON]],
        *,
        min_interval: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._fetch = fetch
        self._min_interval = min_interval
        self._clock = clock
        self._known: dict[str, _GroupVersion] = {}

    async def resource(self, api_version: str, kind: str, *, any_case: bool = False) -> Resource:
        """What the server calls ``kind``; raises ``UnknownKind``, with ``after`` set to when asking again can help."""
        entry = self._known.get(api_version)
        if entry is not None and (found := entry.find(kind, any_case=any_case)) is not None:
            return found
        path = base_path(api_version)
        entry = self._known.setdefault(api_version, _GroupVersion())
        async with entry.lock:
            if (found := entry.find(kind, any_case=any_case)) is not None:
                return found
            wait = 0.0 if entry.asked_at is None else entry.asked_at + self._min_interval - self._clock()
            if wait <= 0:
                entry.kinds = await self._read(path, api_version)
                entry.asked_at = self._clock()
                wait = self._min_interval
        if (found := entry.find(kind, any_case=any_case)) is not None:
            return found
        raise self.unknown(api_version, kind, served=bool(entry.kinds), after=wait)

    def unknown(self, api_version: str, kind: str, *, served: bool, after: float = 0.0) -> errors.UnknownKind:
        """The error for a kind that the server does not serve; ``served`` tells whether it serves the group version."""
        target = errors.Target(self._cluster, api_version, kind)
        what = f"there is no kind {kind!r} in {api_version}" if served else f"{api_version} is not served"
        return errors.UnknownKind(
            f"{target}: unknown kind: {what}; is its CustomResourceDefinition installed?", status=404, after=after
        )

    def forget(self, api_version: str) -> None:
        """Read the kinds of a group version again when they are next needed."""
        entry = self._known.get(api_version)
        if entry is not None:
            entry.kinds = {}

    async def _read(self, path: str, api_version: str) -> dict[str, Resource]:
        try:
            document = await self._fetch(path)
        except errors.NotFound:
            return {}
        return {
            entry["kind"]: Resource(api_version, entry["kind"], entry["name"], bool(entry.get("namespaced")))
            for entry in document.get("resources") or []
            if "/" not in entry["name"]
        }
