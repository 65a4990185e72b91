"""What the operator tells about a run in its ``status``, and what users change there.

The operator writes only its own fields, and as few of them as have changed (decisions 25). Users suspend, resume,
terminate and restart a run by editing its status, so no field is required: a patch may hold any part of it. The fields
are those of engine 1.1. Added are ``observedGeneration`` and three small ones that printer columns need, since these
read plain fields only: ``progress``, ``currentStep`` and ``currentStepSince``.
"""

from __future__ import annotations

import pydantic
from pydantic import Field

from vela_workflow.api.model import NULLABLE, Model, Timestamp
from vela_workflow.api.step import ExecuteMode


class Condition(Model):
    """One aspect of the state of an object, for tools such as kubectl wait."""

    type: str = Field(
        description="Which aspect: Succeeded (Unknown until the run has ended) or WorkflowRun (False while the run "
        "cannot be reconciled, True when it succeeded)."
    )
    status: str = Field(default="", description="True, False or Unknown.")
    reason: str = Field(default="", description="Why, in one word for programs.")
    message: str = Field(default="", description="Why, in a sentence for people.")
    last_transition_time: Timestamp | None = Field(
        default=None, json_schema_extra=NULLABLE, description="When status last changed."
    )
    observed_generation: int | None = Field(
        default=None, description="Generation of the object that the condition was set for."
    )


class ObjectReference(Model):
    """Which object."""

    model_config = pydantic.ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    api_version: str = Field(default="", description="API version of the object.")
    kind: str = Field(default="", description="Kind of the object.")
    name: str = Field(default="", description="Name of the object.")
    namespace: str = Field(default="", description="Namespace of the object.")
    uid: str = Field(default="", description="UID of the object.")
    resource_version: str = Field(default="", description="Version of the object, if only that one is meant.")
    field_path: str = Field(default="", description="Part of the object, if not all of it is meant.")


class SubStepStatus(Model):
    """What became of a step."""

    id: str = Field(default="", description="Identity of this execution of the step; another one after a restart.")
    name: str = Field(default="", description="Name of the step.")
    type: str = Field(default="", description="Type of the step.")
    phase: str = Field(
        default="", description="Where the step is: pending, running, suspending, succeeded, failed or skipped."
    )
    reason: str = Field(
        default="",
        description="Why it is in this phase, in one word: Wait, Suspend, Skip, Execute (failed and tried again), "
        "FailedAfterRetries, Timeout, Action (the template said #Fail), Terminate, Rendering, Input, Output, "
        "DependsOn, Unknown (a side effect whose outcome nobody knows).",
    )
    message: str = Field(default="", description="Why, in a sentence for people.")
    first_execute_time: Timestamp | None = Field(
        default=None,
        json_schema_extra=NULLABLE,
        description="When the step was first tried; its timeout counts from it.",
    )
    last_execute_time: Timestamp | None = Field(
        default=None, json_schema_extra=NULLABLE, description="When the step was last tried."
    )


class StepStatus(SubStepStatus):
    """What became of a step of the top level."""

    sub_steps: list[SubStepStatus] = Field(
        default_factory=list, description="What became of the sub steps of a step-group, in the order of the spec."
    )


class WorkflowRunStatus(Model):
    """What became of a run. Suspend, resume and terminate are edits of suspend and terminated."""

    conditions: list[Condition] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        description="Aspects of the state of the run, for tools such as kubectl wait.",
    )
    observed_generation: int | None = Field(
        default=None, description="Generation of the run that this status was made for."
    )
    mode: ExecuteMode | None = Field(
        default=None, description="How the steps run; decided when the run starts and kept until it is restarted."
    )
    status: str = Field(
        default="",
        description="The phase of the run: initializing, executing, suspending, succeeded, failed or terminated.",
    )
    message: str = Field(default="", description="Why the run is where it is, in a sentence for people.")
    suspend: bool = Field(
        default=False, description="Whether the run is suspended. Set it to true to suspend and to false to resume."
    )
    suspend_state: str = Field(default="", description="Kept from other controllers; not used.")
    terminated: bool = Field(
        default=False,
        description="Whether the run is to end early, or has. Set it to true to terminate: what runs fails, what is "
        "pending is skipped, steps with if: always still run.",
    )
    finished: bool = Field(default=False, description="Whether the run has ended.")
    progress: str = Field(
        default="",
        description="How many steps of the top level have ended (succeeded, skipped or failed for good), of how "
        "many: 3/5.",
    )
    current_step: str = Field(
        default="",
        description="Name of the step that the run is at: the first, in the order of the spec, that is running, "
        "suspended or being retried; in a failed run the step that failed. Absent when there is none.",
    )
    current_step_since: Timestamp | None = Field(
        default=None,
        json_schema_extra=NULLABLE,
        description="Since when the run is at its current step.",
    )
    context_backend: ObjectReference | None = Field(
        default=None, description="The ConfigMap that keeps the variables and the state of the run."
    )
    steps: list[StepStatus] = Field(default_factory=list, description="What became of each step.")
    start_time: Timestamp | None = Field(default=None, json_schema_extra=NULLABLE, description="When the run started.")
    end_time: Timestamp | None = Field(default=None, json_schema_extra=NULLABLE, description="When the run ended.")
