"""What becomes of errors: the one table from what was raised to how a step ends (decisions 9).

Nothing else sets reason and retry of a failed attempt. The message keeps what the error says; ``at`` puts the place in
front, which the error itself cannot know.
"""

from __future__ import annotations

import logging

from vela_workflow import errors
from vela_workflow.api.constants import Reason
from vela_workflow.clusters import errors as cluster_errors
from vela_workflow.cue.evaluator import Act
from vela_workflow.cue.sandbox import LimitExceeded
from vela_workflow.engine import result
from vela_workflow.steps import placing

logger = logging.getLogger(__name__)

REFUSED_AFTER = 5.0
"""Seconds between attempts where the API server refused with 403 or 422 (decisions 9)."""


DEAD_CLUSTER_AFTER = 5.0
"""Seconds between two looks at a cluster that does not answer."""


def is_dead_cluster(act: Act, error: cluster_errors.Unavailable) -> bool:
    """Whether a joined cluster does not answer: a step that needs it waits and does not use up its retries."""
    if isinstance(error, cluster_errors.NotJoined):
        return False
    arguments = placing.arguments(act.value or {}, legacy=act.action.legacy)
    return arguments.get("cluster") not in (None, "", cluster_errors.LOCAL)


def at(place: str, text: str) -> str:
    """``text`` with its place in front, bounded."""
    return errors.bounded(f"{place}: {text}" if place else text)


def of_error(error: Exception, *, place: str = "") -> result.Failed:
    """How an attempt ends in which ``error`` was raised at ``place``."""
    if isinstance(error, errors.OutcomeUnknown):
        return result.Failed(Reason.UNKNOWN, at(place, str(error)))
    if isinstance(error, errors.Transient):
        return result.Failed(Reason.EXECUTE, at(place, str(error)), retriable=True, after=error.after)
    if isinstance(error, errors.Terminal):
        return result.Failed(Reason(error.reason), at(place, str(error)))
    if isinstance(error, errors.Invalid | LimitExceeded):
        return result.Failed(Reason.RENDERING, at(place, str(error)))
    if isinstance(error, errors.WorkflowError):
        return result.Failed(Reason.EXECUTE, at(place, str(error)))
    logger.error("an operation failed in a way that nobody foresaw", exc_info=error)
    name = type(error).__name__
    return result.Failed(
        Reason.EXECUTE, at(place, f"internal error ({name}); the operator's log has the details"), retriable=True
    )
