"""What each step evaluated to, kept for people who look for a mistake (engine 8.5).

A run with the annotation ``workflowrun.oam.dev/debug: "true"`` gets a ConfigMap for every step that was attempted, with
the step's template, parameters and results so far as CUE text. It is written after each attempt and owned by the run.
Nothing depends on it, so what goes wrong here is only logged. A step that has to do with Secrets shows nothing of its
values, since ConfigMaps are read by more people than Secrets.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api import constants
from vela_workflow.clusters.client import ClusterClient
from vela_workflow.cue.evaluator import Act, Evaluator
from vela_workflow.cue.program import Data, Path
from vela_workflow.providers.contract import Outcome
from vela_workflow.steps.attempt import Step
from vela_workflow.steps.operations import Operations

logger = logging.getLogger(__name__)

JSON = dict[str, Any]

TEXT_LIMIT: Final = 512 * 1024
"""Bytes of a value that are shown; an API server refuses objects of about one mebibyte."""

PATIENCE: Final = 10.0
"""Seconds that showing and writing may take together."""

NAME_LIMIT: Final = 253

REDACTED: Final = "// The step reads, writes or is given Secrets: its value is not shown.\n"

_SECRET = re.compile(r'\bkind"?:\s*"Secret(List)?"')


def is_wanted(body: Mapping[str, Any]) -> bool:
    """Whether a run asks for debug values."""
    annotations = body["metadata"].get("annotations") or {}
    return bool(annotations.get(constants.ANNOTATION_DEBUG) == "true")


class Watched(Operations):
    """The operations of one step, with what they gave kept for a look afterwards.

    ``results`` are by path, in the form in which templates see them. ``sensitive`` tells whether one of them had to do
    with Secrets, ``uses_variables`` whether one used the variables of the run.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.results: dict[Path, Any] = {}
        self.sensitive = False
        self.uses_variables = False

    async def carry_out(self, act: Act, *, sensitive: bool = False) -> Outcome:
        """As ``Operations.carry_out``, remembered."""
        self.uses_variables = self.uses_variables or act.action.do == "var"
        outcome = await super().carry_out(act, sensitive=sensitive)
        self.sensitive = self.sensitive or outcome.sensitive
        return outcome

    def result(self, act: Act, outcome: Outcome) -> JSON | None:
        """As ``Operations.result``, remembered."""
        found = super().result(act, outcome)
        if found is not None:
            self.results[act.path] = found
        return found


class DebugWriter:
    """Writes debug ConfigMaps."""

    def __init__(self, client: ClusterClient, evaluator: Evaluator) -> None:
        self._client = client
        self._evaluator = evaluator

    async def write(
        self, body: Mapping[str, Any], step_id: str, step: Step, results: Mapping[Path, Any], *, sensitive: bool
    ) -> None:
        """Keep the value of a step after an attempt; ``sensitive`` hides it. Raises nothing that a user may meet."""
        try:
            async with asyncio.timeout(PATIENCE):
                text = REDACTED if sensitive else await self._shown(step, results)
                await self._client.apply(manifest(body, step_id, text))
        except (errors.WorkflowError, TimeoutError) as error:
            logger.warning("the debug value of step %s was not kept: %s", step_id, str(error) or "it took too long")

    async def _shown(self, step: Step, results: Mapping[Path, Any]) -> str:
        text = await self._evaluator.show(step.template, Data(step.parameter, step.context, results))
        return REDACTED if _SECRET.search(text) else errors.bounded(text, TEXT_LIMIT)


def manifest(body: Mapping[str, Any], step_id: str, text: str) -> JSON:
    """The ConfigMap with the debug value of a step; long names of runs are cut, the id tells steps apart."""
    run = body["metadata"]
    uid = str(run["uid"])
    parts = {"step_id": step_id, "uid_tail": uid[-5:]}
    room = NAME_LIMIT - len(constants.DEBUG_NAME.format(run="", **parts))
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": constants.DEBUG_NAME.format(run=run["name"][:room], **parts),
            "namespace": run["namespace"],
            "ownerReferences": [
                {
                    "apiVersion": constants.WORKFLOW_RUN.api_version,
                    "kind": constants.WORKFLOW_RUN.kind,
                    "name": run["name"],
                    "uid": uid,
                    "controller": True,
                }
            ],
        },
        "data": {constants.DEBUG_KEY: text},
    }
