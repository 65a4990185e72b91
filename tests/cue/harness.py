"""Runs a template with the real ``cue`` command and canned results for what would act outside."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.engine.variables import Variables
from vela_workflow.providers import registry
from vela_workflow.providers.contract import Call, Effect, Operation, Outcome, Package
from vela_workflow.steps.attempt import Attempt, Finding, Step
from vela_workflow.steps.journal import Entry
from vela_workflow.steps.operations import Identity, Operations, path_text

CONTROL = frozenset({"wait", "suspend", "fail", "break", "message", "var"})
CONTEXT = {"name": "run", "namespace": "default", "stepName": "step", "stepSessionID": "abcdefghij"}


class Memory(Variables):
    """Variables and memos of a run that lives as long as a test."""

    def __init__(self) -> None:
        super().__init__()
        self.memos: dict[str, str] = {}

    def memo(self, key: str) -> str | None:
        return self.memos.get(key)

    def remember(self, key: str, value: str | None) -> None:
        if value is None:
            self.memos.pop(key, None)
        else:
            self.memos[key] = value


class NoJournal:
    """A journal for templates without ``once`` operations of consequence."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def entry(self, key: str) -> Entry | None:
        return self.entries.get(key)

    async def intend(self, key: str) -> None:
        self.entries[key] = Entry(done=False)

    async def record(self, key: str, outcome: Outcome) -> None:
        self.entries[key] = Entry(done=True, value=outcome.value)

    async def withdraw(self, key: str) -> None:
        self.entries.pop(key, None)


@dataclasses.dataclass
class Run:
    """What one attempt did: the operations in order (path, name, arguments) and what came of it."""

    finding: Finding
    calls: list[tuple[str, str, dict[str, Any]]]

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.calls]


def packages(canned: Mapping[str, Any], calls: list[tuple[str, str, dict[str, Any]]]) -> dict[str, Package]:
    """The real table, with every operation that acts outside answering from ``canned`` (by path)."""

    def replaced(do: str, operation: Operation) -> Operation:
        async def run(call: Call) -> Outcome:
            path = path_text(call.path)
            calls.append((path, do, call.args))
            if do in CONTROL:
                return await operation.run(call)
            value = canned.get(path, canned.get("*"))
            if isinstance(value, Exception):
                raise value
            if callable(value):
                value = value(call)
            return Outcome(value)

        return dataclasses.replace(operation, run=run, effect=Effect.IDEMPOTENT, effect_of=None)

    return {
        path: dataclasses.replace(
            package, operations={do: replaced(do, operation) for do, operation in package.operations.items()}
        )
        for path, package in registry.packages().items()
    }


async def attempt(
    evaluator: Evaluator,
    template: str,
    *,
    parameter: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    canned: Mapping[str, Any] | None = None,
    outputs: Mapping[str, str] | None = None,
    resumed: frozenset[str] = frozenset(),
    memory: Memory | None = None,
) -> Run:
    """Make one attempt of a step with ``template``; raises ``Invalid`` when the template cannot be prepared."""
    calls: list[tuple[str, str, dict[str, Any]]] = []
    identity = Identity("run", "default", "uid", "step", "abcdefghij", 1)
    operations = Operations(
        packages(canned or {}, calls),
        identity,
        clusters=None,  # type: ignore[arg-type] - nothing that needs a cluster is carried out
        variables=memory or Memory(),
        journal=NoJournal(),
        clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        resumed=resumed,
        succeeded={},
    )
    step = Step(
        template=evaluator.prepare(template),
        parameter=parameter or {},
        context={**CONTEXT, **(context or {})},
        outputs=tuple((outputs or {}).items()),
    )
    return Run(await Attempt(evaluator, operations, step).run(), calls)
