"""Where operations are found, in which order, under which guards, and what they reach."""

from __future__ import annotations

import pytest

from vela_workflow.cue import template
from vela_workflow.cue.library import Action, Library
from vela_workflow.cue.survey import AnyKey, Computed, Key, Position, Site, Survey

SOURCE = """
package ops
#Do: {#do: "do", #provider: "ops", $params: {...}, $returns?: {...}, ...}
#Alias: #Do & {$params: kind: "alias"}
#Both: {first: #Do, second: {inner: #Do}}
#Plain: {a: int}
"""
OLD = 'package op\n#Do: {#do: "do", #provider: "op", ...}\n#Wait: {#do: "wait", #provider: "op", continue: bool}'
LIBRARY = Library.build({"vela/ops": SOURCE, "vela/op": OLD})
HEAD = 'import "vela/ops"\nimport "vela/op"\n'


def survey(text: str) -> Survey:
    return template.prepare(HEAD + text, LIBRARY).survey


def path(site: Site) -> str:
    words = {Computed: "(…)", AnyKey: "*"}
    return ".".join(
        segment.name
        if isinstance(segment, Key)
        else str("?" if segment.index is None else segment.index)
        if isinstance(segment, Position)
        else words[type(segment)]
        for segment in site.path
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: ops.#Do", "a"),
        ("a: ops.#Alias", "a"),
        ("a: ops.#Plain", ""),
        ("a: op.#Do & {x: 1}", "a"),
        ('a: {#do: "x", #provider: "y"}', "a"),
        ('a: {#do: "steps", b: ops.#Do}', "a.b"),
        ("a: {ops.#Do, b: 1}", "a"),
        ("a: (ops.#Do)", "a"),
        ("a: close(ops.#Do)", "a"),
        ("a: *ops.#Do | {b: 1}", ""),
        ("#a: ops.#Do", ""),
        ("_#a: ops.#Do", ""),
        ("_a: ops.#Do", "_a"),
        ('"#a": ops.#Do\n"_b": ops.#Do', '"#a" "_b"'),
        ("a?: ops.#Do", "a"),
        ("[string]: ops.#Do", ""),
        ("parameter: {a: ops.#Do}", ""),
        ("context: {a: ops.#Do}", ""),
        ("a: b: c: ops.#Do", "a.b.c"),
        ("a: {b: ops.#Do, c: {d: ops.#Do}}", "a.b a.c.d"),
        ('"\\(x)": ops.#Do\n(x): ops.#Do\nx: ""', "(…) (…)"),
        ("a: [ops.#Do, {b: ops.#Do}]", "a.0 a.1.b"),
        ("a: [for x in y {ops.#Do}]\ny: []", "a.?"),
        ("a: [for x in y {b: ops.#Do}, ops.#Do]\ny: []", "a.?.b a.?"),
        ("if x {a: ops.#Do}\nx: true", "a"),
        ("a: {if x {ops.#Do}}\nx: true", "a"),
        ("a: ops.#Do & {b: ops.#Do}", "a.b a"),
        ("#m: ops.#Do\na: #m", "a"),
        ("let m = ops.#Do\na: m", "a"),
        ("a: ops.#Do\nb: a", "a"),
        ("#m: {x: ops.#Do}\na: #m", "a.x"),
        ("#m: {x: ops.#Do}\n#m", "x"),
        ("#m: {x: ops.#Do}\nif true {#m}", "x"),
        ('#m: {for k in y {"\\(k)": ops.#Do}}\na: #m\ny: []', "a.*"),
        ("a: ops.#Both", "a.first a.second.inner"),
        ("#m: {x: ops.#Do}\na: #m.x", "a"),
        ("#m: {x: ops.#Do}\na: #m[y]\ny: \"x\"", "a"),
        ("#m: {x: ops.#Do}\na: (#m & {y: 1}).x", "a"),
        ("a: [if x {ops.#Do}, ops.#Alias][0]\nx: true", "a"),
        ("a: f[0]\nf: [1]", ""),
        ("ops: {#Do: 1}", ""),
        ("a: {ops: {#Do: 1}, b: ops.#Do}", ""),
    ],
)  # fmt: skip
def test_found(text: str, found: str) -> None:
    assert [path(site) for site in survey(text).sites] == found.split()


