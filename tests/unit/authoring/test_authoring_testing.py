"""Test files of definitions as text: what is read, what is refused with its line, what is written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from vela_workflow import errors
from vela_workflow.api.constants import Reason
from vela_workflow.authoring import skeleton, testing
from vela_workflow.engine import result

FILE = """\
For readers.

== first ==
-- parameter --
{a: 1}
-- results --
read: {value: {x: 2}}
lost: {raises: it is gone}
-- resumed --
[ask]
-- expect --
operations: []
result: succeeded

== second ==
-- expect --
operations: []
result: waiting
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my-step.test.txt"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_cases_are_read_with_their_lines(file: Path) -> None:
    first, second = testing.read(file)
    assert (first.title, first.line, second.title, second.line) == ("first", 3, "second", 15)
    assert first.definition == "my-step"
    assert first.section("parameter") == {"a": 1}
    assert first.section("context") == second.section("parameter") == {}
    assert first.resumed == {"ask"}
    assert second.resumed == frozenset()
    canned = first.canned()
    assert canned["read"] == {"value": {"x": 2}}
    assert isinstance(canned["lost"], errors.Transient)
    assert str(canned["lost"]) == "it is gone"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("a.test.txt", "a", id="beside the definition"),
        pytest.param("b.txt", "b", id="in a folder of tests"),
    ],
)
def test_the_name_of_the_file_names_the_definition(name: str, expected: str) -> None:
    assert testing.definition_of(Path(name)) == expected


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        pytest.param("no case\n", 1, "there is no case", id="no case"),
        pytest.param("== a ==\nwords\n", 2, "after its title", id="text before the sections"),
        pytest.param("== a ==\n-- expected --\n{}\n", 2, "unknown section expected", id="unknown section"),
        pytest.param("== a ==\n-- expect --\n{}\n-- expect --\n", 4, "there twice", id="a section twice"),
        pytest.param("== a ==\n-- expect --\n{}\n== a ==\n", 4, 'two cases "a"', id="a title twice"),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = tmp_path / "x.test.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(errors.Invalid, match=said) as caught:
        testing.read(path)
    assert [(one.path, one.line) for one in caught.value.problems] == [("x.test.txt", line)]


@pytest.mark.parametrize(
    ("section", "line", "said"),
    [
        pytest.param("parameter --\na: [1\nb: 2", 4, "parameter is not YAML", id="no YAML"),
        pytest.param("parameter --\n- 1", 2, "parameter must be a mapping", id="a list"),
        pytest.param("resumed --\n{a: 1}", 2, "resumed must be a list", id="no list"),
    ],
)
def test_a_section_that_is_wrong(tmp_path: Path, section: str, line: int, said: str) -> None:
    path = tmp_path / "x.test.txt"
    path.write_text(f"== a ==\n-- {section}\n", encoding="utf-8")
    (case,) = testing.read(path)
    with pytest.raises(errors.Invalid, match=said) as caught:
        _ = (case.section("parameter"), case.resumed)
    assert caught.value.problems[0].line == line


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        pytest.param(
            result.Succeeded({"a": 1}, "fine"),
            {"result": "succeeded", "message": "fine", "outputs": {"a": 1}},
            id="succeeded",
        ),
        pytest.param(result.Waiting("for it"), {"result": "waiting", "message": "for it"}, id="waiting"),
        pytest.param(
            result.Suspended("ask", "please", datetime(2026, 1, 1, tzinfo=UTC)),
            {"result": "suspended", "message": "please", "until": "2026-01-01 00:00:00+00:00"},
            id="suspended",
        ),
        pytest.param(result.Broken("enough"), {"result": "broken", "message": "enough"}, id="broken"),
        pytest.param(
            result.Failed(Reason.EXECUTE, "x, line 3:4: no", retriable=True),
            {"result": "failed/Execute", "message": "x: no", "retried": True},
            id="failed",
        ),
    ],
)
def test_what_an_end_is_told_as(ended: result.Result, expected: dict[str, Any]) -> None:
    done = [testing.Operation("a.b", "apply", {"x": 1}), testing.Operation("c", "suspend", {})]
    assert testing.told(done, ended) == {"operations": [{"apply a.b": {"x": 1}}, {"suspend c": None}], **expected}


def test_differences_show_both_sides() -> None:
    lines = testing.differences({"result": "succeeded", "message": "a"}, {"result": "waiting", "message": "a"})
    changed = [line for line in lines[2:] if line[0] in "+-"]
    assert lines[:2] == ["--- expected", "+++ done"]
    assert changed == ["-result: succeeded", "+result: waiting"]
    assert testing.differences({"a": 1}, {"a": 1}) == []


def test_an_update_changes_expectations_only(file: Path) -> None:
    new = {"operations": [], "result": "broken"}
    assert testing.update(file, {"first": new, "second": {"operations": [], "result": "waiting"}})
    text = file.read_text(encoding="utf-8")
    assert text == FILE.replace("result: succeeded", "result: broken")
    assert not testing.update(file, {case.title: case.section("expect") for case in testing.read(file)})


def test_a_case_can_be_appended(file: Path) -> None:
    text = testing.case("third", {"parameter": {}, "context": {}, "results": {"r": {"v": 1}}}, {"operations": []})
    with file.open("a", encoding="utf-8") as appended:
        appended.write(f"\n{text}")
    third = testing.read(file)[2]
    assert dict(third.texts).keys() == {"parameter", "results", "expect"}
    assert third.canned() == {"r": {"v": 1}}


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("my-step", True),
        ("a", True),
        ("My-step", False),
        ("-a", False),
        ("a.b", False),
        ("", False),
        ("a" * 64, False),
    ],
)
def test_names_of_new_step_types(name: str, *, fits: bool) -> None:
    assert bool(skeleton.NAME.fullmatch(name)) is fits
