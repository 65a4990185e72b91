"""The review of a whole object: the rules, and what only the cluster and CUE can tell.

Definitions come from the index that runs use; since a watch may lag behind an object applied a moment ago, a missing
one is looked for in the cluster before it counts as missing. A review is bounded in time: admission stands in the way
of every write, so what CUE or the API server do not answer soon is let through with a warning, and the run itself tells
what is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.cue.program import Data
from vela_workflow.cue.template import Template
from vela_workflow.engine import inputs, scope
from vela_workflow.engine import plan as plans
from vela_workflow.engine import steps as model
from vela_workflow.operator import admission_rules as rules
from vela_workflow.operator.admission_parameters import ParameterChecker
from vela_workflow.operator.admission_rules import Review
from vela_workflow.runs.definitions import Definitions, MissingDefinition

JSON = dict[str, Any]

STEP_ID = "a" * constants.STEP_ID_LENGTH
"""Stands for the id that a step has when it runs."""

NO_ANSWER = "the cluster did not answer in time"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings say.

    ``unknown_types`` decides about types (and Workflows) that do not exist; ``namespaces`` are the only ones that are
    judged, unless there are none; ``timeout`` bounds a review, in seconds.
    """

    unknown_types: Literal["deny", "warn"] = "deny"
    namespaces: tuple[str, ...] = ()
    timeout: float = 5.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request: an object, whether it is new, and the time of the event loop by which an answer must be there."""

    body: JSON
    creates: bool
    until: float

    @property
    def metadata(self) -> JSON:
        found = self.body.get("metadata")
        return found if isinstance(found, dict) else {}

    @property
    def namespace(self) -> str:
        return str(self.metadata.get("namespace") or "")

    @property
    def is_workflow(self) -> bool:
        return bool(self.body["kind"] == constants.WORKFLOW.kind)

    @property
    def owner(self) -> JSON:
        """Where mode and steps, or the reference to them, are written."""
        found = self.body if self.is_workflow else self.body.get("spec")
        return found if isinstance(found, dict) else {}


class Reviewer:
    """Reviews objects; one for the whole operator."""

    def __init__(
        self, client: ClusterClient, evaluator: Evaluator, definitions: Definitions, policy: Policy | None = None
    ) -> None:
        self._client = client
        self._evaluator = evaluator
        self._definitions = definitions
        self._policy = policy or Policy()
        self._parameters = ParameterChecker(evaluator)

    async def review(self, new: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> Review:
        """What is said of an object that is created (``old`` is ``None``) or changed."""
        body = dict(new)
        if not self._concerns(body) or not rules.is_judged(body, old):
            return Review()
        endless = rules.endless(body)
        if endless is not None:
            return endless
        until = asyncio.get_running_loop().time() + self._policy.timeout
        asked = _Asked(body, old is None, until)
        form = rules.structure(body["kind"], body)
        if body["kind"] == constants.STEP_DEFINITION.kind:
            return form + await self._definition(asked)
        steps = await self._steps(asked)
        return Review(_told_once(form, steps), steps.warnings)

    def completion(self, new: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> JSON:
        """What is filled in, as a merge patch; empty when nothing is."""
        if not self._concerns(new) or not rules.is_judged(new, old):
            return {}
        return rules.completion(new)

    def _concerns(self, body: Mapping[str, Any]) -> bool:
        wanted = self._policy.namespaces
        places = (*wanted, self._definitions.system_namespace)
        return not wanted or (body.get("metadata") or {}).get("namespace") in places

    # Definitions.

    async def _definition(self, asked: _Asked) -> Review:
        named = rules.definition_name(str(asked.metadata.get("name", "")))
        template = _template(asked.body)
        if not isinstance(template, str):
            text = "there is no CUE template, so steps of this type cannot run"
            return named + Review(warnings=(errors.Problem(text, rules.TEMPLATE),))
        return named + await self._bounded(
            asked, self._compiles(template), "the template was not checked", rules.TEMPLATE
        )

    async def _compiles(self, text: str) -> Review:
        """What of a template is wrong whatever its parameters are."""
        try:
            prepared = self._evaluator.prepare(text)
            await self._evaluator.evaluate(prepared, Data({}, {}))
        except errors.Invalid as error:
            return Review(tuple(map(_in_template, error.problems)))
        return Review(warnings=tuple(map(_in_template, prepared.doubts)))

    # Steps.

    async def _steps(self, asked: _Asked) -> Review:
        mode = asked.owner.get("mode")
        found = rules.steps_of(asked.body)
        judged = await (self._referenced(asked, mode) if found is None else self._judge(asked, *found, mode))
        place = "" if asked.is_workflow else "spec."
        notes = rules.unknown_modes(mode, f"{place}mode") + rules.without_effect(asked.owner, place)
        return notes + judged

    async def _referenced(self, asked: _Asked, mode: Any) -> Review:
        """The steps of the Workflow that a run names."""
        name = asked.owner.get("workflowRef")
        if not name or not isinstance(name, str):
            return Review((errors.Problem("there is neither workflowSpec nor workflowRef", "spec"),))
        kind, place = constants.WORKFLOW, "spec.workflowRef"
        try:
            async with asyncio.timeout_at(asked.until):
                found = await self._client.get(kind.api_version, kind.kind, asked.namespace, name)
        except cluster_errors.NotFound as error:
            return self._missing(asked, errors.Problem(f"failed to get workflow ref: {error}", place))
        except (errors.WorkflowError, TimeoutError) as error:
            text = f"the Workflow was not checked: {str(error) or NO_ANSWER}"
            return Review(warnings=(errors.Problem(text, place),))
        told = await self._judge(asked, found.get("steps") or [], "steps", mode or found.get("mode"))
        return Review(
            tuple(errors.Problem(f'Workflow "{name}": {problem}', place) for problem in told.problems),
            tuple(errors.Problem(f'Workflow "{name}": {problem}', place) for problem in told.warnings),
        )

    async def _judge(self, asked: _Asked, steps: list[Any], field_path: str, mode: Any) -> Review:
        """Relations, types and parameters of steps."""
        plan, _ = rules.judge_steps(steps, mode, field_path)
        places = {id(step): place for step, place, _ in rules.each_step(steps, field_path)}
        ordinary = [step for step in plan.by_path.values() if not step.is_group and step.type]
        templates, types = await self._templates(asked, ordinary, places)
        known = all(step.type in templates for step in ordinary)
        variables_open = not known or any(_may_set_variables(found) for found in templates.values())
        _, relations = rules.judge_steps(steps, mode, field_path, variables_open=variables_open)
        return relations + types + await self._fit(asked, plan, ordinary, templates, places)

    async def _templates(
        self, asked: _Asked, steps: list[model.StepPlan], places: Mapping[int, str]
    ) -> tuple[dict[str, Template], Review]:
        """The prepared templates by type, and what is said of types that have none."""
        types = list(dict.fromkeys(step.type for step in steps))
        answers = await asyncio.gather(*(self._template(asked, name) for name in types))
        by_type = dict(zip(types, answers, strict=True))
        told = Review()
        for step in steps:
            answer, place = by_type[step.type], f"{places[id(step.source)]}.type"
            if isinstance(answer, MissingDefinition):
                told += self._missing(asked, errors.Problem(str(answer), place))
            elif isinstance(answer, errors.WorkflowError):
                told += Review(warnings=(errors.Problem(f'steps of type "{step.type}" cannot run: {answer}', place),))
        return {name: found for name, found in by_type.items() if isinstance(found, Template)}, told

    async def _template(self, asked: _Asked, name: str) -> Template | errors.WorkflowError:
        try:
            try:
                text = self._definitions.template(name, asked.namespace)
            except MissingDefinition as missing:
                text = await self._look_up(asked, name, missing)
            return self._evaluator.prepare(text)
        except errors.WorkflowError as error:
            return error
        except TimeoutError:
            return errors.WorkflowError(NO_ANSWER)

    async def _look_up(self, asked: _Asked, name: str, missing: MissingDefinition) -> str:
        """The template in the cluster itself, for the moments in which the index is behind."""
        kind = constants.STEP_DEFINITION
        async with asyncio.timeout_at(asked.until):
            for place in dict.fromkeys((asked.namespace, self._definitions.system_namespace)):
                try:
                    found = await self._client.get(kind.api_version, kind.kind, place, name)
                except cluster_errors.NotFound:
                    continue
                template = _template(found)
                if isinstance(template, str):
                    return template
        raise missing

    def _missing(self, asked: _Asked, problem: errors.Problem) -> Review:
        """Something that does not exist: refused where the settings say so, and only at first (it may come back)."""
        if asked.creates and self._policy.unknown_types == "deny":
            return Review((problem,))
        return Review(warnings=(problem,))

    # Parameters.

    async def _fit(
        self,
        asked: _Asked,
        plan: plans.Plan,
        steps: list[model.StepPlan],
        templates: Mapping[str, Template],
        places: Mapping[int, str],
    ) -> Review:
        """What of the properties does not fit."""
        checks = [
            self._bounded(
                asked,
                self._check(asked, plan, step, templates[step.type], places[id(step.source)]),
                "the parameters were not checked",
                f"{places[id(step.source)]}.properties",
            )
            for step in steps
            if step.type in templates
        ]
        told = Review()
        for review in await asyncio.gather(*checks):
            told += review
        return told

    async def _check(
        self, asked: _Asked, plan: plans.Plan, step: model.StepPlan, found: Template, place: str
    ) -> Review:
        custom = asked.owner.get("context")
        identity = scope.Identity(
            name=str(asked.metadata.get("name") or asked.metadata.get("generateName") or ""),
            namespace=asked.namespace,
            uid="",
            custom=custom if isinstance(custom, dict) else {},
        )
        group = (plan.by_path[step.parent].name, STEP_ID) if step.parent else None
        context = scope.step_context(identity, {}, step, STEP_ID, group)
        if any(item.key is not None for item in step.inputs):
            return await self._names(step, found, context, place)
        told = await self._parameters.check(found, step.properties, context)
        return Review(_below(place, told.problems), _below(place, told.warnings))

    async def _names(self, step: model.StepPlan, found: Template, context: Mapping[str, Any], place: str) -> Review:
        """The names that a step type does not know, where nothing more can be said: inputs bring values in later."""
        told = await self._parameters.check_names(found, step.properties, context)
        warnings = [*_below(place, told.warnings)]
        for index, item in enumerate(step.inputs):
            if item.key is None:
                continue
            path = tuple(0 if isinstance(part, int) else part for part in item.key)
            told = await self._parameters.check_names(found, inputs.inject({}, [(path, None)]), context)
            where = f"{place}.inputs[{index}].parameterKey"
            warnings += [errors.Problem(problem.message, where) for problem in told.warnings]
        return Review(warnings=tuple(warnings))

    async def _bounded(
        self, asked: _Asked, question: Coroutine[Any, Any, Review], otherwise: str, place: str
    ) -> Review:
        """The answer to a question, or a warning when there is none in time."""
        try:
            async with asyncio.timeout_at(asked.until):
                return await question
        except TimeoutError:
            text = f"{otherwise}: that took longer than {self._policy.timeout:g} s"
        except errors.WorkflowError as error:
            text = f"{otherwise}: {error}"
        return Review(warnings=(errors.Problem(text, place),))


def _template(body: Mapping[str, Any]) -> Any:
    found: Any = body
    for key in rules.TEMPLATE.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _in_template(problem: errors.Problem) -> errors.Problem:
    """A problem of a template as one of the definition: paths inside the template become part of the message."""
    inside = problem.path.rpartition("let[].")[2] if problem.path != "let[]" else ""
    message = f"{inside}: {problem.message}" if inside else problem.message
    return errors.Problem(message, rules.TEMPLATE, problem.line, problem.column)


def _may_set_variables(found: Template) -> bool:
    """Whether steps of this template can set variables that nobody declares as outputs."""
    return any(site.action is None or site.action.do == "var" for site in found.survey.sites)


def _told_once(form: Review, steps: Review) -> tuple[errors.Problem, ...]:
    """The problems of form, then those of the steps in places where form says nothing."""
    told = {problem.path for problem in form.problems}
    return (*form.problems, *(problem for problem in steps.problems if problem.path not in told))


def _below(place: str, problems: tuple[errors.Problem, ...]) -> tuple[errors.Problem, ...]:
    return tuple(errors.Problem(problem.message, f"{place}.{problem.path}") for problem in problems)
