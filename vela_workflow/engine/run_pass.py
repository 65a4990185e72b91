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

    run = Pass(plan, identity, status, state, variables=variables, woken=woken)
    tasks = {start(task) for task in run.advance(now())}
    while tasks:
        done, tasks = await wait_for_first(tasks)   # at most until run.next_look(now())
        for task, answer in done:
            match task:
                case EvaluateCondition():
                    run.condition(task, answer, now())     # True, False or an errors.WorkflowError
                case EvaluateInput():
                    run.input(task, answer, now())         # the value, or an errors.WorkflowError
                case Execute() | CollectOutputs():
                    run.finished(task, answer, now())      # a result
        tasks |= {start(task) for task in run.advance(now())}
    conclusion = run.conclude(now())
    if conclusion.state_needed and conclusion.state_changed or variables.revision != known_revision:
        store(conclusion.state, variables)
    if conclusion.status != status:
        write(conclusion.status)
    again(conclusion.requeue_after)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.api.constants import Reason, StepPhase
from vela_workflow.engine import board as boards
from vela_workflow.engine import inputs, intake, outcome, paths, resolve, scope, summary, tasks, timing, validate
from vela_workflow.engine import plan as plans
from vela_workflow.engine import result as results
from vela_workflow.engine import steps as model
from vela_workflow.engine import variables as variables_

JSON = dict[str, Any]

EVERYTHING = "*"
"""In ``woken``: look again at every waiting step."""

Transition = summary.Transition
Conclusion = summary.Conclusion


