"""Random workflows, random outcomes, random kills and commands: what must hold whatever happens.

Each example is a workflow with groups, modes, dependencies (also wrong ones), inputs, conditions, timeouts and retries,
driven to its end. On the way attempts come to anything, tasks are answered in any order, passes are abandoned in the
middle or between the two writes (state first, then status), the clock jumps, and users suspend, resume and terminate.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from engine_driver import START, Run, step
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vela_workflow.api.constants import Reason
from vela_workflow.engine import commands, result, run_pass, tasks

NAMES = ["a", "b", "c", "d", "e", "f"]
SUBS = ["s", "t", "u"]
EVERY = [*NAMES, *SUBS, "nobody"]
FINAL = {"succeeded", "skipped"}

sometimes = st.sampled_from([False, False, False, True])
dependencies = st.lists(st.sampled_from(EVERY), max_size=2, unique=True)
conditions = st.sampled_from(
    ["", "", "", "", "always", "true", "false", "status.a.failed", "!status.b.succeeded", "nope"]
)


@st.composite
def one_step(draw: st.DrawFn, name: str, subs: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if draw(sometimes):
        fields["depends"] = " ".join(draw(dependencies))
    if draw(sometimes):
        fields["takes"] = " ".join(f"out-{other}" for other in draw(dependencies))
    if draw(sometimes):
        fields["out"] = draw(st.sampled_from([f"out-{name}", "out-a", "shared"]))
    if draw(sometimes):
        fields["timeout"] = draw(st.sampled_from(["1s", "5s", "1m", "10"]))
    if draw(sometimes) and subs is None:
        retry = {
            "limit": draw(st.integers(0, 2)),
            "on": draw(st.sampled_from([["error"], ["fail"], ["timeout", "error"]])),
        }
        fields["retry"] = retry
    if subs is not None and draw(st.booleans()):
        fields["mode"] = draw(st.sampled_from(["StepByStep", "DAG"]))
    condition = draw(conditions)
    return step(name, subs=subs, **fields, **({"if_": condition} if condition else {}))


@st.composite
def workflows(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = NAMES[: draw(st.integers(0, len(NAMES)))]
    group = draw(st.sampled_from([None, *names]))
    steps = []
    for name in names:
        subs = None
        if name == group:
            subs = [draw(one_step(sub)) for sub in SUBS[: draw(st.integers(0, len(SUBS)))]]
        steps.append(draw(one_step(name, subs)))
    return steps


OUTCOMES = ["ok", "ok", "ok", "wait", "wait", "poll", "suspend", "timed", "error", "fail", "pure", "break", "no output"]


class Chaos:
    """Drives one run and checks it at each turn."""

    def __init__(self, run: Run, data: st.DataObject) -> None:
        self.run = run
        self.data = data
        self.attempts: dict[str, int] = {}
        self.pure: set[str] = set()

    def draw(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self.data.draw(strategy)

    def outcome(self, task: tasks.Execute) -> result.Result:
        tried = self.attempts[task.id] = self.attempts.get(task.id, 0) + 1
        outputs = {output.name: task.step.name for output in task.step.outputs}
        done = result.Succeeded(outputs)
        kind = self.draw(st.sampled_from(OUTCOMES)) if tried < 6 else "ok"
        if kind == "pure":
            self.pure.add(task.id)
        table: dict[str, result.Result] = {
            "ok": done,
            "wait": result.Waiting("waiting"),
            "poll": result.Waiting("polling", after=2.0),
            "suspend": done if task.resumed else result.Suspended(),
            "timed": result.Suspended(until=self.run.now + timedelta(seconds=20)),
            "error": result.Failed(Reason.EXECUTE, "error", retriable=True),
            "fail": result.Failed(Reason.ACTION, "fail"),
            "pure": result.Failed(Reason.EXECUTE, "pure"),
            "break": result.Broken("enough", outputs),
            "no output": result.Succeeded(),
        }
        return table[kind]

    def one_pass(self) -> None:
        run = self.run
        before = copy.deepcopy(run.status)
        values = copy.deepcopy(run.values)
        one = run.start(("*",) if self.draw(sometimes) else ())
        todo = one.advance(run.now)
        end = self.draw(st.sampled_from(["write"] * 8 + ["kill", "kill between writes"]))
        while todo:
            self.check_concurrent(one, todo)
            if end == "kill" and self.draw(sometimes):
                run.values = values
                return
            task = todo.pop(self.draw(st.integers(0, len(todo) - 1)))
            if isinstance(task, tasks.Execute):
                self.check_may_run(one, task, before)
                run.log.append(task.step.path)
                one.finished(task, self.outcome(task), run.now)
            else:
                run.answer(one, task)
            todo += one.advance(run.now)
        assert one.advance(run.now) == []
        conclusion = one.conclude(run.now)
        assert one.conclude(run.now) == conclusion, "to conclude changes nothing"
        if end == "kill between writes":
            run.state = json.loads(json.dumps(conclusion.state))
            run.values = json.loads(json.dumps(run.variables.values))
            return
        run.keep(conclusion)
        check_forward(before, run.status, resumable=run.suspend_on_failure)
        check_has_a_reason(conclusion)

    def check_may_run(self, one: run_pass.Pass, task: tasks.Execute, before: dict[str, Any]) -> None:
        known = {entry["id"]: entry for entry in entries(before)}
        open_ = self.run.suspend_on_failure and is_used_up(known.get(task.id, {}))
        assert open_ or not finished(known.get(task.id, {})), "a finished step runs again"
        status = one.conclude(self.run.now).status
        seen = {entry["name"]: entry for entry in entries(status)}
        for name in task.step.depends_on:
            ended = finished(seen[name]) or seen[name]["id"] in self.pure
            assert ended, f"{task.step.name} runs before {name} has ended"
            if self.run.suspend_on_failure and name in {one["name"] for one in self.run.steps if "subSteps" not in one}:
                over = status["terminated"] or any(is_broken(entry) for entry in entries(status))
                assert over or not is_used_up(seen[name]), f"{task.step.name} runs although {name} may be resumed"
        assert not status["finished"]

    def check_concurrent(self, one: run_pass.Pass, todo: list[tasks.Task]) -> None:
        running = [task.step.path for task in todo if isinstance(task, tasks.Execute)]
        assert len(set(running)) == len(running), "a step runs twice at once"
        plan = self.run.plan()
        for parent in {plan.by_path[path].parent for path in running}:
            _, mode = plan.scope_of(parent)
            together = [path for path in running if plan.by_path[path].parent == parent]
            assert mode == "DAG" or len(together) == 1, "steps run together in step-by-step mode"

    def user(self) -> None:
        """Now and then a user does something; and whoever waits for one gets it."""
        run = self.run
        if run.status.get("finished"):
            return
        assert run.conclusion is None or run.conclusion.requeue_after is not None or run.phase == "suspending"
        stuck = run.conclusion is not None and run.conclusion.requeue_after is None
        action = self.draw(st.sampled_from(["", "", "", "", "", "suspend", "terminate", "flags", "resume"]))
        used_up = [entry["name"] for entry in entries(run.status) if is_used_up(entry)]
        if (stuck or action == "resume") and used_up and self.draw(sometimes):
            try:
                run.edit(commands.resume(run.status, "run", self.draw(st.sampled_from(used_up))).patch)
            except commands.Refused:
                run.edit({"suspend": False})
        elif stuck or action == "resume":
            if self.draw(st.booleans()):
                try:
                    run.edit(commands.resume(run.status, "run").patch)
                except commands.Refused:
                    run.edit({"suspend": False})
            else:
                run.edit({"suspend": False, "suspendState": None})
        elif action == "suspend" and not run.status.get("terminated"):
            run.edit(commands.suspend(run.status, "run").patch)
        elif action == "terminate":
            run.edit(commands.terminate(run.status, "run").patch)
        elif action == "flags":
            run.edit({self.draw(st.sampled_from(["suspend", "terminated"])): True})

    def time(self) -> None:
        wanted = self.run.conclusion.requeue_after if self.run.conclusion else None
        seconds = wanted if wanted is not None else 1.0
        if self.draw(sometimes):
            seconds = self.draw(st.sampled_from([-1000.0, -1.0, 0.0, 0.5, 4.0, 1000.0]))
        self.run.wait(seconds)


def entries(status: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in status.get("steps", []):
        yield entry
        yield from entry.get("subSteps", [])


def finished(entry: dict[str, Any]) -> bool:
    return entry.get("phase") in {"succeeded", "skipped"} or (
        entry.get("phase") == "failed" and entry.get("reason") != "Execute"
    )


def is_used_up(entry: dict[str, Any]) -> bool:
    return (entry.get("phase"), entry.get("reason")) == ("failed", "FailedAfterRetries")


def is_broken(entry: dict[str, Any]) -> bool:
    return (entry.get("phase"), entry.get("reason")) == ("succeeded", "Terminate")


def check_forward(before: dict[str, Any], after: dict[str, Any], *, resumable: bool) -> None:
    """Nothing that has ended changes, nothing that was tried becomes untried, nothing vanishes.

    Steps whose retries are used up may begin again where they are ``resumable``.
    """
    now = {entry["id"]: entry for entry in entries(after)}
    for entry in entries(before):
        assert entry["id"] in now, "a step vanished"
        later = now[entry["id"]]
        if resumable and entry.get("reason") == "FailedAfterRetries" and "subSteps" not in entry:
            continue
        if finished(entry):
            assert {**later, "subSteps": 0} == {**entry, "subSteps": 0}, "a finished step was rewritten"
        if entry.get("firstExecuteTime"):
            assert later["phase"] not in {"pending", ""}
            assert later["firstExecuteTime"] == entry["firstExecuteTime"]
    if before.get("startTime"):
        assert after["startTime"] == before["startTime"]


def check_has_a_reason(conclusion: run_pass.Conclusion) -> None:
    status = conclusion.status
    if status["finished"]:
        assert status["status"] in {"succeeded", "failed", "terminated"}
        assert status["endTime"]
        for entry in entries(status):
            final = entry["phase"] in FINAL or entry["phase"] == "failed"
            assert final, f"the run ended with {entry['name']} {entry['phase']}"
    elif conclusion.requeue_after is None:
        assert status["status"] == "suspending", f"nothing will ever happen, and the phase is {status['status']}"


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    steps=workflows(),
    mode=st.sampled_from(["StepByStep", "DAG"]),
    sub=st.sampled_from(["", "StepByStep"]),
    resumable=st.booleans(),
    data=st.data(),
)
def test_every_run_ends_and_keeps_its_promises(
    steps: list[dict[str, Any]], mode: str, sub: str, resumable: bool, data: st.DataObject
) -> None:
    run = Run(*steps, mode=mode, sub_mode=sub)
    run.suspend_on_failure = resumable
    run.now = START
    chaos = Chaos(run, data)
    for _ in range(25):
        chaos.one_pass()
        chaos.time()
        if run.status.get("finished"):
            break
        chaos.user()
    # From here on nobody interferes and every attempt succeeds: the run has to end by itself.
    for _ in range(60):
        if run.status.get("finished"):
            break
        if run.conclusion is not None and run.conclusion.requeue_after is None:
            run.edit({"suspend": False, "suspendState": None})
        run.go(woken=("*",), **dict.fromkeys([*NAMES, *SUBS], succeed))
        if not run.status.get("finished"):
            run.wait(run.conclusion.requeue_after or 1.0)
    assert run.status["finished"], run.shown()
    names = {entry["name"] for entry in entries(run.status)}
    assert names == {one["name"] for one in [*steps, *(sub for one in steps for sub in one.get("subSteps", []))]}


def succeed(task: tasks.Execute) -> result.Result:
    return result.Succeeded({output.name: 1 for output in task.step.outputs})
