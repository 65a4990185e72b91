"""Older spellings, and what only looks like one."""

from __future__ import annotations

import pytest

from vela_workflow.cue import compat

L = compat.LISTS


@pytest.mark.parametrize(
    ("text", "upgraded"),
    [
        ("a: [1] + [2]", f"a: {L}.Concat([[1], [2]])"),
        ("a: [1] + [2] + [3]", f"a: {L}.Concat([[1], [2], [3]])"),
        ("a: [1] * 3", f"a: {L}.Repeat([1], 3)"),
        ("a: [1] + [2] * 3", f"a: {L}.Concat([[1], {L}.Repeat([2], 3)])"),
        ("a: 3 * [1]", f"a: {L}.Repeat([1], 3)"),
        ("a: [...string]\nb: a + [1]", f"a: [...string]\nb: {L}.Concat([a, [1]])"),
        ("parameter: {args?: [...string]}\nb: parameter.args + c", f"parameter: {{args?: [...string]}}\nb: {L}.Concat([parameter.args, c])"),
        ("a: ([1] + [2])", f"a: ({L}.Concat([[1], [2]]))"),
        ("a: f([1] + b)", f"a: f({L}.Concat([[1], b]))"),
        ("a: [for x in [1] + [2] {x}]", f"a: [for x in {L}.Concat([[1], [2]]) {{x}}]"),
        ("if x {a: [1] + [2]}", f"if x {{a: {L}.Concat([[1], [2]])}}"),
        ('a: "\\([1] + [2])"', f'a: "\\({L}.Concat([[1], [2]]))"'),
        ("let a = [1]\nb: a * 2", f"let a = [1]\nb: {L}.Repeat(a, 2)"),
        ("a: [[1] + [2]]", f"a: [{L}.Concat([[1], [2]])]"),
        ("a: [1, [2] + [3]] + [4]", f"a: {L}.Concat([[1, {L}.Concat([[2], [3]])], [4]])"),
        (
            "\n".join(f"a{number}: [1] + [2]" for number in range(50)),
            "\n".join(f"a{number}: {L}.Concat([[1], [2]])" for number in range(50)),
        ),
        ('import "vela/op"\na: b == op.NoExist', 'import "vela/op"\na: b == _|_'),
        ('import o "vela/op"\na: b == o.NoExist', 'import o "vela/op"\na: b == _|_'),
    ],
)  # fmt: skip
def test_rewritten(text: str, upgraded: str) -> None:
    assert compat.upgrade(text).text == upgraded
    assert compat.upgrade(upgraded).text == upgraded, "what is new stays"


@pytest.mark.parametrize(
    "text",
    [
        "a: context.a + context.b",
        "a: parameter.x * 2",
        "parameter: {x: int}\na: parameter.x * 2",
        "a: 1 + 2 * 3",
        'a: "x" + "y"',
        'a: "x" * 3',
        'a: "[1] + [2]"',
        "// a: [1] + [2]\na: 1",
        "a: *[] | [...string]",
        "a: *[1] | [2]",
        'a: """\n  [1] + [2]\n  """',
        "a: -1 + b",
        "a: {error: 1}\nerror: 2",
        'a: op.NoExist // no import',
        "a: [1] + [2",
        "a: [",
        "",
    ],
)  # fmt: skip
def test_left_alone(text: str) -> None:
    found = compat.upgrade(text)
    assert found.text == text
    assert found.upgrades == ()


@pytest.mark.parametrize(
    ("text", "upgrades"),
    [
        ("a: [1] + [2]\nb: [1] * 2", ("list-arithmetic",)),
        ('import "vela/op"\na: b == op.NoExist', ("no-exist",)),
        ('import "vela/op"\na: b == op.NoExist\nc: [1] + [2]', ("no-exist", "list-arithmetic")),
    ],
)
def test_it_tells_what_was_older(text: str, upgrades: tuple[str, ...]) -> None:
    found = compat.upgrade(text)
    assert found.upgrades == upgrades
    assert found.seconds > 0
