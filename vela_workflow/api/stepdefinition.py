"""``WorkflowStepDefinition``: a step type (engine 1.4).

Its CUE template says what a step of this type takes (``parameter``) and does (the operations). The template is all
that this program reads. The Terraform part and the status belong to other controllers of this API; they are here so
that their objects keep working beside ours.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import pydantic
from pydantic import Field

from vela_workflow.api.model import Model, ObjectMeta, Resource
from vela_workflow.api.status import Condition

OPEN: Final[dict[str, Any]] = {"x-kubernetes-preserve-unknown-fields": True}


class DefinitionReference(Model):
    """The kind that a definition stands for."""

    name: str = Field(description="Name of a CustomResourceDefinition.")
    version: str = Field(default="", description="Version of the kind.")


class CueSchematic(Model):
    """A template in CUE."""

    template: str = Field(
        description="The template: parameter says what a step takes, other fields are the operations, from packages "
        "such as vela/kube and vela/builtin."
    )


class SecretReference(Model):
    """Which Secret."""

    name: str = Field(default="", description="Name of the Secret.")
    namespace: str = Field(default="", description="Namespace of the Secret.")


class ProviderReference(Model):
    """Which Terraform provider."""

    name: str = Field(description="Name of the provider.")
    namespace: str = Field(
        default="default", json_schema_extra={"x-default": "default"}, description="Namespace of the provider."
    )


class ConnectionSecret(Model):
    """Where Terraform writes connection details."""

    name: str = Field(description="Name of the Secret.")
    namespace: str = Field(default="", description="Namespace of the Secret.")


class TerraformSchematic(Model):
    """A Terraform module; carried out by other controllers, not by this one."""

    configuration: str = Field(description="The module, as text or as an address.")
    type: Literal["hcl", "json", "remote"] = Field(
        default="hcl", json_schema_extra={"x-default": "hcl"}, description="What configuration is: hcl, json or remote."
    )
    path: str = Field(default="", description="Directory in a remote module.")
    custom_region: str = Field(default="", description="Region, in place of the provider's.")
    delete_resource: bool = Field(
        default=True,
        json_schema_extra={"x-default": True},
        description="Whether cloud resources are deleted with the object.",
    )
    provider_ref: ProviderReference | None = Field(default=None, description="Which provider is used.")
    git_credentials_secret_reference: SecretReference | None = Field(
        default=None, description="Secret with the credentials of a remote module."
    )
    write_connection_secret_to_ref: ConnectionSecret | None = Field(
        default=None, description="Secret that connection details are written to."
    )


class Schematic(Model):
    """How a definition is written; only cue is carried out by this program."""

    model_config = pydantic.ConfigDict(json_schema_extra=OPEN)

    cue: CueSchematic | None = Field(default=None, description="A template in CUE.")
    terraform: TerraformSchematic | None = Field(
        default=None, description="A Terraform module; carried out by other controllers, not by this one."
    )


class StepDefinitionSpec(Model):
    """What the step type takes and does."""

    definition_ref: DefinitionReference | None = Field(
        default=None, description="The kind that the definition stands for; not used by this program."
    )
    schematic: Schematic | None = Field(
        default=None, description="How the definition is written; only cue is carried out by this program."
    )
    version: str = Field(default="", description="Version of the definition, for those who publish it.")


class Revision(Model):
    """A stored revision of the definition."""

    name: str = Field(default="", description="Name of the revision.")
    revision: int = Field(default=0, description="Number of the revision, counted from 1.")
    revision_hash: str = Field(default="", description="Hash over what the revision holds.")


class StepDefinitionStatus(Model):
    """What other controllers tell about the definition; not written by this program."""

    conditions: list[Condition] = Field(
        default_factory=list,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        description="Aspects of the state of the definition.",
    )
    config_map_ref: str = Field(default="", description="Name of the ConfigMap with the schema of the parameters.")
    latest_revision: Revision | None = Field(default=None, description="The newest stored revision.")


class WorkflowStepDefinition(Resource):
    """A step type: a CUE template with its parameters and operations. Steps use it by its name."""

    api_version: Literal["core.oam.dev/v1beta1"] = "core.oam.dev/v1beta1"
    kind: Literal["WorkflowStepDefinition"] = "WorkflowStepDefinition"
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: StepDefinitionSpec = Field(
        default_factory=StepDefinitionSpec, description="What the step type takes and does."
    )
    status: StepDefinitionStatus = Field(
        default_factory=StepDefinitionStatus,
        description="What other controllers tell about the definition; not written by this program.",
    )
