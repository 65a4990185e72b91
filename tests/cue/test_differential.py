"""Random templates, carried out by the program and in the plainest way there is, and in other hands and company."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import naive
import pytest
from harness import attempt
from random_templates import Author
from retyped import retyped
from template_tree import PARAMETER, Template, live

from vela_workflow import errors
from vela_workflow.api.constants import Reason
from vela_workflow.cli import rehearsal
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.cue.program import Builder, Data
from vela_workflow.engine import result
from vela_workflow.providers import registry
from vela_workflow.providers.contract import Call
from vela_workflow.steps.operations import path_text

SEEDS = range(*map(int, os.environ.get("VELA_WORKFLOW_TEST_SEEDS", "0:30").split(":")))
"""The random templates that are carried out; others are asked for by the environment, ``1000:1600`` say."""

ENDS = {result.Succeeded: "success", result.Waiting: "wait", result.Suspended: "suspend", result.Broken: "break"}


FOUND = {
    "a group of operations that are written by hand is none itself, so no wait stops it": (
        """
        import "vela/builtin"
        import "vela/op"
        s: op.#Steps & {
            r: {#do: "read", #provider: "kube", $params: value: {kind: "X"}}
        }
        w: op.#ConditionalWait & {continue: s.r.$returns.value.ready}
        if s.r.$returns.value.z != _|_ {
            f: builtin.#Fail & {$params: message: s.r.$returns.value.z}
        }
        """,
        naive.Told([("s.r", "read", {"value": {"kind": "X"}}), ("f", "fail", {"message": "z-s.r"})], "fail", "z-s.r"),
    ),
    "in a list, the results of operations inside another stay when that one has its own": (
        """
        import "vela/kube"
        l: [for x in parameter.xs if x == "a" {
            o: kube.#Apply & {
                $params: value: {kind: "X", q: r.$returns.value.z}
                r: kube.#Read & {$params: value: {kind: "X"}}
            }
            m: kube.#Apply & {$params: value: q: o.$params.value.q}
        }]
        """,
        naive.Told(
            [
                ("l.0.o.r", "read", {"cluster": "", "value": {"kind": "X"}}),
                ("l.0.o", "apply", {"cluster": "", "value": {"kind": "X", "q": "z-l.0.o.r"}}),
                ("l.0.m", "apply", {"cluster": "", "value": {"q": "z-l.0.o.r"}}),
            ],
            "success",
        ),
    ),
    "hidden fields and definitions of an operation are there after it has run": (
        """
        import "vela/kube"
        a: kube.#Apply & {$params: value: {kind: _n, r: _r.$returns.value.z}, _n: "x", #m: "y", _r: kube.#Read & {$params: value: {}}}
        l: [kube.#Apply & {_n: "x", $params: value: {}}]
        d: kube.#Read & {$params: value: q: l[0]._n}
        for k in ["1"] {
            "g-\\(k)": {
                b: kube.#Apply & {_n: "z\\(k)", $params: value: {kind: a._n + a.#m, q: a._r.$returns.value.z}}
                c: kube.#Read & {$params: value: q: b._n}
            }
        }
        """,
        naive.Told(
            [
                ("a._r", "read", {"cluster": "", "value": {}}),
                ("a", "apply", {"cluster": "", "value": {"kind": "x", "r": "z-a._r"}}),
                ("l.0", "apply", {"cluster": "", "value": {}}),
                ("d", "read", {"cluster": "", "value": {"q": "x"}}),
                ("g-1.b", "apply", {"cluster": "", "value": {"kind": "xy", "q": "z-a._r"}}),
                ("g-1.c", "read", {"cluster": "", "value": {"q": "z1"}}),
            ],
            "success",
        ),
    ),
}
"""What random templates have shown, each made as small as it gets."""


def answered(path: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an operation answers: the live object."""
    value = arguments.get("value")
    return {"value": live(path, value)} if isinstance(value, dict) else None


def canned(call: Call) -> dict[str, Any] | None:
    return answered(path_text(call.path), call.args)


def plainly(cue: Path, template: Template) -> naive.Told:
    """What a template comes to in the plainest way."""
    names = ("kube", "builtin", "op", "util")
    known = registry.packages()
    sources = {name: re.sub(r"(?m)^package .*$", "", known[f"vela/{name}"].source) for name in names}
    sources["k8s"] = sources["kube"]
    try:
        return naive.Naive(cue, sources, template, PARAMETER, rehearsal.CONTEXT, answered).run()
    except naive.Refused as error:
        return naive.Told([], "Rendering", str(error))


async def really(evaluator: Evaluator, template: Template, text: str = "") -> naive.Told:
    """What the program makes of a template, or of another ``text`` of it."""
    try:
        run = await attempt(
            evaluator, text or template.text, parameter=PARAMETER, canned={"*": canned}, outputs=template.outputs
        )
    except errors.Invalid as error:
        return naive.Told([], "Rendering", str(error))
    operations = [(one.path, one.do, dict(one.arguments)) for one in run.operations]
    end = run.result
    outputs = dict(end.outputs) if isinstance(end, result.Succeeded) else {}
    if isinstance(end, result.Failed):
        return naive.Told(operations, "fail" if end.reason is Reason.ACTION else str(end.reason), end.message)
    return naive.Told(operations, ENDS[type(end)], end.message, outputs)


def shown(told: naive.Told) -> naive.Told:
    """What two ways must agree in; why something is an error they say in words of their own."""
    return told if told.end in ("success", "fail", "break", "suspend") else dataclasses.replace(told, message="")


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_template_does_what_it_does_when_all_is_evaluated_anew_after_every_operation(
    evaluator: Evaluator, cue_command: Path, seed: int
) -> None:
    template = Author(seed).template()
    expected, found = await asyncio.gather(
        asyncio.to_thread(plainly, cue_command, template), really(evaluator, template)
    )
    assert shown(found) == shown(expected), template.text


@pytest.mark.parametrize("name", FOUND)
async def test_what_random_templates_have_shown(evaluator: Evaluator, name: str) -> None:
    text, expected = FOUND[name]
    assert await really(evaluator, Template([], {}), text) == expected


def test_random_templates_are_worth_the_time(cue_command: Path) -> None:
    found = [plainly(cue_command, Author(seed).template()) for seed in range(12)]
    assert sum(len(one.operations) for one in found) > 30
    assert {"success", "wait"} <= {one.end for one in found}


async def test_company_repetition_and_handwriting_make_no_difference(evaluator: Evaluator) -> None:
    found = [Author(seed).template() for seed in range(100, 116)]
    together = await asyncio.gather(*(really(evaluator, template) for template in found))
    for seed, (template, one) in enumerate(zip(found, together, strict=True)):
        alone, again = (Evaluator(evaluator.cue, evaluator.library) for _ in "ab")
        assert await really(alone, template) == one, f"alone:\n{template.text}"
        text = retyped(template.text, seed)
        assert shown(await really(again, template, text)) == shown(one), f"retyped:\n{text}"


def test_a_template_gives_the_same_program_every_time(evaluator: Evaluator) -> None:
    for seed in range(20):
        text = Author(seed).template().text
        assert Author(seed).template().text == text
        try:
            first, second = (Evaluator(evaluator.cue, evaluator.library).prepare(text) for _ in "ab")
        except errors.Invalid:
            continue
        data = Data(PARAMETER, rehearsal.CONTEXT)
        programs = [Builder(one).program(data, (), dropped=frozenset()) for one in (first, second, first)]
        assert programs[0].text == programs[1].text == programs[2].text