@pytest.mark.parametrize(
    ("text", "mandatory"),
    [
        ("a: ops.#Do\nb: {c: ops.#Do}", "a b.c"),
        ("if true {a: ops.#Do}\nb: [if true {ops.#Do}]", ""),
        ("#m: {x: ops.#Do}\na: #m", ""),
        ("let m = ops.#Do\na: m", "a"),
        ("a: [ops.#Do]", "a.0"),
        ("a: [if x {ops.#Do}, 1][0]\nx: true", ""),
        ('"\\(x)": ops.#Do\nx: ""', ""),
    ],
)
def test_what_must_be_there(text: str, mandatory: str) -> None:
    assert [path(site) for site in survey(text).sites if site.mandatory] == mandatory.split()


def test_the_older_form_is_told_apart() -> None:
    new, old, hand = survey('a: ops.#Do\nb: op.#Do\nc: {#do: "x", #provider: "op", $params: {}}').sites
    assert (new.action, old.action) == (Action("do", "ops", legacy=False), Action("do", "op", legacy=True))
    assert hand.action == Action("x", "op", legacy=False)


def test_the_order_of_the_text() -> None:
    text = "a: {b: ops.#Do, c: ops.#Do} & ops.#Do\nd: ops.#Do @step(2)\nif x {e: ops.#Do}\nf: ops.#Do @step(1)\nx: true"
    sites = sorted(survey(text).sites, key=lambda site: [part for part in site.order if isinstance(part, tuple)])
    assert [path(site) for site in sites] == ["f", "d", "a.b", "a.c", "a", "e"]


@pytest.mark.parametrize(
    ("text", "reaches"),
    [
        ("b: ops.#Do & {$params: x: a.$returns.y}", True),
        ("b: ops.#Do & {$params: x: 1}", False),
        ("b: ops.#Do & {$params: x: c}\nc: a.$returns", True),
        ("b: ops.#Do & {$params: x: c.e}\nc: {d: a.$returns, e: 1}", False),
        ("b: ops.#Do & {$params: x: c[e]}\nc: {d: a.$returns, e: 1}\ne: \"d\"", True),
        ("if a.$returns != _|_ {b: ops.#Do}", True),
        ("if true {if a.$returns != _|_ {q: 1}, b: ops.#Do}", False),
        ("for x in a.$returns.l {b: ops.#Do}", True),
        ("for x in a.$returns.l let y = x {b: ops.#Do & {$params: z: y}}", True),
        ("b: ops.#Do & {$params: x: \"\\(a.$returns.y)\"}", True),
        ("b: ops.#Do & {$params: x: [a.$returns.y][0]}", True),
        ("b: {a: 1, c: a} & ops.#Do", False),
        ("let l = a.$returns\nb: ops.#Do & {$params: x: l}", True),
        ("#d: {x: a.$returns.y}\nb: ops.#Do & {$params: #d}", True),
        ("b: ops.#Do\nif true {b: $params: x: a.$returns.y}", True),
        ("b: ops.#Do & {$params: x: f(a.$returns)}\nf: 1", True),
        ("X=c: a.$returns\nb: ops.#Do & {$params: x: X}", True),
    ],
)  # fmt: skip
def test_what_an_operation_reaches(text: str, reaches: bool) -> None:
    found = survey("a: ops.#Do\n" + text)
    first = next(site for site in found.sites if path(site) == "a")
    second = next(site for site in found.sites if path(site) == "b")
    assert (first.identity in second.reach) is reaches


def test_what_a_package_does_not_have() -> None:
    with pytest.raises(template.errors.Invalid) as raised:
        survey("a: ops.#Nope\nb: ops.nope")
    assert [(problem.message, problem.line) for problem in raised.value.problems] == [
        ("vela/ops has no operation #Nope", 3),
        ("vela/ops has no field nope", 4),
    ]
