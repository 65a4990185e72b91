"""An attempt of a step, rehearsed: templates of tests with the real ``cue`` command and canned answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vela_workflow.cli import rehearsal
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.providers import registry


async def attempt(
    evaluator: Evaluator,
    template: str,
    *,
    parameter: Mapping[str, Any] | None = None,
    canned: Mapping[str, Any] | None = None,
    outputs: Mapping[str, str] | None = None,
) -> rehearsal.Rehearsed:
    """Make one attempt of a step with ``template``; raises ``Invalid`` when the template cannot be prepared."""
    given = rehearsal.Situation(parameter or {}, answers=canned or {}, outputs=outputs or {})
    return await rehearsal.attempt(evaluator, registry.packages(), template, given)
