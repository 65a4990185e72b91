"""One reconcile of one run, from what is stored to what is stored.

Load the context, plan, let the engine say what may start, do all of that concurrently, tell the engine what came of it,
until nothing more can start; then write the context if there is something to keep, and the status once (design 3). What
users asked for meanwhile is folded in when the write is refused. A view that is older than our last write is never
acted on; an effect is never repeated because of a conflict.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.clusters.interest import Interest
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.cue.program import Path
from vela_workflow.engine import fold, ids, restart, run_pass, scope, tasks
from vela_workflow.engine import plan as plans
from vela_workflow.engine import result as results
from vela_workflow.engine.summary import Conclusion, Transition
from vela_workflow.providers.contract import Clusters, Package
from vela_workflow.runs import patching
from vela_workflow.runs.context import ContextStore, RunContext, looks_new, may_have_begun, was_emptied
from vela_workflow.runs.definitions import Definitions
from vela_workflow.runs.journal import RunJournal
from vela_workflow.runs.pace import Pace
from vela_workflow.runs.work import Worker
from vela_workflow.steps.journal import Superseded

logger = logging.getLogger(__name__)

JSON = dict[str, Any]

CHECKPOINT = 1.0
"""Seconds after which a pass that is still busy shows what it has come to."""

CHECKPOINTS = 10
"""How many runs show that in a second, all together: when everything is slow, writing more would make it slower."""

WRITES = 6
"""How often a status is written again because others wrote meanwhile, before the whole pass is repeated."""


class RunReplacedError(errors.WorkflowError):
    """The run was deleted and another one of its name made while it was worked on."""


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
    ``interests`` what the waiting steps wait for.
    """

    context: bytes | None = None
    succeeded: dict[str, dict[Path, str]] = dataclasses.field(default_factory=dict)
    interests: dict[str, tuple[Interest, ...]] = dataclasses.field(default_factory=dict)
    written: bool = False


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
    """What a driver works with; made once for all runs."""

    client: ClusterClient
    clusters: Clusters
    evaluator: Evaluator
    packages: Mapping[str, Package]
    definitions: Definitions
    reporter: Reporter
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    observer: Observer | None = None


