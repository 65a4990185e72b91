"""One reconcile of a run: what may start now, and what became of it.

A ``Pass`` is made around a ``Plan`` (what the user wrote) and what is known so far (``status``, ``state`` and
``variables``), lives for one reconcile and is thrown away. ``advance`` says what may be done now; the driver does all
of it concurrently and reports each answer, and after each report ``advance`` may give more. When it gives no more and
nothing is outstanding, ``conclude`` says what to write and when to look again. Until that is written nothing has
happened: a pass that is abandoned in the middle leaves no trace but the effects of its attempts.

``status`` is the status of the run as users see and edit it. ``state`` is what the engine has to remember beside it
(attempts, back-off, what a running step started with); it is kept in the context of the run. Keys of ``state`` that the
engine does not know are the driver's and are left alone. Write variables and state first, then the status.

The loop of a driver::

    run = Pass(plan, identity, status, state, variables, now(), woken=woken)
    tasks = {start(task) for task in run.advance(now())}
    while tasks:
        done, tasks = await wait_for_first(tasks)
        for task, answer in done:
            match task:
                case EvaluateCondition():
                    run.condition(task, answer)            # True, False or what is wrong
                case EvaluateInput():
                    run.input(task, answer)                # the value, or an errors.WorkflowError
                case Execute() | CollectOutputs():
                    run.finished(task, answer, now())      # a result
        tasks |= {start(task) for task in run.advance(now())}
    conclusion = run.conclude(now())
    if conclusion.state_changed:
        store(conclusion.state, variables)
    if conclusion.status != status:
        write(conclusion.status)
    again(conclusion.requeue_after)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.engine import plan as plans
from vela_workflow.engine import result as results
from vela_workflow.engine import tasks
from vela_workflow.engine import variables as variables_

JSON = dict[str, Any]

EVERYTHING = "*"
"""In ``woken``: look again at every waiting step."""


@dataclass(frozen=True, slots=True)
class Transition:
    """Something that happened, for an Event; ``step`` is empty when it concerns the run."""

    reason: constants.EventReason
    message: str
    warning: bool = False
    step: str = ""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What to write after a pass and what to do next.

    ``requeue_after`` is in seconds, ``None`` when no timer is needed (finished, or suspended without an end).
    ``state_changed`` is false when what changed in ``state`` need not survive the process. ``state_needed`` is false
    when a restart of the operator would lose nothing without it. ``started`` names the ids of steps in flight.
    """

    status: JSON
    state: JSON
    state_changed: bool
    state_needed: bool
    requeue_after: float | None
    transitions: tuple[Transition, ...]
    in_flight: frozenset[str]


class Pass:
    """One reconcile; see the module."""

    def __init__(
        self,
        plan: plans.Plan,
        identity: Any,
        status: Mapping[str, Any],
        state: Mapping[str, Any],
        variables: variables_.Variables,
        now: datetime,
        *,
        woken: Collection[str] = (),
    ) -> None: ...

    def advance(self, now: datetime) -> list[tasks.Task]:
        """What may be done now and was not handed out before."""

    def condition(self, task: tasks.EvaluateCondition, answer: bool | errors.WorkflowError) -> None:
        """Tell what an ``if`` came to; an error makes the step ``failed/Rendering``."""

    def input(self, task: tasks.EvaluateInput, answer: Any | errors.WorkflowError) -> None:
        """Tell the value of an input; an error makes the step ``failed/Input``."""

    def finished(self, task: tasks.Execute | tasks.CollectOutputs, result: results.Result, now: datetime) -> None:
        """Tell what an attempt came to."""

    def keep(self, task: tasks.Execute, started: Any) -> None:
        """Keep (JSON) what the step started with, for all its later attempts (decisions 23)."""

    def blocked(self, message: str) -> None:
        """Tell that the run cannot be carried out now (definition missing, …): condition False, phase initializing."""

    def conclude(self, now: datetime) -> Conclusion:
        """What to write. May also be called in the middle of a pass, for a checkpoint before a ``once`` operation."""
