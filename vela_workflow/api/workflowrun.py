"""``WorkflowRun``: one execution of a workflow (engine 1.1).

Its steps are written inside it or taken from a ``Workflow``. It runs once; what comes of it is in ``status``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vela_workflow.api.model import FreeForm, Model, ObjectMeta, Resource
from vela_workflow.api.status import WorkflowRunStatus
from vela_workflow.api.step import ExecuteMode, Step


class WorkflowSpec(Model):
    """Steps written inside a run."""

    steps: list[Step] = Field(default_factory=list, description="The steps, in the order they run by default.")


class WorkflowRunSpec(Model):
    """What to run: the steps, how they follow each other, and what templates see as context."""

    mode: ExecuteMode | None = Field(
        default=None,
        description="How the steps follow each other. Takes the place of the whole mode of the referenced Workflow.",
    )
    workflow_spec: WorkflowSpec | None = Field(
        default=None, description="The steps to run, written here. Comes before workflowRef."
    )
    workflow_ref: str = Field(default="", description="Name of a Workflow in the same namespace, whose steps are run.")
    context: FreeForm | None = Field(
        default=None,
        description="Values that templates and if see under context, beside the built-in ones (name, namespace, "
        "stepName and others), which they override.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None,
        description="Seconds after its end when the run is deleted; 0 deletes it at once. Without it the run is kept.",
    )


class WorkflowRun(Resource):
    """One execution of a workflow: its steps, written here or in a Workflow, and what became of them."""

    api_version: Literal["core.oam.dev/v1alpha1"] = "core.oam.dev/v1alpha1"
    kind: Literal["WorkflowRun"] = "WorkflowRun"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: WorkflowRunSpec = Field(
        default_factory=WorkflowRunSpec,
        description="What to run: the steps, how they follow each other, and what templates see as context.",
    )
    status: WorkflowRunStatus = Field(
        default_factory=WorkflowRunStatus,
        description="What became of the run, written by the operator. Suspend, resume and terminate are edits of "
        "suspend and terminated.",
    )
