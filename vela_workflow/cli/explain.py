"""``explain``: why a run does not get on.

The answer is put together from the status and from what the operator remembers in the run's context: for each step
that has not ended, what it waits for, which objects would change that, since when, and when it is looked at next.
Objects in the cluster at hand are looked up, since the most frequent reason is that one of them is not there.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vela_workflow.api import constants
from vela_workflow.api.constants import Reason, RunPhase, StepPhase
from vela_workflow.cli import lazy, options, output, runs, view
from vela_workflow.cli.errors import CommandError, Forbidden, NotFound
from vela_workflow.cli.kube import Kube
from vela_workflow.cli.output import TextFormat

JSON = dict[str, Any]

LOCAL: Final = ("", "local")
INDENT: Final = "  "

app = lazy.family()


@dataclass(frozen=True, slots=True)
class Object:
    """An object that a step waits for; an empty ``name`` means any of its kind. ``found`` is how it is now."""

    cluster: str
    api_version: str
    kind: str
    namespace: str
    name: str
    found: str = ""

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name or '*'}" if self.namespace else self.name or "*"
        where = "" if self.cluster in LOCAL else f" in cluster {self.cluster}"
        return f"{self.kind} {place} ({self.api_version}){where}{': ' + self.found if self.found else ''}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why one step has not ended; times are RFC 3339 or empty."""

    step: str
    phase: str
    reason: str
    why: str
    failures: int
    objects: tuple[Object, ...]
    since: str
    next_look: str
    hint: str


@app.command(epilog=lazy.examples("vela-workflow explain deploy-7x2kq", "vela-workflow explain deploy-7x2kq -o json"))
@options.connected
def explain(cluster: Kube, name: options.Run, form: output.Text = TextFormat.TEXT) -> None:
    """Say what a run waits for, and why.

    For each step that has not ended: what is missing, which objects it waits for and whether they are there, since
    when, and when it is looked at again.
    """
    run = runs.find(cluster, name)
    read = view.read(run, runs.spec_steps(cluster, run))
    context, unseen = _context(cluster, run)
    now = view.now()
    found = [
        _looked_up(cluster, one, run["metadata"]["namespace"])
        for one in reasons(read, state(context), resume_times(read, context), now)
    ]
    if form is TextFormat.TEXT:
        for line in lines(read, found, head(read, run), now):
            output.say(line)
        if unseen and not read.finished:
            output.tell(f"what the operator remembers of {name} is not shown: {unseen}")
        return
    output.data(
        {"run": name, "phase": read.phase, "summary": head(read, run), "waiting": [asdict(o) for o in found]}, form
    )


def _context(cluster: Kube, run: JSON) -> tuple[dict[str, str], str]:
    """The context of a run; for a user who may not read it an empty one, and why. The status says much by itself."""
    try:
        return runs.context(cluster, run), ""
    except Forbidden as error:
        return {}, error.message


