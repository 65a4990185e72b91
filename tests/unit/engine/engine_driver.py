"""A driver for engine tests: it answers tasks by a script and keeps time, status, state and variables as JSON text.

Everything that a run keeps between passes goes through JSON, as it would through an API server. ``if`` is written in
three forms: ``true``, ``false`` and a path into the scope, with ``!`` for its opposite.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from vela_workflow import errors
from vela_workflow.api.constants import Reason
from vela_workflow.engine import paths, result, run_pass, scope, tasks
from vela_workflow.engine.plan import Plan
from vela_workflow.engine.variables import Variables

START = datetime(2026, 1, 1, tzinfo=UTC)

Answer = result.Result | Callable[[tasks.Execute], result.Result]


def step(name: str, *, subs: list[dict[str, Any]] | None = None, **fields: Any) -> dict[str, Any]:
    """A step as users write it; ``if_``, ``depends`` (names) and ``out`` (names) are short forms."""
    made: dict[str, Any] = {"name": name, "type": fields.pop("type", "step-group" if subs is not None else "work")}
    if "if_" in fields:
        made["if"] = fields.pop("if_")
    if "depends" in fields:
        made["dependsOn"] = fields.pop("depends").split()
    if "out" in fields:
        made["outputs"] = [{"name": name, "valueFrom": "x"} for name in fields.pop("out").split()]
    if "takes" in fields:
        made["inputs"] = [{"from": name, "parameterKey": name} for name in fields.pop("takes").split()]
    if subs is not None:
        made["subSteps"] = subs
    return {**made, **fields}


def decide(expression: str, seen: tasks.Scope) -> bool | errors.WorkflowError:
    """Evaluate an ``if`` of a test."""
    if expression in {"true", "false"}:
        return expression == "true"
    values = {"status": seen.status, "inputs": seen.inputs, "context": seen.context, "parameter": seen.parameter}
    try:
        value = paths.lookup(values, paths.parse(expression.lstrip("!")))
    except KeyError as error:
        return errors.WorkflowError(f"undefined field: {error.args[0]}")
    if not isinstance(value, bool):
        return errors.WorkflowError(f'cannot use value "{value}" (type {paths.kind(value)}) as bool')
    return not value if expression.startswith("!") else value


class Run:
    """One run: ``steps`` and ``mode`` may be edited between passes, ``status`` by ``edit``."""

    def __init__(self, *steps: dict[str, Any], mode: str = "", sub_mode: str = "", **identity: Any) -> None:
        self.steps = list(steps)
        self.mode = {"steps": mode, "subSteps": sub_mode}
        self.identity = scope.Identity("run", "ns", "uid-1", **identity)
        self.now = START
        self.status: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.script: dict[str, Any] = {}
        self.log: list[str] = []
        self.executed: list[tasks.Execute] = []
        self.concurrent: list[set[str]] = []
        self.suspend_on_failure = False
        self.conclusion: run_pass.Conclusion | None = None

    def plan(self) -> Plan:
        return Plan.build(self.steps, self.mode, self.status.get("mode"))

    def start(self, woken: tuple[str, ...] = ()) -> run_pass.Pass:
        self.variables = Variables(json.loads(json.dumps(self.values)))
        return run_pass.Pass(
            self.plan(),
            self.identity,
            self.status,
            self.state,
            variables=self.variables,
            woken=woken,
            suspend_on_failure=self.suspend_on_failure,
        )

    def go(self, woken: tuple[str, ...] = (), **script: Any) -> run_pass.Conclusion:
        """One whole pass; ``script`` maps step names (``-`` as ``_``) to results, or lists of them."""
        self.script.update({name.replace("_", "-"): answer for name, answer in script.items()})
        one = self.start(woken)
        todo = one.advance(self.now)
        while todo:
            self.concurrent.append({task.step.name for task in todo if isinstance(task, tasks.Execute)})
            self.answer(one, todo.pop(0))
            todo += one.advance(self.now)
        return self.keep(one.conclude(self.now))

    def keep(self, conclusion: run_pass.Conclusion) -> run_pass.Conclusion:
        self.status = json.loads(json.dumps(conclusion.status))
        self.state = json.loads(json.dumps(conclusion.state))
        self.values = json.loads(json.dumps(self.variables.values))
        self.conclusion = conclusion
        return conclusion

    def answer(self, one: run_pass.Pass, task: tasks.Task) -> None:
        match task:
            case tasks.EvaluateCondition():
                self.log.append(f"if {task.step.name}")
                one.condition(task, decide(task.expression, task.scope), self.now)
            case tasks.EvaluateInput():
                found = self.script.get(task.expression, errors.WorkflowError("no such thing"))
                one.input(task, found(task) if callable(found) else found, self.now)
            case tasks.CollectOutputs():
                outputs = {output.name: "from group" for output in task.step.outputs}
                one.finished(task, self.script.get(task.step.name, result.Succeeded(outputs)), self.now)
            case tasks.Execute():
                self.log.append(task.step.name)
                self.executed.append(task)
                one.finished(task, self.result(task), self.now)

    def result(self, task: tasks.Execute) -> result.Result:
        answer = self.script.get(task.step.name)
        if isinstance(answer, list):
            answer = answer.pop(0) if answer else None
        if callable(answer):
            answer = answer(task)
        if answer is None:
            return result.Succeeded({output.name: f"{output.name} of {task.step.name}" for output in task.step.outputs})
        return answer

    def wait(self, seconds: float | None = None) -> None:
        """Let time pass: so many seconds, or until the run wants to be looked at."""
        if seconds is None:
            assert self.conclusion is not None
            assert self.conclusion.requeue_after is not None, "the run does not want to be looked at"
            seconds = self.conclusion.requeue_after
        self.now += timedelta(seconds=seconds)

    def edit(self, patch: Mapping[str, Any]) -> None:
        """Apply a merge patch to the status (lists are replaced)."""
        for key, value in patch.items():
            if value is None:
                self.status.pop(key, None)
            else:
                self.status[key] = json.loads(json.dumps(value))

    def entry(self, name: str) -> dict[str, Any]:
        for entry in self.status.get("steps", []):
            for one in (entry, *entry.get("subSteps", [])):
                if one["name"] == name:
                    return one
        raise KeyError(name)

    def shown(self) -> list[str]:
        """All entries as ``name: phase/reason "message"``, sub steps after their group."""
        lines = []
        for entry in self.status.get("steps", []):
            for one in (entry, *entry.get("subSteps", [])):
                reason = f"/{one['reason']}" if one.get("reason") else ""
                message = f' "{one["message"]}"' if one.get("message") else ""
                lines.append(f"{one['name']}: {one['phase']}{reason}{message}")
        return lines

    @property
    def phase(self) -> str:
        return self.status["status"]

    def condition(self, type_: str) -> dict[str, Any] | None:
        return next((c for c in self.status["conditions"] if c["type"] == type_), None)


def fail(message: str = "oops") -> result.Failed:
    return result.Failed(Reason.ACTION, message)


def error(message: str = "broken", after: float = 0.0) -> result.Failed:
    return result.Failed(Reason.EXECUTE, message, retriable=True, after=after)


def entry(name: str, phase: str, reason: str = "", subs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": name,
        "id": f"id-{name}",
        "phase": phase,
        "firstExecuteTime": "2026-01-01T00:00:00Z",
    }
    if reason:
        made["reason"] = reason
    if subs is not None:
        made["subSteps"] = subs
    return made


def status(*steps: dict[str, Any], **flags: Any) -> dict[str, Any]:
    return {
        "startTime": "2026-01-01T00:00:00Z",
        "suspend": False,
        "terminated": False,
        "finished": False,
        "steps": list(steps),
        **flags,
    }


def phases(patch: dict[str, Any]) -> list[str]:
    lines = []
    for one in patch.get("steps", []):
        for shown in (one, *one.get("subSteps", [])):
            reason = f"/{shown['reason']}" if shown.get("reason") else ""
            lines += [f"{shown['name']}: {shown['phase']}{reason}"]
    return lines


GROUP = entry(
    "g",
    "running",
    subs=[
        entry("x", "succeeded"),
        entry("y", "running", "Wait"),
        entry("z", "failed", "Execute"),
        entry("p", "pending"),
    ],
)
