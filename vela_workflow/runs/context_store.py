"""Where the contexts of runs are kept: a ConfigMap each, and a Secret beside it for what is sensitive."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

import orjson

from vela_workflow.api import constants
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.runs import stored as read
from vela_workflow.runs.context import GONE, RunContext
from vela_workflow.runs.journal import Intents
from vela_workflow.runs.newness import looks_new

JSON = dict[str, Any]

NAME_LIMIT = 253

_WRITE = "workflowrun.oam.dev/write"
"""Annotation that marks each write, so that one whose answer was lost is known again."""

TRYING = (0.2,)
"""Seconds before a write is tried again when the API server cannot be reached, or asks to slow down."""
INSISTING = (0.2, 0.5, 1.0, 2.0, *(4.0,) * 75)
"""The same for a write that tells what has happened outside and must be known, for about five minutes."""


def context_name(run: str) -> str:
    """The name of the context of a run; a name that would be too long is cut and told apart by a hash."""
    name = constants.CONTEXT_NAME.format(run=run)
    if len(name) <= NAME_LIMIT:
        return name
    return f"{name[: NAME_LIMIT - 11]}-{hashlib.sha256(run.encode()).hexdigest()[:10]}"


class ContextStore:
    """Loads and saves contexts."""

    def __init__(self, client: ClusterClient, evaluator: Evaluator, intents: Intents) -> None:
        self._client = client
        self._intents = intents
        self._evaluator = evaluator

    async def load(self, body: Mapping[str, Any], *, begun: bool = False) -> RunContext:
        """The context of a run, empty when it has none; raises ``Transient`` when it cannot be read.

        A run whose status names none is not asked for one, unless it may have ``begun`` all the same. What a user made
        unreadable, or took away, is read as far as it goes (``stored``).
        """
        metadata, status = body["metadata"], body.get("status") or {}
        named = str((status.get("contextBackend") or {}).get("name") or "")
        context = RunContext(context_name(metadata["name"]))
        if not named and not begun:
            return context
        found = await self._find(metadata, named, context)
        data = {key: str(value) for key, value in ((found or {}).get("data") or {}).items()}
        if constants.CONTEXT_STATE in data:
            state, known = read.state(data[constants.CONTEXT_STATE])
        elif named and _is_ours(status):
            state, known = read.lost(), False
        else:
            state, known = read.State(), True
        if not known:
            context.notes = (
                f"{GONE} (ConfigMap {context.name}); what must not be done twice needs a restart of its step",
            )
        secret = await self._secret(metadata, context) if state.has_secret else {}
        await context.decode(state, data, secret, self._evaluator)
        if looks_new(status) or not (named or "known" in context.engine):
            # Nothing is sent before the status names the context: what was only intended has not happened.
            context.journal = {key: entry for key, entry in context.journal.items() if entry["done"]}
        context.journal = self._intents.complete(context.journal)
        if found is not None:
            context.written = _digests(data, secret)
        return context

    async def _find(self, metadata: Mapping[str, Any], named: str, context: RunContext) -> JSON | None:
        """The ConfigMap of a run: the one that is ``named``, if that is the run's own, else where it would be made."""
        usual = context.name
        for name in dict.fromkeys((named or usual, usual, _other_name(usual, str(metadata["uid"])))):
            try:
                found = await self._client.get("v1", "ConfigMap", metadata["namespace"], name)
            except cluster_errors.NotFound:
                if name == usual:
                    return None  # another name is taken only where this one is somebody else's
                continue
            owners = _owners(found)
            if owners == [metadata["uid"]] or (not owners and name == named == usual):
                context.name = name
                context.versions["ConfigMap"] = str(found["metadata"]["resourceVersion"])
                context.uid = str(found["metadata"]["uid"])
                return found
        return None

    async def _secret(self, metadata: Mapping[str, Any], context: RunContext) -> dict[str, str]:
        try:
            stored = await self._client.get("v1", "Secret", metadata["namespace"], context.name)
        except cluster_errors.NotFound:
            return {}
        if _owners(stored) != [metadata["uid"]]:
            return {}
        context.versions["Secret"] = str(stored["metadata"]["resourceVersion"])
        return {key: _decoded(value) for key, value in (stored.get("data") or {}).items()}

    async def save(self, body: Mapping[str, Any], context: RunContext, *, insist: bool = False) -> bool:
        """Write what has changed; true when the run has a context after that.

        Every write carries the version that was read or written last, so that of two processes that think they carry
        out the same run only one can go on: the other gets ``Conflict``. ``insist`` writes all the same, for what has
        happened already. Raises ``Terminal`` when the context is too large, before anything is written.
        """
        data, secret = context.encode()
        shown, hidden = _digests(data, secret)
        if secret and hidden != context.written[1]:
            await self._write(body, context, "Secret", {"type": "Opaque", "data": _encoded(secret)}, insist=insist)
        if shown != context.written[0]:
            await self._write(body, context, "ConfigMap", {"data": data}, insist=insist)
        context.written = (shown, hidden)
        return context.exists

    async def _write(
        self, body: Mapping[str, Any], context: RunContext, kind: str, content: JSON, *, insist: bool
    ) -> None:
        """Write one object. When the answer is lost, the mark of the write tells later whether it was carried out."""
        manifest: JSON = {"apiVersion": "v1", "kind": kind, "metadata": _metadata(body, context.name), **content}
        for delay in (*(INSISTING if insist else TRYING), None):
            try:
                stored = await self._send(body, context, manifest, insist=insist)
            except (cluster_errors.Unavailable, cluster_errors.TooManyRequests):
                if delay is None:
                    raise
                await asyncio.sleep(delay)
            else:
                context.versions[kind] = str(stored["metadata"]["resourceVersion"])
                if kind == "ConfigMap":
                    context.uid = str(stored["metadata"]["uid"])
                return

    async def _send(self, body: Mapping[str, Any], context: RunContext, manifest: JSON, *, insist: bool) -> JSON:
        kind, namespace = manifest["kind"], body["metadata"]["namespace"]
        version = context.versions.get(kind)
        if version is None:
            return await self._create(body, context, manifest)
        try:
            return await self._client.replace(_with_version(manifest, version))
        except cluster_errors.NotFound:
            return await self._create(body, context, manifest)
        except cluster_errors.Conflict:
            stored = await self._client.get("v1", kind, namespace, context.name)
            if _mark(stored) == _mark(manifest):
                return stored
            if not insist:
                raise
            return await self._client.replace(_with_version(manifest, stored["metadata"]["resourceVersion"]))

    async def _create(self, body: Mapping[str, Any], context: RunContext, manifest: JSON) -> JSON:
        """Create the object; take another name when one of this name belongs to somebody else (engine 3.12).

        One that belongs to this run is left from a start of which the status knows nothing; it is written over. Raises
        ``Conflict`` when it belongs to another process that carries the run out now.
        """
        try:
            return await self._client.create(manifest)
        except cluster_errors.AlreadyExists:
            found = await self._client.get("v1", manifest["kind"], body["metadata"]["namespace"], context.name)
        if _mark(found) == _mark(manifest):
            return found
        if _owners(found) == [body["metadata"]["uid"]]:
            await self._check_alone(body, context)
            context.taken_over = True
            return await self._client.replace(_with_version(manifest, found["metadata"]["resourceVersion"]))
        context.name = _other_name(context.name, str(body["metadata"]["uid"]))
        manifest["metadata"]["name"] = context.name
        return await self._client.create(manifest)

    async def is_current(self, body: Mapping[str, Any], context: RunContext) -> bool:
        """Whether the ConfigMap is as it was read or written last."""
        stored = await self._client.get("v1", "ConfigMap", body["metadata"]["namespace"], context.name)
        return str(stored["metadata"]["resourceVersion"]) == context.versions.get("ConfigMap")

    async def _check_alone(self, body: Mapping[str, Any], context: RunContext) -> None:
        """Raise ``Conflict`` when what is known of the run is older than what another process has made of it."""
        metadata, kind = body["metadata"], constants.WORKFLOW_RUN
        if context.exists:
            alone = await self.is_current(body, context)
        else:
            run = await self._client.get(kind.api_version, kind.kind, metadata["namespace"], metadata["name"])
            alone = not (run.get("status") or {}).get("contextBackend")
        if not alone:
            raise cluster_errors.Conflict(f"the context of run {metadata['name']} was written by another process")


