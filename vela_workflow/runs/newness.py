"""Whether a run is new, or looks like one because a user has emptied its status to restart it (engine 7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

NEW = timedelta(minutes=1)
"""The age up to which a run that looks new is taken for new; nobody waits for longer for the first look at a run."""


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
    """Whether a run whose status names no context may have one all the same, and is to be asked for it.

    A status of ``null`` looks like that of a new run. This process knows better when it has ``written`` a status, and
    knows nothing of runs from before it began (``since``). To ask every new run would be a request too many.
    """
    status = body.get("status")
    if not looks_new(status or {}):
        # One that has begun and names no context lacks none, or a user took the name out.
        return not (status or {}).get("contextBackend")
    if written or status == {} or was_emptied(status or {}):
        return True
    created = datetime.fromisoformat(body["metadata"]["creationTimestamp"])
    return created < since or now - created > NEW
