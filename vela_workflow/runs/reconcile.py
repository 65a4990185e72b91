"""One reconcile of one run, from what is stored to what is stored.

Plan, let the engine say what may start, do all of that concurrently, tell the engine what came of it, until nothing
more can start; then write it down once (design 3). A view that is older than our last write is never acted on; an
effect is never repeated because of a conflict.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from typing import Any

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.interest import ABSENT, Interest
from vela_workflow.engine import hints, ids, run_pass, scope, tasks
from vela_workflow.engine import plan as plans
from vela_workflow.engine import result as results
from vela_workflow.engine.summary import Conclusion
from vela_workflow.runs import restarts
from vela_workflow.runs.contract import Decision, Tools
from vela_workflow.runs.pace import Pace
from vela_workflow.runs.record import RunRecord
from vela_workflow.runs.work import Worker
from vela_workflow.steps.journal import Superseded, Unrecorded

logger = logging.getLogger(__name__)

JSON = dict[str, Any]

CHECKPOINT = 1.0
"""Seconds after which a pass that is still busy shows what it has come to."""


class MissingWorkflowError(errors.WorkflowError):
    """The Workflow that a run names is not there; ``interest`` is in its coming."""

    def __init__(self, message: str, interest: Interest) -> None:
        super().__init__(message)
        self.interest = interest


class RefusedError(errors.Transient):
    """What a run has come to is refused, and ``body``, the run as it was written, says so."""

    def __init__(self, error: errors.Transient, body: JSON) -> None:
        super().__init__(str(error), after=error.after)
        self.body = body


class Reconcile:
    """One reconcile; ``run`` once."""

    def __init__(self, tools: Tools, checkpoints: Pace, record: RunRecord, woken: frozenset[str]) -> None:
        self._tools = tools
        self._checkpoints = checkpoints
        self._record = record
        self._woken = woken
        self._unrecorded: Unrecorded | None = None

    async def run(self) -> Decision:
        """Carry the run on as far as it goes now; raises ``RefusedError`` when that cannot be kept."""
        began = time.perf_counter()
        self._tools.reporter.warnings(self._record.body, "", self._record.context.notes)
        try:
            steps, mode = await self._steps()
        except errors.WorkflowError as error:
            return await self._cannot_start(error)
        plan = plans.Plan.build(steps, mode, self._record.status.get("mode"), field_path="spec.workflowSpec.steps")
        await restarts.carry_out(self._record, plan, self._tools.reporter, self._tools.clock)
        if self._record.status.get("finished"):
            return Decision(self._record.body, finished=True)
        if self._tools.observer is not None:
            self._tools.observer.planned(time.perf_counter() - began)
        if not self._record.status.get("steps"):
            self._tell_notes(plan, mode)
        kept = self._record.context.engine
        current = self._start(plan)
        missing = self._missing_definition(plan)
        if missing:
            current.blocked(missing)
        else:
            await self._carry_out(current)
        try:
            return await self._conclude(current)
        except Unrecorded as error:
            self._record.context.engine = kept
            raise await self._refused(plan, error) from error

    def _tell_notes(self, plan: plans.Plan, mode: Any) -> None:
        """Tell by Events, once, what is not done as it is written: admission may not have looked at the run."""
        notes = (*hints.unknown_modes(mode, "mode"), *plan.warnings)
        if not plan.steps:
            notes = (*notes, errors.Problem("there are no steps; the run succeeds at once"))
        self._tools.reporter.warnings(self._record.body, "", tuple(map(str, notes)))

    def _start(self, plan: plans.Plan) -> run_pass.Pass:
        if self._tools.observer is not None:
            self._tools.observer.begun(
                self._record.body, ids.execution(self._record.context.engine.get("restarts") or {})
            )
        return self._pass(plan)

    def _pass(self, plan: plans.Plan) -> run_pass.Pass:
        return run_pass.Pass(
            plan,
            self._identity(),
            self._record.status,
            self._record.context.engine,
            variables=self._record.context.variables,
            woken=self._woken,
            suspend_on_failure=self._tools.suspend_on_failure,
        )

    # What is to be done.

    async def _steps(self) -> tuple[list[JSON], JSON | None]:
        """The steps of the run, its own or those of the Workflow that it names, and their mode (engine 2.3)."""
        spec = self._record.body.get("spec") or {}
        inline = spec.get("workflowSpec")
        if isinstance(inline, dict):
            return list(inline.get("steps") or ()), spec.get("mode")
        if isinstance(inline, str):
            raise errors.Invalid([errors.Problem(inline, path="spec")])
        name = spec.get("workflowRef")
        if not name:
            raise errors.Invalid([errors.Problem("there is neither workflowSpec nor workflowRef", path="spec")])
        kind = constants.WORKFLOW
        try:
            workflow = await self._tools.client.get(kind.api_version, kind.kind, self._record.namespace, str(name))
        except cluster_errors.NotFound as error:
            place = (cluster_errors.LOCAL, kind.api_version, kind.kind, self._record.namespace, str(name))
            raise MissingWorkflowError(f"failed to get workflow ref: {error}", Interest(*place, ABSENT)) from None
        return list(workflow.get("steps") or ()), spec.get("mode") or workflow.get("mode")

    def _identity(self) -> scope.Identity:
        metadata, spec = self._record.body["metadata"], self._record.body.get("spec") or {}
        custom = spec.get("context")
        return scope.Identity(
            name=metadata["name"],
            namespace=metadata["namespace"],
            uid=metadata["uid"],
            generation=metadata.get("generation"),
            custom=custom if isinstance(custom, dict) else {},
        )

    def _missing_definition(self, plan: plans.Plan) -> str:
        """What a run that has not begun lacks: nothing starts before every step type is known (engine 11)."""
        if self._record.status.get("steps"):
            return ""
        namespace = self._record.namespace
        for step in plan.by_path.values():
            if step.is_group:
                continue
            try:
                self._tools.definitions.template(step.type, namespace)
            except errors.Invalid:
                continue
            except errors.WorkflowError as error:
                self._tools.definitions.wait((namespace, self._record.name), step.type)
                return f'step "{step.name}": {error}'
        return ""

    # Doing it.

    async def _carry_out(self, current: run_pass.Pass) -> None:
        """Do what the engine gives, concurrently, until it gives no more."""
        worker = Worker(
            self._tools,
            self._record.body,
            self._record.context,
            self._record.memory,
            self._record.persist,
        )
        running: dict[asyncio.Task[Any], tasks.Task] = {}
        try:
            self._launch(worker, current, running)
            worker.foresee(current)
            shown = self._tools.clock()
            while running:
                timeout = _shorter(CHECKPOINT, current.next_look(self._tools.clock()))
                done, _ = await asyncio.wait(running, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                for finished in done:
                    self._tell(current, running.pop(finished), finished)
                self._launch(worker, current, running)
                if running:
                    worker.foresee(current)
                now = self._tools.clock()
                if running and (now - shown).total_seconds() >= CHECKPOINT and self._checkpoints.allows():
                    await self._checkpoint(current)
                    shown = now
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _launch(self, worker: Worker, current: run_pass.Pass, running: dict[asyncio.Task[Any], tasks.Task]) -> None:
        while True:
            given = current.advance(self._tools.clock())
            for task in given:
                if isinstance(task, tasks.Execute):
                    missing = worker.missing(task)
                    if missing:
                        current.blocked(missing, task)
                        continue
                running[asyncio.ensure_future(worker.carry_out(task, current))] = task
            if not given or running:
                return

    def _tell(self, current: run_pass.Pass, task: tasks.Task, finished: asyncio.Task[Any]) -> None:
        try:
            answer = finished.result()
        except Unrecorded as error:
            current.blocked(f'step "{task.step.name}": what it is about to do cannot be recorded: {error}', task)
            self._unrecorded = error
            return
        if isinstance(answer, results.Succeeded | results.Broken) and answer.outputs:
            answer = self._fitting(answer)
        now = self._tools.clock()
        if isinstance(task, tasks.EvaluateCondition):
            current.condition(task, answer, now)
        elif isinstance(task, tasks.EvaluateInput):
            current.input(task, answer, now)
        else:
            current.finished(task, answer, now)

    def _fitting(self, answer: results.Succeeded | results.Broken) -> results.Result:
        """What a step came to; when its outputs do not fit into the context it has failed (decisions 21)."""
        try:
            self._record.context.make_room(answer.outputs, "outputs")
        except errors.Terminal as error:
            return results.Failed(constants.Reason.OUTPUT, error.message)
        return answer

    # Writing it down.

    async def _conclude(self, current: run_pass.Pass) -> Decision:
        conclusion = current.conclude(self._tools.clock())
        self._forget_ended(conclusion)
        conclusion = await self._stored(current, conclusion)
        self._tools.reporter.transitions(self._record.body, conclusion.transitions)
        if self._record.status.get("finished"):
            return Decision(self._record.body, finished=True)
        if self._unrecorded is not None:
            raise RefusedError(self._unrecorded, self._record.body)
        # What users asked for meanwhile is in the status now, and acted on by the next pass.
        after = 0.0 if self._record.folded else conclusion.requeue_after
        return Decision(self._record.body, after, dict(self._record.memory.interests))

    async def _checkpoint(self, current: run_pass.Pass) -> None:
        """Show what a long pass has come to so far.

        What is under way goes on when that cannot be written: to break a request off would leave it ``Unknown``.
        """
        async with self._record.lock:
            try:
                await self._stored(current, current.conclude(self._tools.clock()))
            except Superseded:
                raise
            except errors.Transient as error:
                logger.warning("what run %s has come to cannot be shown yet: %s", self._record.name, error)

    async def _stored(self, current: run_pass.Pass, conclusion: Conclusion) -> Conclusion:
        """Write a conclusion, or the one that says why it cannot be written."""
        try:
            await self._record.store(conclusion)
        except errors.Terminal as error:
            # What is remembered of the steps does not fit; what they started with takes most of it.
            current.blocked(error.message)
            conclusion = current.conclude(self._tools.clock())
            await self._record.write(dict(conclusion.status))
        return conclusion

    def _forget_ended(self, conclusion: Conclusion) -> None:
        memory = self._record.memory
        for table in (memory.succeeded, memory.interests, memory.guards):
            for step_id in set(table) - conclusion.in_flight:
                table.pop(step_id)

    async def _refused(self, plan: plans.Plan, error: Unrecorded) -> RefusedError:
        """Tell in the status, which is otherwise left as it was, and by an Event that the context is refused."""
        current = self._pass(plan)
        current.blocked(f"what the run has come to cannot be kept: {error}")
        conclusion = current.conclude(self._tools.clock())
        await self._record.write(dict(conclusion.status))
        self._tools.reporter.transitions(self._record.body, conclusion.transitions)
        return RefusedError(error, self._record.body)

    async def _cannot_start(self, error: errors.WorkflowError) -> Decision:
        """The steps of the run cannot be had: say so, and look again later, or when its Workflow appears."""
        current = self._start(plans.Plan.build([], None, self._record.status.get("mode")))
        current.blocked(str(error))
        decision = await self._conclude(current)
        if decision.finished or not isinstance(error, MissingWorkflowError):
            return decision
        return dataclasses.replace(decision, interests={**decision.interests, run_pass.EVERYTHING: (error.interest,)})


def _shorter(one: float, other: float | None) -> float:
    return one if other is None else max(0.0, min(one, other))
