"""What the steps need of the run they belong to.

A step knows its template, its values and what it has done; where that is stored is the business of the run. These two
protocols are all that steps see of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from vela_workflow import errors
from vela_workflow.providers.contract import Outcome


class Superseded(errors.Transient):
    """Another process carries the run out as well, and what is known here is old.

    It is the outcome of no step: the pass ends without leaving a trace, and everything is read again.
    """


class Unrecorded(errors.Transient):
    """What a run is about to do, or has come to, cannot be written down: a quota, a policy or rights refuse it.

    It is the outcome of no step either: nothing was begun, and no retry is used up. Only the run can tell of it.
    """


@dataclass(frozen=True, slots=True)
class Entry:
    """What the journal knows of a ``once`` operation: begun, and what came of it if that is known.

    ``why`` that is not known, for the message.
    """

    done: bool
    value: dict[str, Any] | None = None
    sensitive: bool = False
    why: str = "it was started and nobody knows whether it took effect"


class Journal(Protocol):
    """The record of operations that must not be repeated (decisions 19)."""

    def entry(self, key: str) -> Entry | None:
        """What is known of an operation; ``None`` when it was never begun."""

    async def intend(self, key: str) -> None:
        """Record, durably, that the operation is about to be carried out; raises ``Superseded`` and ``Unrecorded``."""

    async def record(self, key: str, outcome: Outcome) -> None:
        """Record what came of it."""

    async def withdraw(self, key: str) -> None:
        """Record that it certainly was not carried out."""
