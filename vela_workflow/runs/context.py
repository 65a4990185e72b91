"""The context of a run: everything that must survive and has no place in ``status``.

It is a ConfigMap (``workflow-<run>-context``, owned by the run) with the variables as JSON, the time stamps that
operations keep, and under one key of ours the state: attempts and back-off, templates of steps in flight, the journal
of operations that must not be repeated, what waiting steps wait for. What is sensitive goes to a Secret of the same
name (decisions 21, 22). Neither exists before there is something to keep.

Between passes the context stays in memory as encoded text: what it is written from and compared with.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.engine.variables import Variables

JSON = dict[str, Any]

SIZE_LIMIT = 900 * 1024
"""Bytes that a context may have; an API server refuses objects of about one mebibyte."""

ROOM = SIZE_LIMIT - 64 * 1024
"""Bytes of a context that variables may take; the rest is for what is remembered of the steps."""

NAME_LIMIT = 253

NEW = timedelta(minutes=1)
"""The age up to which a run that looks new is taken for new; nobody waits for longer for the first look at a run."""

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_RESERVED = frozenset({constants.CONTEXT_VARS, constants.CONTEXT_STATE})
_HIDDEN_VARS = "vars"
_HIDDEN_JOURNAL = "journal"
_WRITE = "workflowrun.oam.dev/write"
"""Annotation that marks each write, so that one whose answer was lost is known again."""

TRYING = (0.2,)
"""Seconds before a write is tried again when the API server cannot be reached."""
INSISTING = (0.2, 0.5, 1.0, 2.0, *(4.0,) * 75)
"""The same for a write that tells what has happened outside and must be known, for about five minutes."""


class RunContext:
    """Variables, memos, engine state and journal of one run; what operations see as ``contract.Variables``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.variables = Variables()
        self.engine: JSON = {}
        self.journal: dict[str, JSON] = {}
        self.waiting: JSON = {}
        self.memos: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.taken_over = False
        self.written: tuple[bytes, bytes] = (b"", b"")
        self._room: int | None = None

    @property
    def exists(self) -> bool:
        """Whether the run has a context in the cluster."""
        return "ConfigMap" in self.versions

    @property
    def has_acted(self) -> bool:
        """Whether an operation that must not be repeated was carried out: its status named the context then."""
        return any(entry.get("done") for entry in self.journal.values())

    # What operations use.

    def get(self, path: str) -> Any:
        """The variable at a dotted path; raises ``KeyError``."""
        return self.variables.get(path)

    def is_sensitive(self, path: str) -> bool:
        """Whether the variable at a dotted path must not be seen by everybody."""
        return self.variables.is_sensitive(path)

    def put(self, path: str, value: Any) -> None:
        """Set the variable at a dotted path; raises ``Terminal`` when it does not fit."""
        self.make_room(value, "the variable")
        self.variables.put(path, value)

    def make_room(self, values: Any, what: str) -> None:
        """Raise ``Terminal`` when values do not fit beside those that are there; ``what`` they are, for the message.

        Found out here, where it is the error of one step: a context that is too large to be written stops its run.
        """
        if self._room is None:
            self._room = ROOM - len(orjson.dumps(self.variables.values))
        size = len(orjson.dumps(values))
        if size > self._room:
            raise errors.Terminal(
                f"{what} of {_kib(size)} KiB cannot be kept: there are {_kib(ROOM)} KiB for all variables of a run, of "
                f"which {_kib(max(0, self._room))} KiB are free; pass less data between steps",
                reason=constants.Reason.OUTPUT,
            )
        self._room -= size

    def memo(self, key: str) -> str | None:
        """A small text kept under ``key``."""
        return self.memos.get(key)

    def remember(self, key: str, value: str | None) -> None:
        """Keep, or with ``None`` drop, a small text under ``key``."""
        if value is None:
            self.memos.pop(key, None)
        else:
            self.memos[key] = value

    # What is stored.

    def encode(self) -> tuple[dict[str, str], dict[str, str]]:
        """The data of the ConfigMap and of the Secret; raises ``Terminal`` when they are too large."""
        values = self.variables.values
        hidden = {name: value for name, value in values.items() if name in self.variables.sensitive}
        shown = {name: value for name, value in values.items() if name not in hidden}
        # That something was done is told in the ConfigMap too: without its Secret it must not look as if it never was.
        entries = {key: _without_value(entry) for key, entry in self.journal.items()}
        secrets = {key: entry for key, entry in self.journal.items() if entry.get("value")}
        odd = {key: value for key, value in self.memos.items() if not _KEY.fullmatch(key) or key in _RESERVED}
        state = {
            "engine": self.engine,
            **({"journal": entries} if entries else {}),
            **({"waiting": self.waiting} if self.waiting else {}),
            **({"memos": odd} if odd else {}),
            **({"secret": True} if hidden or secrets else {}),
        }
        data = {key: value for key, value in self.memos.items() if key not in odd}
        data[constants.CONTEXT_VARS] = _text(shown)
        data[constants.CONTEXT_STATE] = _text(state)
        secret: dict[str, str] = {}
        if hidden:
            secret[_HIDDEN_VARS] = _text(hidden)
        if secrets:
            secret[_HIDDEN_JOURNAL] = _text(secrets)
        for kind, content in (("ConfigMap", data), ("Secret", secret)):
            size = sum(len(key) + len(value.encode()) for key, value in content.items())
            if size > SIZE_LIMIT:
                raise errors.Terminal(
                    f"the context of the run would have {size // 1024} KiB in its {kind}, which is more than the "
                    f"{SIZE_LIMIT // 1024} KiB that fit; pass less data between steps",
                    reason=constants.Reason.OUTPUT,
                )
        return data, secret

    def pack(self) -> bytes:
        """All of it in few bytes, for the time between two passes; ``unpack`` is the way back."""
        shown, hidden = self.written
        whole = {
            "name": self.name,
            "values": self.variables.values,
            "sensitive": sorted(self.variables.sensitive),
            "engine": self.engine,
            "journal": self.journal,
            "waiting": self.waiting,
            "memos": self.memos,
            "versions": self.versions,
            "written": [shown.hex(), hidden.hex()],
        }
        return zlib.compress(orjson.dumps(whole), 1)

    @classmethod
    def unpack(cls, packed: bytes) -> RunContext:
        """The context that was packed."""
        whole = orjson.loads(zlib.decompress(packed))
        context = cls(whole["name"])
        context.variables = Variables(whole["values"], whole["sensitive"])
        context.engine, context.journal = whole["engine"], whole["journal"]
        context.waiting, context.memos, context.versions = whole["waiting"], whole["memos"], whole["versions"]
        shown, hidden = whole["written"]
        context.written = (bytes.fromhex(shown), bytes.fromhex(hidden))
        return context

    async def decode(self, data: Mapping[str, str], secret: Mapping[str, str], evaluator: Evaluator) -> None:
        """Take in stored data; variables that the Go controller wrote as CUE text are read too."""
        state = _json(data.get(constants.CONTEXT_STATE, "")) or {}
        self.engine = dict(state.get("engine") or {})
        self.journal = {**(state.get("journal") or {}), **(_json(secret.get(_HIDDEN_JOURNAL, "")) or {})}
        self.waiting = dict(state.get("waiting") or {})
        self.memos = {key: value for key, value in data.items() if key not in _RESERVED}
        self.memos.update(state.get("memos") or {})
        shown = await _variables(data.get(constants.CONTEXT_VARS, ""), evaluator)
        hidden = _json(secret.get(_HIDDEN_VARS, "")) or {}
        self.variables = Variables({**shown, **hidden}, hidden)


