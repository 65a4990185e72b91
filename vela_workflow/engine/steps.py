"""One step as the engine uses it: everything about it parsed (engine 1.2).

Steps are known by their *path*: ``name``, or ``group/name`` for a sub step. When names are repeated (which admission
refuses) the later ones are ``name#2`` and so on, so that each step has a status of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from vela_workflow.api import constants
from vela_workflow.engine import paths

JSON = dict[str, Any]
Owner = TypeVar("Owner")


@dataclass(frozen=True, slots=True)
class Input:
    """One ``inputs`` item. ``path`` is ``None`` when ``source`` is a CUE expression, ``key`` when it goes nowhere."""

    source: str
    path: paths.Path | None
    key: paths.Path | None


@dataclass(frozen=True, slots=True)
class Output:
    """One ``outputs`` item; ``path`` is where in the variables the value of ``value_from`` goes."""

    name: str
    path: paths.Path
    value_from: str


@dataclass(frozen=True, slots=True)
class Retry:
    """A step's own ``retry`` (decisions 16); durations in seconds."""

    limit: int
    duration: float
    factor: float
    cap: float
    on: frozenset[constants.RetryOn]


@dataclass(frozen=True, slots=True)
class Defect:
    """Why a step can never run, as the failure that it ends with."""

    reason: constants.Reason
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class StepPlan:
    """One step or sub step. ``source`` is what the user wrote; ``mode`` is that of the sub steps of a group."""

    name: str
    type: str
    path: str
    parent: str = ""
    condition: str = ""
    timeout: float | None = None
    depends_on: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    retry: Retry | None = None
    mode: constants.Mode = constants.Mode.DAG
    properties: JSON = field(default_factory=dict)
    sub_steps: tuple[StepPlan, ...] = ()
    source: JSON = field(default_factory=dict)
    defects: tuple[Defect, ...] = ()

    @property
    def is_group(self) -> bool:
        """Whether this is a ``step-group``."""
        return self.type == constants.STEP_GROUP

    @property
    def retries_on(self) -> frozenset[constants.RetryOn]:
        """What is answered by another attempt."""
        return self.retry.on if self.retry is not None else frozenset(constants.RETRY_ON)

    @property
    def retry_limit(self) -> int:
        """Greatest number of retries."""
        return self.retry.limit if self.retry is not None else constants.MAX_RETRIES


def walk(steps: Iterable[StepPlan]) -> Iterator[StepPlan]:
    """All steps in the order of the spec, each group before its sub steps."""
    for step in steps:
        yield step
        yield from step.sub_steps


def unique_path(parent: str, name: str, taken: Iterable[str]) -> str:
    """The path of the next step of this name below ``parent``, given the paths that are taken."""
    path = f"{parent}/{name}" if parent else name
    candidate, count = path, 1
    while candidate in taken:
        count += 1
        candidate = f"{path}#{count}"
    return candidate


class OutputIndex(Generic[Owner]):
    """Who declares which outputs, found by path."""

    def __init__(self, steps: Iterable[tuple[StepPlan, Owner]]) -> None:
        self._by_root: dict[str | int, list[tuple[paths.Path, Owner]]] = {}
        for step, owner in steps:
            for output in step.outputs:
                self._by_root.setdefault(output.path[0], []).append((output.path, owner))

    def of(self, path: paths.Path) -> list[Owner]:
        """The owners of outputs at, above or below a path, in order, each once."""
        found = [owner for other, owner in self._by_root.get(path[0], ()) if paths.overlap(other, path)]
        return list(dict.fromkeys(found))

    def parts(self, path: paths.Path) -> list[Owner]:
        """The owners of outputs strictly below a path: each gives a part of the value there."""
        found = self._by_root.get(path[0], ())
        return [owner for other, owner in found if len(other) > len(path) and paths.overlap(other, path)]
