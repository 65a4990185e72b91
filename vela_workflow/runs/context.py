"""The context of a run: everything that must survive and has no place in ``status``.

It is a ConfigMap (``workflow-<run>-context``, owned by the run) with the variables as JSON, the time stamps that
operations keep, and under one key of ours the state: attempts and back-off, templates of steps in flight, the journal
of operations that must not be repeated, what waiting steps wait for. What is sensitive goes to a Secret of the same
name (decisions 21, 22). Neither exists before there is something to keep (``context_store.py``).

Between passes the context stays in memory as encoded text: what it is written from and compared with.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

import orjson

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.engine import ids
from vela_workflow.engine.variables import Variables
from vela_workflow.runs import stored

JSON = dict[str, Any]

SIZE_LIMIT = 900 * 1024
"""Bytes that a context may have; an API server refuses objects of about one mebibyte."""

ROOM = SIZE_LIMIT - 64 * 1024
"""Bytes of a context that variables may take; the rest is for what is remembered of the steps."""


_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_RESERVED = frozenset({constants.CONTEXT_VARS, constants.CONTEXT_STATE})
GONE = "the record of what the run has done was deleted or cannot be read"
"""What the steps are told that may have carried out an operation which must not be repeated."""

_HIDDEN_VARS = "vars"
_HIDDEN_JOURNAL = "journal"


class RunContext:
    """Variables, memos, engine state and journal of one run; what operations see as ``contract.Variables``.

    ``lost`` is that of ``stored.State``; ``notes`` say what could not be read, until that is written over.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.uid = ""
        self.variables = Variables()
        self.engine: JSON = {}
        self.journal: dict[str, JSON] = {}
        self.waiting: JSON = {}
        self.lost: dict[str, int] | None = None
        self.notes: tuple[str, ...] = ()
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

    def doubts(self, path: str, group: str) -> bool:
        """Whether nobody knows what the step at ``path`` in ``group`` has done: it was not restarted since."""
        if self.lost is None:
            return False
        now = self.engine.get("restarts") or {}
        return all(now.get(key, 0) == self.lost.get(key, 0) for key in (path, group, ids.WHOLE_RUN))

    # What operations use.

    def get(self, path: str) -> Any:
        """The variable at a dotted path; raises ``KeyError``."""
        return self.variables.get(path)

    def is_sensitive(self, path: str) -> bool:
        """Whether the variable at a dotted path must not be seen by everybody."""
        return self.variables.is_sensitive(path)

    def put(self, path: str, value: Any, *, sensitive: bool = False) -> None:
        """Set the variable at a dotted path; raises ``Terminal`` when it does not fit."""
        self.make_room(value, "the variable")
        self.variables.put(path, value, sensitive=sensitive)

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
        secrets = {key: entry for key, entry in self.journal.items() if "value" in entry}
        odd = {key: value for key, value in self.memos.items() if not _KEY.fullmatch(key) or key in _RESERVED}
        state = {
            "engine": self.engine,
            **({"journal": entries} if entries else {}),
            **({"waiting": self.waiting} if self.waiting else {}),
            **({"memos": odd} if odd else {}),
            **({"secret": True} if hidden or secrets else {}),
            **({"lost": self.lost} if self.lost is not None else {}),
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
            "uid": self.uid,
            "values": self.variables.values,
            "sensitive": sorted(self.variables.sensitive),
            "engine": self.engine,
            "journal": self.journal,
            "waiting": self.waiting,
            "lost": self.lost,
            "notes": self.notes,
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
        context.uid = whole["uid"]
        context.variables = Variables(whole["values"], whole["sensitive"])
        context.engine, context.journal = whole["engine"], whole["journal"]
        context.waiting, context.memos, context.versions = whole["waiting"], whole["memos"], whole["versions"]
        context.lost, context.notes = whole["lost"], tuple(whole["notes"])
        shown, hidden = whole["written"]
        context.written = (bytes.fromhex(shown), bytes.fromhex(hidden))
        return context

    async def decode(
        self, state: stored.State, data: Mapping[str, str], secret: Mapping[str, str], evaluator: Evaluator
    ) -> None:
        """Take in stored data; variables that the Go controller wrote as CUE text are read too."""
        self.engine, self.waiting, self.lost = state.engine, state.waiting, state.lost
        outcomes = stored.journal(stored.parsed(secret.get(_HIDDEN_JOURNAL, "")))
        self.journal = {**state.journal, **{key: entry for key, entry in outcomes.items() if entry["done"]}}
        self.memos = {key: value for key, value in data.items() if key not in _RESERVED}
        self.memos.update(state.memos)
        shown = await self._variables(data.get(constants.CONTEXT_VARS, ""), evaluator)
        hidden = stored.values(secret.get(_HIDDEN_VARS, ""))
        self.variables = Variables({**shown, **hidden}, hidden)

    async def _variables(self, text: str, evaluator: Evaluator) -> JSON:
        if not text.strip():
            return {}
        found = stored.parsed(text)
        if found is None:
            try:
                found = await evaluator.expression(text, {})
            except errors.Transient:
                raise
            except errors.WorkflowError:
                found = None
        if isinstance(found, dict):
            return found
        self.notes += (f"the variables in ConfigMap {self.name} cannot be read; steps that need them fail",)
        return {}


def _kib(size: int) -> int:
    return -(-size // 1024)


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def _without_value(entry: JSON) -> JSON:
    kept = {key: value for key, value in entry.items() if key != "value"}
    return {**kept, "answered": True} if "value" in entry else kept