def _is_ours(status: Mapping[str, Any]) -> bool:
    """Whether the status was written by this program, and not by the Go implementation, which keeps no state."""
    return "progress" in status or not status.get("startTime")


def _with_version(manifest: JSON, version: str) -> JSON:
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": version}}


def _mark(stored: Mapping[str, Any]) -> str:
    return str((stored["metadata"].get("annotations") or {}).get(_WRITE))


def _owners(stored: Mapping[str, Any]) -> list[Any]:
    return [owner.get("uid") for owner in stored["metadata"].get("ownerReferences") or ()]


def _other_name(name: str, uid: str) -> str:
    return f"{name[: NAME_LIMIT - 6]}-{hashlib.sha256(uid.encode()).hexdigest()[:5]}"


def _metadata(body: Mapping[str, Any], name: str) -> JSON:
    run = body["metadata"]
    start = (body.get("status") or {}).get("startTime") or run.get("creationTimestamp")
    return {
        "name": name,
        "namespace": run["namespace"],
        "annotations": {constants.ANNOTATION_START_TIME: str(start), _WRITE: secrets.token_hex(8)},
        "ownerReferences": [
            {
                "apiVersion": constants.WORKFLOW_RUN.api_version,
                "kind": constants.WORKFLOW_RUN.kind,
                "name": run["name"],
                "uid": run["uid"],
                "controller": True,
            }
        ],
    }


def _digests(data: Mapping[str, str], secret: Mapping[str, str]) -> tuple[bytes, bytes]:
    return _digest(data), _digest(secret)


def _digest(content: Mapping[str, str]) -> bytes:
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest() if content else b""


def _encoded(content: Mapping[str, str]) -> dict[str, str]:

    return {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}


def _decoded(value: str) -> str:

    return base64.b64decode(value).decode("utf-8", "replace")
