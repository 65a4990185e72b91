"""The errors of the program, as one small tree.

What is raised decides what becomes of a step, by the table in ``vela_workflow/steps/outcome.py`` and nowhere else:

- ``Transient``: something outside (API server, network, another service) refused; trying again can help.
- ``Terminal``: no retry can help.
- ``Invalid``: what the user wrote is wrong, with every problem that was found, each with its place.
- ``OutcomeUnknown``: something that must not be repeated was begun, and nobody knows what came of it.

Waiting and suspending are results, not errors. Anything else that is raised is a bug of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

MESSAGE_LIMIT = 1024


def bounded(message: str, limit: int = MESSAGE_LIMIT) -> str:
    """Return ``message``, cut to ``limit`` bytes of UTF-8 with a trailing ``…`` when it is longer (decisions 18).

    What others say may hold halves of characters, which no API server takes; they become question marks.
    """
    data = message.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode("utf-8")
    return data[: limit - 3].decode("utf-8", "ignore") + "…"


class WorkflowError(Exception):
    """Base of all errors that a user may meet; the text is written for that user."""

    @property
    def message(self) -> str:
        """The text of the error, bounded."""
        return bounded(str(self))


class Transient(WorkflowError):
    """Trying again can help; ``after`` is the least number of seconds to wait before that.

    ``most`` bounds the seconds between the attempts of who tries again and again, longer each time.
    """

    most: ClassVar[float] = 60.0

    def __init__(self, message: str, *, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class Terminal(WorkflowError):
    """No retry can help; ``reason`` is the step reason that the status shows."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class OutcomeUnknown(WorkflowError):
    """A ``once`` operation was started and nobody knows what became of it (decisions 19)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in what a user wrote: ``path`` is a field path, ``line`` and ``column`` count from 1."""

    message: str
    path: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        place = f"line {self.line}:{self.column}" if self.line else ""
        head = ", ".join(part for part in (self.path, place) if part)
        return f"{head}: {self.message}" if head else self.message


class Invalid(WorkflowError):
    """What the user wrote is wrong; all problems at once."""

    def __init__(self, problems: Iterable[Problem], *, summary: str = "") -> None:
        self.problems = tuple(problems)
        text = "; ".join(str(problem) for problem in self.problems)
        super().__init__(f"{summary}: {text}" if summary and text else summary or text)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a ``name`` that is not there: what was most likely meant, if anything."""
    near = nearest(name, known)
    return f"; did you mean {near}?" if near else ""


def nearest(name: str, known: Iterable[str]) -> str:
    """The one of the ``known`` names that somebody who wrote ``name`` most likely meant; empty when there is none."""
    by_lower = {one.lower(): one for one in known}
    return next((by_lower[found] for found in difflib.get_close_matches(name.lower(), by_lower, 1, 0.75)), "")
