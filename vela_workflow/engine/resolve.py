"""Where the value of an input comes from (engine 3.4 and 5.2, decisions 15).

In order: a variable that exists (with all the parts of it that steps declare); an output that some step will still give
(wait for it); ``null`` when everybody who could have given it was skipped or failed; a path into ``context`` or
``parameter``; a CUE expression, which the driver evaluates. A name that no step declares may still be set by a template
(``#DoVar``), so it is waited for as long as anything else moves.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vela_workflow.api.constants import StepPhase
from vela_workflow.engine import board as boards
from vela_workflow.engine import inputs, paths, validate
from vela_workflow.engine import steps as model

PARAMETER: Final = "parameter"
"""What the properties of the step are called in ``from``; they are seen with the inputs before this one put in."""


class Answer(enum.Enum):
    """What can be said of an input now."""

    VALUE = "value"
    PENDING = "pending"
    """Not there yet."""
    SCRIPT = "script"
    """To be evaluated by the driver."""
    NEVER = "never"
    """It cannot be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The state of one input."""

    answer: Answer
    value: Any = None
    message: str = ""


def in_order(board: boards.Board, node: boards.Node) -> Iterator[tuple[model.Input, Resolved, Mapping[str, Any]]]:
    """Each input of a step, where it stands, and the parameters as the inputs before it have made them (engine 5.2)."""
    parameters: Mapping[str, Any] = node.step.properties
    follow = any(item.path is None or item.path[0] == PARAMETER for item in node.step.inputs[1:])
    for item in node.step.inputs:
        found = resolve(board, node, item, parameters)
        yield item, found, parameters
        if follow and item.key is not None and found.answer is Answer.VALUE:
            with contextlib.suppress(paths.PathError):  # said when the step begins
                parameters = inputs.inject(parameters, [(item.key, found.value)])


def resolve(board: boards.Board, node: boards.Node, item: model.Input, parameters: Mapping[str, Any]) -> Resolved:
    """Say where an input of a step stands, whose ``parameters`` are these so far."""
    if item.source in node.scripts:
        return Resolved(Answer.VALUE, node.scripts[item.source])
    if item.path is None:
        return Resolved(Answer.SCRIPT)
    givers = [giver for giver in board.givers.of(item.path) if giver is not node]
    if board.variables.has(item.path):
        partial = any(not giver.finished for giver in board.givers.parts(item.path) if giver is not node)
        return Resolved(Answer.PENDING) if partial else Resolved(Answer.VALUE, board.variables.at(item.path))
    if givers and all(giver.finished for giver in givers):
        return _from_ended(board, givers, item, item.path)
    if not givers and item.path[0] in validate.CONTEXT_ROOTS:
        return _from_context(board, node, item, item.path, parameters)
    return Resolved(Answer.PENDING)


def unknown(board: boards.Board, item: model.Input) -> bool:
    """Whether no step declares this input; when nothing else moves, nobody will ever provide it."""
    return item.path is not None and not board.givers.of(item.path)


def _from_ended(board: boards.Board, givers: list[boards.Node], item: model.Input, path: paths.Path) -> Resolved:
    """Everybody who declares it has ended: a part of a value that is not there is an error, no value at all is null."""
    for length in range(len(path) - 1, 0, -1):
        if board.variables.has(path[:length]):
            if board.variables.at(path[:length]) is None:
                break
            return Resolved(Answer.NEVER, message=failure(item, f"{paths.show(path[: length + 1])} does not exist"))
    gave = next((giver for giver in givers if giver.phase == StepPhase.SUCCEEDED), None)
    if gave is not None:
        lost = f'step "{gave.step.name}" has succeeded, and what it gave is not kept any more'
        return Resolved(Answer.NEVER, message=failure(item, lost))
    return Resolved(Answer.VALUE, None)


def _from_context(
    board: boards.Board, node: boards.Node, item: model.Input, path: paths.Path, parameters: Mapping[str, Any]
) -> Resolved:
    values = {"context": board.context(node), PARAMETER: parameters}
    try:
        return Resolved(Answer.VALUE, paths.lookup(values, path))
    except KeyError:
        lookup = f"failed to lookup value: var(path={item.source}) not exist"
        return Resolved(Answer.NEVER, message=failure(item, lookup))


def failure(item: model.Input, error: str) -> str:
    """The message of a step that cannot have an input (engine Appendix B)."""
    return f"get input from [{item.source}]: {error}"
