"""What steps see: ``context`` and the scope of ``if`` (engine 3.6 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vela_workflow.api import constants
from vela_workflow.engine import ids
from vela_workflow.engine import steps as model

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """Which run this is.

    ``built_in`` adds to (or replaces) the keys that every context has, ``custom`` is ``spec.context``, which overrides
    all of them (engine 6).
    """

    name: str
    namespace: str
    uid: str
    generation: int | None = None
    custom: Mapping[str, Any] = field(default_factory=dict)
    built_in: Mapping[str, Any] = field(default_factory=dict)


def step_context(
    identity: Identity, restarts: Mapping[str, int], step: model.StepPlan, step_id: str, group: tuple[str, str] | None
) -> JSON:
    """``context`` of a step; ``group`` is the name and id of the group that it is in."""
    group_ids = (group[1],) if group else ()
    return {
        "name": identity.name,
        "namespace": identity.namespace,
        "workflowName": "",
        "publishVersion": "",
        **identity.built_in,
        "stepName": step.name,
        "stepSessionID": step_id,
        **({"stepGroupName": group[0]} if group else {}),
        "spanID": ids.span_id(identity.uid, restarts, *group_ids, step_id),
        **identity.custom,
    }


def step_status(entry: Mapping[str, Any]) -> JSON:
    """What ``status.<name>`` is in an ``if``: the entry without its sub steps, and booleans for what is asked most.

    Texts that the entry has not are empty, so that ``status.check.message == "not found"`` is false and no mistake.
    """
    texts = {key: entry.get(key) or "" for key in ("id", "name", "type", "phase", "message", "reason")}
    phase, reason = texts["phase"], texts["reason"]
    return {
        **texts,
        "firstExecuteTime": entry.get("firstExecuteTime"),
        "lastExecuteTime": entry.get("lastExecuteTime"),
        "failed": phase == constants.StepPhase.FAILED,
        "succeeded": phase == constants.StepPhase.SUCCEEDED,
        "skipped": phase == constants.StepPhase.SKIPPED,
        "timeout": reason == constants.Reason.TIMEOUT,
        "failedAfterRetries": reason == constants.Reason.FAILED_AFTER_RETRIES,
        "terminate": reason == constants.Reason.TERMINATE,
    }
