"""Doing what the engine asks for: evaluate an ``if`` or an input, attempt a step.

A step that starts takes its template and parameters along and keeps them until it ends, so that a definition or a spec
that changes meanwhile changes only steps that have not started (decisions 23). They are kept compressed in the state of
the run.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import time
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from vela_workflow import errors
from vela_workflow.api.constants import Reason
from vela_workflow.cue import messages
from vela_workflow.engine import result, run_pass, tasks
from vela_workflow.runs import debug
from vela_workflow.runs.context import RunContext
from vela_workflow.runs.journal import Persist, RunJournal
from vela_workflow.steps import attempt, outcome
from vela_workflow.steps.attempt import Attempt, Step
from vela_workflow.steps.operations import Identity, Operations

if TYPE_CHECKING:
    from vela_workflow.runs.contract import Memory, Tools

JSON = dict[str, Any]

FORESEEN = 32
"""How many steps of a run are asked for at once ahead of time."""

SAFETY_NET = 60.0
"""Seconds after which a step whose objects are watched is looked at all the same (design: Waking)."""


class Worker:
    """Carries out the tasks of one pass."""

    def __init__(self, tools: Tools, body: JSON, context: RunContext, memory: Memory, persist: Persist) -> None:
        self._tools = tools
        self._body = body
        self._context = context
        self._memory = memory
        self._persist = persist
        self._watched: dict[str, tuple[Step, debug.Watched]] = {}
        self._ahead: set[str] = set()
        self._all_foreseen = False

    def missing(self, task: tasks.Execute) -> str:
        """Why a step cannot start for want of its definition; empty when it can."""
        if task.started is not None:
            return ""
        metadata = self._body["metadata"]
        try:
            self._tools.definitions.template(task.step.type, metadata["namespace"])
        except errors.Invalid:
            return ""
        except errors.WorkflowError as error:
            self._tools.definitions.wait((metadata["namespace"], metadata["name"]), task.step.type)
            return f'step "{task.step.name}": {error}'
        return ""

    def foresee(self, current: run_pass.Pass) -> None:
        """Ask for the first evaluations of steps that will start soon, so that they go into one command.

        A long run is foreseen part by part, the next part when half of the last one has started.
        """
        if self._all_foreseen or len(self._ahead) > FORESEEN // 2:
            return
        steps = [step for step in current.foreseen() if step.step.path not in self._ahead][:FORESEEN]
        self._all_foreseen = not steps
        self._ahead.update(step.step.path for step in steps)
        for step in steps:
            try:
                text = self._tools.definitions.template(step.step.type, self._body["metadata"]["namespace"])
                template = self._tools.evaluator.prepare(text)
            except errors.WorkflowError:
                continue  # The step itself says what is wrong.
            wanted = tuple((output.name, output.value_from) for output in step.step.outputs)
            attempt.foresee(self._tools.evaluator, Step(template, step.parameters, step.context, wanted))

    async def carry_out(self, task: tasks.Task, current: run_pass.Pass) -> Any:
        """The answer to a task, as ``Pass`` wants it told."""
        match task:
            case tasks.EvaluateCondition():
                return await self._condition(task)
            case tasks.EvaluateInput():
                return await self._input(task)
            case tasks.CollectOutputs():
                return await self._outputs(task)
            case tasks.Execute():
                return await self._execute(task, current)

    async def _condition(self, task: tasks.EvaluateCondition) -> bool | errors.WorkflowError:
        scope = task.scope
        seen = {"status": scope.status, "inputs": scope.inputs, "context": scope.context, "parameter": scope.parameter}
        try:
            value = await self._expression(task.expression, seen)
        except errors.WorkflowError as error:
            return self._tellable(task, error)
        if isinstance(value, bool):
            return value
        shown = "" if self._takes_secrets(task) else f" {orjson.dumps(value).decode()}"
        return errors.WorkflowError(f"the value{shown} is not a bool")

    async def _input(self, task: tasks.EvaluateInput) -> Any:
        try:
            return await self._expression(
                task.expression, {"context": task.scope.context, "parameter": task.scope.parameter}
            )
        except errors.WorkflowError as error:
            return self._tellable(task, error)

    def _tellable(self, task: tasks.Task, error: errors.WorkflowError) -> errors.WorkflowError:
        """The error of an expression, without values where those may be secret."""
        return errors.WorkflowError(messages.redacted(str(error))) if self._takes_secrets(task) else error

    async def _outputs(self, task: tasks.CollectOutputs) -> result.Result:
        """The outputs of a group see ``context`` and nothing else (engine 5.1)."""
        values: JSON = {}
        for output in task.step.outputs:
            try:
                scope = {"context": task.context, "parameter": {}}
                values[output.name] = await self._expression(output.value_from, scope)
            except errors.WorkflowError as error:
                message = errors.bounded(f"output error: {output.name} from {output.value_from}: {error}")
                return result.Failed(Reason.OUTPUT, message)
        return result.Succeeded(values)

    async def _expression(self, text: str, scope: Mapping[str, Any]) -> Any:
        return await self._tools.evaluator.expression(text, scope)

    # Steps.

    async def _execute(self, task: tasks.Execute, current: run_pass.Pass) -> result.Result:
        """One attempt of a step, cut off at its deadline (decisions 12)."""
        self._ahead.discard(task.step.path)
        began, left = time.perf_counter(), None
        if task.deadline is not None:
            left = max(0.0, (task.deadline - self._tools.clock()).total_seconds())
        try:
            async with asyncio.timeout(left):
                found = await self._attempt(task, current)
        except TimeoutError:
            found = result.Waiting("")
        if self._tools.observer is not None:
            self._tools.observer.attempted(task.step.type, time.perf_counter() - began)
        if task.id in self._watched:
            await self._show(task, *self._watched.pop(task.id))
        return found

    async def _show(self, task: tasks.Execute, step: Step, watched: debug.Watched) -> None:
        """Keep what the step evaluated to, for a run that asks for it."""
        variables = self._context.variables
        hidden = watched.sensitive or self._takes_secrets(task)
        hidden = hidden or (watched.uses_variables and bool(variables.sensitive))
        writer = debug.DebugWriter(self._tools.client, self._tools.evaluator)
        await writer.write(self._body, task.id, step, watched.results, sensitive=hidden)

    async def _attempt(self, task: tasks.Execute, current: run_pass.Pass) -> result.Result:
        try:
            template, parameters = self._started(task, current)
            prepared = self._tools.evaluator.prepare(template)
        except errors.WorkflowError as error:
            return outcome.of_error(error)
        step = Step(
            template=prepared,
            parameter=parameters,
            context=task.context,
            outputs=tuple((output.name, output.value_from) for output in task.step.outputs),
            secrets=self._secrets(task),
        )
        operations = self._operations(task)
        if isinstance(operations, debug.Watched):
            self._watched[task.id] = (step, operations)
        guards = self._memory.guards.get(task.id, {})
        finding = await Attempt(self._tools.evaluator, operations, step, guards).run()
        if guards:
            self._memory.guards[task.id] = guards
        self._tools.reporter.warnings(self._body, task.step.name, finding.warnings)
        if isinstance(finding.result, result.Waiting | result.Failed):
            self._memory.interests[task.id] = finding.interest
        if isinstance(finding.result, result.Waiting) and finding.watched and finding.result.after is None:
            return dataclasses.replace(finding.result, after=_safety_net(task.id))
        return finding.result

    def _started(self, task: tasks.Execute, current: run_pass.Pass) -> tuple[str, JSON]:
        """The template and parameters that the step started with."""
        kept = _unpacked(task.started["step"]) if task.started is not None else {}
        if isinstance(kept.get("template"), str):
            return kept["template"], kept.get("parameters", task.parameters)
        template = self._tools.definitions.template(task.step.type, self._body["metadata"]["namespace"])
        kept = {"template": template}
        if not self._takes_secrets(task):
            kept["parameters"] = task.parameters
        current.keep(task, {"step": _packed(kept)})
        return template, task.parameters

    def _takes_secrets(self, task: tasks.Task) -> bool:
        """Whether inputs bring in what may only be kept in a Secret."""
        return bool(self._secrets(task))

    def _secrets(self, task: tasks.Task) -> tuple[Any, ...]:
        """What inputs bring in that may only be kept in a Secret."""
        variables = self._context.variables
        roots = {item.path[0]: None for item in task.step.inputs if item.path is not None}
        return tuple(variables.values[root] for root in roots if root in variables.sensitive)

    def _operations(self, task: tasks.Execute) -> Operations:
        metadata = self._body["metadata"]
        identity = Identity(
            run_name=metadata["name"],
            run_namespace=metadata["namespace"],
            run_uid=metadata["uid"],
            step_name=task.step.name,
            step_id=task.id,
            round=task.round,
            run_annotations=metadata.get("annotations") or {},
        )
        kind = debug.Watched if debug.is_wanted(self._body) else Operations
        return kind(
            self._tools.packages,
            identity,
            clusters=self._tools.clusters,
            variables=self._context,
            journal=RunJournal(
                self._context,
                self._persist,
                self._tools.intents,
                doubtful=self._context.doubts(task.step.path, task.step.parent),
            ),
            clock=self._tools.clock,
            resumed=frozenset(task.resumed),
            succeeded=self._memory.succeeded.setdefault(task.id, {}),
        )


def _safety_net(step_id: str) -> float:
    """Seconds until a step is looked at although nothing it waits for has changed; spread, so that runs do not meet."""
    return SAFETY_NET + zlib.crc32(step_id.encode()) % int(SAFETY_NET)


def _packed(value: Mapping[str, Any]) -> str:
    return base64.b64encode(zlib.compress(orjson.dumps(value))).decode()


def _unpacked(text: str) -> JSON:
    """What was packed; nothing where that cannot be read any more."""
    try:
        value = orjson.loads(zlib.decompress(base64.b64decode(text)))
    except (ValueError, zlib.error):
        return {}
    return value if isinstance(value, dict) else {}
