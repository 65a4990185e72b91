"""All settings of the operator, in one frozen object.

Every field is documented here and nowhere else; flags of ``vela-workflow operator``, environment variables
(``VELA_WORKFLOW_<FIELD>``) and chart values are made from it. Unknown or wrong settings stop the start.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

import pydantic

from vela_workflow import errors

PREFIX = "VELA_WORKFLOW_"


class Settings(pydantic.BaseModel):
    """How the operator runs."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    kubeconfig: str = pydantic.Field(
        default="", description="Path of a kubeconfig; empty means the Pod's own account, then the default kubeconfig."
    )
    context: str = pydantic.Field(default="", description="Context of the kubeconfig; empty means its current one.")
    namespace: str = pydantic.Field(
        default="", description="The only namespace whose runs are carried out; empty means all namespaces."
    )
    system_namespace: str = pydantic.Field(
        default="vela-system",
        description="Where definitions for all namespaces, joined clusters and configuration templates are.",
    )
    cue: str = pydantic.Field(default="cue", description="The cue command: a name on PATH or a path.")
    workers: int = pydantic.Field(default=32, ge=1, description="How many runs are worked on at the same time.")
    cue_commands: int = pydantic.Field(
        default=0, ge=0, description="How many cue commands may run at the same time; 0 means one per core."
    )
    cue_timeout: float = pydantic.Field(default=20.0, gt=0, description="Seconds that one evaluation may take.")
    cue_memory: int = pydantic.Field(
        default=1024, ge=256, description="Mebibytes of memory that one cue command may use."
    )
    request_timeout: float = pydantic.Field(
        default=30.0, gt=0, description="Seconds that one call of an API server may take."
    )
    log_level: str = pydantic.Field(
        default="INFO", description="Least level of log lines: DEBUG, INFO, WARNING, ERROR."
    )
    metrics_port: int = pydantic.Field(
        default=0, ge=0, le=65535, description="Port of /metrics, /healthz and /readyz; 0 means none."
    )
    metrics_address: str = pydantic.Field(default="127.0.0.1", description="Address that the metrics port listens on.")
    admission_port: int = pydantic.Field(
        default=0, ge=0, le=65535, description="Port of the admission webhooks; 0 means none."
    )
    admission_address: str = pydantic.Field(
        default="", description="Address that the admission port listens on; empty means all of them."
    )
    admission_service: str = pydantic.Field(
        default="vela-workflow",
        description="Service in the system namespace that leads to the admission port; its names are certified.",
    )
    admission_secret: str = pydantic.Field(
        default="vela-workflow-admission",
        description="Secret in the system namespace where replicas share the certificate of the webhooks.",
    )
    admission_configuration: str = pydantic.Field(
        default="vela-workflow",
        description="Name of the webhook configurations whose caBundle the operator keeps right; empty means none.",
    )
    admission_unknown_types: Literal["deny", "warn"] = pydantic.Field(
        default="deny", description="What becomes of a new run with step types that do not exist: deny or warn."
    )
    admission_timeout: float = pydantic.Field(
        default=5.0, gt=0, lt=10, description="Seconds after which an object is let through without a full review."
    )
    recycle_label: str = pydantic.Field(
        default="pipeline.oam.dev/name",
        description="Label that groups runs, whose ended ones are deleted at last; empty means that none are.",
    )
    recycle_keep: int = pydantic.Field(default=1, ge=1, description="How many ended runs of a group are kept.")
    recycle_after: float = pydantic.Field(
        default=720 * 3600.0, ge=0, description="Seconds after their end when the other runs of a group are deleted."
    )


def load(flags: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings from flags (which win) and environment; raises ``Invalid`` with every wrong one."""
    environment = os.environ if environment is None else environment
    values: dict[str, object] = {
        key.removeprefix(PREFIX).lower(): value
        for key, value in environment.items()
        if key.startswith(PREFIX) and key.removeprefix(PREFIX).lower() in Settings.model_fields
    }
    values.update({key: value for key, value in (flags or {}).items() if value is not None})
    try:
        return Settings.model_validate(values)
    except pydantic.ValidationError as error:
        problems = [
            errors.Problem(str(found["msg"]), path=".".join(str(part) for part in found["loc"]))
            for found in error.errors()
        ]
        raise errors.Invalid(problems, summary="wrong settings") from None
