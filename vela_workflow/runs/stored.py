"""What is read of a context that was stored, of which anybody may have made something else since.

A user who edits or deletes the context of a run must not be able to stop the run for ever, nor to have anything sent
twice. So each part is taken as far as it has the form in which it was written. Of the journal what cannot be read is
taken for begun, and where there is no telling what was done at all, the context is *lost*: no operation that must not
be repeated is then carried out by a step that may have begun, until a user restarts that step (decisions 19).
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any

import orjson

from vela_workflow.engine import ids, recall

JSON = dict[str, Any]

INTENT = "intent"
"""Under this key the entry of an operation that was begun has a name of its own, by which its process knows it."""


@dataclasses.dataclass(slots=True)
class State:
    """What was read of ``vela-workflow.state``.

    ``lost`` are the counters of restarts from when it was found out that nobody knows what was done; ``None`` when that
    is known. ``has_secret`` says that there is a Secret beside the ConfigMap, or may be one.
    """

    engine: JSON = dataclasses.field(default_factory=dict)
    journal: dict[str, JSON] = dataclasses.field(default_factory=dict)
    waiting: JSON = dataclasses.field(default_factory=dict)
    memos: dict[str, str] = dataclasses.field(default_factory=dict)
    lost: dict[str, int] | None = None
    has_secret: bool = False


def state(text: str) -> tuple[State, bool]:
    """The state in a text, and whether all that matters of it could be read."""
    found = parsed(text)
    if not isinstance(found, dict):
        return lost(), False
    engine, entries, before = recall.usable(found.get("engine")), found.get("journal", {}), found.get("lost")
    counted = recall.tells_restarts(found.get("engine"))
    known = counted and isinstance(entries, dict)
    known = known and (before is None or recall.tells_restarts({"restarts": before}))
    if not counted:
        engine["restarts"] = _new_restarts()
    read = State(engine, journal(entries), _object(found.get("waiting")))
    read.memos = {key: value for key, value in _object(found.get("memos")).items() if isinstance(value, str)}
    read.lost = before if known else dict(engine.get("restarts") or {})
    # An outcome is written to the Secret first, and a crash may follow.
    is_open = any(not entry["done"] for entry in read.journal.values())
    read.has_secret = not known or bool(found.get("secret")) or is_open
    return read, known


def lost() -> State:
    """The state of a run of which nobody knows what it has done."""
    restarts = _new_restarts()
    return State({"restarts": restarts}, lost=dict(restarts), has_secret=True)


def _new_restarts() -> dict[str, int]:
    """Counters for a run of which nobody knows how often it was restarted.

    Drawn by lot, so that no step that starts from here on has the id of one that was there before.
    """
    return {ids.WHOLE_RUN: secrets.randbits(31)}


def journal(found: Any) -> dict[str, JSON]:
    """The entries of a journal; one that cannot be read is there, and says that its operation was begun."""
    return {key: _entry(entry) for key, entry in _object(found).items()}


def values(text: str) -> JSON:
    """The object in a JSON text, an empty one when there is something else."""
    return _object(parsed(text))


def parsed(text: str) -> Any:
    """The JSON value of a text; ``None`` where there is none, or what is there is something else."""
    try:
        return orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return None


def _object(found: Any) -> JSON:
    return found if isinstance(found, dict) else {}


def _entry(found: Any) -> JSON:
    if not isinstance(found, Mapping):
        return {"done": False}
    entry: JSON = {"done": found.get("done") is True}
    if isinstance(found.get("value"), dict):
        entry["value"] = found["value"]
    for flag in ("sensitive", "answered"):
        if found.get(flag) is True:
            entry[flag] = True
    if isinstance(found.get(INTENT), str):
        entry[INTENT] = found[INTENT]
    return entry
