"""The steps of a run as they stand: the plan, the status and what is remembered, put together for one pass.

Each step has a ``Node``: its entry of the status (``entry``, changed in place), what the state remembers of it
(``memory``) and what this pass knows (task handed out, answers received). The ``Board`` holds the nodes and what is
true of the run as a whole. Made by ``intake``, changed by ``outcome`` and ``run_pass``, read by ``summary``.

``memory`` is a JSON object, kept while the step is in flight; times are seconds since the epoch:

- ``spec``, ``started``: what it started with;
- ``since``: start of the attempt that its timeout counts from; ``at``: the last look;
- ``failures``, ``delay``: retries; ``rounds``: those of them that begin anew what is otherwise done once;
- ``waiting``: since when, with this message; ``after``: poll; ``told``: there was an Event of a long wait;
- ``suspended``, ``until``, ``resumed``: suspends;
- ``final``: a failure with reason Execute that is not tried again;
- ``exhausted``: the retries are used up, and the step waits for somebody to resume it;
- ``again``: somebody did so; its ``if`` was true before and is not asked again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.api.constants import Reason, StepPhase
from vela_workflow.engine import plan as plans
from vela_workflow.engine import scope, tasks, timing
from vela_workflow.engine import steps as model
from vela_workflow.engine import variables as variables_

JSON = dict[str, Any]

MANUAL = True
"""``memory["suspended"]`` of a step that a user suspended; for the template's own it is the field."""


# Phases and reasons as plain texts: hundreds of steps are asked again and again, and members of enums are slow to hash.
ENDED_WELL = frozenset({StepPhase.SUCCEEDED.value, StepPhase.SKIPPED.value})
_FAILED = StepPhase.FAILED.value
_BEGUN = frozenset({StepPhase.RUNNING.value, StepPhase.SUSPENDING.value, _FAILED})
_NOT_FINAL = frozenset({None, "", Reason.EXECUTE.value})
_IN_CONDITION = r"\bstatus\s*(?:\.\s*{0}\b|\[\s*\"{0}\"\s*\])"


@dataclass(slots=True, eq=False)
class Node:
    """One step; see the module. ``orphan`` is one that is no longer in the spec but must be finished first.

    ``exhausted`` is one that has used up its retries where that suspends the run: it has not ended, since it runs again
    when somebody resumes it, and nothing happens to it by itself.
    """

    step: model.StepPlan
    id: str
    entry: JSON
    memory: JSON
    parent: Node | None = None
    children: list[Node] = field(default_factory=list)
    past: list[JSON] = field(default_factory=list)
    orphan: bool = False
    task: tasks.Task | None = None
    condition: bool | None = None
    scripts: JSON = field(default_factory=dict)
    pending_on: model.Input | str | None = None
    blocked: str = ""
    exhausted: bool = False
    before: JSON = field(default_factory=dict)

    @property
    def phase(self) -> str:
        """The phase in the status, ``""`` when there is none yet."""
        return str(self.entry.get("phase") or "")

    @property
    def reason(self) -> str:
        """The reason in the status."""
        return str(self.entry.get("reason") or "")

    @property
    def message(self) -> str:
        """The message in the status."""
        return str(self.entry.get("message") or "")

    @property
    def finished(self) -> bool:
        """Whether the step has ended for good (engine 3.2)."""
        if self.exhausted:
            return False
        entry = self.entry
        return is_finished(entry) or (entry.get("phase") == _FAILED and bool(self.memory.get("final")))

    @property
    def settled(self) -> bool:
        """Whether the step and all its sub steps have ended."""
        return self.finished and (not self.children or all(child.finished for child in self.children))

    @property
    def started(self) -> bool:
        """Whether the step was tried and has not ended: running, suspended, about to be tried again or exhausted."""
        if self.exhausted:
            return True
        entry = self.entry
        return entry.get("phase") in _BEGUN and bool(entry.get("firstExecuteTime")) and not self.finished

    @property
    def template_suspended(self) -> bool:
        """Whether the template suspended the step."""
        return self.phase == StepPhase.SUSPENDING and self.reason == Reason.SUSPEND

    @property
    def held(self) -> bool:
        """Whether a user suspended the step; a group with sub steps that were reached only shows what they show."""
        if self.phase != StepPhase.SUSPENDING or self.reason == Reason.SUSPEND:
            return False
        return not any(child.phase for child in self.children)

    @property
    def failed(self) -> bool:
        """Whether the step has failed for good."""
        return self.phase == StepPhase.FAILED and self.finished

    @property
    def goes_on(self) -> bool:
        """Whether something happens to the step without anybody asking for it; a group speaks through its sub steps."""
        if self.task is not None or self.blocked:
            return True
        if self.step.is_group or self.exhausted or not self.started:
            return False
        return not self.template_suspended or "until" in self.memory

    @property
    def busy(self) -> bool:
        """Whether a task is outstanding for the step or a sub step."""
        return self.task is not None or any(child.task is not None for child in self.children)

    def show(self, phase: StepPhase, reason: str = "", message: str = "", *, at: datetime | None = None) -> bool:
        """Set what the status shows; tells whether that changes anything. ``at`` is the time of an attempt."""
        message = errors.bounded(message)
        changed = (self.phase, self.reason, self.message) != (phase, reason, message)
        self.entry.update(phase=str(phase), reason=str(reason), message=message)
        # A look that changed nothing leaves the times alone, so that waiting does not cost a write each time.
        if at is not None and (changed or not self.entry.get("lastExecuteTime")):
            self.entry["lastExecuteTime"] = timing.stamp(at)
        return changed

    def begin(self, now: datetime) -> None:
        """The first real attempt starts; the clock of the timeout runs from here (decisions 12)."""
        self.entry["firstExecuteTime"] = timing.stamp(now)
        self.entry.pop("lastExecuteTime", None)
        self.show(StepPhase.RUNNING, at=now)
        self.memory = {**self._lasting(), "since": now.timestamp()}
        if not self.step.is_group:
            self.memory["spec"] = {key: value for key, value in self.step.source.items() if key != "subSteps"}

    def rewind(self) -> None:
        """Take back that the step was tried, so that it can start; what it did once stays done."""
        self.entry.update(phase="", reason="", message="")
        for key in ("firstExecuteTime", "lastExecuteTime"):
            self.entry.pop(key, None)
        self.memory = self._lasting()
        self.exhausted = False

    def _lasting(self) -> JSON:
        """What outlives that a step starts again: what was done in its rounds, and that its ``if`` was true."""
        return {key: self.memory[key] for key in ("rounds", "again") if key in self.memory}

    def deadline(self) -> datetime | None:
        """When the timeout of the step passes (engine 3.6); a step between two attempts of its own has none."""
        if self.step.timeout is None or not self.started or self.exhausted:
            return None
        if self.phase == StepPhase.FAILED and constants.RetryOn.TIMEOUT in self.step.retries_on:
            return None
        first = timing.read(self.entry.get("firstExecuteTime"))
        since = self.memory.get("since", first.timestamp() if first else None)
        return None if since is None else timing.moment(since + self.step.timeout)


