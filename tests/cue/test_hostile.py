"""Templates that mean ill, or happen to look as if: names of ours, words of CUE, labels of all kinds, ways out."""

from __future__ import annotations

import pytest
from harness import attempt

from vela_workflow import errors
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.engine import result
from vela_workflow.providers.contract import Call

HEAD = 'import "vela/kube"\nimport "vela/builtin"\n'
A = 'kube.#Apply & {$params: value: {kind: "X"}}'


def live(call: Call) -> dict[str, object]:
    return {"value": {**call.args["value"], "z": call.args["value"]["kind"]}}


REFUSED = {
    "a brace that closes the wrapper": ("a: 1\n}\nevil: 1\nb: {", "was not opened"),
    "a brace that closes it from within a list": ("a: [1}\nb: 1]", "unexpected '}' in a list"),
    "a bracket that closes a query": ("a: 1]", "was not opened"),
    "an interpolation that is left open": ('a: "\\(1"', "not closed"),
    "a string that is left open": ('a: "', "not closed"),
    "a multi-line string that is left open": ('a: """\n"', "not closed"),
    "an attribute that is left open": ("a: 1 @x(", "not closed"),
    "an import without its path": ("import", "not complete"),
    "an import that is left open": ('import ("strings"', "import"),
    "a command": ('import "tool/exec"\na: exec.Run', "tool/exec"),
    "a file": ('import "tool/file"\na: file.Read', "tool/file"),
    "the module of the programs": ('import "programs.vela-workflow/run/w0/p0"', "unknown import"),
    "a package by its inner path": ('import "packages.vela-workflow/kube"', "unknown import"),
    "a package from a registry": ('import "example.com/x@v0"', "unknown import"),
    "a relative path": ('import "./p1"', "unknown import"),
    "a path upwards": ('import "strings/../tool/exec"', "unknown import"),
    "files embedded, for the file": ("@extern(embed)\na: 1", "@extern"),
    "files embedded behind the package": ("package x\n@extern(embed)\na: 1", "@extern"),
    "a file embedded": ("a: _ @embed(file=program.cue)", "@embed"),
    "a file embedded in a list": ("a: [{b: _ @embed(file=program.cue)}]", "@embed"),
    "a file embedded in parentheses": ("a: ({b: _ @embed(file=program.cue)})", "@embed"),
    "a file embedded in a binding": ("let a = {b: _ @embed(file=program.cue)}\nc: a", "@embed"),
    "a file embedded in an interpolation": ('a: "\\({b: "" @embed(file=program.cue)}.b)"', "@embed"),
    "an attribute inside a struct": ("a: {@extern(embed)}", "@extern"),
    "an experiment": ("@experiment(aliasv2)\na: 1", "@experiment"),
    "nested too deeply": ("a: " + "{b: " * 2000 + "1" + "}" * 2000, "nested too deeply"),
    "longer than allowed": ("a: 1 //" + "x" * 512 * 1024, "longer than 512 KiB"),
    "a name that nothing declares": ("a: nothing", "nothing"),
    "a selector without a name": ("a: b.\nb: {}", "unexpected"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED.keys())
async def test_refused_before_anything_is_evaluated(evaluator: Evaluator, text: str, said: str) -> None:
    with pytest.raises(errors.Invalid) as raised:
        evaluator.prepare(text)
    assert said in raised.value.message
    assert evaluator.cue.counters.commands == 0


HARMLESS = {
    "names of ours": (
        "OUT: 1\nW: 2\nP: 3\nQ: 4\nJ: 5\nR: 6\nE: 7\nSHOW: 8\n"
        'x: kube.#Apply & {$params: value: {kind: "\\(OUT)\\(W)\\(J)"}}',
        "x",
    ),
    "hidden names like ours": (f"_m0: 1\n_m0_: 2\n_t1: {{}}\n_o0_0: 3\n_sent: false\nx: {A}", "x"),
    "words of the answer": (f"sent: false\nalive: false\nacts: []\nodd: 1\nparam: false\nx: {A}", "x"),
    "an answer of its own": (f'OUT: {{acts: [], alive: true}}\n"OUT": _\nx: {A}', "x"),
    "a package clause": (f"package evil // }}\nx: {A}", "x"),
    "braces in strings and comments": (f'// }} ] )\na: "}}" // "\nb: \'{{\'\nc: #"\\(}}"#\nx: {A}', "x"),
    "an attribute's name in a string": (f'a: "me@extern.example @embed(x)"\nx: {A}', "x"),
    "other attributes": (f"x: {A} @foo(bar, a=\")\") @go(X)\ny: {{@bar(y)\nz: {A}}}", "x y.z"),
    "keywords as labels": (f'if: {A}\n"for": {A}\nin: {A}\n"let": {{if: {A}}}', "if for in let.if"),
    "keywords with marks": (f"s: {{if?: 1, for!: 1, for: 2, let: 3, x: {A}}}", "s.x"),
    "import and package as labels": (f"x: {A}\nimport: 1\npackage: {A}\ny: import", "x package"),
    "types of CUE as names": (f'len: 3\nstring: "s"\nnumber: 1\nx: {A}\ny: kube.#Apply & {{$params: value: kind: string}}', "x y"),
    "a package's name as a field inside": (f"s: {{kube: {{#Apply: {{a: 1}}}}, x: kube.#Apply & {{a: 1}}}}\ny: {A}", "y"),
    "a package's name as a field of a struct": (f"y: {{kube: 1}}\nz: y.kube\nx: {A}", "x"),
    "a package's name as a loop variable": (f'for kube in ["a"] {{"\\(kube)": kube}}\nx: {A}', "x"),
    "labels with quotes, newlines, other scripts": (
        f'"a\\"b": {A}\n"new\\nline": {A}\n"ünï": {A}\nünï2: {A}\n"us\\u001fx": {A}\n"": {A}\n" ": {A}\n"0": {A}\n"℘": {A}',
        ["a\"b", "new\nline", "ünï", "ünï2", "us\u001fx", "", " ", "0", "℘"],
    ),
    "labels that look like another kind": (
        f'"_x": {A}\n_x: {A}\n"#x": {A}\n#x: {A}\n"$x": {A}\n"\\"_x\\"": {A}',
        ['"_x"', "_x", '"#x"', "$x", '"\\"_x\\""'],
    ),
    "computed labels of all kinds": (
        'for a in ["x/y", "p.q", "0", "", "\\\\", "\\"", "]", "_h", "#d", "x\\u001fy"] '
        '{"\\(a)": kube.#Apply & {$params: value: {kind: a}}}',
        ["x/y", "p.q", "0", "", "\\", '"\\""', "]", '"_h"', '"#d"', "x\u001fy"],
    ),
    "separators of ours in computed labels": (
        'for a in ["x\\u001fy", "p"] {"k-\\(a)": {for b in ["q", "y\\u001fz"] {"l-\\(b)": kube.#Apply & '
        "{$params: value: {kind: a + b}}}}}",
        ["k-x\u001fy.l-q", "k-x\u001fy.l-y\u001fz", "k-p.l-q", "k-p.l-y\u001fz"],
    ),
    "windows line ends": (HEAD.replace("\n", "\r\n") + f"x: {A}\r\n".replace("{", "{\r\n"), "x"),
    "a byte order mark": ("\ufeff" + HEAD + f"x: {A}", "x"),
    "a pattern for everything": (f"[string]: {{...}}\n[=~\"^_\"]: {{...}}\nx: {A}", "x"),
    "an ellipsis for everything": (f"x: {A}\n...", "x"),
    "nothing at all": ("", ""),
    "nothing but a comment": ("// nothing", ""),
    "nothing but imports": (HEAD + 'import "strings"', ""),
}  # fmt: skip


@pytest.mark.parametrize(("text", "paths"), HARMLESS.values(), ids=HARMLESS.keys())
async def test_strange_but_harmless(evaluator: Evaluator, text: str, paths: str | list[str]) -> None:
    template = text if "import" in text[:9] or not text or "package evil" in text else HEAD + text
    if "package evil" in text:
        template = text.replace("\n", "\n" + HEAD, 1)
    run = await attempt(evaluator, template, canned={"*": live})
    assert isinstance(run.result, result.Succeeded), run.result
    assert run.paths == (paths.split() if isinstance(paths, str) else paths)


async def test_results_find_their_way_under_any_label(evaluator: Evaluator) -> None:
    template = HEAD + (
        'for a in ["_h", "#d", "\\"", "x\\u001fy"] {"\\(a)": kube.#Apply & {$params: value: {kind: a}}}\n'
        '"_x": kube.#Apply & {$params: value: kind: "quoted"}\n'
        '_x: kube.#Apply & {$params: value: kind: "hidden"}\n'
        'l: [for a in [1] {_r: kube.#Read & {$params: value: {kind: "list"}}, '
        "m: kube.#Apply & {$params: value: kind: _r.$returns.value.z}}]\n"
    )
    outputs = {"hidden": "_x.$returns.value.z", "list": "l[0].m.$returns.value.z"}
    run = await attempt(evaluator, template, canned={"*": live}, outputs=outputs)
    assert isinstance(run.result, result.Succeeded), run.result
    assert run.result.outputs == {"hidden": "hidden", "list": "list"}
    assert len(run.paths) == len(set(run.paths)) == 8


async def test_parameters_and_results_cannot_leave_their_json(evaluator: Evaluator) -> None:
    strange = {"a": '"}\nevil: 1', "b": "\\(1)", "c": "\u2028\x00\x7f", "#d": {"_e": [None, True]}, "__f": 1, "": 0}
    template = HEAD + "x: kube.#Apply & {$params: value: parameter}\nparameter: {...}"
    run = await attempt(
        evaluator, template, parameter=strange, canned={"*": {"value": strange}}, outputs={"o": "x.$returns.value"}
    )
    assert isinstance(run.result, result.Succeeded), run.result
    assert run.operations[0].arguments["value"] == strange
    assert run.result.outputs == {"o": strange}


async def test_an_output_cannot_import_what_a_template_may_not(evaluator: Evaluator) -> None:
    run = await attempt(evaluator, HEAD + f"x: {A}", canned={"*": live}, outputs={"o": 'import "tool/exec"\nexec.Run'})
    assert isinstance(run.result, result.Failed)
    assert "exec" in run.result.message
    assert run.paths == ["x"]


IMPORTS = {
    "unused, of CUE": 'import "strings"\nimport "list"\nimport j "encoding/json"\nx: {A}',
    "unused, of ours": 'import "vela/http"\nimport o "vela/op"\nx: {A}',
    "unused, under a name that a field has": 'import "strings"\ny: {{strings: {{Join: 1}}}}\nz: y.strings.Join\nx: {A}',
    "unused, and a field of that name at the top": 'import "strings"\nstrings: 1\ny: strings\nx: {A}',
    "unused, and its name in a comment": 'import "strings" // strings.ToUpper\nx: {A}',
    "twice": 'import "strings"\nimport "strings"\ny: strings.ToUpper("x")\nx: {A}',
    "twice under different names": 'import s "strings"\nimport "strings"\ny: strings.ToUpper("x")\nx: {A}',
    "both names used": 'import s "strings"\nimport "strings"\ny: strings.ToUpper("x") + s.ToLower("X")\nx: {A}',
    "ours under two names": 'import k "vela/kube"\ny: k.#Read & {{$params: value: kind: "Y"}}\nx: {A}',
    "with a qualifier": 'import "encoding/json:json"\ny: json.Marshal(1)\nx: {A}',
    "used with white space": 'import "strings"\ny: strings .ToUpper("x")\nx: {A}',
    "used in parentheses": "x: (kube).#Apply & {{$params: value: kind: \"X\"}}",
    "used in an interpolation only": 'import "strings"\nx: kube.#Apply & {{$params: value: kind: "\\(strings.ToUpper("x"))"}}',
    "in a block": 'import (\n"strings" // a\n\n"list"\n)\ny: strings.ToUpper("x")\nx: {A}',
    "used by a guard only": 'import "strings"\nif strings.HasPrefix("ab", "a") {{x: {A}}}',
    "used by the parameters only": 'import "strings"\nparameter: {{n: *"abc" | strings.MinRunes(2)}}\nx: {A}',
}  # fmt: skip


@pytest.mark.parametrize("text", IMPORTS.values(), ids=IMPORTS.keys())
async def test_imports(evaluator: Evaluator, text: str) -> None:
    run = await attempt(evaluator, HEAD + text.format(A=A), canned={"*": live})
    assert isinstance(run.result, result.Succeeded), run.result
    assert "x" in run.paths
