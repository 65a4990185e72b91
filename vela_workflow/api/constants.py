"""The words and numbers of the API, each with its meaning.

Users, scripts and the tools around KubeVela read these words in ``status``, write them as annotations and filter by
them as labels, so they are a contract: they are spelt here once and nowhere else. Words that the Go implementation
knows are kept as they are; what is added by this program says so. Phases, reasons and modes are ``StrEnum``: they
compare equal to the plain strings that are found in objects, and they are written to JSON as such.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

# --- Kinds -----------------------------------------------------------------------------------------------------------

GROUP: Final = "core.oam.dev"
"""API group of all workflow kinds."""

PACKAGE_GROUP: Final = "cue.oam.dev"
"""API group of ``Package``, the CUE extension packages."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of the API: what discovery and a URL call it."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str

    @property
    def api_version(self) -> str:
        """Group and version as objects write them: ``core.oam.dev/v1alpha1``."""
        return f"{self.group}/{self.version}"

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition: ``workflowruns.core.oam.dev``."""
        return f"{self.plural}.{self.group}"


WORKFLOW_RUN: Final = Kind(GROUP, "v1alpha1", "WorkflowRun", "workflowruns", "workflowrun")
"""One execution of a workflow."""

WORKFLOW: Final = Kind(GROUP, "v1alpha1", "Workflow", "workflows", "workflow")
"""Steps that runs refer to; it has no ``spec``, its fields are at the top level."""

STEP_DEFINITION: Final = Kind(
    GROUP, "v1beta1", "WorkflowStepDefinition", "workflowstepdefinitions", "workflowstepdefinition"
)
"""A step type: a CUE template."""

PACKAGE: Final = Kind(PACKAGE_GROUP, "v1alpha1", "Package", "packages", "package")
"""A CUE package from outside, whose operations an HTTP service carries out."""

DEFAULT_SYSTEM_NAMESPACE: Final = "vela-system"
"""Where definitions are looked for after the run's own namespace; a setting (decisions 37)."""


# --- Phases, reasons, modes ------------------------------------------------------------------------------------------


class Mode(enum.StrEnum):
    """How steps follow each other."""

    STEP_BY_STEP = "StepByStep"
    """One after another, in the order they are written; the default at the top level."""
    DAG = "DAG"
    """Concurrently, as far as ``dependsOn`` and inputs allow; the default of sub steps."""


class RunPhase(enum.StrEnum):
    """Phase of a run: ``status.status``."""

    INITIALIZING = "initializing"
    """The run cannot start yet: its workflow is missing or faulty."""
    EXECUTING = "executing"
    """Steps are running or wait to run."""
    SUSPENDING = "suspending"
    """The run waits for a person, or for the time set by a suspend step."""
    SUCCEEDED = "succeeded"
    """All steps ended, none of them badly. Final."""
    FAILED = "failed"
    """A step failed. Final."""
    TERMINATED = "terminated"
    """A user or a ``#Break`` ended the run. Final."""
    SKIPPED = "skipped"
    """Nothing could be said in this pass; internal to the Go implementation, never stored."""

    @property
    def is_final(self) -> bool:
        """Whether a run in this phase has ended."""
        return self in FINAL_RUN_PHASES


FINAL_RUN_PHASES: Final = frozenset({RunPhase.SUCCEEDED, RunPhase.FAILED, RunPhase.TERMINATED})
"""Phases that a run only leaves by a restart."""


class StepPhase(enum.StrEnum):
    """Phase of a step or sub step: ``status.steps[].phase``."""

    PENDING = "pending"
    """Waits for other steps or for an input; was not tried yet."""
    RUNNING = "running"
    """Was tried and waits for something outside."""
    SUSPENDING = "suspending"
    """Waits for a person or for a time."""
    SUCCEEDED = "succeeded"
    """Ended well."""
    FAILED = "failed"
    """Failed; final unless the reason is ``Execute``, which is tried again."""
    SKIPPED = "skipped"
    """Was not run: its ``if`` was false, or a step before it did not succeed."""


class Reason(enum.StrEnum):
    """Why a step is in its phase: ``status.steps[].reason``. The table of errors is decisions 9."""

    WAIT = "Wait"
    """running: a ``#ConditionalWait`` is not met."""
    SUSPEND = "Suspend"
    """suspending: the template asked for it."""
    SKIP = "Skip"
    """skipped."""
    EXECUTE = "Execute"
    """failed, for now: an operation met an error. It is tried again while the budget lasts, unless that is no use."""
    FAILED_AFTER_RETRIES = "FailedAfterRetries"
    """failed: the retry budget is used up."""
    TIMEOUT = "Timeout"
    """failed: the step's ``timeout`` passed."""
    ACTION = "Action"
    """failed: the template said ``#Fail``."""
    TERMINATE = "Terminate"
    """failed by a user's terminate; also succeeded, when the template said ``#Break``."""
    RENDERING = "Rendering"
    """failed: template, parameters, ``if`` or ``timeout`` are wrong; nothing was carried out."""
    INPUT = "Input"
    """failed: an input cannot be had or does not fit."""
    OUTPUT = "Output"
    """failed: the step succeeded, but an output that it promises does not exist."""
    DEPENDS_ON = "DependsOn"
    """failed: depends on a step that does not exist, or in a cycle. Added by this program (decisions 9)."""
    UNKNOWN = "Unknown"
    """failed: a side effect was started and nobody knows its outcome. Added by this program (decisions 19)."""
    PROCESS_PARAMETER = "ProcessParameter"
    """failed: known to the Go implementation, which does not use it; found in old objects only."""


