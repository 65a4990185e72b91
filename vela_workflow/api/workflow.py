"""``Workflow``: steps that runs refer to by name (engine 1.3).

Unlike other kinds it has no ``spec``: mode and steps are fields of the object itself.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vela_workflow.api.model import ObjectMeta, Resource
from vela_workflow.api.step import ExecuteMode, Step


class Workflow(Resource):
    """Steps that any number of WorkflowRuns in the same namespace can run by workflowRef."""

    api_version: Literal["core.oam.dev/v1alpha1"] = "core.oam.dev/v1alpha1"
    kind: Literal["Workflow"] = "Workflow"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    mode: ExecuteMode | None = Field(
        default=None, description="How the steps follow each other, unless the run has a mode of its own."
    )
    steps: list[Step] = Field(default_factory=list, description="The steps, in the order they run by default.")
