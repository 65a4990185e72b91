"""The steps of a workflow, as ``WorkflowRun``, ``Workflow`` and ``Application`` share them.

A step names a type, which is built in or a ``WorkflowStepDefinition``, and gives it properties. Everything else about
a step says when it runs (``dependsOn``, ``if``, ``inputs``), how long and how often (``timeout``, ``retry``) and what
it hands on (``outputs``). Only steps of the top level can hold sub steps, and only the type ``step-group`` runs them.
The fields are those of engine 1.2; ``retry`` and ``outputs[].exportKey`` are added (decisions 16 and 41).
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from vela_workflow.api import constants
from vela_workflow.api.model import NULLABLE, Duration, FreeForm, Model


class ExecuteMode(Model):
    """How steps follow each other: StepByStep or DAG."""

    steps: str = Field(
        default="",
        description="How the steps of the top level run: StepByStep (default), one after another in the order they "
        "are written, or DAG, concurrently as far as dependsOn and inputs allow.",
    )
    sub_steps: str = Field(
        default="",
        description="How the sub steps of a step-group run: DAG (default) or StepByStep. A group can override it by "
        "its own mode.",
    )


class StepMeta(Model):
    """Notes on a step for people and their tools; the engine does not read them."""

    alias: str = Field(default="", description="A name of the step for people.")


class InputItem(Model):
    """A value that a step takes from another step or from the context."""

    from_: str = Field(
        alias="from",
        description="Name of an output of another step, or a path such as context.name. The step waits until it "
        "is there.",
    )
    parameter_key: str = Field(
        default="",
        description="Where the value goes in the step's parameters, such as image or env[0].value; it replaces what "
        'properties say. Without it the value is only seen by if, as inputs["<from>"].',
    )


class OutputItem(Model):
    """A value that a step hands on to others when it has ended. One of valueFrom and exportKey is needed."""

    model_config = pydantic.ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["valueFrom"]}, {"required": ["exportKey"]}]}
    )

    name: str = Field(description="Name by which inputs of other steps refer to the value.")
    value_from: str = Field(
        default="",
        description="CUE expression over the step's template, parameter and context, such as "
        "output.$returns.value.status.podIP.",
    )
    export_key: str = Field(
        default="",
        description="Older spelling of valueFrom: a field of the step's template. Not looked at when valueFrom is set.",
    )

    @pydantic.model_validator(mode="after")
    def _needs_a_source(self) -> OutputItem:
        if not self.model_fields_set & {"value_from", "export_key"}:
            raise ValueError("one of valueFrom and exportKey is required")
        return self


RetryCause = Literal["error", "fail", "timeout"]
"""The values of ``constants.RetryOn``, as they are written."""


def _default_causes() -> list[RetryCause]:
    return ["error"]


class RetryBackoff(Model):
    """How long to wait before each retry."""

    duration: Duration = Field(
        default=constants.RETRY_BACKOFF_DURATION, description="Delay before the first retry, such as 10s. Default: 1s."
    )
    factor: Annotated[float, Field(ge=1)] = Field(
        default=constants.RETRY_BACKOFF_FACTOR,
        description="By how much each delay is longer than the one before. Default: 2.",
    )
    cap: Duration = Field(
        default=constants.RETRY_BACKOFF_CAP, description="The longest delay, such as 10m. Default: 5m."
    )


class Retry(Model):
    """How often and when a step is tried again, in place of the default of ten retries with growing delays."""

    limit: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        default=constants.MAX_RETRIES, description="Greatest number of retries; 0 means none. Default: 10."
    )
    backoff: RetryBackoff = Field(default_factory=RetryBackoff, description="How long to wait before each retry.")
    on: list[RetryCause] = Field(
        default_factory=_default_causes,
        description="What is answered by a retry: error (an operation failed), fail (the template said #Fail), "
        "timeout (the step's timeout passed). Default: error.",
    )
    on_unquoted: list[RetryCause] | None = Field(
        default=None,
        alias=constants.RETRY_ON_UNQUOTED,
        description="The same as on, which YAML readers such as that of kubectl turn into true unless it is in quotes.",
    )


class SubStep(Model):
    """One step of a step-group."""

    name: str = Field(
        default="",
        description="Name of the step, unique among all steps and sub steps of the workflow. Without one it is called "
        "step-<index>, a sub step step-<index>-<index>, counted from 0.",
    )
    type: str = Field(
        description="What the step does: a built-in type (suspend, step-group) or the name of a "
        "WorkflowStepDefinition in the namespace of the run or in the system namespace."
    )
    meta: StepMeta | None = Field(default=None, description="Notes on the step for people; the engine ignores them.")
    if_: str = Field(
        default="",
        alias="if",
        description="Whether the step runs: always, or a CUE expression over status, inputs, context and parameter "
        "that gives true or false, such as status.build.failed. Without it the step runs when the steps that it "
        "comes after succeeded. Evaluated once, when the step's turn has come.",
    )
    timeout: Duration = Field(
        default="",
        description="How long the step may take from its first attempt, such as 30s, 1h30m or 2d; then it fails with "
        "reason Timeout. A number needs a unit: ns, us, ms, s, m, h or d.",
    )
    retry: Retry | None = Field(
        default=None, description="How often and when the step is tried again, in place of the default."
    )
    depends_on: list[str] = Field(
        default_factory=list,
        description="Names of steps that must have ended before this one starts. When one of them did not succeed, "
        "this one is skipped, unless its if says otherwise.",
    )
    inputs: list[InputItem] = Field(
        default_factory=list, description="Values taken from other steps; the step waits until all are there."
    )
    outputs: list[OutputItem] = Field(
        default_factory=list, description="Values handed on to other steps when the step has ended."
    )
    properties: FreeForm | None = Field(
        default=None, description="What the template sees as parameter. Its fields are decided by the step type."
    )


class Step(SubStep):
    """One step of a workflow."""

    mode: str | None = Field(
        default=None,
        json_schema_extra=NULLABLE,
        description="How the sub steps of this step-group run, StepByStep or DAG, in place of mode.subSteps of the "
        "workflow.",
    )
    sub_steps: list[SubStep] = Field(
        default_factory=list, description="Steps that run inside this one. Only the type step-group runs them."
    )