class Pass:
    """One reconcile; see the module."""

    def __init__(
        self,
        plan: plans.Plan,
        identity: scope.Identity,
        status: Mapping[str, Any],
        state: Mapping[str, Any],
        *,
        variables: variables_.Variables,
        woken: Collection[str] = (),
        suspend_on_failure: bool = False,
    ) -> None:
        self._board = intake.load(plan, identity, status, state, variables, suspend_on_failure=suspend_on_failure)
        self._woken: set[str] = set()
        self._blocked = ""
        self._out: list[tasks.Task] = []
        self._outstanding = 0
        # Most runs have no timeouts, and most steps of a long run have ended: neither is gone through again and again.
        self._timed = [node for node in self._board.nodes if node.step.timeout is not None]
        self._live: dict[str, list[boards.Node]] = {}
        self.wake(woken)
        if state.get("hold") and not self._board.hold:
            # Nobody looked while the run was held, whatever changed meanwhile.
            self.wake((EVERYTHING,))

    @property
    def restarts(self) -> Mapping[str, int]:
        """How often the run (``*``) and each step path were restarted."""
        return self._board.restarts

    def wake(self, names: Collection[str]) -> None:
        """Let waiting steps look again at once, by name or id; ``EVERYTHING`` means all. Also during a pass."""
        for node in self._board.nodes:
            if EVERYTHING in names or node.step.name in names or node.id in names:
                self._woken.add(node.step.path)

    def advance(self, now: datetime) -> list[tasks.Task]:
        """What may be done now and was not handed out before."""
        board, self._out = self._board, []
        if board.status.get("finished"):
            return []
        while True:
            changed = self._expire(now)
            changed |= self._visit(board.roots, board.plan.mode, None, now)
            if not changed and not self._unstick(now):
                return self._out

    def foreseen(self) -> list[tasks.Foreseen]:
        """Steps that have not started and whose values are known already: they have neither inputs nor ``if``."""
        board = self._board
        if board.hold or board.over or board.status.get("finished"):
            return []
        return [
            tasks.Foreseen(node.step, dict(node.step.properties), board.context(node))
            for node in board.nodes
            if not (node.started or node.finished or node.settled or node.step.is_group or node.held)
            and not (node.step.inputs or node.step.condition or board.plan.defects.get(node.step.path))
        ]

    def condition(self, task: tasks.EvaluateCondition, answer: bool | errors.WorkflowError, now: datetime) -> None:
        """Tell what an ``if`` came to; an error makes the step ``failed/Rendering`` (decisions 9 and 11)."""
        node = self._taken(task)
        if isinstance(answer, errors.WorkflowError):
            hints = validate.condition_hints(self._board.plan, node.step)
            message = "; ".join([f"if: {answer.message.removeprefix('if: ')}", *hints])
            outcome.fail(self._board, node, Reason.RENDERING, message, now)
        elif answer:
            node.condition = True
        else:
            outcome.skip(self._board, node)

    def input(self, task: tasks.EvaluateInput, answer: Any | errors.WorkflowError, now: datetime) -> None:
        """Tell the value of an input; an error makes the step ``failed/Input``."""
        node = self._taken(task)
        if isinstance(answer, errors.WorkflowError):
            message = f"get input from [{task.expression}]: {answer.message}"
            outcome.fail(self._board, node, Reason.INPUT, message, now)
        else:
            node.scripts[task.expression] = answer

    def finished(self, task: tasks.Execute | tasks.CollectOutputs, result: results.Result, now: datetime) -> None:
        """Tell what an attempt came to."""
        outcome.apply(self._board, self._taken(task), result, now)

    def keep(self, task: tasks.Execute, started: Any) -> None:
        """Keep (JSON) what the step started with, for all its later attempts (decisions 23)."""
        self._board.by_path[task.step.path].memory["started"] = started

    def blocked(self, message: str, task: tasks.Task | None = None) -> None:
        """Tell that the run, or the step of a task, cannot be carried out now: a definition is missing, say.

        It is no failure of a step: with ``task`` the step stays as it was (``pending`` when it had not started) and is
        tried again in a later pass. The run shows the error in the condition ``WorkflowRun`` and is ``initializing``
        while no step has started (engine 2.2, error path A).
        """
        self._blocked = self._blocked or message
        if task is not None:
            node = self._taken(task)
            node.blocked = message
            if isinstance(task, tasks.Execute) and task.started is None and not node.memory.get("at"):
                node.rewind()
            if not node.started:
                node.show(StepPhase.PENDING, "", message)

    def next_look(self, now: datetime) -> float | None:
        """Seconds until a step that is not being worked on needs attention (a retry, a deadline); ``None``: never."""
        return summary.requeue_after(self._board, now, blocked=bool(self._blocked))

    def conclude(self, now: datetime) -> summary.Conclusion:
        """What to write. May also be called in the middle of a pass, for a checkpoint before a ``once`` operation."""
        return summary.conclude(self._board, now, self._blocked)

    def _taken(self, task: tasks.Task) -> boards.Node:
        node = self._board.by_path[task.step.path]
        if node.task is not task:
            raise ValueError(f'the answer for step "{task.step.path}" came twice, or belongs to another pass')
        node.task = None
        self._outstanding -= 1
        return node

    def _hand_out(self, node: boards.Node, task: tasks.Task) -> None:
        node.task = task
        self._outstanding += 1
        self._out.append(task)

    def _expire(self, now: datetime) -> bool:
        """End what has passed its deadline, suspended or not (decisions 12)."""
        changed = False
        for node in self._timed:
            deadline = None if node.busy else node.deadline()
            if deadline is None or now < deadline:
                continue
            if node.step.is_group:
                outcome.time_out_group(self._board, node, now)
            else:
                outcome.time_out(self._board, node, now)
            changed = True
        return changed

    def _visit(self, nodes: list[boards.Node], mode: constants.Mode, group: boards.Node | None, now: datetime) -> bool:
        """Let the steps of one level go on or start, as the mode allows (engine 3.3).

        Tells whether another step may be able to start because of it: one has ended, or a group has started.
        """
        level = group.step.path if group is not None else ""
        live = [node for node in self._live.get(level, nodes) if not node.settled]
        self._live[level] = live
        changed, moving = False, False
        for node in live:
            if node.started or node.finished:
                changed |= self._go_on(node, now)
                moving |= not node.settled
        sequential = mode is constants.Mode.STEP_BY_STEP
        for node in live:
            if node.started or node.finished:
                continue
            if sequential and moving:
                break
            changed |= self._start(node, nodes, sequential=sequential, group=group, now=now)
            if sequential and not node.settled:
                break
        return changed

    def _go_on(self, node: boards.Node, now: datetime) -> bool:
        if not node.step.is_group:
            self._look_again(node, now)
            return False
        changed = self._visit(node.children, node.step.mode, node, now)
        if node.finished or node.task is not None:
            return changed
        if not all(child.finished for child in node.children):
            outcome.show_group(node, now)
            return changed
        phase, _, _ = outcome.group_result(self._board, node)
        if phase is StepPhase.SUCCEEDED and node.step.outputs:
            self._hand_out(node, tasks.CollectOutputs(node.step, node.id, self._board.context(node)))
            return changed
        outcome.end_group(self._board, node, now)
        return True

    def _look_again(self, node: boards.Node, now: datetime) -> None:
        board = self._board
        if node.task is not None or node.blocked or node.exhausted or board.hold or node.held:
            return
        if not timing.due(node.phase, node.memory, now, woken=node.step.path in self._woken):
            return
        if node.template_suspended and node.memory.pop("until", None) is not None:
            node.memory["resumed"] = [*node.memory.get("resumed", ()), node.memory.pop("suspended", intake.ANY_FIELD)]
        if node.phase == StepPhase.FAILED and constants.RetryOn.TIMEOUT in node.step.retries_on:
            # Its timeout is for each attempt; the next one starts now.
            node.show(StepPhase.RUNNING, node.reason, node.message)
            node.memory["since"] = now.timestamp()
        self._execute(node, self._values(node))

    def _values(self, node: boards.Node) -> list[tuple[paths.Path, Any]]:
        """The inputs that go into the parameters, with ``null`` for what is gone since the step started."""
        return [
            (item.key, found.value) for item, found, _ in resolve.in_order(self._board, node) if item.key is not None
        ]

    def _execute(self, node: boards.Node, values: list[tuple[paths.Path, Any]]) -> None:
        self._woken.discard(node.step.path)  # A step that only starts now sees what there is to see.
        task = tasks.Execute(
            step=node.step,
            id=node.id,
            parameters=inputs.inject(node.step.properties, values),
            context=self._board.context(node),
            attempt=int(node.memory.get("failures", 0)) + 1,
            round=int(node.memory.get("rounds", 0)) + 1,
            started=node.memory.get("started"),
            resumed=tuple(node.memory.get("resumed", ())),
            deadline=outcome.effective_deadline(node),
        )
        self._hand_out(node, task)

    def _start(
        self,
        node: boards.Node,
        siblings: list[boards.Node],
        *,
        sequential: bool,
        group: boards.Node | None,
        now: datetime,
    ) -> bool:
        """Let a step that has not started leave ``pending``, if it may (engine 3.4 to 3.6); see ``_visit``."""
        board, step = self._board, node.step
        if node.task is not None or node.blocked:
            return False
        if group is not None and group.finished and group.reason != Reason.TERMINATE:
            outcome.after_group(board, node, group, now)
            return True
        held = board.hold or node.held
        in_order = sequential and not step.depends_on and not held
        if not step.condition and (board.over or (in_order and _anything_bad(siblings, node))):
            outcome.skip(board, node)
            return True
        if held:
            return False
        defect = board.plan.defects.get(step.path)
        if defect is not None:
            outcome.fail(board, node, defect.reason, defect.message, now)
            return True
        return self._after_dependencies(node, now)

    def _after_dependencies(self, node: boards.Node, now: datetime) -> bool:
        board = self._board
        for name in node.step.depends_on:
            target = board.find(name)
            if target is None:
                meant = errors.did_you_mean(name, board.plan.names)
                message = f'depends on "{name}", but there is no such step{meant}'
                outcome.fail(board, node, Reason.DEPENDS_ON, message, now)
                return True
            if isinstance(target, boards.Node) and not target.settled:
                node.pending_on = name
                node.show(StepPhase.PENDING, "", f"Pending on DependsOn: {name}")
                return False
        if node.step.depends_on and not node.step.condition and self._any_ancestor_bad(node):
            outcome.skip(board, node)
            return True
        return self._after_inputs(node, now)

    def _any_ancestor_bad(self, node: boards.Node) -> bool:
        """Whether any step that this one depends on, directly or not, did not succeed (engine 3.6 rule 4)."""
        seen: set[int] = set()
        todo: list[boards.Node | JSON | None] = [self._board.find(name) for name in node.step.depends_on]
        while todo:
            ancestor = todo.pop()
            if ancestor is None or id(ancestor) in seen:
                continue
            seen.add(id(ancestor))
            entry = ancestor.entry if isinstance(ancestor, boards.Node) else ancestor
            if entry.get("phase") != StepPhase.SUCCEEDED:
                return True
            if isinstance(ancestor, boards.Node):
                todo += [self._board.find(name) for name in ancestor.step.depends_on]
        return False

    def _after_inputs(self, node: boards.Node, now: datetime) -> bool:
        board, step = self._board, node.step
        known: dict[str, Any] = {}
        scripts: dict[str, Mapping[str, Any]] = {}
        for item, found, parameters in resolve.in_order(board, node):
            if found.answer is resolve.Answer.PENDING:
                node.pending_on = item
                node.show(StepPhase.PENDING, "", f"Pending on Input: {item.source}")
                return False
            if found.answer is resolve.Answer.NEVER:
                if scripts:
                    continue  # One of them may still give it.
                outcome.fail(board, node, Reason.INPUT, found.message, now)
                return True
            if found.answer is resolve.Answer.SCRIPT:
                scripts.setdefault(item.source, parameters)
            else:
                known[item.source] = found.value
        node.pending_on = None
        asked = bool(step.condition) and step.condition != constants.IF_ALWAYS and node.condition is None
        unsure = board.unsure(step.condition) if asked else ""
        if unsure:
            node.show(StepPhase.PENDING, "", f"Pending on If: {unsure}")
            return False
        for source, parameters in scripts.items():
            seen = dataclasses.replace(board.scope(node, known), parameter=dict(parameters))
            self._hand_out(node, tasks.EvaluateInput(step, node.id, source, seen))
            return False
        if asked:
            self._hand_out(node, tasks.EvaluateCondition(step, node.id, step.condition, board.scope(node, known)))
            return False
        return self._begin(node, now)

    def _begin(self, node: boards.Node, now: datetime) -> bool:
        values = [] if node.step.is_group else self._values(node)
        try:
            inputs.inject(node.step.properties, values)
        except paths.PathError as error:
            outcome.fail(self._board, node, Reason.INPUT, f"parameterKey: {error}", now)
            return True
        node.begin(now)
        if not node.step.is_group:
            self._execute(node, values)
        return node.step.is_group

    def _unstick(self, now: datetime) -> bool:
        """When nothing moves any more, fail a step that waits for what will never come (decisions 9)."""
        board = self._board
        if board.hold or self._outstanding:
            return False
        unsettled = [node for node in board.nodes if not node.settled]
        if any(_moves(node) for node in unsettled):
            return False
        stuck = [node for node in unsettled if node.pending_on is not None and not node.finished]
        if not stuck:
            return False
        nobody = [n for n in stuck if isinstance(n.pending_on, model.Input) and resolve.unknown(board, n.pending_on)]
        node = (nobody or stuck)[0]
        if isinstance(node.pending_on, model.Input):
            meant = validate.meant_output(board.plan, node.pending_on)
            why = f"no step provides it{meant}" if nobody else "the steps that provide it can never run"
            outcome.fail(board, node, Reason.INPUT, resolve.failure(node.pending_on, why), now)
        else:
            message = f'depends on "{node.pending_on}", which can never run'
            outcome.fail(board, node, Reason.DEPENDS_ON, message, now)
        return True


def _anything_bad(siblings: Iterable[boards.Node], node: boards.Node) -> bool:
    """Whether a step before this one ended other than succeeded or skipped (engine 3.6 rule 4)."""
    for sibling in siblings:
        if sibling is node:
            return False
        if sibling.phase not in boards.ENDED_WELL:
            return True
    return False


def _moves(node: boards.Node) -> bool:
    """Whether something will still happen to a step by itself or by a user."""
    if node.task is not None or node.blocked or node.held:
        return True
    return node.started and not node.step.is_group
