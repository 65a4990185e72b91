"""What admission says of an object, as far as the object alone tells: problems, warnings, and what is filled in.

The rules are those by which runs are planned (``engine.plan``) and objects are read (``api.model``), so what is refused
here is what would fail there, in the same words. Added is what only admission sees: a run gets names for its unnamed
steps while nothing depends on them yet, and an ``on`` that YAML took for ``true`` is put right. Nothing here asks
anybody else; what needs definitions, CUE or the API server is in ``admission_review``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api import constants, json_tree, model, stepdefinition, workflow, workflowrun
from vela_workflow.cue import scanner
from vela_workflow.engine import hints
from vela_workflow.engine import plan as plans

JSON = dict[str, Any]

MODELS: Final[Mapping[str, type[model.Resource]]] = {
    constants.WORKFLOW_RUN.kind: workflowrun.WorkflowRun,
    constants.WORKFLOW.kind: workflow.Workflow,
    constants.STEP_DEFINITION.kind: stepdefinition.WorkflowStepDefinition,
}
"""The kinds that admission knows."""

TEMPLATE: Final = "spec.schematic.cue.template"
"""Where the template of a definition is."""

WARNING_BYTES: Final = 256
"""Bytes of one warning; API servers cut longer ones when there are many."""

WARNINGS: Final = 16
"""Most warnings of one answer: API servers show 4 KiB in all."""


@dataclasses.dataclass(frozen=True, slots=True)
class Review:
    """What is said of an object: it is refused when there are ``problems``; ``warnings`` only inform."""

    problems: tuple[errors.Problem, ...] = ()
    warnings: tuple[errors.Problem, ...] = ()

    def __add__(self, other: Review) -> Review:
        """Both together, without saying anything twice."""
        return Review(_merged(self.problems, other.problems), _merged(self.warnings, other.warnings))

    @property
    def refusal(self) -> str:
        """The problems as users read them, one a line; empty when there is none."""
        shown = [str(problem) for problem in self.problems[: json_tree.PROBLEM_LIMIT]]
        rest = len(self.problems) - len(shown)
        if rest:
            shown.append(f"and {rest} more problems")
        if len(shown) < 2:
            return "".join(shown)
        return "\n".join([f"{len(self.problems)} problems:", *(f"- {line}" for line in shown)])

    @property
    def notes(self) -> list[str]:
        """The warnings as API servers pass them on: short, and not too many."""
        shown = [errors.bounded(str(problem), WARNING_BYTES) for problem in self.warnings]
        if len(shown) <= WARNINGS:
            return shown
        return [*shown[: WARNINGS - 1], f"and {len(shown) - WARNINGS + 1} more warnings"]


def _merged(one: Iterable[errors.Problem], other: Iterable[errors.Problem]) -> tuple[errors.Problem, ...]:
    return tuple(dict.fromkeys([*one, *other]))


# Which requests are judged.


def is_judged(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> bool:
    """Whether a request is looked at: not when the object is on its way out, or what it asks for is as before.

    Finalizers, labels, the status and other notes must always be writable, also on an object that would be refused
    today (engine 9).
    """
    if (new.get("metadata") or {}).get("deletionTimestamp"):
        return False
    return old is None or _wanted(new) != _wanted(old)


def _wanted(body: Mapping[str, Any]) -> JSON:
    """What an object asks for: everything but notes on it and what became of it."""
    return {key: value for key, value in body.items() if key not in ("apiVersion", "kind", "metadata", "status")}


# Form and steps.


def endless(body: Mapping[str, Any]) -> Review | None:
    """What is said of an object that is so deep or large that nobody should walk through it; of others ``None``."""
    try:
        json_tree.check(dict(body))
    except errors.Invalid as error:
        return Review(error.problems)
    return None


def structure(kind: str, body: Mapping[str, Any]) -> Review:
    """Everything in which an object does not have the form of its kind; ``status`` is not the user's and left out."""
    judged = {key: value for key, value in body.items() if key != "status"}
    try:
        model.parse(MODELS[kind], judged)
    except errors.Invalid as error:
        return Review(error.problems)
    return Review()


def steps_of(body: Mapping[str, Any]) -> tuple[list[Any], str] | None:
    """The steps inside a run or a Workflow and the path of that field; ``None`` for a run that has none of its own."""
    if body.get("kind") == constants.WORKFLOW.kind:
        return _list(body.get("steps")), "steps"
    spec = body.get("spec")
    inline = spec.get("workflowSpec") if isinstance(spec, Mapping) else None
    if not isinstance(inline, Mapping):
        return None
    return _list(inline.get("steps")), "spec.workflowSpec.steps"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def judge_steps(
    steps: list[Any], mode: Any, field_path: str, *, variables_open: bool = False
) -> tuple[plans.Plan, Review]:
    """The plan of some steps and what is wrong with them.

    An input that no step gives is a problem, unless ``variables_open``: then a template may set it, and it is a
    warning.
    """
    plan = plans.Plan.build(steps, mode if isinstance(mode, Mapping) else None, field_path=field_path)
    problems = [*plan.problems, *_unnamed(steps, field_path), *_expressions(steps, field_path)]
    warnings = list(plan.warnings)
    if variables_open:
        warnings += _ending(plan.orphans, "; unless a template sets it, the step fails")
    else:
        problems += _ending(plan.orphans, ", and no template here sets it")
    return plan, Review(tuple(problems), tuple(warnings))


