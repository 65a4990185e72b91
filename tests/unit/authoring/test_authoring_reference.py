"""Parameters as readers see them, and the pages of all step types."""

from __future__ import annotations

from pathlib import Path

import pytest

from vela_workflow.authoring import packages, reference
from vela_workflow.authoring.reference import Parameter

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "reference"
PAGES = {**reference.pages(), packages.PAGE: packages.page()}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(
            "// The name.\nname: string", [Parameter("name", "string", "", False, "The name.")], id="required"
        ),
        pytest.param("name?: int", [Parameter("name", "int", "", True, "")], id="optional"),
        pytest.param("name!: int", [Parameter("name", "int", "", False, "")], id="required"),
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


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_up_to_date(name: str) -> None:
    command = f"run `python -m vela_workflow.authoring {FOLDER}`"
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name], command


def test_there_is_no_page_without_a_definition() -> None:
    assert {f"steps/{path.name}" for path in (FOLDER / "steps").iterdir()} == PAGES.keys() - {
        "definitions.md",
        packages.PAGE,
    }


def test_every_provider_is_on_the_page_of_packages() -> None:
    told = "each folder of a provider has a line in SOURCES of vela_workflow/authoring/packages.py"
    assert {folder for _, folder, _ in packages.SOURCES} == packages.folders(), told


def test_the_page_of_packages_tells_arguments_and_results() -> None:
    page = packages.page()
    part = page[page.index("### #Read") : page.index("### #List")]
    assert "| `value` | `{…}` |" in part
    assert part.index("| Argument |") < part.index("| Result |")
    assert "#do" not in page


def test_a_parameter_tells_where_it_stands() -> None:
    text = "x: 1\nparameter: {\n\tname: string\n}\n"
    (found,) = reference.parameters(text)
    assert text[found.offset :].startswith("name: string")


def test_a_page_of_a_definition_that_says_little() -> None:
    source = '"plain": type: "workflow-step"\ntemplate: {parameter: {}}\n'
    assert reference.document(source) == "# plain\n\nIt has no description.\n\nNo parameters.\n"
