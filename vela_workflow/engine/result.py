"""What one attempt of a step came to, as the driver tells the engine.

A result says what happened, not what becomes of the step: phase, reason, retries and deadlines are for the engine to
decide. Waiting and suspending are results like any other. Every result carries the message that the step shows; the
engine bounds it (decisions 18).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from vela_workflow.api import constants


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The step is done.

    ``outputs`` maps the declared output names to their values; a declared output that is missing here makes the step
    ``failed/Output`` (decisions 9). ``sensitive`` taints them: they are to be kept in a Secret (decisions 22).
    """

    outputs: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """The step waits for something outside; ``after`` is the number of seconds until it wants to look again by itself.

    Without ``after`` the engine's slow timer is the safety net for the watch that wakes the step (engine 3.8).
    """

    message: str = ""
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Suspended:
    """The template asked to stop until somebody resumes the step, or until the time ``until``.

    ``field`` names the ``#Suspend`` that stopped it; it comes back in ``tasks.Execute.resumed`` once it was resumed,
    so that a template with two of them needs two resumes (engine 8.2).
    """

    field: str = "suspend"
    message: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt failed.

    ``retriable`` says whether another attempt could help; then ``after`` is the least number of seconds before it.
    The engine decides by the step's ``retry`` whether there is another one (decisions 9 and 16).
    """

    reason: constants.Reason
    message: str
    retriable: bool = False
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Broken:
    """The template said ``#Break``: this step is done, and the run ends after it (decisions 13)."""

    message: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    sensitive: bool = False


Result = Succeeded | Waiting | Suspended | Failed | Broken
