"""One attempt of a step: evaluate, carry out what can be carried out, evaluate again.

Operations run one at a time in the order in which they are written (decisions 1). After one has run, a later one may
run without another evaluation only if nothing in its text and guards can reach the result (decisions 2). A wait that
is not met stops what is written after it, except guarded control operations that do not depend on what was stopped:
that is how a template fails a step while it waits (decisions 4). An attempt never ends as succeeded while an operation
that must be there was not seen. What one cluster of several cannot do is told after the others have done theirs
(``spread``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
from collections.abc import Mapping
from typing import Any

from vela_workflow import errors
from vela_workflow.api.constants import Reason
from vela_workflow.cue import absence, messages, program
from vela_workflow.cue.evaluator import Act, Because, Evaluation, Evaluator, Explanation
from vela_workflow.cue.guards import Guard
from vela_workflow.cue.program import Data, Output, Path
from vela_workflow.cue.sites import Site
from vela_workflow.cue.template import Template
from vela_workflow.engine import result
from vela_workflow.providers.contract import Control, ControlKind, Interest
from vela_workflow.steps import failed_guards, spread
from vela_workflow.steps import outcome as outcomes
from vela_workflow.steps import outputs as outputs_
from vela_workflow.steps.concealment import Concealment
from vela_workflow.steps.journal import Superseded, Unrecorded
from vela_workflow.steps.operations import Operations, path_text

PASSES = 500
"""How many evaluations one attempt may need; a template that needs more does not come to an end."""

ODD_FIELDS = 5
"""How many fields with an error that nobody uses are explained."""

CONTROLS = frozenset({"fail", "break", "message", "suspend"})
"""Operations that act on the step only; guarded ones fire behind a wait that is not met."""

COMPUTATIONS = frozenset({"string", "patch-k8s-object", "log", "timestamp", "date", "encode", "decode"})
"""Operations that look at nothing outside."""

ANSWERS = frozenset({"do"})
"""Operations that may use Secrets, but whose results are what a service answered."""

PURE_PROVIDERS = frozenset({"builtin", "util", "time", "base64"})
"""Providers whose results do not change by themselves: an error that follows from them stays."""


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """What an attempt is made with. ``outputs`` are pairs of name and expression.

    ``secrets`` are values among the parameters that only Secrets may hold.
    """

    template: Template
    parameter: Mapping[str, Any]
    context: Mapping[str, Any]
    outputs: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """What came of an attempt, and what would make another look worth while.

    ``watched`` says that all of it came from objects in ``interest``: as long as none of them changes, another look
    would tell the same.
    """

    result: result.Result
    interest: tuple[Interest, ...] = ()
    warnings: tuple[str, ...] = ()
    sensitive: bool = False
    watched: bool = False


_foreseeing: set[asyncio.Task[Evaluation]] = set()


def foresee(evaluator: Evaluator, step: Step) -> None:
    """Ask for the first evaluation of a step ahead of time; the answer is kept where the attempt will ask for it."""
    asked, _ = outputs_.plan(step.outputs, step.template)
    data = Data(step.parameter, step.context)
    task = asyncio.get_running_loop().create_task(evaluator.evaluate(step.template, data, asked))
    _foreseeing.add(task)
    task.add_done_callback(_foreseen)


def _foreseen(task: asyncio.Task[Evaluation]) -> None:
    _foreseeing.discard(task)
    if not task.cancelled():
        task.exception()  # The attempt meets the same error and says so.


class _Next(enum.Enum):
    """What follows after one evaluation."""

    AGAIN = "evaluate again"
    SETTLED = "nothing left to do"


class Attempt:
    """Makes one attempt; ``run`` once. ``guards`` is what earlier ones have told of guards that fail; it grows."""

    def __init__(
        self, evaluator: Evaluator, operations: Operations, step: Step, guards: failed_guards.Known | None = None
    ) -> None:
        self._guards = guards if guards is not None else {}
        self._failed_guards: tuple[Guard, ...] = ()
        self._evaluator = evaluator
        self._operations = operations
        self._step = step
        self._template = step.template
        self._asked: tuple[Output, ...] = ()
        self._wrong_outputs: dict[str, str] = {}
        self._results: dict[Path, Any] = {}
        self._done: set[Path] = set()
        self._ran: set[int] = set()
        self._live: set[int] = set()
        self._changed: set[int] = set()
        self._waiting: result.Waiting | None = None
        self._missed = spread.Missed()
        self._message = ""
        self._after: float | None = None
        self._interest: list[Interest] = []
        self._warnings: list[str] = []
        self._sensitive = bool(step.secrets)
        self._concealment = Concealment()
        self._concealment.take(list(step.secrets))
        self._unwatched = False

    async def run(self) -> Finding:
        """Make the attempt; every error becomes a result, except ``Superseded`` and ``Unrecorded``."""
        try:
            found = await self._run()
        except (Superseded, Unrecorded):
            raise
        except Exception as error:  # noqa: BLE001 - the table of outcomes decides about every error
            found = outcomes.of_error(error)
        await self._warn_of_guards(found)
        return self._finding(found)

    async def _run(self) -> result.Result:
        self._asked, self._wrong_outputs = outputs_.plan(self._step.outputs, self._template)
        for number in range(PASSES):
            evaluation = await self._evaluate()
            self._failed_guards = evaluation.failed
            if number == 0 and not evaluation.parameters_fit:
                await self._check_parameters()
            self._changed = set()
            self._waiting = None
            follow = await self._carry_out(evaluation)
            if isinstance(follow, _Next):
                if follow is _Next.AGAIN or self._may_change(evaluation):
                    continue
                return self._waiting or await self._succeeded(evaluation)
            return follow
        raise errors.Terminal(f"the template does not come to an end within {PASSES} evaluations", reason="Rendering")

    async def _check_parameters(self) -> None:
        checked = await self._evaluator.check_parameters(self._template, self._data())
        if checked.problems:
            self._failed_guards = ()  # what is wrong with the parameters is why
            told = (dataclasses.replace(one, message=self._told(one.message)) for one in checked.problems)
            raise errors.Invalid(told, summary="invalid parameters")
        self._warnings += (str(doubt) for doubt in checked.doubts)

    async def _evaluate(self) -> Evaluation:
        try:
            return await self._evaluator.evaluate(self._template, self._data(), self._asked)
        except errors.Invalid:
            self._asked, wrong = await outputs_.sift(self._evaluator, self._template, self._data(), self._asked)
            if not wrong:
                raise
        self._wrong_outputs |= wrong
        return await self._evaluator.evaluate(self._template, self._data(), self._asked)

    def _data(self) -> Data:
        return Data(self._step.parameter, self._step.context, dict(self._results))

    # One evaluation.

    async def _carry_out(self, evaluation: Evaluation) -> result.Result | _Next:
        """Carry out what one evaluation allows, in order."""
        for item in _in_order(evaluation):
            if isinstance(item, Site):
                if self._waiting is not None:
                    continue
                if self._changed:
                    return _Next.AGAIN
                return await self._unseen(item)
            if item.path in self._done:
                continue
            if self._missed.has(item):
                self._waiting = self._missed.waiting()
                continue
            if self._waiting is not None and not (self._fires(item) or self._missed.passes(item)):
                continue
            if self._must_evaluate_first(item, evaluation):
                return _Next.AGAIN
            follow = await self._one(item)
            if follow is not None:
                return follow
        return self._missed.failed() or _Next.SETTLED

    async def _one(self, act: Act) -> result.Result | None:
        refused = act.site.form.refuses(act.value) if act.site.form is not None and act.value is not None else ""
        if refused:
            return self._failed(act.site, act.path, refused)
        if act.action.do == "wait":
            return await self._wait(act)
        if act.value is None:
            return await self._undecided(act)
        try:
            outcome = await self._operations.carry_out(act, sensitive=self._sensitive)
        except (Superseded, Unrecorded):
            raise
        except Exception as error:  # noqa: BLE001 - the table of outcomes decides about every error
            return self._raised(act, error)
        self._interest.extend(outcome.interest)
        self._warnings.extend(f"{path_text(act.path)}: {warning}" for warning in outcome.warnings)
        if outcome.sensitive:
            self._sensitive = True
            if act.action.do not in ANSWERS:
                self._concealment.take(outcome.value)
        if outcome.after is not None:
            self._after = outcome.after if self._after is None else min(self._after, outcome.after)
        if outcome.value is not None and not outcome.interest and act.action.do not in COMPUTATIONS:
            self._unwatched = True
        if outcome.control is not None:
            return self._control(act, outcome.control)
        self._ran_with(act, self._operations.result(act, outcome))
        return None

    def _raised(self, act: Act, error: Exception) -> result.Result | None:
        """What becomes of the step: a cluster that does not answer is waited for, most other errors end the attempt."""
        place = path_text(act.path)
        if not self._missed.take(act, error, place):
            return outcomes.of_error(error, place=place)
        self._waiting = self._missed.waiting()
        return None

    def _ran_with(self, act: Act, value: Any | None) -> None:
        self._done.add(act.path)
        self._ran.add(id(act.site))
        if value is None:
            return
        self._results[act.path] = value
        self._changed.add(act.site.identity)
        if act.action.provider not in PURE_PROVIDERS:
            self._live.add(act.site.identity)

    def _control(self, act: Act, control: Control) -> result.Result | None:
        match control.kind:
            case ControlKind.MESSAGE:
                self._message = control.message or self._message
                self._ran_with(act, None)
                return None
            case ControlKind.FAIL:
                return result.Failed(Reason.ACTION, errors.bounded(control.message or self._message))
            case ControlKind.BREAK:
                return result.Broken(errors.bounded(control.message or self._message))
            case ControlKind.SUSPEND:
                return result.Suspended(path_text(act.path), errors.bounded(control.message), control.until)
            case ControlKind.WAIT:
                self._waiting = result.Waiting(errors.bounded(control.message or self._message), self._after)
                return None

    # Waits and undecided values.

    async def _wait(self, act: Act) -> result.Result | None:
        go_on, message = act.go_on, act.message
        if go_on is None and act.value is not None:
            arguments = act.value if act.action.legacy else act.value.get("$params") or {}
            go_on, message = bool(arguments.get("continue")), str(arguments.get("message") or "")
        if go_on:
            self._done.add(act.path)
            self._ran.add(id(act.site))
            return None
        if go_on is None:
            awaited = absence.awaited(self._template, act.site, "continue", self._results)
            if not awaited:
                inner = ("continue",) if act.action.legacy else ("$params", "continue")
                why = await self._evaluator.explain(self._template, self._data(), act.path, *inner)
                if why is not None and (why.because is Because.FINAL or not self._may_come(act.site, why)):
                    return self._failed(act.site, act.path, why.message)
                awaited = why.missing or why.message if why is not None else ""
            if not message and awaited:
                message = f"waiting for {awaited}"
        self._waiting = result.Waiting(errors.bounded(message or self._message), self._after)
        return None

    def _may_come(self, site: Site, why: Explanation) -> bool:
        """Whether what a wait lacks can come of an operation, or is a parameter that is left out on purpose."""
        others = (other for other in self._template.survey.sites if other is not site)
        return why.is_optional or any(other.identity in site.reach for other in others)

    async def _undecided(self, act: Act) -> result.Result:
        why = await self._evaluator.explain(self._template, self._data(), act.path)
        text = why.message if why is not None else "its value cannot be written as JSON"
        return self._failed(act.site, act.path, text)

    async def _unseen(self, site: Site) -> result.Result:
        """An operation that must be there is not: its surroundings are in error."""
        path = program.static_path(site)
        why = await self._evaluator.explain(self._template, self._data(), path)
        return self._failed(site, path, why.message if why is not None else "the operation cannot be reached")

    def _failed(self, site: Site, path: Path, text: str) -> result.Failed:
        """An argument that cannot be decided when its turn comes: final, unless it follows from live values."""
        live = bool(site.reach & self._live)
        return result.Failed(Reason.EXECUTE, outcomes.at(path_text(path), self._told(text)), retriable=live)

    def _told(self, text: str) -> str:
        """What CUE says, without values where they may be those of Secrets."""
        return messages.redacted(text) if self._sensitive else text

    # Order and reach.

    def _must_evaluate_first(self, act: Act, evaluation: Evaluation) -> bool:
        """Whether a result of this evaluation could change the action, or bring one before it."""
        if not self._changed:
            return False
        if act.site.reach & self._changed:
            return True
        return any(_comes_before(site, act) for site in self._open_sites(evaluation) if site.reach & self._changed)

    def _open_sites(self, evaluation: Evaluation) -> list[Site]:
        """Sites that may hold operations which this evaluation did not see."""
        seen = {id(act.site) for act in evaluation.acts if act.site.is_static}
        return [
            site
            for site in self._template.survey.sites
            if id(site) not in seen and not (site.is_static and id(site) in self._ran)
        ]

    def _may_change(self, evaluation: Evaluation) -> bool:
        """Whether the results of this evaluation can reach something that is left."""
        if not self._changed:
            return False
        if self._waiting is not None:
            return any(
                site.reach & self._changed
                for site in self._template.survey.sites
                if not (site.is_static and id(site) in self._ran)
            )
        if any(output.reach & self._changed for output in self._asked):
            return True
        return any(site.reach & self._changed for site in self._open_sites(evaluation))

    def _fires(self, act: Act) -> bool:
        """Whether an action runs although a wait before it is not met."""
        if act.action.do not in CONTROLS or not act.site.guarded:
            return False
        stopped = {
            site.identity
            for site in self._template.survey.sites
            if id(site) not in self._ran and not _is_control(site) and site is not act.site
        }
        return not act.site.reach & stopped

    # The end.

    async def _succeeded(self, evaluation: Evaluation) -> result.Result:
        await self._warn(evaluation)
        values = dict(evaluation.outputs)
        for name, expression in self._step.outputs:
            if name in values:
                continue
            why = self._wrong_outputs.get(name) or await self._why_missing(name)
            return result.Failed(Reason.OUTPUT, outputs_.missing(name, expression, why))
        return result.Succeeded(values, errors.bounded(self._message), self._sensitive)

    async def _warn(self, evaluation: Evaluation) -> None:
        """An error in a field that nothing uses fails nothing; it is told (decisions 9)."""
        for name in evaluation.odd[:ODD_FIELDS]:
            why = await self._evaluator.explain(self._template, self._data(), (name,))
            if why is None or why.because is not Because.FINAL:
                continue
            if "cycl" in why.message and self._hides(name, evaluation):
                # Whether CUE sees a cycle or there is one: what stands behind it was not seen, so this is no success.
                raise errors.Terminal(f"{name}: {why.message}", reason=Reason.RENDERING)
            self._warnings.append(f"{name}: {self._told(why.message)}")

    async def _warn_of_guards(self, found: result.Result) -> None:
        if self._failed_guards:
            self._warnings += await failed_guards.warnings(
                self._evaluator,
                self._template,
                self._data(),
                self._failed_guards,
                self._guards,
                ended=failed_guards.has_ended(found),
                worded=self._told,
            )

    def _hides(self, name: str, evaluation: Evaluation) -> bool:
        """Whether an error in a top-level field could keep an operation from being seen."""
        names = self._template.survey.names
        fields = {id(node) for node in names.lookup(name, names.root)}
        return any(site.reach & fields for site in self._open_sites(evaluation))

    async def _why_missing(self, name: str) -> str:
        output = next(output for output in self._asked if output.name == name)
        why = await self._evaluator.explain_output(self._template, self._data(), output)
        if why is None:
            return "it has no value"
        return self._told(why.message)

    def _finding(self, found: result.Result) -> Finding:
        watched = bool(self._interest) and not self._unwatched
        found = dataclasses.replace(found, message=self._concealment.told(found.message))
        warnings = tuple(map(self._concealment.told, self._warnings))
        return Finding(found, tuple(self._interest), warnings, self._sensitive, watched)


def _is_control(site: Site) -> bool:
    return site.action is not None and (site.action.do in CONTROLS or site.action.do == "wait")


def _in_order(evaluation: Evaluation) -> list[Act | Site]:
    """The acts and the sites that must be there but are not, in the order of the text."""
    items: list[tuple[tuple[tuple[int, ...], ...], Act | Site]] = [(act.order, act) for act in evaluation.acts]
    items.extend((tuple(part for part in site.order if isinstance(part, tuple)), site) for site in evaluation.absent)
    return [item for _, item in sorted(items, key=lambda pair: pair[0])]


def _comes_before(site: Site, act: Act) -> bool:
    """Whether an operation at ``site`` could have its turn before ``act``: by the part of its order that is fixed."""
    fixed: list[tuple[int, ...]] = []
    for part in site.order:
        if not isinstance(part, tuple):
            break
        fixed.append(part)
    return tuple(fixed) <= act.order[: len(fixed)]