async def _variables(text: str, evaluator: Evaluator) -> JSON:
    if not text.strip():
        return {}
    found = _json(text)
    if found is None:
        found = await evaluator.expression(text, {})
    return found if isinstance(found, dict) else {}


def _json(text: str) -> Any:
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return None


def _kib(size: int) -> int:
    return -(-size // 1024)


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def context_name(run: str) -> str:
    """The name of the context of a run; a name that would be too long is cut and told apart by a hash."""
    name = constants.CONTEXT_NAME.format(run=run)
    if len(name) <= NAME_LIMIT:
        return name
    return f"{name[: NAME_LIMIT - 11]}-{hashlib.sha256(run.encode()).hexdigest()[:10]}"


class ContextStore:
    """Loads and saves contexts."""

    def __init__(self, client: ClusterClient, evaluator: Evaluator) -> None:
        self._client = client
        self._evaluator = evaluator

    async def load(self, body: Mapping[str, Any], *, begun: bool = False) -> RunContext:
        """The context of a run, empty when it has none; raises ``Transient`` when it cannot be read.

        A run whose status names none is not asked for one, unless it may have ``begun`` all the same.
        """
        metadata = body["metadata"]
        backend = (body.get("status") or {}).get("contextBackend") or {}
        name = str(backend.get("name") or context_name(metadata["name"]))
        context = RunContext(name)
        if not backend and not begun:
            return context
        namespace = metadata["namespace"]
        try:
            stored = await self._client.get("v1", "ConfigMap", namespace, name)
        except cluster_errors.NotFound:
            return context
        if not backend and _owners(stored) != [metadata["uid"]]:
            return context
        context.versions["ConfigMap"] = str(stored["metadata"]["resourceVersion"])
        data = {key: str(value) for key, value in (stored.get("data") or {}).items()}
        secret: dict[str, str] = {}
        if _has_secret(_json(data.get(constants.CONTEXT_STATE, "")) or {}):
            secret = await self._secret(namespace, name, context)
        await context.decode(data, secret, self._evaluator)
        if not backend:
            # Nothing is sent before the status names the context: what was only intended has not happened.
            context.journal = {key: entry for key, entry in context.journal.items() if entry.get("done")}
        context.written = _digests(data, secret)
        return context

    async def _secret(self, namespace: str, name: str, context: RunContext) -> dict[str, str]:
        try:
            stored = await self._client.get("v1", "Secret", namespace, name)
        except cluster_errors.NotFound:
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
            except cluster_errors.Unavailable:
                if delay is None:
                    raise
                await asyncio.sleep(delay)
            else:
                context.versions[kind] = str(stored["metadata"]["resourceVersion"])
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


def looks_new(status: Mapping[str, Any]) -> bool:
    """Whether a run has not begun, or a user has emptied its status to restart it (engine 7.4)."""
    return not (status.get("startTime") or status.get("steps") or status.get("contextBackend"))


def was_emptied(status: Mapping[str, Any]) -> bool:
    """Whether a user restarted a run by writing the status of one that has not begun (engine 7.4).

    It names no context then, but there may be one, which tells how often the run was restarted. A run that is really
    new has no status at all.
    """
    return "finished" in status and not status.get("startTime")


def may_have_begun(body: Mapping[str, Any], now: datetime, *, since: datetime, written: bool) -> bool:
    """Whether a run that looks new may be none, and is to be asked for a context.

    A status of ``null`` looks like that of a new run. This process knows better when it has ``written`` a status, and
    knows nothing of runs from before it began (``since``). To ask every new run would be a request too many.
    """
    status = body.get("status")
    if not looks_new(status or {}):
        return False
    if written or status == {} or was_emptied(status or {}):
        return True
    created = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
    return created < since or now - created > NEW


def _has_secret(state: Mapping[str, Any]) -> bool:
    """Whether there is a Secret, or may be one: an outcome is written there first, and a crash may follow."""
    return bool(state.get("secret")) or any(not entry.get("done") for entry in (state.get("journal") or {}).values())


def _without_value(entry: JSON) -> JSON:
    return {key: value for key, value in entry.items() if key != "value"}


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
