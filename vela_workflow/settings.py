"""All settings of the operator, in one frozen object.

Every field is documented here and nowhere else; flags of ``vela-workflow operator``, environment variables
(``VELA_WORKFLOW_<FIELD>``) and chart values are made from it. Unknown or wrong settings stop the start.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from typing import Literal

import pydantic

from vela_workflow import errors

PREFIX = "VELA_WORKFLOW_"

OTHERS = frozenset({"CACHE", "TEST_KUBECONFIG"})
"""What else is called so: variables of the tools and tests of this repository."""

_SERVICE_LINK = re.compile(r"(?:.*_)?(?:SERVICE_(?:HOST|PORT)(?:_.*)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_.*)?)?)")
"""What Kubernetes puts into the environment of Pods beside a Service whose name begins like ours."""


class Settings(pydantic.BaseModel):
    """How the operator runs."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    kubeconfig: str = pydantic.Field(
        default="", description="Path of a kubeconfig; empty means the Pod's own account, then the default kubeconfig."
    )
    context: str = pydantic.Field(default="", description="Context of the kubeconfig; empty means its current one.")
    namespace: str = pydantic.Field(
        default="",
        description="The only namespaces whose runs are carried out, separated by commas; empty means all of them.",
    )
    system_namespace: str = pydantic.Field(
        default="vela-system",
        description="Where definitions for all namespaces, joined clusters and configuration templates are.",
    )
    cue: str = pydantic.Field(default="cue", description="The cue command: a name on PATH or a path.")
    workers: int = pydantic.Field(default=32, ge=1, description="How many runs are worked on at the same time.")
    cue_commands: int = pydantic.Field(
        default=0,
        ge=0,
        description="How many cue commands may run at the same time; 0 means one per core that may be used, but not "
        "more than 8.",
    )
    cue_timeout: float = pydantic.Field(default=20.0, gt=0, description="Seconds that one evaluation may take.")
    cue_memory: int = pydantic.Field(
        default=1024, ge=256, description="Mebibytes of memory that one cue command may use."
    )
    request_timeout: float = pydantic.Field(
        default=30.0, gt=0, description="Seconds that one call of an API server may take."
    )
    suspend_on_failure: bool = pydantic.Field(
        default=False,
        description="Whether a step that has used up its retries suspends its run, to be resumed when the cause is put "
        "right, instead of failing it.",
    )
    ignore_workflow_without_controller_requirement: bool = pydantic.Field(
        default=False,
        description="Whether runs are left alone that do not ask for this version of the program by the annotation "
        "workflowrun.oam.dev/controller-version-require.",
    )
    leader_election: bool = pydantic.Field(
        default=False,
        description="Whether replicas elect one that carries runs out; needed as soon as there is more than one.",
    )
    lease_name: str = pydantic.Field(
        default="vela-workflow", min_length=1, description="Name of the election and of its Lease."
    )
    lease_namespace: str = pydantic.Field(
        default="", description="Namespace of the Leases; empty means the system namespace."
    )
    lease_duration: float = pydantic.Field(
        default=15.0, ge=2, description="Seconds after which others take over from a leader that does not renew."
    )
    lease_trusted: float = pydantic.Field(
        default=10.0,
        gt=0,
        description="Seconds after a renewal when a leader that cannot renew stops; less than lease_duration.",
    )
    lease_retry: float = pydantic.Field(default=2.0, gt=0, description="Seconds between renewals of a Lease.")
    identity: str = pydantic.Field(
        default="", description="Name of this replica in the election; empty means one made from the host name."
    )
    shards: int = pydantic.Field(
        default=1,
        ge=1,
        le=64,
        description="Among how many shards runs are shared out; with more than one, that many replicas are active.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = pydantic.Field(
        default="INFO", description="Least level of log lines: DEBUG, INFO, WARNING, ERROR."
    )
    log_format: Literal["text", "json"] = pydantic.Field(
        default="text", description="Form of log lines: text for people, json for machines."
    )
    trace_endpoint: str = pydantic.Field(
        default="",
        pattern=r"^(https?://.+)?$",
        description="Address of an OpenTelemetry collector (OTLP over HTTP), such as http://collector:4318; "
        "empty means no traces.",
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
    admission_directory: str = pydantic.Field(
        default="",
        description="Directory with tls.crt and tls.key for the webhooks, from cert-manager, say; they are read again "
        "when they change. Empty means that the operator makes and renews a certificate itself.",
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

    @pydantic.field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @pydantic.model_validator(mode="after")
    def _fit(self) -> Settings:
        if not self.lease_retry < self.lease_trusted < self.lease_duration:
            raise ValueError("lease_retry must be less than lease_trusted, and that less than lease_duration")
        if self.shards > 1 and not self.leader_election:
            raise ValueError("shards are shared out by an election; set leader_election as well")
        return self

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces whose runs are carried out; none means all of them."""
        return tuple(dict.fromkeys(name.strip() for name in self.namespace.split(",") if name.strip()))


def environment_name(field: str) -> str:
    """The environment variable of a setting."""
    return f"{PREFIX}{field.upper()}"


def _from_environment(environment: Mapping[str, str]) -> tuple[dict[str, object], list[errors.Problem]]:
    """The settings in the environment, and what looks like one and is none."""
    values: dict[str, object] = {}
    problems: list[errors.Problem] = []
    for key, value in sorted(environment.items()):
        name = key.removeprefix(PREFIX)
        if name == key or name in OTHERS:
            continue
        if name.lower() in Settings.model_fields and name == name.upper():
            values[name.lower()] = value
        elif not _SERVICE_LINK.fullmatch(name):
            near = difflib.get_close_matches(name.lower(), Settings.model_fields, n=1)
            hint = f"; is {environment_name(near[0])} meant?" if near else ""
            problems.append(errors.Problem(f"there is no such setting{hint}", path=key))
    return values, problems


def load(flags: Mapping[str, object] | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings from flags (which win) and environment; raises ``Invalid`` with every wrong one."""
    values, problems = _from_environment(os.environ if environment is None else environment)
    values.update({key: value for key, value in (flags or {}).items() if value is not None})
    try:
        found = Settings.model_validate(values)
    except pydantic.ValidationError as error:
        problems += [
            errors.Problem(str(one["msg"]).removeprefix("Value error, "), path=".".join(map(str, one["loc"])))
            for one in error.errors()
        ]
    if problems:
        raise errors.Invalid(problems, summary="wrong settings")
    return found
