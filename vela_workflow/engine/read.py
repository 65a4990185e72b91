"""From the steps that a user wrote to ``StepPlan``: reading each field and collecting what is wrong with it.

Nothing is assumed of the form: a run can reach the operator without admission, and a plan is also built of steps that a
custom resource schema never saw. A field that cannot be read becomes a problem with its path, and a defect of the step
where the step cannot run without it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from vela_workflow import errors
from vela_workflow.api import constants, durations
from vela_workflow.engine import hints, inputs, paths
from vela_workflow.engine import steps as model

JSON = dict[str, Any]

EXPECTED: dict[type, str] = {dict: "an object", list: "a list", str: "a string"}


class Reader:
    """Reads the steps of one workflow; ``problems``, ``warnings`` and ``fields`` (path → field path) grow with it."""

    def __init__(self, sub_mode: constants.Mode) -> None:
        self.problems: list[errors.Problem] = []
        self.warnings: list[errors.Problem] = []
        self.fields: dict[str, str] = {}
        self._sub_mode = sub_mode
        self._names: set[str] = set()

    def steps(self, steps: Iterable[Any], place: str) -> tuple[model.StepPlan, ...]:
        """Read the steps of the top level; unnamed ones are called ``step-<i>`` (decisions 36)."""
        return tuple(self._step(step, f"{place}[{i}]", f"step-{i}", "") for i, step in enumerate(steps))

    def _step(self, raw: Any, place: str, default_name: str, parent: str) -> model.StepPlan:
        one = _Step(raw, place)
        name = one.text("name") or default_name
        path = model.unique_path(parent, name, self.fields)
        self.fields[path] = place
        if path != (f"{parent}/{name}" if parent else name):
            one.defect(constants.Reason.RENDERING, "name", f'duplicated step name "{name}"')
        elif name in self._names:
            one.problem("name", f'duplicated step name "{name}": names of steps and sub steps share one space')
        self._names.add(name)
        type_ = one.text("type")
        if not type_:
            one.defect(constants.Reason.RENDERING, "type", "the step has no type")
        step = model.StepPlan(
            name=name,
            type=type_,
            path=path,
            parent=parent,
            condition=one.text("if").strip(),
            timeout=one.timeout(),
            depends_on=tuple(one.names("dependsOn")),
            inputs=tuple(one.inputs()),
            outputs=tuple(one.outputs()),
            retry=one.retry(),
            mode=self._mode(one),
            properties=one.mapping("properties"),
            sub_steps=self._sub_steps(one, type_, default_name, path, nested=bool(parent)),
            source=one.raw,
            defects=tuple(one.defects),
        )
        self.problems += one.problems
        self.warnings += one.warnings
        return step

    def _mode(self, one: _Step) -> constants.Mode:
        mode = one.raw.get("mode")
        if not mode:
            return self._sub_mode
        unknown = hints.unknown_mode(mode, constants.Mode.DAG)
        if unknown:
            one.warn("mode", unknown)
        return constants.Mode.STEP_BY_STEP if mode == constants.Mode.STEP_BY_STEP else constants.Mode.DAG

    def _sub_steps(
        self, one: _Step, type_: str, default_name: str, path: str, *, nested: bool
    ) -> tuple[model.StepPlan, ...]:
        raw = one.items("subSteps")
        if type_ != constants.STEP_GROUP:
            if raw:
                one.warn("subSteps", f'only the type {constants.STEP_GROUP} runs sub steps; "{type_}" ignores them')
            return ()
        if nested:
            if raw:
                one.warn("subSteps", "a group inside a group runs no sub steps; put them into a group of their own")
            return ()
        if "retry" in one.raw:
            one.warn("retry", "a group is not retried as a whole; give its sub steps a retry of their own")
        return tuple(
            self._step(sub, f"{one.place}.subSteps[{j}]", f"{default_name}-{j}", path) for j, sub in enumerate(raw)
        )


class _Step:
    """The fields of one step as they are read, with what was found wrong."""

    def __init__(self, raw: Any, place: str) -> None:
        self.place = place
        self.raw: JSON = raw if isinstance(raw, dict) else {}
        self.problems: list[errors.Problem] = []
        self.warnings: list[errors.Problem] = []
        self.defects: list[model.Defect] = []
        if not isinstance(raw, dict):
            self.problems.append(errors.Problem("a step must be an object", place))

    def problem(self, key: str, message: str) -> None:
        self.problems.append(errors.Problem(message, f"{self.place}.{key}"))

    def warn(self, key: str, message: str) -> None:
        self.warnings.append(errors.Problem(message, f"{self.place}.{key}"))

    def defect(self, reason: constants.Reason, key: str, message: str) -> None:
        """A problem that the step fails with, should it be reached."""
        self.problem(key, message)
        self.defects.append(model.Defect(reason, f"{key}: {message}" if key not in message else message))

    def _typed(self, key: str, type_: type) -> Any:
        value = self.raw.get(key)
        if value is None:
            return type_()
        if not isinstance(value, type_):
            self.defect(constants.Reason.RENDERING, key, f"must be {EXPECTED[type_]}, not {paths.kind(value)}")
            return type_()
        return value

    def text(self, key: str) -> str:
        value: str = self._typed(key, str)
        return value

    def mapping(self, key: str) -> JSON:
        value: JSON = self._typed(key, dict)
        return value

    def items(self, key: str) -> list[Any]:
        value: list[Any] = self._typed(key, list)
        return value

    def names(self, key: str) -> list[str]:
        return [str(name) for name in self.items(key)]

    def timeout(self) -> float | None:
        """Seconds; a bad one is a defect with reason Rendering (decisions 9 and 12)."""
        text = self.text("timeout")
        if not text:
            return None
        seconds = self._seconds("timeout", text)
        if seconds < 0:
            self.defect(constants.Reason.RENDERING, "timeout", f'must not be negative, as "{text}" is')
        return seconds

    def _seconds(self, key: str, text: Any, default: str = "0s") -> float:
        if not isinstance(text, str):
            self.defect(constants.Reason.RENDERING, key, f"must be a string such as 30s, not {paths.kind(text)}")
            text = default
        try:
            return durations.parse(text).total_seconds()
        except errors.Invalid as error:
            self.defect(constants.Reason.RENDERING, key, "; ".join(p.message for p in error.problems))
            return durations.parse(default).total_seconds()

    def inputs(self) -> Iterable[model.Input]:
        for index, item in enumerate(self.items("inputs")):
            place = f"inputs[{index}]"
            source = item.get("from") if isinstance(item, Mapping) else None
            if not isinstance(source, str) or not source.strip():
                self.defect(constants.Reason.INPUT, place, "from is required: the name of an output, or a path")
                continue
            yield model.Input(
                source=source,
                path=paths.parse(source) if paths.is_plain(source) else None,
                key=self._key(f"{place}.parameterKey", item.get("parameterKey")),
            )

    def _key(self, place: str, key: Any) -> paths.Path | None:
        if key is None or key == "":
            return None
        try:
            return inputs.parse_key(str(key))
        except paths.PathError as error:
            self.defect(constants.Reason.INPUT, place, str(error))
            return None

    def outputs(self) -> Iterable[model.Output]:
        for index, item in enumerate(self.items("outputs")):
            place = f"outputs[{index}]"
            if not isinstance(item, Mapping) or not isinstance(item.get("name"), str) or not item["name"]:
                self.defect(constants.Reason.OUTPUT, place, "name is required")
                continue
            value_from = item.get("valueFrom") or item.get("exportKey")
            if not isinstance(value_from, str):
                if "valueFrom" not in item and "exportKey" not in item:
                    self.defect(constants.Reason.OUTPUT, place, "valueFrom is required")
                value_from = ""
            try:
                yield model.Output(item["name"], paths.parse(item["name"]), value_from)
            except paths.PathError as error:
                self.defect(constants.Reason.OUTPUT, f"{place}.name", str(error))

    def retry(self) -> model.Retry | None:
        """The step's own ``retry`` (decisions 16); fields that are left out have the defaults of the API."""
        if self.raw.get("retry") is None:
            return None
        raw = self.mapping("retry")
        backoff = raw.get("backoff")
        backoff = backoff if isinstance(backoff, Mapping) else {}
        limit, factor = raw.get("limit", constants.MAX_RETRIES), backoff.get("factor", constants.RETRY_BACKOFF_FACTOR)
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
            self.defect(constants.Reason.RENDERING, "retry.limit", "must be a whole number, 0 or more")
            limit = constants.MAX_RETRIES
        if not isinstance(factor, int | float) or isinstance(factor, bool) or not factor >= 1:
            self.defect(constants.Reason.RENDERING, "retry.backoff.factor", "must be a number, 1 or more")
            factor = constants.RETRY_BACKOFF_FACTOR
        duration = backoff.get("duration") or constants.RETRY_BACKOFF_DURATION
        cap = backoff.get("cap") or constants.RETRY_BACKOFF_CAP
        return model.Retry(
            limit=limit,
            duration=max(0.0, self._seconds("retry.backoff.duration", duration, constants.RETRY_BACKOFF_DURATION)),
            factor=float(factor),
            cap=max(0.0, self._seconds("retry.backoff.cap", cap, constants.RETRY_BACKOFF_CAP)),
            on=self._retry_on(raw.get("on", raw.get(constants.RETRY_ON_UNQUOTED))),
        )

    def _retry_on(self, raw: Any) -> frozenset[constants.RetryOn]:
        if raw is None:
            return frozenset(constants.RETRY_ON)
        known = [kind.value for kind in constants.RetryOn]
        named = raw if isinstance(raw, list) else [raw]
        for kind in named:
            if kind not in known:
                message = f'unknown "{kind}"; known are {", ".join(known)}'
                self.defect(constants.Reason.RENDERING, "retry.on", message)
        return frozenset(kind for kind in constants.RetryOn if kind.value in named)


def kept_step(source: JSON, path: str, name: str, parent: str, sub_mode: constants.Mode) -> model.StepPlan:
    """A step in flight as it was when it started, from the source that the state kept (decisions 23)."""
    step = Reader(sub_mode).steps([source], "")[0]
    return dataclasses.replace(step, path=path, name=name, parent=parent)