def state(context: Mapping[str, str]) -> JSON:
    """What the operator remembers of the run; empty when there is nothing, or nothing that can be read."""
    try:
        found = json.loads(context.get(constants.CONTEXT_STATE) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def resume_times(run: view.Run, context: Mapping[str, str]) -> dict[str, str]:
    """When timed suspends end, by step id (engine 3.12)."""
    keys = {step.id: constants.CONTEXT_RESUME_TIME.format(step_id=step.id) for step in run.walk() if step.id}
    return {id_: context[key] for id_, key in keys.items() if context.get(key)}


def reasons(run: view.Run, remembered: JSON, resume_at: Mapping[str, str], now: datetime) -> list[Waiting]:
    """Why each step that was reached and has not ended is where it is; groups speak through their sub steps.

    ``remembered`` is the state of the run's context: ``waiting`` holds the interests of waiting steps, ``engine.steps``
    the memory of ``engine.board.Node``, both by step id. ``resume_at`` is when timed suspends end.
    """
    interests, memories = _tables(remembered)
    return [
        _reason(
            run, step, interests.get(step.id) or {}, memories.get(step.id) or {}, resume_at.get(step.id, ""), now=now
        )
        for step in run.walk()
        if not run.finished and _is_open(step, memories) and not any(_is_open(sub, memories) for sub in step.sub_steps)
        if not (memories.get(step.id) or {}).get("final")
    ]


def _tables(remembered: JSON) -> tuple[dict[str, JSON], dict[str, JSON]]:
    engine = remembered.get("engine")
    tables = (remembered.get("waiting"), engine.get("steps") if isinstance(engine, dict) else None)
    waiting, memories = (
        {str(id_): entry for id_, entry in table.items() if isinstance(entry, dict)} if isinstance(table, dict) else {}
        for table in tables
    )
    return waiting, memories


def _is_open(step: view.Step, memories: Mapping[str, JSON]) -> bool:
    """Whether a step was reached and has not ended; one that has used up its retries has not if it may be resumed."""
    return bool(step.phase) and (not step.finished or _is_exhausted(memories.get(step.id) or {}))


def _is_exhausted(memory: JSON) -> bool:
    return bool(memory.get("exhausted"))


def _reason(run: view.Run, step: view.Step, known: JSON, memory: JSON, resume_at: str, *, now: datetime) -> Waiting:
    standard = _WHY.get((step.phase, step.reason)) or _WHY.get((step.phase, "")) or ""
    failures = memory.get("failures")
    since = view.time(known.get("since")) or view.time(memory.get("waiting")) or step.started
    following = view.time(known.get("next")) or _next_look(step, memory, since, now) or view.time(resume_at)
    suspended = step.phase == StepPhase.SUSPENDING or (_is_exhausted(memory) and run.suspended)
    return Waiting(
        step=step.name,
        phase=step.phase,
        reason=step.reason,
        why=str(known.get("message") or step.message or standard),
        failures=failures if isinstance(failures, int) else 0,
        objects=tuple(_objects(known.get("interests"))),
        since=_stamp(since),
        next_look=_stamp(following),
        hint=f"vela-workflow resume {run.name} --step {step.name}" if suspended else "",
    )


def _stamp(moment: datetime | None) -> str:
    """A moment as the API writes it, in whole seconds."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _next_look(step: view.Step, memory: JSON, since: datetime | None, now: datetime) -> datetime | None:
    """When the operator looks at a step by itself.

    What is remembered of a waiting step is not written at every look, so its last look is not known here: only how
    long the pauses between looks are by now.
    """
    from vela_workflow.engine import timing

    try:
        if step.phase == StepPhase.RUNNING and memory:
            waited = (now - since).total_seconds() if since else 0.0
            after = memory.get("after")
            return now + timedelta(seconds=timing.waiting_delay(waited) if after is None else float(after))
        planned = timing.next_time(step.phase, memory)
    except (TypeError, ValueError, OverflowError):
        return None
    return timing.moment(planned) if planned else None


_WHY: Final[dict[tuple[str, str], str]] = {
    (StepPhase.PENDING, ""): "it is not its turn yet",
    (StepPhase.RUNNING, ""): "it is being carried out",
    (StepPhase.RUNNING, Reason.WAIT): "its template waits for something and does not say for what",
    (StepPhase.SUSPENDING, ""): "somebody suspended it",
    (StepPhase.SUSPENDING, Reason.SUSPEND): "it waits for somebody to resume it",
    (StepPhase.FAILED, Reason.EXECUTE): "it failed and is tried again",
}
"""What to say of a step that says nothing itself."""


def _objects(interests: Any) -> Iterator[Object]:
    for one in interests if isinstance(interests, list) else ():
        if isinstance(one, dict):
            words = (str(one.get(key) or "") for key in ("cluster", "apiVersion", "kind", "namespace", "name"))
            yield Object(*words)


def _looked_up(cluster: Kube, one: Waiting, namespace: str) -> Waiting:
    objects = tuple(_look(cluster, found, namespace) for found in one.objects)
    return replace(one, objects=objects)


def _look(cluster: Kube, one: Object, namespace: str) -> Object:
    """Say whether an object of this cluster is there; others cannot be asked from here."""
    if one.cluster not in LOCAL or not one.name:
        return one
    try:
        cluster.get(cluster.discover(one.api_version, one.kind), one.name, one.namespace or namespace)
        found = "it is there"
    except NotFound:
        found = "there is no such object"
    except CommandError as error:
        found = f"cannot be read from here: {error}"
    return replace(one, found=found)


_ENDED: Final[dict[str, str]] = {
    RunPhase.SUCCEEDED: "has succeeded",
    RunPhase.FAILED: "has failed",
    RunPhase.TERMINATED: "was terminated",
}


def head(run: view.Run, body: JSON) -> str:
    """Where the run as a whole is, and what a person can do about that."""
    required = (body["metadata"].get("annotations") or {}).get(constants.ANNOTATION_CONTROLLER_VERSION)
    message = f": {' '.join(run.message.split())}" if run.message else ""
    if run.restarting:
        return f"{run.name} is to be restarted, and no operator has done that yet: is one running?"
    if run.finished:
        again = "" if run.succeeded else f"; `{_restart(run)}` runs it again from there on"
        return f"{run.name} {_ENDED.get(run.phase, 'has ended')}{message}{again}"
    if not run.phase and required:
        return f"{run.name} was not taken up: it asks for a controller of version {required}"
    if not run.phase:
        return f"{run.name} was not taken up: is the operator running and looking after {run.namespace}?"
    resume = f"; `vela-workflow resume {run.name}` lets it go on" if run.suspended else ""
    return f"{run.name} is {run.phase}, {run.progress} steps have ended{message}{resume}"


def _restart(run: view.Run) -> str:
    """The command that restarts a run where it ended: at the first step that failed."""
    failed = next((step.name for step in run.walk() if step.phase == StepPhase.FAILED and not step.sub_steps), "STEP")
    return f"vela-workflow restart {run.name} --step {shlex.quote(failed)}"


def lines(run: view.Run, found: list[Waiting], summary: str, now: datetime) -> Iterator[str]:
    """The explanation as text."""
    yield summary
    for one in found:
        yield ""
        yield f"step {one.step}: {one.phase}" + (f" ({one.reason})" if one.reason else "")
        yield f"{INDENT}why:       {' '.join(one.why.split())}"
        if one.failures:
            yield f"{INDENT}failed:    {one.failures} times so far"
        for index, thing in enumerate(one.objects):
            yield f"{INDENT}{'waits for:' if index == 0 else '          '} {thing}"
        since = view.time(one.since)
        if since is not None:
            yield f"{INDENT}since:     {view.since(since, now)} ({one.since})"
        following = view.time(one.next_look)
        if one.objects or following:
            yield f"{INDENT}next look: {_next(following, now, watched=bool(one.objects))}"
        if one.hint:
            yield f"{INDENT}to go on:  {one.hint}"
    if not found and run.phase and not run.finished:
        yield ""
        if run.phase == RunPhase.INITIALIZING and run.message:
            yield "no step can start before that is put right; it is tried again, at once when the run is changed"
        else:
            yield "no step is waiting: the next one is about to start"


def _next(following: datetime | None, now: datetime, *, watched: bool) -> str:
    at_once = "at once when one of these changes" if watched else ""
    if following is None:
        return at_once
    seconds = (following - now).total_seconds()
    later = "now" if seconds <= 0 else f"in {view.duration(seconds)}"
    return f"{at_once}, at the latest {later}" if watched else later
