"""What is said when parameters do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from vela_workflow.cue.data import Data
from vela_workflow.cue.evaluator import Evaluator

HEAD = 'import "vela/kube"\nx: kube.#Apply & {$params: value: {kind: "X"}}\n'

ROWS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "all well": ("parameter: {a: int}", {"a": 1}, {}),
    "nothing declared": ("", {"a": 1}, {}),
    "a default": ("parameter: {a: *1 | int}", {}, {}),
    "an optional one": ("parameter: {a?: int}", {}, {}),
    "an unknown one": ("parameter: {a?: int}", {"b": 1}, {}),
    "missing": ("parameter: {a: int, b: string}", {}, {"a": "missing", "b": "missing"}),
    "missing, with a misspelt one": ("parameter: {a: {message: string}}", {"a": {"mesage": "x"}}, {"a.message": "missing; there is mesage"}),
    "missing, by its mark": ("parameter: {a!: int}", {}, {"a": "missing"}),
    "a wrong type": ("parameter: {a: int}", {"a": "x"}, {"a": '"x" is not int'}),
    "a wrong choice": ('parameter: {a: "p" | "q"}', {"a": "r"}, {"a": '"r" is not "p" or "q"'}),
    "out of bounds": ("parameter: {a: int & >0}", {"a": 0}, {"a": ">0"}),
    "by a function": ('import "strings"\nparameter: {a: strings.MinRunes(3)}', {"a": "x"}, {"a": "MinRunes"}),
    "inside": ("parameter: {a: {b: [...{c: int}]}}", {"a": {"b": [{"c": "x"}, {}]}}, {"a.b.0.c": "int", "a.b.1.c": "missing"}),
    "names with dots": ('parameter: {l: {"a.b/c": string, "x.y": int}}', {"l": {"a.b/c": 1}}, {'l."a.b/c"': "1 is not string", 'l."x.y"': "missing"}),
    "both kinds": ("parameter: {a: int, b: string}", {"a": "x"}, {"a": "int", "b": "missing"}),
    "not allowed": ("parameter: close({a: int})", {"a": 1, "b": 2}, {"b": "not allowed"}),
    "by a definition": ("#P: {a: int}\nparameter: #P", {"a": 1, "b": 1}, {"b": "not allowed"}),
    "two alternatives at once": ("parameter: u!: close({v: string}) | close({s: {k: string}})", {"u": {"v": "x", "s": {"k": "y"}}}, {"u": "cannot be given together"}),
    "an alternative with something strange": ("parameter: u!: close({v: string}) | close({s: {k: string}})", {"u": {"v": "x", "w": 1}}, {"u.w": "not allowed"}),
    "in two declarations": ("parameter: a: int\nparameter: b: string", {"a": 1, "b": 2}, {"b": "string"}),
    "by a struct that is too small": ('import "struct"\nparameter: {a: struct.MinFields(1)}', {"a": {}}, {"a": "MinFields"}),
    "not allowed, wrong and missing": ("#P: {p: int}\nparameter: close({a: #P, b: string, c: #P})", {"a": {"p": "y", "x": 1}, "c": {}}, {"a.p": "int", "a.x": "not allowed", "b": "missing", "c.p": "missing"}),
    "beside a default": ("parameter: {a: *10 | int & >0}", {"a": 0}, {"a": "0 is not 10 or >0"}),
    "a default that follows from what is wrong": ("parameter: {a: =~\"^x\", b: *a | string}", {"a": "y"}, {"a": "^x"}),
    "a default that follows from what is missing": ("parameter: {a: string, b: c: *a | string}", {"b": {}}, {"a": "missing"}),
    "a default that follows from nothing": ("parameter: {a?: string, b: *a | string}", {}, {"b": "missing"}),
    "an undecided choice": ("parameter: {a: {x: 1} | {y: 1}}", {"a": {}}, {}),
    "no struct at all": ("parameter: {a: {b?: int}}", {"a": [1]}, {"a": "mismatched"}),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "given", "expected"), ROWS.values(), ids=ROWS.keys())
async def test_problems(evaluator: Evaluator, schema: str, given: dict[str, Any], expected: dict[str, str]) -> None:
    lines = schema.split("\n")
    imports = [line for line in lines if line.startswith("import")]
    template = evaluator.prepare("\n".join([*imports, HEAD, *(line for line in lines if line not in imports)]))
    data = Data(given, {"name": "run"})
    evaluation = await evaluator.evaluate(template, data)
    if expected:
        assert not evaluation.parameters_fit
    checked = await evaluator.check_parameters(template, data)
    problems = {problem.path: problem for problem in checked.problems}
    assert problems.keys() == expected.keys()
    for path, text in expected.items():
        assert text in problems[path].message
        assert problems[path].line or "not allowed" in text or "together" in text


DOUBTS = {
    "alternatives of open structs": ("parameter: {a: {v: string} | {r: k: string}}", {"a": {"v": "x"}}, ["a"]),
    "all of it": ("parameter: {v: string} | {r?: string}", {"v": "x"}, ["parameter"]),
    "closed alternatives": ("parameter: {a: close({v: string}) | close({r: k: string})}", {"a": {"v": "x"}}, []),
    "not given": ("parameter: {a?: {v: string} | {r: string}, b: 1 | 2}", {}, []),
}


@pytest.mark.parametrize(("schema", "given", "expected"), DOUBTS.values(), ids=DOUBTS.keys())
async def test_doubts(evaluator: Evaluator, schema: str, given: dict[str, Any], expected: list[str]) -> None:
    checked = await evaluator.check_parameters(evaluator.prepare(f"{HEAD}{schema}"), Data(given, {"name": "run"}))
    assert not checked.problems
    assert [doubt.path for doubt in checked.doubts] == expected
    assert all("alternatives" in doubt.message for doubt in checked.doubts)