class Driver:
    """Carries runs out; one ``reconcile`` at a time per run is the caller's to see to."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._contexts = ContextStore(tools.client, tools.evaluator)
        self._checkpoints = Pace(1 / CHECKPOINTS)
        self._since = tools.clock().replace(microsecond=0)  # times of objects are whole seconds

    async def read(self, namespace: str, name: str) -> JSON:
        """The run as it is now; raises ``NotFound``."""
        kind = constants.WORKFLOW_RUN
        return await self._tools.client.get(kind.api_version, kind.kind, namespace, name)

    async def reconcile(self, body: JSON, memory: Memory, woken: frozenset[str] = frozenset()) -> Decision:
        """Carry a run on as far as it goes now.

        ``woken`` are the ids of steps whose objects changed, or ``*``. Raises ``errors.Transient`` when the cluster of
        the operator cannot be reached.
        """
        if memory.context is None:
            begun = may_have_begun(body, self._tools.clock(), since=self._since, written=memory.written)
            context = await self._contexts.load(body, begun=begun)
            # A process that begins with this run does not know yet what its waiting steps wait for.
            woken |= {run_pass.EVERYTHING}
        else:
            context = RunContext.unpack(memory.context)
        reconcile = _Reconcile(
            self._tools,
            self._contexts,
            self._checkpoints,
            body=body,
            memory=memory,
            context=context,
            woken=woken,
        )
        decision = await reconcile.run()
        memory.context = context.pack()
        return decision


class _Reconcile:
    """One reconcile."""

    def __init__(
        self,
        tools: Tools,
        contexts: ContextStore,
        checkpoints: Pace,
        *,
        body: JSON,
        memory: Memory,
        context: RunContext,
        woken: frozenset[str],
    ) -> None:
        self._tools = tools
        self._contexts = contexts
        self._checkpoints = checkpoints
        self._body = body
        self._memory = memory
        self._context = context
        self._woken = woken
        self._lock = asyncio.Lock()
        self._revision = context.variables.revision
        self._memos = dict(context.memos)
        self._folded = False

    @property
    def _status(self) -> JSON:
        return self._body.get("status") or {}

    async def run(self) -> Decision:
        began = time.perf_counter()
        try:
            steps, mode = await self._steps()
        except errors.WorkflowError as error:
            return await self._cannot_start(error)
        plan = plans.Plan.build(steps, mode, self._status.get("mode"), field_path="spec.workflowSpec.steps")
        await self._restart(plan)
        if self._status.get("finished"):
            return Decision(self._body, finished=True)
        if self._tools.observer is not None:
            self._tools.observer.planned(time.perf_counter() - began)
        current = self._start(plan)
        missing = self._missing_definition(plan)
        if missing:
            current.blocked(missing)
        else:
            await self._carry_out(current)
        return await self._conclude(current)

    def _start(self, plan: plans.Plan) -> run_pass.Pass:
        if self._tools.observer is not None:
            self._tools.observer.begun(self._body, ids.execution(self._context.engine.get("restarts") or {}))
        return run_pass.Pass(
            plan,
            self._identity(),
            self._status,
            self._context.engine,
            variables=self._context.variables,
            woken=self._woken,
        )

    # What is to be done.

    async def _steps(self) -> tuple[list[JSON], JSON | None]:
        """The steps of the run, its own or those of the Workflow that it names, and their mode (engine 2.3)."""
        spec = self._body.get("spec") or {}
        inline = spec.get("workflowSpec")
        if isinstance(inline, dict):
            return list(inline.get("steps") or ()), spec.get("mode")
        name = spec.get("workflowRef")
        if not name:
            raise errors.Invalid([errors.Problem("there is neither workflowSpec nor workflowRef", path="spec")])
        kind = constants.WORKFLOW
        try:
            workflow = await self._tools.client.get(
                kind.api_version, kind.kind, self._body["metadata"]["namespace"], str(name)
            )
        except cluster_errors.NotFound as error:
            raise errors.WorkflowError(f"failed to get workflow ref: {error}") from None
        return list(workflow.get("steps") or ()), spec.get("mode") or workflow.get("mode")

    def _identity(self) -> scope.Identity:
        metadata, spec = self._body["metadata"], self._body.get("spec") or {}
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
        if self._status.get("steps"):
            return ""
        namespace = self._body["metadata"]["namespace"]
        for step in plan.by_path.values():
            if step.is_group:
                continue
            try:
                self._tools.definitions.template(step.type, namespace)
            except errors.Invalid:
                continue
            except errors.WorkflowError as error:
                self._tools.definitions.wait((namespace, self._body["metadata"]["name"]), step.type)
                return f'step "{step.name}": {error}'
        return ""

    async def _restart(self, plan: plans.Plan) -> None:
        """Carry out a restart that a user asked for, by annotation or by an edit of the status (decisions 27)."""
        asked = (self._body["metadata"].get("annotations") or {}).get(constants.ANNOTATION_RESTART)
        try:
            found = self._asked_restart(plan, asked) if asked else None
        except errors.WorkflowError as error:
            self._tools.reporter.warnings(self._body, "", (f"restart {asked}: {error}",))
            await self._drop_annotation()
            return
        if found is None:
            found = self._recognised_restart(plan)
        if found is not None:
            await self._apply_restart(found)
        if asked:
            await self._drop_annotation()

    def _asked_restart(self, plan: plans.Plan, asked: str) -> restart.Restart | None:
        name = self._body["metadata"]["name"]
        step, _, asked_id = asked.partition("#")
        if asked_id and self._context.memos.get(_RESTARTED) == asked_id:
            return None
        if step.strip() in ("", "*", "true"):
            found = restart.restart_run(self._status, self._context.engine, name)
        else:
            found = restart.restart_step(
                plan, self._status, self._context.engine, name, step.strip(), now=self._tools.clock()
            )
        if asked_id:
            self._context.memos[_RESTARTED] = asked_id
        return found

    def _recognised_restart(self, plan: plans.Plan) -> restart.Restart | None:
        """A restart that a user asked for by taking steps, or everything, out of the status."""
        state, new = self._context.engine, looks_new(self._status)
        begun = self._memory.written or was_emptied(self._status) or (new and self._context.has_acted)
        found = restart.recognise(plan, self._status, state, written=begun)
        if found is None and begun and new and not state:
            # It had a status and has none, and nothing else was kept of it: only its steps need other ids.
            found = restart.restart_run(self._status, state, self._body["metadata"]["name"])
            found = dataclasses.replace(found, patch={})
        return found

    async def _apply_restart(self, found: restart.Restart) -> None:
        context = self._context
        context.engine = found.state
        if found.everything:
            kept = {key: value for key, value in context.memos.items() if key == _RESTARTED}
            context.memos = kept
            context.variables.clear()
            self._memory.succeeded.clear()
        for path in found.drop:
            context.variables.drop(path)
        for step_id in found.removed:
            self._memory.succeeded.pop(step_id, None)
            self._memory.interests.pop(step_id, None)
        backend = await self._keep()
        patch = dict(found.patch)
        if found.everything and backend:
            patch["contextBackend"] = self._backend()
        if patch:
            await self._patch(patch)

    async def _drop_annotation(self) -> None:
        metadata = self._body["metadata"]
        kind = constants.WORKFLOW_RUN
        self._body = await self._tools.client.patch(
            kind.api_version,
            kind.kind,
            metadata["namespace"],
            metadata["name"],
            {"metadata": {"annotations": {constants.ANNOTATION_RESTART: None}}},
        )

    # Doing it.

    async def _carry_out(self, current: run_pass.Pass) -> None:
        """Do what the engine gives, concurrently, until it gives no more."""
        worker = Worker(self._tools, self._body, self._context, self._memory, RunJournal(self._context, self._persist))
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
        answer = finished.result()
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
            self._context.make_room(answer.outputs, "outputs")
        except errors.Terminal as error:
            return results.Failed(constants.Reason.OUTPUT, error.message)
        return answer

    # Writing it down.

    async def _conclude(self, current: run_pass.Pass) -> Decision:
        conclusion = current.conclude(self._tools.clock())
        self._forget_ended(conclusion)
        conclusion = await self._stored(current, conclusion)
        self._tools.reporter.transitions(self._body, conclusion.transitions)
        if self._status.get("finished"):
            return Decision(self._body, finished=True)
        # What users asked for meanwhile is in the status now, and acted on by the next pass.
        after = 0.0 if self._folded else conclusion.requeue_after
        return Decision(self._body, after, dict(self._memory.interests))

    async def _checkpoint(self, current: run_pass.Pass) -> None:
        """Show what a long pass has come to so far."""
        async with self._lock:
            await self._stored(current, current.conclude(self._tools.clock()))

    async def _stored(self, current: run_pass.Pass, conclusion: Conclusion) -> Conclusion:
        """Write a conclusion, or the one that says why it cannot be written."""
        try:
            await self._store(conclusion)
        except errors.Terminal as error:
            # What is remembered of the steps does not fit; what they started with takes most of it.
            current.blocked(error.message)
            conclusion = current.conclude(self._tools.clock())
            await self._write(dict(conclusion.status))
        return conclusion

    def _forget_ended(self, conclusion: Conclusion) -> None:
        for table in (self._memory.succeeded, self._memory.interests):
            for step_id in set(table) - conclusion.in_flight:
                table.pop(step_id)

    async def _store(self, conclusion: Conclusion) -> None:
        context = self._context
        changed = conclusion.state_changed or context.variables.revision != self._revision
        changed = changed or context.memos != self._memos
        context.engine = conclusion.state
        context.waiting = self._waiting()
        status = dict(conclusion.status)
        if context.exists or conclusion.state_needed or context.variables.values or context.memos or context.journal:
            if changed or not context.exists:
                await self._keep()
            status["contextBackend"] = self._backend()
        self._revision, self._memos = context.variables.revision, dict(context.memos)
        await self._write(status)

    def _waiting(self) -> JSON:
        """What waiting steps wait for, for those who ask why (``explain``)."""
        return {
            step_id: {
                "interests": [
                    {
                        "cluster": interest.cluster,
                        "apiVersion": interest.api_version,
                        "kind": interest.kind,
                        "namespace": interest.namespace,
                        "name": interest.name,
                    }
                    for interest in interests
                ]
            }
            for step_id, interests in sorted(self._memory.interests.items())
        }

    async def _persist(self, *, insist: bool = False) -> None:
        """Make the context durable, and findable: for the journal, in the middle of a pass; raises ``Superseded``."""
        async with self._lock:
            try:
                await self._keep(insist=insist)
                while not self._status.get("contextBackend"):
                    try:
                        await self._patch({"contextBackend": self._backend()}, guarded=True)
                    except cluster_errors.Conflict:
                        await self._take_theirs()
            except cluster_errors.Conflict as error:
                raise Superseded(str(error)) from error

    async def _take_theirs(self) -> None:
        """See what others wrote; raises ``Conflict`` when somebody else carries this run out."""
        metadata, kind = self._body["metadata"], constants.WORKFLOW_RUN
        theirs = await self._tools.client.get(kind.api_version, kind.kind, metadata["namespace"], metadata["name"])
        status = dict(theirs.get("status") or {})
        # Our own write may have been carried out though its answer was lost.
        named = status.pop("contextBackend", None) is not None
        # But one that was written over what somebody had left may have met somebody who was still at it.
        ours = not named or not self._context.taken_over
        ours = ours and (not named or await self._contexts.is_current(self._body, self._context))
        if status != self._status or not ours:
            raise cluster_errors.Conflict(f"run {metadata['name']} was changed by others while it was carried out")
        self._body = theirs

    async def _keep(self, *, insist: bool = False) -> bool:
        return await self._contexts.save(self._body, self._context, insist=insist)

    def _backend(self) -> JSON:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": self._context.name,
            "namespace": self._body["metadata"]["namespace"],
        }

    async def _patch(self, changes: JSON, *, guarded: bool = False) -> None:
        """Merge changes into the status, whatever others wrote meanwhile, or ``guarded`` only if nobody did."""
        metadata, kind = self._body["metadata"], constants.WORKFLOW_RUN
        body: JSON = {"status": changes}
        if guarded:
            body["metadata"] = {"resourceVersion": metadata["resourceVersion"]}
        self._body = await self._tools.client.patch(
            kind.api_version,
            kind.kind,
            metadata["namespace"],
            metadata["name"],
            body,
            subresource="status",
        )

    async def _write(self, ours: JSON) -> None:
        """Write the status once; what users asked for meanwhile is folded in (decisions 25)."""
        kind = constants.WORKFLOW_RUN
        base = self._status
        for attempt in range(WRITES):
            metadata = self._body["metadata"]
            patch = patching.status_patch(self._status, ours, metadata["resourceVersion"])
            if patch is None:
                return
            name = (kind.api_version, kind.kind, metadata["namespace"], metadata["name"])
            try:
                self._body = await self._tools.client.patch(*name, patch, subresource="status")
            except cluster_errors.Conflict:
                if attempt == WRITES - 1:
                    raise
                theirs = await self._tools.client.get(*name)
                if theirs["metadata"]["uid"] != metadata["uid"]:
                    raise RunReplacedError(f"run {metadata['name']} was replaced by another one of its name") from None
                if fold.is_by_another_process(base, theirs.get("status") or {}):
                    raise Superseded(f"run {metadata['name']} is carried out by another process as well") from None
                ours = fold.fold(base, ours, theirs.get("status") or {})
                self._folded = True
                base = theirs.get("status") or {}
                self._body = theirs
                continue
            self._memory.written = True
            return

    async def _cannot_start(self, error: errors.WorkflowError) -> Decision:
        """The steps of the run cannot be had: say so, and look again later."""
        current = self._start(plans.Plan.build([], None, self._status.get("mode")))
        current.blocked(str(error))
        return await self._conclude(current)


_RESTARTED = "vela-workflow.restarted"


def _shorter(one: float, other: float | None) -> float:
    return one if other is None else max(0.0, min(one, other))
