"""An attempt of a step without a cluster: the real template, the real ``cue`` command, canned answers.

Everything that a step does outside is one of its operations. Here each of them is noted and answered from a table
instead of being carried out, while those that only steer the step or compute something do what they always do. So what
is seen is what the operator would do, operation by operation, and nothing is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Self

from vela_workflow import errors, settings
from vela_workflow.api import constants
from vela_workflow.authoring import testing
from vela_workflow.cli.errors import CommandError
from vela_workflow.cue.command import CUE_VERSION, CueCommand
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.cue.library import Library
from vela_workflow.engine import result
from vela_workflow.engine.variables import Variables
from vela_workflow.providers import registry
from vela_workflow.providers.contract import Call, Effect, Operation, Outcome, Package
from vela_workflow.providers.external import package as external
from vela_workflow.steps.attempt import Attempt, Step
from vela_workflow.steps.journal import Entry
from vela_workflow.steps.operations import Identity, Operations, path_text

JSON = dict[str, Any]

REAL: Final = frozenset({"wait", "suspend", "fail", "break", "message", "var"})
"""Operations that steer the step and reach nothing outside, so they are carried out."""

ECHOED: Final = frozenset({"apply", "apply-in-parallel"})
"""Operations that, with ``echo``, answer with what they were given, as a cluster does that adds nothing of its own."""

CONTEXT: Final = {"name": "run", "namespace": "default", "stepName": "step", "stepSessionID": "abcdefghij"}
"""What the context of a rehearsed step says unless it is told otherwise."""

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)
ANY: Final = "*"
"""The path that stands for every operation without an answer of its own."""


@dataclasses.dataclass(frozen=True, slots=True)
class Situation:
    """What a step is given.

    ``answers`` are what its operations answer, by path: a mapping, an exception for those that fail, or a function
    that gives the answer to a call.
    """

    parameter: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    context: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    answers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    resumed: frozenset[str] = frozenset()
    echo: bool = False

    @classmethod
    def of(cls, case: testing.Case) -> Situation:
        """The situation of a case; raises ``Invalid`` when the case is not written as it must be."""
        return cls(
            parameter=case.section("parameter"),
            context=case.section("context"),
            answers=case.canned(),
            outputs=case.section("outputs"),
            resumed=case.resumed,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Rehearsed:
    """What one attempt did, in order, what came of it, and what a person should be warned of."""

    operations: tuple[testing.Operation, ...]
    result: result.Result
    warnings: tuple[str, ...]

    @property
    def paths(self) -> list[str]:
        """The paths of the operations in the order in which they were carried out."""
        return [one.path for one in self.operations]

    @property
    def unanswered(self) -> list[str]:
        """The paths of the operations that nothing answers unless an answer is given."""
        return [one.path for one in self.operations if one.do not in REAL | ECHOED]

    def told(self) -> JSON:
        """As an ``expect`` section says it."""
        return testing.told(self.operations, self.result)


class Stage:
    """Where steps are rehearsed: the packages and an evaluator. Use it as a context manager, or call ``close``."""

    def __init__(self, cue: str, extra: Sequence[Mapping[str, Any]] = ()) -> None:
        self.packages = packages(extra)
        self.library = Library.build({path: package.source for path, package in self.packages.items()})
        self._command = CueCommand(cue, self.library)
        self.evaluator = Evaluator(self._command, self.library)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove what the evaluator keeps on disk."""
        self._command.close()

    async def attempt(self, template: str, given: Situation) -> Rehearsed:
        """Make one attempt of a step; raises ``Invalid`` when the template cannot be prepared."""
        return await attempt(self.evaluator, self.packages, template, given)

    async def attempts(self, template: str, situations: Sequence[Situation]) -> list[Rehearsed]:
        """Make several attempts at the same time; the evaluator asks for many in one command."""
        return list(await asyncio.gather(*(self.attempt(template, given) for given in situations)))


async def attempt(evaluator: Evaluator, packages: Mapping[str, Package], template: str, given: Situation) -> Rehearsed:
    """Make one attempt of a step with an evaluator that knows ``packages``.

    Raises ``Invalid`` when the template cannot be prepared.
    """
    done: list[testing.Operation] = []
    operations = Operations(
        {path: _canned(package, given, done) for path, package in packages.items()},
        Identity("run", "default", "uid", "step", "abcdefghij", 1),
        clusters=_NoClusters(),
        variables=Memory(),
        journal=_NoJournal(),
        clock=lambda: NOW,
        resumed=given.resumed,
        succeeded={},
    )
    step = Step(
        template=evaluator.prepare(template),
        parameter=given.parameter,
        context={**CONTEXT, **given.context},
        outputs=tuple(given.outputs.items()),
    )
    finding = await Attempt(evaluator, operations, step).run()
    return Rehearsed(tuple(done), finding.result, finding.warnings)


