"""Carrying out the operations of one step.

Looks the operation up in the table of packages, calls it with everything it needs, and keeps the promise that one
which must not be repeated never is: intent, effect, outcome (decisions 19). What succeeded once in an attempt is told
so when it is looked at again (decisions 24).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import orjson

from vela_workflow import errors
from vela_workflow.cue.evaluator import Act
from vela_workflow.cue.program import Path
from vela_workflow.engine import intake
from vela_workflow.providers.contract import Call, Clusters, Effect, Operation, Outcome, Package, Variables
from vela_workflow.steps import placing
from vela_workflow.steps.journal import Journal


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """Which step of which run acts."""

    run_name: str
    run_namespace: str
    run_uid: str
    step_name: str
    step_id: str
    round: int
    run_annotations: Mapping[str, str] = dataclasses.field(default_factory=dict)


def _digest(arguments: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def path_text(path: Path) -> str:
    """A path as users read it: ``step.resource-0``."""
    return ".".join(str(part) for part in path)


class Operations:
    """The operations of one step.

    ``succeeded`` holds the paths that already did in this attempt, each with a digest of its arguments; it is kept by
    the caller from one look at the step to the next.
    """

    def __init__(
        self,
        packages: Mapping[str, Package],
        identity: Identity,
        *,
        clusters: Clusters,
        variables: Variables,
        journal: Journal,
        clock: Callable[[], datetime],
        resumed: frozenset[str],
        succeeded: dict[Path, str],
    ) -> None:
        self._by_provider = {package.provider: package for package in packages.values()}
        self._identity = identity
        self._clusters = clusters
        self._variables = variables
        self._journal = journal
        self._clock = clock
        self._resumed = resumed
        self._succeeded = succeeded

    def lookup(self, act: Act) -> Operation:
        """The operation behind an action; raises ``Terminal`` when there is none."""
        package = self._by_provider.get(act.action.provider)
        if package is None:
            raise errors.Terminal(f"provider {act.action.provider} not found", reason="Rendering")
        operation = package.operations.get(act.action.do)
        if operation is None:
            raise errors.Terminal(
                f"function {act.action.do} not found in provider {act.action.provider}", reason="Rendering"
            )
        return operation

    async def carry_out(self, act: Act, *, sensitive: bool = False) -> Outcome:
        """Carry out one action whose value is known; raises what the operation raises.

        ``sensitive`` tells that values of Secrets may be in its arguments.
        """
        operation = self.lookup(act)
        call = dataclasses.replace(self._call(act), sensitive=sensitive)
        if operation.classify(call.args) is not Effect.ONCE:
            outcome = await operation.run(call)
            self._succeeded[act.path] = _digest(call.args)
            return outcome
        return await self._once(operation, call)

    async def _once(self, operation: Operation, call: Call) -> Outcome:
        entry = self._journal.entry(call.key)
        if entry is not None and entry.done:
            return Outcome(entry.value, sensitive=entry.sensitive)
        if entry is not None:
            raise errors.OutcomeUnknown(f"{entry.why}; check that, then restart the step")
        await self._journal.intend(call.key)
        try:
            outcome = await operation.run(call)
        except (errors.Transient, errors.Terminal, errors.Invalid):
            await self._journal.withdraw(call.key)
            raise
        await self._journal.record(call.key, outcome)
        return outcome

    def _call(self, act: Act) -> Call:
        identity = self._identity
        path = path_text(act.path)
        arguments = placing.arguments(act.value or {}, legacy=act.action.legacy)
        return Call(
            args=arguments,
            path=act.path,
            run_name=identity.run_name,
            run_namespace=identity.run_namespace,
            run_uid=identity.run_uid,
            step_name=identity.step_name,
            step_id=identity.step_id,
            now=self._clock(),
            key=f"{identity.run_uid}/{identity.step_id}/{path}/{identity.round}",
            clusters=self._clusters,
            variables=self._variables,
            resumed=not self._resumed.isdisjoint((path, intake.ANY_FIELD)),
            again=self._succeeded.get(act.path) == _digest(arguments),
            run_annotations=identity.run_annotations,
            tags=act.site.tags,
        )

    def result(self, act: Act, outcome: Outcome) -> dict[str, Any] | None:
        """What later renderings see in the place of the action; ``None`` when it has no result."""
        if outcome.value is None:
            return None
        legacy = self.lookup(act).legacy if act.action.legacy else None
        place = placing.placed if act.site.anchor is None else placing.addition
        return place(act.value or {}, outcome.value, legacy=legacy)