class RetryOn(enum.StrEnum):
    """What a step's own ``retry`` policy answers: ``retry.on`` (decisions 16)."""

    ERROR = "error"
    """An operation met an error (reason ``Execute``)."""
    FAIL = "fail"
    """The template said ``#Fail`` (reason ``Action``)."""
    TIMEOUT = "timeout"
    """The step's ``timeout`` passed (reason ``Timeout``)."""


STEP_GROUP: Final = "step-group"
"""The built-in step type that holds sub steps."""

SUSPEND: Final = "suspend"
"""The built-in step type that waits for a person or for a time."""

IF_ALWAYS: Final = "always"
"""The value of ``if`` that runs a step whatever happened before."""


# --- Conditions and Events -------------------------------------------------------------------------------------------


class ConditionType(enum.StrEnum):
    """Types of ``status.conditions`` (decisions 34)."""

    WORKFLOW_RUN = "WorkflowRun"
    """As the Go implementation has it: False while the run cannot be reconciled, True when it succeeded."""
    SUCCEEDED = "Succeeded"
    """Unknown until the run has ended, then True or False. For ``kubectl wait``. Added by this program."""


class ConditionStatus(enum.StrEnum):
    """``status`` of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionReason(enum.StrEnum):
    """``reason`` of a condition: the first two of ``WorkflowRun``, the others of ``Succeeded``."""

    AVAILABLE = "Available"
    """The run succeeded."""
    RECONCILE_ERROR = "ReconcileError"
    """The run cannot be reconciled; the message says why."""
    INITIALIZING = "Initializing"
    EXECUTING = "Executing"
    SUSPENDING = "Suspending"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TERMINATED = "Terminated"


SUCCEEDED_CONDITION: Final[dict[RunPhase, tuple[ConditionStatus, ConditionReason]]] = {
    RunPhase.INITIALIZING: (ConditionStatus.UNKNOWN, ConditionReason.INITIALIZING),
    RunPhase.EXECUTING: (ConditionStatus.UNKNOWN, ConditionReason.EXECUTING),
    RunPhase.SUSPENDING: (ConditionStatus.UNKNOWN, ConditionReason.SUSPENDING),
    RunPhase.SUCCEEDED: (ConditionStatus.TRUE, ConditionReason.SUCCEEDED),
    RunPhase.FAILED: (ConditionStatus.FALSE, ConditionReason.FAILED),
    RunPhase.TERMINATED: (ConditionStatus.FALSE, ConditionReason.TERMINATED),
}
"""Status and reason of the ``Succeeded`` condition in each phase that is stored."""


class EventReason(enum.StrEnum):
    """``reason`` of the Events on a run (decisions 35)."""

    EXECUTE = "Execute"
    """The run ended (the message says how), or could not be carried out."""
    GENERATE = "Generate"
    """Warning: the run cannot start, its workflow or a definition is missing or faulty."""
    START = "Start"
    """The run started. Added by this program, as are all below."""
    SUSPEND = "Suspend"
    """The run waits for a person or for a time."""
    STEP_FAILED = "StepFailed"
    """Warning: a step failed for good."""
    STEP_WAITING = "StepWaiting"
    """A step has waited for longer than ``WAITING_EVENT_AFTER``."""
    TEMPLATE = "Template"
    """Warning: something in a template is wrong that fails nothing (decisions 3 and 9)."""
    OUTPUT_REPLACED = "OutputReplaced"
    """Warning: two steps that both ran gave different values for one output (decisions 15)."""
    APPLY = "Apply"
    """Warning: an object was changed so that server-side apply takes it (decisions 29)."""


# --- Labels and annotations ------------------------------------------------------------------------------------------

LABEL_RUN_NAME: Final = "workflowrun.oam.dev/name"
"""On applied objects: name of the run (shortened with a hash when over 63 characters, decisions 30)."""

LABEL_RUN_NAMESPACE: Final = "workflowrun.oam.dev/namespace"
"""On applied objects: namespace of the run."""

LABEL_PIPELINE: Final = "pipeline.oam.dev/name"
"""On runs: which of them belong together; old ones of a group are recycled."""

LABEL_SHARD: Final = "controller.core.oam.dev/scheduled-shard-id"
"""On runs: the shard of the controller that looks after them."""

ANNOTATION_DEBUG: Final = "workflowrun.oam.dev/debug"
"""On a run, ``"true"``: keep what each step evaluated to in a ConfigMap."""

ANNOTATION_CONTROLLER_VERSION: Final = "workflowrun.oam.dev/controller-version-require"
"""On a run: only a controller of exactly this version may work on it."""

ANNOTATION_RESTART: Final = "workflowrun.oam.dev/restart"
"""On a run: restart it from the named step, or with ``*`` whole; the operator carries it out once and removes it
(decisions 27). Added by this program."""

ANNOTATION_GARBAGE_COLLECT: Final = "workflowrun.oam.dev/gc"
"""On a run, ``"true"``: objects it applies are owned by it and vanish with it (decisions 30). Added by this program."""

ANNOTATION_START_TIME: Final = "vela.io/startTime"
"""On the context ConfigMap: when it was made."""

ANNOTATION_DEFINITION_DESCRIPTION: Final = "definition.oam.dev/description"
"""On a definition: what it is for, in a sentence."""

ANNOTATION_DEFINITION_ALIAS: Final = "definition.oam.dev/alias"
"""On a definition: a name for people."""

# --- The context of a run --------------------------------------------------------------------------------------------

CONTEXT_NAME: Final = "workflow-{run}-context"
"""Name of the ConfigMap (and Secret) that keeps the context of a run (engine 3.12)."""

CONTEXT_VARS: Final = "vars"
"""Key: the workflow variables, as JSON; the Go implementation writes CUE text (decisions 21)."""

CONTEXT_STATE: Final = "vela-workflow.state"
"""Key: attempts, back-off, restart counter, journal, steps in flight. Added by this program (decisions 21)."""

CONTEXT_LOG_CONFIG: Final = "logConfig"
"""Key: where the logs of each step are, as JSON (engine 8.4)."""

CONTEXT_RESUME_TIME: Final = "{step_id}.resumeTimeStamp"
"""Key: when a timed suspend ends, RFC 3339."""

CONTEXT_SUSPEND_TIME: Final = "{step_id}.{field}.suspendTimeStamp"
"""Key: when the ``#Suspend`` in a field of the template was first met, RFC 3339."""

