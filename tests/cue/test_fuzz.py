"""Random templates out of building blocks, and what must hold for all of them.

Every operation has a number that grows with its place in the text, and every guard knows by itself whether it is true,
so that what must run is known without evaluating CUE. The other oracle is the plainest way to carry a template out:
evaluate again after every operation. What saves evaluations must make no difference.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from harness import attempt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vela_workflow.cli import rehearsal
from vela_workflow.cue.evaluator import Act, Evaluation, Evaluator
from vela_workflow.engine import result
from vela_workflow.providers.contract import Call
from vela_workflow.steps.attempt import Attempt
from vela_workflow.steps.operations import path_text

PARAMETER = {"yes": True, "no": False, "n": 2, "xs": ["a", "b"], "m": {"k": "v", "l": "w"}, "empty": []}
HEAD = 'import "vela/kube"\nimport "vela/op"\nimport "vela/builtin"\nparameter: {none?: _, ...}\n'


def _size(path: str) -> int:
    """A number between 0 and 3 that belongs to a path."""
    return sum(path.encode()) % 4


def answer(call: Call) -> dict[str, Any]:
    """The result of an operation: its object, and fields that follow from its path."""
    path = path_text(call.path)
    n = _size(path)
    return {"value": {**call.args["value"], "z": f"z-{path}", "n": n, "ok": n > 1, "items": ["p", "q", "r"][:n]}}


@dataclasses.dataclass(frozen=True)
class Known:
    """An operation that later text can refer to: its path and how its object is written in a reference."""

    path: str
    value: str


@dataclasses.dataclass
class Written:
    """A template while it grows. ``must`` are the paths that run in success, ``may_not`` those that never do."""

    draw: Callable[[st.SearchStrategy[Any]], Any]
    number: int = 0
    must: list[str] = dataclasses.field(default_factory=list)
    may_not: list[str] = dataclasses.field(default_factory=list)
    free: list[str] = dataclasses.field(default_factory=list)

    def next(self, letter: str) -> str:
        self.number += 1
        return f"{letter}{self.number}"

    def block(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool, size: int) -> list[str]:
        """Some declarations inside ``path``; ``known`` grows by what they declare."""
        lines: list[str] = []
        for _ in range(self.draw(st.integers(1, size))):
            kinds = ["operation", "legacy", "wait", "message", "value", "inner", "list"]
            kinds += ["struct", "if", "if", "for", "map", "chain"] if depth else []
            kind = self.draw(st.sampled_from(kinds))
            lines += getattr(self, f"_{kind}")(path, known, depth, runs=runs, free=free)
        return lines

    def _ran(self, path: str, *, runs: bool, free: bool) -> None:
        (self.must if runs else self.may_not).append(path)
        if free:
            self.free.append(path)

    def _term(self, known: Sequence[Known]) -> str:
        terms = ['"s"', '"\\(context.name)"', "parameter.n", "parameter.xs[0]"]
        terms += [f"{one.value}.{field}" for one in known for field in ("z", "n", "items")]
        return str(self.draw(st.sampled_from(terms)))

    def _condition(self, known: Sequence[Known]) -> tuple[str, bool]:
        rows = [("parameter.yes", True), ("parameter.no", False), ("parameter.n > 1", True), ("parameter.none", False)]
        rows += [
            ("parameter.none != _|_", False),
            ("parameter.none == _|_", True),
            ('"\\(context.name)" == "run"', True),
        ]
        for one in known:
            n = _size(one.path)
            rows += [(f"{one.value}.ok", n > 1), (f"!{one.value}.ok", n <= 1), (f"{one.value}.n >= 2", n >= 2)]
            rows += [
                (f"{one.value}.nope", False),
                (f"{one.value}.z != _|_", True),
                (f"len({one.value}.items) == 1", n == 1),
            ]
        found: tuple[str, bool] = self.draw(st.sampled_from(rows))
        return found

    def _operation(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        name = self.next("a")
        what = self.draw(st.sampled_from(["kube.#Apply", "kube.#Read"]))
        text = f'{name}: {what} & {{$params: value: {{kind: "K", q: {self._term(known)}}}}}'
        self._ran(path + name, runs=runs, free=free)
        known.append(Known(path + name, f"{path}{name}.$returns.value"))
        return [text]

    def _legacy(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        name = self.next("o")
        self._ran(path + name, runs=runs, free=free)
        text = f'{name}: op.#Apply & {{value: {{kind: "K", q: {self._term(known)}}}}}'
        known.append(Known(path + name, f"{path}{name}.value"))
        return [text]

    def _inner(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        name = self.next("i")
        self._ran(f"{path}{name}.r", runs=runs, free=free)
        self._ran(path + name, runs=runs, free=free)
        text = f'r: kube.#Read & {{$params: value: {{kind: "R", q: {self._term(known)}}}}}'
        known.append(Known(path + name, f"{path}{name}.$returns.value"))
        return [f'{name}: kube.#Apply & {{$params: value: {{kind: "K", q: r.$returns.value.z}}, {text}}}']

    def _list(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        name = self.next("l")
        apply = "kube.#Apply & {$params: value: {kind: x}}"
        self._ran(f"{path}{name}.0", runs=runs, free=free)
        self._ran(f"{path}{name}.1", runs=runs, free=free)
        if self.draw(st.booleans()):
            return [f"{name}: [for x in parameter.xs {{{apply}}}]"]
        first, second = (apply.replace("x", self._term(known)) for _ in "ab")
        return [f"{name}: [{first}, {second}]"]

    def _wait(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        true = [(text, met) for text, met in (self._condition(known) for _ in range(4)) if met]
        text = true[0][0] if true and self.draw(st.integers(0, 3)) else self._condition(known)[0]
        return [f"{self.next('w')}: builtin.#ConditionalWait & {{$params: continue: {text}}}"]

    def _message(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        name = self.next("m")
        self._ran(path + name, runs=runs, free=free)
        return [f'{name}: builtin.#Message & {{$params: message: "{name} \\({self._plain(known)})"}}']

    def _plain(self, known: Sequence[Known]) -> str:
        return str(self.draw(st.sampled_from(["context.name", *(f"{one.value}.z" for one in known)])))

    def _value(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        name = self.next("v")
        condition, _ = self._condition(known)
        return [f"{name}: {{q: {self._term(known)}, if {condition} {{r: {self._term(known)}}}}}"]

    def _struct(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        name = self.next("s")
        inner = self.block(f"{path}{name}.", known, depth - 1, runs=runs, free=free, size=3)
        before = self.draw(st.sampled_from(["", "op.#Steps & "]))
        return [f"{name}: {before}{{", *inner, "}"]

    def _chain(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        name = self.next("c")
        inner = self._operation(f"{path}{name}.d.", known, 0, runs=runs, free=free)
        return [f"{name}: d: {inner[0]}"]

    def _if(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        condition, met = self._condition(known)
        inner = self.block(path, list(known), depth - 1, runs=runs and met, free=False, size=3)
        if self.draw(st.integers(0, 5)) == 0 and not met:
            inner.append(f'{self.next("f")}: builtin.#Fail & {{$params: message: "never"}}')
        return [f"if {condition} {{", *inner, "}"]

    def _for(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        name = self.next("n")
        sources = [("parameter.xs", 2), ("parameter.empty", 0), ("parameter.none", 0), ("[1, 2, 3]", 3)]
        sources += [(f"{one.value}.items", _size(one.path)) for one in known]
        source, count = self.draw(st.sampled_from(sources))
        kept = self.draw(st.sampled_from(["", " if i > 0"]))
        for index in range(3):
            self._ran(f"{path}{name}-{index}", runs=runs and index < count and (not kept or index > 0), free=False)
        value = f'kube.#Apply & {{$params: value: {{kind: "K", at: i, of: x, q: {self._term(known)}}}}}'
        return [f'for i, x in {source}{kept} {{"{name}-\\(i)": {value}}}']

    def _map(self, path: str, known: list[Known], depth: int, *, runs: bool, free: bool) -> list[str]:
        name = self.next("p")
        for key in PARAMETER["m"]:  # type: ignore[attr-defined]
            self._ran(f"{path}{name}-{key}.a", runs=runs, free=False)
            self._ran(f"{path}{name}-{key}.b", runs=runs, free=False)
        first = "a: kube.#Read & {$params: value: {kind: v}}"
        second = "b: kube.#Apply & {$params: value: {kind: a.$returns.value.z}}"
        return [f'for k, v in parameter.m {{"{name}-\\(k)": {{{first}, {second}}}}}']


@dataclasses.dataclass(frozen=True)
class Template:
    """A random template and what is known of it."""

    text: str
    must: list[str]
    may_not: list[str]
    free: list[str]

    def __repr__(self) -> str:
        return self.text


@st.composite
def templates(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Template:
    written = Written(draw)
    lines = written.block("", [], 3, runs=True, free=True, size=6)
    return Template(HEAD + "\n".join(lines), written.must, written.may_not, written.free)


class Plain(Attempt):
    """Evaluates again after every operation."""

    def _must_evaluate_first(self, act: Act, evaluation: Evaluation) -> bool:
        return bool(self._changed)

    def _may_change(self, evaluation: Evaluation) -> bool:
        return bool(self._changed)


def _numbers(paths: Sequence[str]) -> list[int]:
    """The place in the text of the last part of each path that has a number."""
    return [int(re.findall(r"[a-z](\d+)", path)[-1]) for path in paths]


def _check(template: Template, run: rehearsal.Rehearsed) -> None:
    assert len(run.paths) == len(set(run.paths)), "an operation ran twice"
    assert not set(run.paths) & set(template.may_not), "the guard of an operation that ran is false"
    for index, path in enumerate(run.paths):
        held = [later for later in run.paths[:index] if path.startswith(f"{later}.")]
        assert not held, "an operation ran before one inside it"
    free = [path for path in run.paths if path in template.free and ".r" not in path and "." not in path]
    assert _numbers(free) == sorted(_numbers(free)), "unguarded operations ran in another order than they are written"
    found = run.result
    if isinstance(found, result.Succeeded):
        assert set(template.must) <= set(run.paths), "success without an operation"
    else:
        assert isinstance(found, result.Waiting), found


@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(found=st.lists(templates(), min_size=6, max_size=10))
async def test_what_must_hold_for_every_template(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, found: list[Template]
) -> None:
    async def run(template: Template) -> rehearsal.Rehearsed:
        return await attempt(evaluator, template.text, parameter=PARAMETER, canned={"*": answer})

    runs = await asyncio.gather(*(run(template) for template in found))
    with monkeypatch.context() as patch:
        patch.setattr(rehearsal, "Attempt", Plain)
        plain = await asyncio.gather(*(run(template) for template in found))
    again = await asyncio.gather(*(run(template) for template in found))
    for template, one, other, repeated in zip(found, runs, plain, again, strict=True):
        _check(template, one)
        assert one.operations == other.operations, f"evaluating less makes a difference:\n{template}"
        assert one.result == other.result, template
        assert one == repeated, template
