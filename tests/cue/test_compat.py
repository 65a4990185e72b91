"""Shapes that people write and that only CUE can tell, and older spellings, evaluated."""

from __future__ import annotations

from typing import Any

import pytest
from harness import attempt

from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.engine import result
from vela_workflow.providers.contract import Call

HEAD = 'import "vela/kube"\nimport "vela/builtin"\nimport "vela/op"\n'
A = 'kube.#Apply & {$params: value: {kind: "X"}}'
GUARDED = "if a.$returns.value.z != _|_"


def live(call: Call) -> dict[str, Any]:
    return {"value": {**call.args["value"], "z": call.args["value"]["kind"]}}


SHAPES = {
    "lists added": ('import "strings"\nm: builtin.#Message & {$params: message: strings.Join(["a"] + ["b"] * 2, ",")}', "m", "a,b,b"),
    "a list of the parameters": ('import "strings"\nparameter: {l: *["p"] | [...string]}\nlet q = [for x in parameter.l {x}]\nm: builtin.#Message & {$params: message: strings.Join(q + ["q"], ",")}', "m", "p,q"),
    "lists that refer to lists": ('import "strings"\nparameter: {l: [...string]}\nbase: parameter.l\ncut: strings.Split("x-y", "-")\nall: base + cut\nm: builtin.#Message & {$params: message: strings.Join(all + base, ",")}', "m", "p,x,y,p"),
    "numbers multiplied": ("parameter: {n: *2 | int}\nm: builtin.#Message & {$params: message: \"\\(parameter.n * 2)\"}", "m", "4"),
    "a field called error": ('error: "e"\nm: builtin.#Message & {$params: message: error}', "m", "e"),
    "steps by hand": (f'#x: 1\ns: {{#do: "steps", a: {A}}}', "s.a", ""),
    "alternatives": (f"parameter: {{c: *true | bool}}\nx: [if parameter.c {{{A}}}, kube.#Read & {{$params: value: kind: \"Y\"}}][0]\nm: builtin.#Message & {{$params: message: x.$returns.value.z}}", "x m", "X"),
    "a choice among definitions": (f'#all: {{a: {A}, b: kube.#Read & {{$params: value: kind: "Y"}}}}\nparameter: {{k: *"b" | string}}\nx: #all[parameter.k]', "x", ""),
    "a function of definitions": ('#make: {n: string, made: kube.#Apply & {$params: value: kind: n}}\nx: (#make & {n: "N"}).made\nm: builtin.#Message & {$params: message: x.$returns.value.z}', "x m", "N"),
    "a closed operation": (f"x: close({A})", "x", ""),
    "embedded at the top": (f"#c: {{a: {A}, m: builtin.#Message & {{$params: message: a.$returns.value.z}}}}\n#c", "a m", "X"),
    "embedded at the top under a guard": (f"#c: {{a: {A}, m: builtin.#Message & {{$params: message: a.$returns.value.z}}}}\nif true {{#c}}", "a m", "X"),
    "hidden in what stands elsewhere": (f"#c: {{_r: {A}, m: builtin.#Message & {{$params: message: _r.$returns.value.z}}}}\nx: #c", "x._r x.m", "X"),
    "a loop between guards that ask the same": (f'a: {A}\n{GUARDED} {{s: {{b: {A}}}}}\nfor i, x in [1, 2] {{"n-\\(i)": {A}}}\n{GUARDED} {{t: {{c: {A}}}}}', "a s.b n-0 n-1 t.c", ""),
    "guards in a loop over a struct": (f'for k, v in {{a: 1, b: 2}} {{if k != "a" {{"x-\\(k)": {A}}}\n"y-\\(k)": {A}}}', "y-a x-b y-b", ""),
    "a loop over a struct with numbers for keys": (f'for k, v in {{"10": 1, "9": 2, z: 3, "1": 4}} {{"s-\\(k)": {A}}}', "s-10 s-9 s-z s-1", ""),
    "loops over structs in each other": (f'for k, v in {{"a/b": {{"c/d": 1, "0": 2}}, "1": {{e: 3}}}} for l, w in v {{"y-\\(k)-\\(l)": {A}}}', "y-a/b-c/d y-a/b-0 y-1-e", ""),
    "turns under a guard": (f"c: {A} @step(3)\nif true {{b: {A} @step(2)}}\na: {A} @step(1)\nd: {A}", "a b c d", ""),
    "turns in a loop": (f'z: {A}\nfor n in ["x", "y"] if true {{"b-\\(n)": {A} @step(2)\n"a-\\(n)": {A} @step(1)}}', "a-x a-y b-x b-y z", ""),
    "turns in an embedded struct": (f"b: {A} @step(2)\n{{c: {A}\na: {A} @step(1)}}", "a b c", ""),
    "turns within a step": (f"z: {A} @step(2)\nif true {{y: {{d: {A} @step(2), c: {A} @step(1)}}}}", "z y.c y.d", ""),
    "turns in what stands elsewhere": (f"#c: {{b: {A} @step(2), a: {A} @step(1)}}\nx: #c", "x.a x.b", ""),
    "a required field": (f"a!: {A}\nm: builtin.#Message & {{$params: message: a.$returns.value.z}}", "a m", "X"),
    "an alias in a loop": (f'for i, n in ["p", "q"] {{X="x-\\(n)": {A}\nif X.$returns.value.z == "X" if i > 0 {{"m-\\(n)": builtin.#Message & {{$params: message: X.$returns.value.z + n}}}}}}', "x-p x-q m-q", "Xq"),
    "an alias of a label in parentheses": (f'for n in ["p"] {{X=(n): {{a: {A}, b: builtin.#Message & {{$params: message: X.a.$returns.value.z}}}}}}', "p.a p.b", "X"),
    "names in any script": (f'"ключ": {A}\n_隠れ: {A}\n米: _隠れ.$returns.value.z\nm: builtin.#Message & {{$params: message: 米}}', "ключ _隠れ m", "X"),
    "arguments that a guard adds": (f"a: {A}\nb: {A}\nif a.$returns != _|_ {{b: $params: value: q: a.$returns.value.z}}\nm: builtin.#Message & {{$params: message: b.$returns.value.q}}", "a b m", "X"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "paths", "message"), SHAPES.values(), ids=SHAPES.keys())
async def test_shapes(evaluator: Evaluator, text: str, paths: str, message: str) -> None:
    lines = text.split("\n")
    imports = [line for line in lines if line.startswith("import")]
    template = "\n".join([*imports, HEAD, *(line for line in lines if line not in imports)])
    run = await attempt(evaluator, template, parameter={"l": ["p"]}, canned={"*": live})
    assert isinstance(run.result, result.Succeeded), run.result
    assert run.paths == paths.split()
    assert run.result.message == message
