"""What the engine asks the driver to do.

The engine never evaluates CUE and never calls anything. Where it needs one of those it hands out a task that carries
everything needed, and is told the answer later. All tasks of one ``Pass.advance`` may run concurrently.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from vela_workflow.engine import steps as model

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Scope:
    """The values that an expression of the user's may refer to (engine 3.6 and 5.2).

    ``status`` maps names of steps (and aliases) to their status with the booleans ``failed``, ``succeeded``, …;
    ``inputs`` maps the literal ``from`` to its value.
    """

    status: JSON
    inputs: JSON
    context: JSON
    parameter: JSON


@dataclass(frozen=True, slots=True, eq=False)
class EvaluateCondition:
    """Evaluate the step's ``if``; answer with ``Pass.condition``."""

    step: model.StepPlan
    id: str
    expression: str
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class EvaluateInput:
    """Evaluate an input whose ``from`` is a CUE expression; answer with ``Pass.input``."""

    step: model.StepPlan
    id: str
    expression: str
    scope: Scope


@dataclass(frozen=True, slots=True, eq=False)
class Execute:
    """Make one attempt of a step (or look again at a waiting one); answer with ``Pass.finished``.

    ``parameters`` are the properties with inputs put in. ``attempt`` counts from 1; looking again at a waiting step
    is the same attempt. ``round`` counts from 1 how often the step was begun anew because its own policy asks for that
    after ``#Fail`` or a time-out, and is part of the key of ``once`` operations: an attempt that only tries again what
    met an error repeats none that was carried out (decisions 19). ``started`` is what the driver kept with
    ``Pass.keep`` when the step began (decisions 23); ``None`` the first time. ``resumed`` are the fields of
    ``#Suspend`` that may pass. At ``deadline`` the attempt is to be cut off.
    """

    step: model.StepPlan
    id: str
    parameters: JSON
    context: JSON
    attempt: int
    round: int
    started: Any | None
    resumed: tuple[str, ...]
    deadline: datetime | None


@dataclass(frozen=True, slots=True, eq=False)
class CollectOutputs:
    """Evaluate the outputs of a group over ``context`` and an empty ``parameter`` (engine 5.1).

    Answer with ``Pass.finished``: ``Succeeded`` with the outputs, or ``Failed`` with reason ``Output``.
    """

    step: model.StepPlan
    id: str
    context: JSON


@dataclass(frozen=True, slots=True, eq=False)
class Foreseen:
    """A step that will probably start in this pass with exactly these values; nothing is to be answered.

    Whoever carries out steps can evaluate the first pass of its template ahead of time.
    """

    step: model.StepPlan
    parameters: JSON
    context: JSON


Task = EvaluateCondition | EvaluateInput | Execute | CollectOutputs
