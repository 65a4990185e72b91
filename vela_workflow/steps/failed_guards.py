"""Telling of guards that fail.

A guard whose condition is wrong contributes nothing and fails nothing (decisions 3); a warning names it. The pass that
is made anyway tells which guards are wrong, so CUE is asked for a reason only where there is one to tell, when the step
comes to rest, and once in its life: a step that waits may be looked at a thousand times.

A list that is shorter than an index asks for is wrong only when the step has ended. Until then it may grow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from vela_workflow import errors
from vela_workflow.cue.data import Data
from vela_workflow.cue.evaluator import Because, Evaluator
from vela_workflow.cue.guards import Guard
from vela_workflow.cue.template import Template
from vela_workflow.engine import result

TOLD = 5
"""How many guards of a step are told of at one time."""

Known = dict[tuple[int, int], bool]
"""The guards of a step that were asked about, by line and column, and whether they were told of."""


def has_ended(found: result.Result) -> bool:
    """Whether a step is over, so that nothing more can come of its operations."""
    match found:
        case result.Failed():
            return not found.retriable
        case result.Waiting() | result.Suspended():
            return False
    return True


async def warnings(
    evaluator: Evaluator,
    template: Template,
    data: Data,
    failed: Sequence[Guard],
    known: Known,
    *,
    ended: bool,
    worded: Callable[[str], str],
) -> list[str]:
    """What to tell of the guards that an evaluation found wrong; ``worded`` puts what CUE says into what may be said.

    What was asked is added to ``known``. A reason that cannot be had is no reason to fail.
    """
    new = [guard for guard in failed if not _is_known(guard, known, ended=ended)]
    texts: list[str] = []
    for guard in new[:TOLD]:
        try:
            why = await evaluator.explain_guard(template, data, guard)
        except errors.WorkflowError:
            continue
        tell = why is not None and (ended or why.because is Because.FINAL)
        known[guard.line, guard.column] = tell
        if why is not None and tell:
            message = f'the guard "{guard.text}" fails and adds nothing: {worded(why.message)}'
            texts.append(str(errors.Problem(message, line=guard.line, column=guard.column)))
    return texts


def _is_known(guard: Guard, known: Known, *, ended: bool) -> bool:
    told = known.get((guard.line, guard.column))
    return bool(told) if ended else told is not None