def find_cue(chosen: str = "") -> str:
    """The path of the ``cue`` command: ``chosen``, else what the environment names, else the one on PATH.

    Raises ``CommandError`` that says how to get it.
    """
    name = chosen or os.environ.get(f"{settings.PREFIX}CUE", "") or "cue"
    found = shutil.which(name)
    if found is None:
        raise CommandError(
            f'templates are evaluated by the cue command, and there is no "{name}"; install it '
            f"(go install cuelang.org/go/cmd/cue@{CUE_VERSION}), or name it with --cue or {settings.PREFIX}CUE"
        )
    return found


def packages(extra: Sequence[Mapping[str, Any]] = ()) -> dict[str, Package]:
    """The packages that templates can import; ``extra`` are ``Package`` objects. Raises ``Invalid`` for a wrong one."""
    own = registry.packages()
    found = dict(own)
    for body in extra:
        package = external.from_object(body, own)
        if package.path in found:
            raise errors.Invalid([errors.Problem(f"{package.path} is there twice", path="spec.path")])
        found[package.path] = package
    return found


def usable(found: Sequence[JSON]) -> list[JSON]:
    """Those ``Package`` objects that templates can import; an operator leaves the others out, too."""
    own, sound = registry.packages(), {}
    for body in found:
        with contextlib.suppress(errors.Invalid):
            sound[external.key_of(body)] = external.from_object(body, own)
    kept, _ = external.ranked(sound, constants.DEFAULT_SYSTEM_NAMESPACE)
    return [body for body in found if external.key_of(body) in kept]


def _canned(package: Package, given: Situation, done: list[testing.Operation]) -> Package:
    return dataclasses.replace(package, operations=_Canned(package.operations, given, done))


class _Canned(Mapping[str, Operation]):
    """The operations of a package, noted and answered from a table."""

    def __init__(self, own: Mapping[str, Operation], given: Situation, done: list[testing.Operation]) -> None:
        self._own = own
        self._given = given
        self._done = done

    def __getitem__(self, do: str) -> Operation:
        operation = self._own[do]

        async def run(call: Call) -> Outcome:
            path = path_text(call.path)
            self._done.append(testing.Operation(path, do, call.args))
            if do in REAL:
                return await operation.run(call)
            return Outcome(self._answer(path, do, call))

        return dataclasses.replace(operation, run=run, effect=Effect.IDEMPOTENT, effect_of=None)

    def _answer(self, path: str, do: str, call: Call) -> JSON | None:
        answers = self._given.answers
        answer = answers[path] if path in answers else answers.get(ANY)
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(call)
        if answer is None and self._given.echo and do in ECHOED:
            return {"value": call.args.get("value")}
        if answer is not None and not isinstance(answer, dict):
            raise errors.Terminal(f"the canned result must be a mapping, not {answer!r}", reason="Execute")
        return answer

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)


class Memory(Variables):
    """The variables and memos of a run that lives as long as the rehearsal."""

    def __init__(self) -> None:
        super().__init__()
        self._memos: dict[str, str] = {}

    def memo(self, key: str) -> str | None:
        """A small text kept under ``key``."""
        return self._memos.get(key)

    def remember(self, key: str, value: str | None) -> None:
        """Keep, or with ``None`` drop, a small text."""
        if value is None:
            self._memos.pop(key, None)
        else:
            self._memos[key] = value


class _NoClusters:
    """No cluster at all; no operation that is carried out asks for one."""

    def client(self, cluster: str) -> Any:
        raise errors.Transient(f"cluster {cluster or 'local'}: there is none in a rehearsal")


class _NoJournal:
    """No operation that is carried out must not be repeated."""

    def entry(self, key: str) -> Entry | None:  # noqa: ARG002  (of the protocol)
        return None

    async def intend(self, key: str) -> None: ...

    async def record(self, key: str, outcome: Outcome) -> None: ...

    async def withdraw(self, key: str) -> None: ...
