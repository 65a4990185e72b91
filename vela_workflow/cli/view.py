"""What a reader wants to know of a run, taken out of the object: its steps, where it is, for how long.

Everything here is pure; the time comes in as an argument. Runs that the Go implementation wrote are read as well: what
only this program writes (``progress``, ``currentStep``) is worked out where it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from vela_workflow.api import constants
from vela_workflow.api.constants import Reason, RunPhase, StepPhase

JSON = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step; ``phase`` is empty while nothing was said of it yet. ``type`` is what the spec or status calls it.

    ``left`` says that the run has gone on without the step, or has ended.
    """

    name: str
    type: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    id: str = ""
    started: datetime | None = None
    last: datetime | None = None
    sub_steps: tuple[Step, ...] = ()
    left: bool = False

    @property
    def finished(self) -> bool:
        """Whether the step has ended; one that failed and is tried again has not (engine 3.2)."""
        if self.phase == StepPhase.FAILED:
            return self.left or self.reason not in {"", Reason.EXECUTE}
        return self.phase in {StepPhase.SUCCEEDED, StepPhase.SKIPPED}

    @property
    def retried(self) -> bool:
        """Whether the step failed and is tried again."""
        return self.phase == StepPhase.FAILED and not self.finished

    @property
    def active(self) -> bool:
        """Whether the step has been started and has not ended."""
        return bool(self.phase) and self.phase != StepPhase.PENDING and not self.finished

    def seconds(self, now: datetime) -> float | None:
        """How long the step took, or takes so far; ``None`` when it was not started."""
        if self.started is None or self.phase in {"", StepPhase.PENDING, StepPhase.SKIPPED}:
            return None
        end = (self.last or now) if self.finished else now
        return max(0.0, (end - self.started).total_seconds())


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    ``suspended`` says that it waits for a person or for a time; ``restarting``, that a restart is asked for which the
    operator has not carried out yet.
    """

    name: str
    namespace: str
    phase: str
    message: str
    finished: bool
    suspended: bool
    restarting: bool
    steps: tuple[Step, ...]
    progress: str
    current: str
    since: datetime | None
    created: datetime | None
    started: datetime | None
    ended: datetime | None

    @property
    def succeeded(self) -> bool:
        """Whether the run ended well."""
        return self.finished and self.phase == RunPhase.SUCCEEDED

    def walk(self) -> Iterator[Step]:
        """All steps, each group before its sub steps."""
        for step in self.steps:
            yield step
            yield from step.sub_steps

    def seconds(self, now: datetime) -> float | None:
        """How long the run took, or takes so far."""
        return None if self.started is None else max(0.0, ((self.ended or now) - self.started).total_seconds())


def read(run: JSON, spec_steps: Sequence[JSON] | None = None) -> Run:
    """Read a run; ``spec_steps`` are the steps of its Workflow when it does not hold them itself."""
    metadata, spec, status = run["metadata"], run.get("spec") or {}, run.get("status") or {}
    if spec_steps is None:
        spec_steps = (spec.get("workflowSpec") or {}).get("steps") or ()
    in_turn = (status.get("mode") or {}).get("steps") == constants.Mode.STEP_BY_STEP
    steps = _settled(_merge(status.get("steps") or (), spec_steps, "step"), bool(status.get("finished")), in_turn)
    current, since = str(status.get("currentStep") or ""), time(status.get("currentStepSince"))
    if not current:
        step = next((one for one in steps if one.active), None)
        if status.get("status") == RunPhase.FAILED:
            step = next((one for one in steps if one.phase == StepPhase.FAILED), None)
        current, since = (step.name, step.started) if step else ("", None)
    return Run(
        name=str(metadata["name"]),
        namespace=str(metadata.get("namespace") or ""),
        phase=str(status.get("status") or ""),
        message=str(status.get("message") or ""),
        finished=bool(status.get("finished")),
        suspended=status.get("status") == RunPhase.SUSPENDING and bool(status.get("suspend")),
        restarting=constants.ANNOTATION_RESTART in (metadata.get("annotations") or {}),
        steps=steps,
        progress=str(status.get("progress") or f"{sum(step.finished for step in steps)}/{len(steps)}"),
        current=current,
        since=since,
        created=time(metadata.get("creationTimestamp")),
        started=time(status.get("startTime")),
        ended=time(status.get("endTime")),
    )


def _merge(entries: Sequence[JSON], spec_steps: Sequence[JSON], unnamed: str) -> tuple[Step, ...]:
    """Steps in the order of the spec, each with what the status says of it, then what only the status knows.

    Steps without a name are called as the operator calls them (decisions 36).
    """
    by_name = {str(entry.get("name") or ""): entry for entry in entries}
    steps = []
    for index, spec in enumerate(spec_steps):
        name = str(spec.get("name") or f"{unnamed}-{index}")
        entry = by_name.pop(name, {})
        subs = (spec.get("subSteps") or ()) if spec.get("type") == constants.STEP_GROUP else ()
        steps.append(_step(name, entry, str(spec.get("type") or ""), subs, f"{unnamed}-{index}"))
    return (*steps, *(_step(name, entry, "", (), "") for name, entry in by_name.items()))


def _settled(steps: tuple[Step, ...], ended: bool, in_turn: bool) -> tuple[Step, ...]:
    """The steps, with those marked that are over although their phase and reason leave that open.

    A failure that is tried again and one that no trying helps against have the same reason. The latter shows in what
    came after it: the run has ended, or, where one step comes after the other, the next one has begun.
    """
    found: list[Step] = []
    begun = False
    for step in reversed(steps):
        left = ended or (in_turn and begun)
        found.append(replace(step, left=left, sub_steps=_settled(step.sub_steps, left, in_turn=False)))
        begun = begun or step.phase not in {"", StepPhase.PENDING}
    return tuple(reversed(found))


def _step(name: str, entry: JSON, type_: str, spec_subs: Sequence[JSON], unnamed: str) -> Step:
    return Step(
        name=name,
        type=str(entry.get("type") or type_),
        phase=str(entry.get("phase") or ""),
        reason=str(entry.get("reason") or ""),
        message=str(entry.get("message") or ""),
        id=str(entry.get("id") or ""),
        started=time(entry.get("firstExecuteTime")),
        last=time(entry.get("lastExecuteTime")),
        sub_steps=_merge(entry.get("subSteps") or (), spec_subs, unnamed),
    )


def time(value: Any) -> datetime | None:
    """A time stamp of the API, or seconds since the epoch; ``None`` when there is none, or none that can be read."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
        if not isinstance(value, str) or not value:
            return None
        found = datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def now() -> datetime:
    """The present time."""
    return datetime.now(UTC)


_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def duration(seconds: float | None) -> str:
    """A time span for a column: its two greatest units, such as ``45s``, ``3m12s``, ``5h``, ``12d``; ``""`` for none.

    Like kubectl, small units are left out once the great one is large.
    """
    if seconds is None:
        return ""
    rest, parts = int(max(0.0, seconds)), []
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append((count, unit))
        elif parts:
            break
        if len(parts) == 2 or (parts and parts[0][0] >= 10 and unit in {"d", "h", "m"}):
            break
    return "".join(f"{count}{unit}" for count, unit in parts) or "0s"


def since(moment: datetime | None, present: datetime) -> str:
    """How long ago something was; ``""`` when it is not known."""
    return "" if moment is None else duration((present - moment).total_seconds())
