"""What the command prints, read."""

from __future__ import annotations

import pytest

from vela_workflow.cue import messages, values
from vela_workflow.cue.survey import label, unlabelled


@pytest.mark.parametrize(
    ("line", "kind", "path"),
    [
        ("a.b: undefined field: c:", "not yet", "a.b"),
        ("a: cannot reference optional field: $returns:", "not yet", "a"),
        ("a.b: incomplete value string:", "not yet", "a.b"),
        ("a: non-concrete value bool in operand to !:", "not yet", "a"),
        ("a.0.b: field is required but not present:", "not yet", "a.0.b"),
        ("a: required field missing: b:", "not yet", "a"),
        ("a: invalid list index: index out of range", "not yet", "a"),
        ('a: conflicting values 1 and "x" (mismatched types int and string):', "final", "a"),
        ("a.b: field not allowed:", "final", "a.b"),
        ('a: invalid value "x" (does not satisfy strings.MinRunes(3)):', "final", "a"),
        ("a: invalid value 0 (out of bound >0):", "final", "a"),
        ("a: structural cycle:", "final", "a"),
        ("a: division by zero:", "final", "a"),
        ("error in call to encoding/json.Unmarshal: json: invalid JSON:", "final", ""),
        ('reference "x" not found:', "compile", ""),
        ('imported and not used: "strings" as strings:', "compile", ""),
        ("a: unreferenced alias or let clause x:", "compile", "a"),
        ("expected '}', found 'EOF':", "compile", ""),
    ],
)
def test_kinds(line: str, kind: str, path: str) -> None:
    (report,) = messages.parse(f"{line}\n    ./p0/program.cue:3:4\n")
    assert report.path == path
    assert report.places == (("p0/program.cue", 3, 4),)
    kinds = {"not yet": report.is_not_yet, "final": report.is_final, "compile": report.is_compile}
    assert [name for name, holds in kinds.items() if holds] == [kind]


def test_several_reports_and_their_places() -> None:
    text = (
        "a: 2 errors in empty disjunction:\n"
        "a: conflicting values 1 and 2:\n    ./p0/program.cue:1:2\n    ./p0/program.cue:3:4\n"
        "\nb: undefined field: c:\n    ./p0/program.cue:5:6\n"
    )
    assert [(report.path, len(report.places)) for report in messages.parse(text)] == [("a", 2), ("b", 1)]


def test_unused_imports() -> None:
    text = 'imported and not used: "a/b" as b:\n    ./p0/program.cue:2:8\nimported and not used: "c":\n'
    assert messages.unused_imports(text) == {("b", "a/b"), ("", "c")}
    assert not messages.unused_imports("a: undefined field: b:")


def test_names_of_ours_are_hidden() -> None:
    total = "cannot range over [if (x.y) != _|_ {x.y}, []][0] (found string)"
    assert messages.readable(total, "a1b2c3") == "cannot range over x.y (found string)"
    assert messages.readable("undefined field: W_a1b2c3.x.y in E_a1b2c3", "a1b2c3") == "undefined field: x.y in"
    assert messages.readable_path("W_a1b2c3.x", "a1b2c3") == "x"
    assert messages.readable_path("let[].x.y", "a1b2c3") == "x.y"


@pytest.mark.parametrize(
    ("part", "selector"),
    [
        (label("a"), ".a"),
        (label("_a"), '["_a"]'),
        (label("_a", quoted=False), "._a"),
        (label("#a", quoted=False), ".#a"),
        (label("#a"), '["#a"]'),
        (label('"a"'), '["\\"a\\""]'),
        (label("a b"), '["a b"]'),
        (label(""), '[""]'),
        (label("é"), '["é"]'),
        (label("$a"), ".$a"),
        (3, "[3]"),
    ],
)
def test_selectors(part: str | int, selector: str) -> None:
    assert values.selector(part) == selector


@pytest.mark.parametrize("name", ["a", "_a", "#a", '"', '"_', "", "a\n", "é"])
def test_labels_and_names(name: str) -> None:
    assert unlabelled(label(name)) == name


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ('a: conflicting values "s3cret" and int', "a: conflicting values … and int"),
        ("conflicting values 'by\\'tes' and string", "conflicting values … and string"),
        ('data."a.b", line 2:3: invalid value "s" (out of bound =~"^x$")', 'data."a.b", line 2:3: invalid value … (out of bound =~…)'),
        ("waiting for a['b'].c", "waiting for a[…].c"),
        ("undefined field: it's", "undefined field: it's"),
    ],
)  # fmt: skip
def test_values_are_left_out_where_they_may_be_secret(message: str, shown: str) -> None:
    assert messages.redacted(message) == shown