@dataclass(slots=True)
class Board:
    """All steps of a run; see the module.

    ``past`` are entries of finished steps that are no longer in the spec. ``hold`` says that a user suspended the run,
    ``terminated`` that a user ended it, ``broken`` that a template did. ``replaced`` collects warnings about outputs
    (decisions 15). ``suspend_on_failure`` says that a step that has used up its retries suspends the run and may be
    resumed.
    """

    plan: plans.Plan
    identity: scope.Identity
    variables: variables_.Variables
    status: Mapping[str, Any]
    state: Mapping[str, Any]
    restarts: Mapping[str, int]
    roots: list[Node] = field(default_factory=list)
    by_path: dict[str, Node] = field(default_factory=dict)
    past: list[JSON] = field(default_factory=list)
    hold: bool = False
    terminated: bool = False
    broken: bool = False
    suspend_on_failure: bool = False
    replaced: list[str] = field(default_factory=list)
    givers: model.OutputIndex[Node] = field(default_factory=lambda: model.OutputIndex(()))

    @property
    def forgotten(self) -> bool:
        """Whether what was remembered of the run is lost, or was never written; counters of restarts do not count."""
        return self.state.keys() <= {"restarts"}

    @property
    def nodes(self) -> Iterator[Node]:
        """All nodes, each group before its sub steps."""
        return iter(self.by_path.values())

    @property
    def done(self) -> bool:
        """Whether every step has ended."""
        return all(root.settled for root in self.roots)

    @property
    def over(self) -> bool:
        """Whether a user or a template has ended the run: what has not started does not start any more."""
        return self.terminated or self.broken

    @property
    def stopped(self) -> bool:
        """Whether steps that have used up their retries are all that is left to go on with, and nobody holds the run.

        A template's suspend without an end does not go on by itself either.
        """
        if self.hold or not any(node.exhausted for node in self.nodes):
            return False
        return not any(node.goes_on for node in self.nodes)

    def unsure(self, condition: str) -> str:
        """The name of an exhausted step that an ``if`` asks about, ``""`` when there is none.

        How such a step ends is open as long as it may be resumed; a clean-up must not run before.
        """
        for name, path in self.plan.names.items():
            if self.by_path[path].exhausted and re.search(_IN_CONDITION.format(re.escape(name)), condition):
                return name
        return ""

    def find(self, name: str) -> Node | JSON | None:
        """The step that a user calls by this name or alias: a node, an entry of the past, or nothing."""
        path = self.plan.names.get(name)
        if path is not None:
            return self.by_path[path]
        orphan = next((node for node in self.nodes if node.orphan and node.step.name == name), None)
        return orphan or next((entry for entry in self.past if entry.get("name") == name), None)

    def context(self, node: Node) -> JSON:
        """``context`` of a step."""
        group = (node.parent.step.name, node.parent.id) if node.parent else None
        return scope.step_context(self.identity, self.restarts, node.step, node.id, group)

    def scope(self, node: Node, inputs: JSON) -> tasks.Scope:
        """The scope of an expression of a step; steps without a status yet show one that is all false."""
        status = {str(entry.get("name")): scope.step_status(entry) for entry in self.past}
        for name, path in self.plan.names.items():
            status[name] = scope.step_status(self.by_path[path].entry)
        return tasks.Scope(status, inputs, self.context(node), node.step.properties)


def is_finished(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of the status has ended, by phase and reason alone (engine 3.2)."""
    phase = entry.get("phase")
    if phase == _FAILED:
        return entry.get("reason") not in _NOT_FINAL
    return phase in ENDED_WELL


def is_broken(entry: Mapping[str, Any]) -> bool:
    """Whether an entry says that the template ended the run."""
    return entry.get("phase") == StepPhase.SUCCEEDED and entry.get("reason") == Reason.TERMINATE
