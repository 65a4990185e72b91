"""Parameters as readers see them, and the page of all step types."""

from __future__ import annotations

from pathlib import Path

import pytest

from vela_workflow.authoring import reference
from vela_workflow.authoring.reference import Parameter

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "definitions.md"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            "// The name.\nname: string", [Parameter("name", "string", "", False, "The name.")], id="required"
        ),
        pytest.param("name?: int", [Parameter("name", "int", "", True, "")], id="optional"),
        pytest.param(
            '// One\n// and two.\nname: *"a" | string',
            [Parameter("name", "string", '"a"', False, "One and two.")],
            id="a default",
        ),
        pytest.param(
            'kind: *"a" | "b|c"', [Parameter("kind", '"a" | "b|c"', '"a"', False, "")], id="a choice with a default"
        ),
        pytest.param("n: *1 | int & >=0", [Parameter("n", "int & >=0", "1", False, "")], id="a bounded number"),
        pytest.param(
            "a: {\n// Inner.\nb: string\n}",
            [Parameter("a", "{…}", "", False, ""), Parameter("a.b", "string", "", False, "Inner.")],
            id="a struct",
        ),
        pytest.param(
            "a: [...{b: string}]",
            [Parameter("a", "[...{…}]", "", False, ""), Parameter("a[].b", "string", "", False, "")],
            id="a list",
        ),
        pytest.param(
            "a: close({b: string}) | close({c: int})",
            [
                Parameter("a", "{…}", "", False, ""),
                Parameter("a.b", "string", "", False, ""),
                Parameter("a.c", "int", "", False, ""),
            ],
            id="one of two",
        ),
        pytest.param(
            'if kind == "x" {a: string}',
            [Parameter("a", "string", "", False, "", 'kind == "x"')],
            id="a condition",
        ),
        pytest.param("header?: [string]: string", [Parameter("header", "[string]: string", "", True, "")], id="a map"),
    ],
)
def test_parameters(body: str, expected: list[Parameter]) -> None:
    assert reference.parameters(f"x: 1\nparameter: {{\n{body}\n}}\n") == expected


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference.page(), "run `python -m vela_workflow.authoring > " + str(PAGE)