def _ending(problems: Iterable[errors.Problem], words: str) -> Iterator[errors.Problem]:
    return (dataclasses.replace(problem, message=f"{problem.message}{words}") for problem in problems)


def each_step(steps: Iterable[Any], field_path: str) -> Iterator[tuple[JSON, str, str]]:
    """Each step and sub step that is an object, with its field path and the name it has when it is not named."""
    for index, step in enumerate(steps):
        if not isinstance(step, dict):
            continue
        place = f"{field_path}[{index}]"
        yield step, place, f"step-{index}"
        for number, sub in enumerate(_list(step.get("subSteps"))):
            if isinstance(sub, dict):
                yield sub, f"{place}.subSteps[{number}]", f"step-{index}-{number}"


def _unnamed(steps: Iterable[Any], field_path: str) -> Iterator[errors.Problem]:
    for step, place, default in each_step(steps, field_path):
        if not step.get("name"):
            yield errors.Problem(
                f"the step has no name; without a mutating webhook it would be {default}", f"{place}.name"
            )


def _expressions(steps: Iterable[Any], field_path: str) -> Iterator[errors.Problem]:
    """What is written as CUE in steps and is none."""
    for step, place, _ in each_step(steps, field_path):
        found = [("if", step.get("if"))] if step.get("if") != constants.IF_ALWAYS else []
        for index, output in enumerate(_list(step.get("outputs"))):
            if isinstance(output, Mapping):
                found.append((f"outputs[{index}].valueFrom", output.get("valueFrom")))
        for key, text in found:
            if isinstance(text, str) and text:
                try:
                    scanner.scan(text)
                except scanner.ScanError as error:
                    yield errors.Problem(f"is not a CUE expression: {error.message}", f"{place}.{key}")
                except RecursionError:
                    yield errors.Problem("is nested too deeply", f"{place}.{key}")


def unknown_modes(mode: Any, field_path: str) -> Review:
    """Warnings for modes that nobody knows, and what they count as."""
    return Review(warnings=hints.unknown_modes(mode, field_path))


def without_effect(owner: Mapping[str, Any], field_path: str) -> Review:
    """Warnings for what is written and comes to nothing: a reference beside steps, no steps at all.

    ``owner`` is the ``spec`` of a run, or a Workflow, and ``field_path`` where it is, with a dot behind it.
    """
    found = []
    inline = owner.get("workflowSpec")
    if isinstance(inline, Mapping) and owner.get("workflowRef"):
        text = "is ignored, since there is a workflowSpec as well; leave one of the two out"
        found.append(errors.Problem(text, f"{field_path}workflowRef"))
    holder, place = (inline, f"{field_path}workflowSpec.") if isinstance(inline, Mapping) else (owner, field_path)
    steps = holder.get("steps")
    if steps == [] or (steps is None and isinstance(inline, Mapping)):
        found.append(errors.Problem("there are no steps; a run succeeds at once", f"{place}steps"))
    return Review(warnings=tuple(found))


def definition_name(name: str) -> Review:
    """A warning where a definition has a name that is built in (decisions 37)."""
    if name not in (constants.SUSPEND, constants.STEP_GROUP):
        return Review()
    text = f'the step type "{name}" is built in and wins; nothing uses a definition of this name'
    return Review(warnings=(errors.Problem(text, "metadata.name"),))


# What is filled in.


def completion(body: Mapping[str, Any]) -> JSON:
    """A merge patch with what users may leave out or what YAML misread; empty when there is nothing to do.

    Unnamed steps get ``step-<i>`` and ``step-<i>-<j>`` (engine 9), the key ``true`` of ``retry`` becomes ``on``.
    """
    found = steps_of(body)
    if found is None:
        return {}
    steps, field_path = found
    fresh = [_completed(step, f"step-{index}") for index, step in enumerate(steps)]
    if fresh == steps:
        return {}
    patch: Any = fresh
    for key in reversed(field_path.split(".")):
        patch = {key: patch}
    return dict(patch)


def _completed(step: Any, default: str) -> Any:
    if not isinstance(step, dict):
        return step
    fresh = dict(step)
    if fresh.get("name") in (None, ""):
        fresh["name"] = default
    retry = fresh.get("retry")
    if isinstance(retry, dict) and constants.RETRY_ON_UNQUOTED in retry and "on" not in retry:
        renamed = {constants.RETRY_ON_UNQUOTED: "on"}
        fresh["retry"] = {renamed.get(key, key): value for key, value in retry.items()}
    if isinstance(fresh.get("subSteps"), list):
        fresh["subSteps"] = [_completed(sub, f"{default}-{index}") for index, sub in enumerate(fresh["subSteps"])]
    return fresh
