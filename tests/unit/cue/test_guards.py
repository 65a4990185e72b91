"""Which guards of a template can fail, and how a program asks about them."""

from __future__ import annotations

import pytest

from vela_workflow.cue import guards, scanner
from vela_workflow.cue.names import Names

FOUND = [
    ("at the top", "if a.n > 3 {x: 1}", [("if a.n > 3", "(a.n > 3)")]),
    ("a name of its own struct", "b: {n: 1, if n > 3 {x: 1}}", [("if n > 3", "(b.n > 3)")]),
    ("a label that is no identifier", 'b: "c-d": {n: 1, if n > 3 {x: 1}}', [("if n > 3", '(b["c-d"].n > 3)')]),
    ("a name given by an alias", "b: X={n: 1, if X.n > 3 {x: 1}}", [("if X.n > 3", "(b.n > 3)")]),
    ("in parentheses", "b: ({n: 1, if n > 3 {x: 1}}) & {}", [("if n > 3", "(b.n > 3)")]),
    ("behind another", "if a.p if a.n > 3 {x: 1}", [("if a.p", "(a.p)"), ("if a.n > 3", "if (a.p)")]),
    ("inside another", "if a.p {b: {if a.n > 3 {x: 1}}}", [("if a.p", "(a.p)"), ("if a.n > 3", "if (a.p)")]),
    ("with a loop variable", "for i in a.l {if i > 3 {x: 1}}", [("for i in a.l", "(a.l)"), ("if i > 3", "for i in (a.l)")]),
    ("with a binding", "if a.p let y = a.n if y > 3 {x: 1}", [("if a.p", "(a.p)"), ("if y > 3", "let y = (a.n)")]),
    ("with a let of a struct", "b: {let y = a.n, if y > 3 {x: 1}}", [("if y > 3", "let y = (a.n)")]),
    ("in a list element", "b: [{if a.n > 3 {x: 1}}]", [("if a.n > 3", "(a.n > 3)")]),
    ("in a list that a loop makes", "b: [for i in a.l {if i > 3 {x: 1}}]", [("if i > 3", "for i in (a.l)")]),
    ("in a let", "let b = {if a.n > 3 {x: 1}}", [("if a.n > 3", "(a.n > 3)")]),
    ("inside the condition of another", "if len({if a.n > 3 {x: 1}}) > 0 {y: 1}", [
        ("if a.n > 3", "(a.n > 3)"), ("if len({if a.n > 3 {x: 1}}) > 0", "[if (a.n > 3) != _|_ {a.n > 3}, false][0]"),
    ]),
]  # fmt: skip

PASSED_OVER = [
    ("whether something is there", "if a.n != _|_ {x: 1}"),
    ("whether something is not there", "if (a.n & 3) == _|_ {x: 1}"),
    ("several of these", "if a.n != _|_ && a.m == _|_ || !(a.o != _|_) {x: 1}"),
    ("of a list: the list itself fails", "b: [if a.n > 3 {x: 1}]"),
    ("a name in a definition", "#B: {n: int, if n > 3 {x: 1}}"),
    ("a name in a list", "b: [{n: 1, if n > 3 {x: 1}}]"),
    ("a name in a let", "let b = {n: 1, if n > 3 {x: 1}}"),
    ("a name under a computed label", 'b: "\\(a.n)": {n: 1, if n > 3 {x: 1}}'),
    ("a name behind a pattern", "b: [string]: {n: 1, if n > 3 {x: 1}}"),
    ("a name in an alternative", "b: {n: 1, if n > 3 {x: 1}} | int"),
    ("a binding before the one it needs", "b: {let y = z, let z = a.n, if y > 3 {x: 1}}"),
    ("a name whose path leads through one that is hidden", "b: {n: 1, c: {b: 1, if n > 3 {x: 1}}}"),
]


def find(text: str) -> tuple[guards.Guard, ...]:
    file = scanner.scan(f"{text}\na: {{n: 1, p: true, l: [1]}}\n")
    return guards.find(file, Names(file.body))


@pytest.mark.parametrize(("text", "expected"), [row[1:] for row in FOUND], ids=[row[0] for row in FOUND])
def test_guards_that_are_asked_about(text: str, expected: list[tuple[str, str]]) -> None:
    found = find(text)
    assert [guard.text for guard in found] == [shown for shown, _ in expected]
    for guard, (shown, part) in zip(found, expected, strict=True):
        assert part in guard.question
        assert (guard.line, guard.column) == (1, text.index(shown) + 1)


@pytest.mark.parametrize("text", [row[1] for row in PASSED_OVER], ids=[row[0] for row in PASSED_OVER])
def test_guards_that_are_not(text: str) -> None:
    assert find(text) == ()


def test_bindings_that_a_question_does_not_use_are_left_out() -> None:
    (_, guard) = find("for i in a.l let y = i, let z = i {if y > 3 {x: z}}")
    assert "let y" in guard.question
    assert "let z" not in guard.question


def test_questions_are_bounded() -> None:
    assert len(find("\n".join(f"if a.n > {number} {{x{number}: 1}}" for number in range(300)))) == guards.ASKED
    deep = "for i in a.l {" * 40 + "if i > 3 {x: 1}" + "}" * 40
    assert len(find(deep)) == guards.DEEPEST
    long = " + ".join(["a.n"] * 1000)
    assert find(f"if {long} > 3 {{if a.n > 3 {{x: 1}}}}") == ()


def test_a_long_guard_is_shown_in_part() -> None:
    (guard,) = find(f"if a.n ==\n\t {'1 + ' * 100}1 {{x: 1}}")
    assert guard.text.startswith("if a.n == 1 + 1")
    assert guard.text.endswith("…")
    assert len(guard.text) == guards.SHOWN
