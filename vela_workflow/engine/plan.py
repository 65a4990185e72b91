"""What the user wrote, as the engine uses it: built and checked once, never changed.

A ``Plan`` holds the steps with their modes, and knows who depends on whom, under which aliases, and what is wrong.
``Plan.problems`` is for admission; what makes a step impossible is also kept as the ``Defect`` that the step fails with
when a run gets there (decisions 9), so that a faulty spec fails the steps it concerns with a clear message, whether or
not admission looked at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.engine import read, validate
from vela_workflow.engine import steps as model

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of a workflow; see the module.

    ``names`` maps what ``dependsOn`` and ``if`` may call a step (names, then aliases) to its path. ``warnings`` are
    for people too, but make nothing impossible. ``orphans`` are inputs that no step gives: unless a template sets them,
    their steps fail.
    """

    steps: tuple[model.StepPlan, ...]
    mode: constants.Mode
    sub_mode: constants.Mode
    names: Mapping[str, str]
    by_path: Mapping[str, model.StepPlan]
    defects: Mapping[str, model.Defect]
    problems: tuple[errors.Problem, ...]
    warnings: tuple[errors.Problem, ...]
    orphans: tuple[errors.Problem, ...]

    @classmethod
    def build(
        cls,
        steps: Iterable[JSON],
        mode: Mapping[str, Any] | None = None,
        status_mode: Mapping[str, Any] | None = None,
        *,
        field_path: str = "steps",
    ) -> Plan:
        """Build the plan of a run.

        ``mode`` is the mode in effect of the spec, ``status_mode`` what the status froze when the run started, which
        wins for the top level (engine 3.3). ``field_path`` is where the steps are, for the paths of problems.
        """
        mode, frozen = mode or {}, status_mode or {}
        top = frozen.get("steps") or mode.get("steps")
        sub_mode = _sub_mode(mode.get("subSteps"))
        reader = read.Reader(sub_mode)
        plans = reader.steps(steps, field_path)
        by_path = {step.path: step for step in model.walk(plans)}
        draft = cls(
            steps=plans,
            mode=constants.Mode.DAG if top == constants.Mode.DAG else constants.Mode.STEP_BY_STEP,
            sub_mode=sub_mode,
            names=_names(plans),
            by_path=by_path,
            defects={},
            problems=(),
            warnings=(),
            orphans=(),
        )
        findings = validate.relations(draft, reader.fields)
        defects = {path: step.defects[0] for path, step in by_path.items() if step.defects}
        return cls(
            steps=draft.steps,
            mode=draft.mode,
            sub_mode=sub_mode,
            names=draft.names,
            by_path=by_path,
            defects={**findings.defects, **defects},
            problems=(*reader.problems, *findings.problems),
            warnings=(*reader.warnings, *findings.warnings),
            orphans=tuple(findings.orphans),
        )

    def scope_of(self, parent: str) -> tuple[tuple[model.StepPlan, ...], constants.Mode]:
        """The siblings inside a group (or at the top level, for ``""``) and the mode they run in."""
        if not parent:
            return self.steps, self.mode
        group = self.by_path[parent]
        return group.sub_steps, group.mode


def _sub_mode(text: object) -> constants.Mode:
    return constants.Mode.STEP_BY_STEP if text == constants.Mode.STEP_BY_STEP else constants.Mode.DAG


def _names(steps: tuple[model.StepPlan, ...]) -> dict[str, str]:
    """Names and aliases to paths: top level first, then sub steps, then aliases (engine 3.5, decisions 36)."""
    names: dict[str, str] = {}
    for step in steps:
        names.setdefault(step.name, step.path)
    for step in model.walk(steps):
        names.setdefault(step.name, step.path)
    for step in steps:
        alias = step.properties.get("name") or step.properties.get("component")
        if isinstance(alias, str) and alias:
            names.setdefault(alias, step.path)
    return names
