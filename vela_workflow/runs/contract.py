"""What carrying out runs needs, what is kept of a run in between, and what comes of a turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from vela_workflow.clusters.client import ClusterClient
from vela_workflow.clusters.interest import Interest
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.cue.program import Path
from vela_workflow.engine.summary import Transition
from vela_workflow.providers.contract import Clusters, Package
from vela_workflow.runs.definitions import Definitions
from vela_workflow.runs.journal import Intents
from vela_workflow.steps import failed_guards

JSON = dict[str, Any]


class Reporter(Protocol):
    """Whoever tells users of transitions."""

    def transitions(self, body: Mapping[str, Any], happened: tuple[Transition, ...]) -> None:
        """Tell what happened to a run."""

    def warnings(self, body: Mapping[str, Any], step: str, texts: tuple[str, ...]) -> None:
        """Tell what a step wants to be known although it goes on."""


class Observer(Protocol):
    """Whoever counts what steps take; all times in seconds."""

    def begun(self, body: Mapping[str, Any], execution: int) -> None:
        """Steps are carried out from here on, in this execution of the run (``ids.execution``)."""

    def planned(self, seconds: float) -> None:
        """The steps of a run were planned so long after its turn had begun."""

    def attempted(self, step_type: str, seconds: float) -> None:
        """An attempt of a step took so long."""


@dataclasses.dataclass(slots=True)
class Memory:
    """What is kept of a run between passes, all of which can be rebuilt.

    ``context`` is the packed ``RunContext``. ``succeeded`` are, by step id, the operations that did in this attempt;
    ``interests`` what the waiting steps wait for, ``guards`` what was told of guards that fail. ``written`` says that
    this process has written a status of the run, ``doubtful`` that it does not know what became of its last write.
    """

    context: bytes | None = None
    succeeded: dict[str, dict[Path, str]] = dataclasses.field(default_factory=dict)
    interests: dict[str, tuple[Interest, ...]] = dataclasses.field(default_factory=dict)
    guards: dict[str, failed_guards.Known] = dataclasses.field(default_factory=dict)
    written: bool = False
    doubtful: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """What is next for a run: look again ``after`` seconds, or when one of the ``interests`` (by step id) changes.

    ``body`` is the run as it was written; ``None`` when it is gone.
    """

    body: JSON | None
    after: float | None = None
    interests: Mapping[str, tuple[Interest, ...]] = dataclasses.field(default_factory=dict)
    finished: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Tools:
    """What a driver works with; made once for all runs.

    ``suspend_on_failure`` is the setting of that name; ``intents`` outlive the tools, as long as the process.
    """

    client: ClusterClient
    clusters: Clusters
    evaluator: Evaluator
    packages: Mapping[str, Package]
    definitions: Definitions
    reporter: Reporter
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    observer: Observer | None = None
    suspend_on_failure: bool = False
    intents: Intents = dataclasses.field(default_factory=Intents)