DEBUG_NAME: Final = "{run}-{step_id}-debug-{uid_tail}"
"""Name of a debug ConfigMap; ``uid_tail`` is the last five characters of the run's UID (engine 8.5)."""

DEBUG_KEY: Final = "debug"
"""Key of the debug ConfigMap."""

STEP_ID_LENGTH: Final = 10
"""Characters of a step id (engine 3.13, decisions 20)."""

STEP_ID_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz123456789"
"""Characters that step ids are made of."""

# --- Retries, back-off, time -----------------------------------------------------------------------------------------

MAX_RETRIES: Final = 10
"""Retries of a step after its first failure with reason ``Execute`` (engine 3.8)."""

SUSPENDED_ON_FAILURE: Final = (
    "The workflow suspends automatically because the failed times of steps have reached the limit"
)
"""``status.message`` of a run that waits for somebody to resume the steps that have used up their retries."""

BACKOFF_COEFFICIENT: Final = 0.05
"""Delay after attempt n is ``floor(2**(n - 1) * BACKOFF_COEFFICIENT)`` seconds, between the bounds below: 1, 1, 1, 1,
1, 1, 3, 6, 12, 25 for the retries of the default budget (engine 3.8, decisions 16)."""

BACKOFF_COUNT_CAP: Final = 15
"""Greatest exponent of the formula above."""

BACKOFF_MIN: Final = 1
"""Least delay between attempts, in seconds."""

BACKOFF_MAX_WAITING: Final = 60
"""Greatest delay while steps wait, in seconds; a setting."""

BACKOFF_MAX_FAILED: Final = 300
"""Greatest delay while a step of the top level is failed, in seconds; a setting."""

RETRY_BACKOFF_DURATION: Final = "1s"
"""Default of ``retry.backoff.duration``: delay after the first failure (decisions 16)."""

RETRY_BACKOFF_FACTOR: Final = 2.0
"""Default of ``retry.backoff.factor``: by how much each delay is longer than the one before."""

RETRY_BACKOFF_CAP: Final = "5m"
"""Default of ``retry.backoff.cap``: the longest delay."""

RETRY_ON: Final = (RetryOn.ERROR,)
"""Default of ``retry.on``."""

RETRY_ON_UNQUOTED: Final = "true"
"""What the key ``on`` of ``retry`` becomes when it is written without quotes and read by the YAML rules of kubectl. It
means the same; ``on`` wins where both are there."""

WAITING_EVENT_AFTER: Final = 10
"""Seconds that a step waits before an Event tells of it (decisions 35)."""
