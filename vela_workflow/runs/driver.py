"""Carrying runs out: what is known of a run between its turns, and one turn after another."""

from __future__ import annotations

from typing import Any

from vela_workflow.api import constants
from vela_workflow.engine import run_pass
from vela_workflow.runs.context import RunContext
from vela_workflow.runs.context_store import ContextStore
from vela_workflow.runs.contract import Decision, Memory, Tools
from vela_workflow.runs.newness import may_have_begun
from vela_workflow.runs.pace import Pace
from vela_workflow.runs.reconcile import Reconcile
from vela_workflow.runs.record import RunRecord

JSON = dict[str, Any]

CHECKPOINTS = 10
"""How many runs show that in a second, all together: when everything is slow, writing more would make it slower."""


class Driver:
    """Carries runs out; one ``reconcile`` at a time per run is the caller's to see to."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._contexts = ContextStore(tools.client, tools.evaluator, tools.intents)
        self._checkpoints = Pace(1 / CHECKPOINTS)
        self._since = tools.clock().replace(microsecond=0)  # times of objects are whole seconds

    async def read(self, namespace: str, name: str) -> JSON:
        """The run as it is now; raises ``NotFound``."""
        kind = constants.WORKFLOW_RUN
        return await self._tools.client.get(kind.api_version, kind.kind, namespace, name)

    async def reconcile(self, body: JSON, memory: Memory, woken: frozenset[str] = frozenset()) -> Decision:
        """Carry a run on as far as it goes now.

        ``woken`` are the ids of steps whose objects changed, or ``*``. Raises ``errors.Transient`` when the cluster of
        the operator cannot be reached.
        """
        if memory.context is None:
            begun = may_have_begun(body, self._tools.clock(), since=self._since, written=memory.written)
            context = await self._contexts.load(body, begun=begun)
            # A process that begins with this run does not know yet what its waiting steps wait for.
            woken |= {run_pass.EVERYTHING}
        else:
            context = RunContext.unpack(memory.context)
        record = RunRecord(self._tools.client, self._contexts, body=body, context=context, memory=memory)
        decision = await Reconcile(self._tools, self._checkpoints, record, woken).run()
        memory.context = context.pack()
        return decision
