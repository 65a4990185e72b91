"""Definition files: what they become, and what is wrong with wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vela_workflow import errors
from vela_workflow.authoring import definitions

FULL = '''// For readers.
import "strings"
import (
	"vela/kube"
)

"apply-it": {
	type:        "workflow-step"
	alias:       "it"
	description: """
		First line
		and "second".
		"""
	annotations: category:                      "Tests"
	annotations: "definition.oam.dev/example-url": "https://example.com"
	labels: {"scope": "WorkflowRun", "example.com/own": "yes"}
	attributes: {version: "1.2", definitionRef: name: "its.example.com"}
}
template: {
	// The work.
	apply: kube.#Apply & {
		$params: value: {kind: strings.ToTitle("a"), text: """
			two
				lines
			"""}
	}

	parameter: {} // }
}
'''

RENDERED = '''import "strings"
import (
	"vela/kube"
)

// The work.
apply: kube.#Apply & {
	$params: value: {kind: strings.ToTitle("a"), text: """
		two
			lines
		"""}
}

parameter: {} // }
'''


def test_render() -> None:
    assert definitions.render(FULL) == {
        "apiVersion": "core.oam.dev/v1beta1",
        "kind": "WorkflowStepDefinition",
        "metadata": {
            "name": "apply-it",
            "annotations": {
                "definition.oam.dev/description": 'First line\nand "second".',
                "definition.oam.dev/alias": "it",
                "custom.definition.oam.dev/category": "Tests",
                "definition.oam.dev/example-url": "https://example.com",
            },
            "labels": {"custom.definition.oam.dev/scope": "WorkflowRun", "example.com/own": "yes"},
        },
        "spec": {
            "version": "1.2",
            "definitionRef": {"name": "its.example.com"},
            "schematic": {"cue": {"template": RENDERED}},
        },
    }


@pytest.mark.parametrize(
    ("text", "template"),
    [
        pytest.param('x: type: "workflow-step"\ntemplate: {a: 1}', "a: 1\n", id="one line"),
        pytest.param('x: type: "workflow-step"\ntemplate: {}', "\n", id="nothing"),
        pytest.param('x: type: "workflow-step"\ntemplate: a: b: 1', "a: b: 1\n", id="a chain of labels"),
        pytest.param('x: type: "workflow-step"\ntemplate: {\n\n  a: 1\n\n    b: 2\n}', "a: 1\n\n  b: 2\n", id="spaces"),
        pytest.param('package p\nx: type: "workflow-step"\ntemplate: {a: 1}', "a: 1\n", id="a package clause"),
    ],
)
def test_template_text(text: str, template: str) -> None:
    assert definitions.render(text)["spec"]["schematic"]["cue"]["template"] == template


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("workflow-step", "WorkflowStepDefinition"),
        ("component", "ComponentDefinition"),
        ("trait", "TraitDefinition"),
        ("policy", "PolicyDefinition"),
    ],
)
def test_kinds(word: str, kind: str) -> None:
    assert definitions.render(f'x: type: "{word}"\ntemplate: {{}}')["kind"] == kind


HEAD = 'x: {type: "workflow-step"}\n'


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        pytest.param("", (1, 1), "found 0", id="empty"),
        pytest.param(HEAD, (1, 1), "template", id="no template"),
        pytest.param(HEAD + "y: 1\ntemplate: {}", (2, 1), "found 2", id="two heads"),
        pytest.param(HEAD + "template: {}\ntemplate: {}", (3, 1), "found 2", id="two templates"),
        pytest.param(HEAD + "template: 1", (2, 1), "one struct", id="a template that is no struct"),
        pytest.param(HEAD + "if true {}\ntemplate: {}", (2, 1), "expected the head", id="a comprehension"),
        pytest.param("x: 1\ntemplate: {}", (1, 1), "must be a struct", id="a head that is no struct"),
        pytest.param('x: type: "job"\ntemplate: {}', (1, 1), "'job'", id="an unknown type"),
        pytest.param('x: {type: "trait", colour: 1}\ntemplate: {}', (1, 1), "colour", id="an unknown field"),
        pytest.param('x: {type: "trait", alias: 1}\ntemplate: {}', (1, 1), "alias", id="an alias that is no text"),
        pytest.param('x: {type: "trait", labels: []}\ntemplate: {}', (1, 1), "labels", id="labels that are no struct"),
        pytest.param(
            'x: {type: "trait", labels: a: 1}\ntemplate: {}', (1, 1), "labels.a", id="a label that is no text"
        ),
        pytest.param('x: {type: "a" + "b"}\ntemplate: {}', (1, 11), "plain value", id="an expression"),
        pytest.param('x: {type: "\\(y)"}\ntemplate: {}', (1, 11), "plain value", id="an interpolation"),
        pytest.param("x: {type: y}\ntemplate: {}", (1, 11), "plain value", id="a reference"),
        pytest.param('x: {type: "trait", type: "policy"}\ntemplate: {}', (1, 20), "twice", id="a contradiction"),
        pytest.param('x: {type?: "trait"}\ntemplate: {}', (1, 5), "plain value", id="an optional field"),
        pytest.param(HEAD + "template: {a: (1}", (2, 15), "", id="brackets that do not match"),
        pytest.param(HEAD + 'template: {a: "b}', (2, 15), "not closed", id="a string that is not closed"),
    ],
)
def test_errors_tell_the_place(text: str, place: tuple[int, int], words: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        definitions.render(text)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == place
    assert words in problem.message


def test_plain_values() -> None:
    text = (
        'x: {type: "trait", attributes: {n: -1_000, f: 1.5e3, b: true, no: null, l: [1, "a", {k: []}]}}\ntemplate: {}'
    )
    spec: dict[str, Any] = definitions.render(text)["spec"]
    spec.pop("schematic")
    assert spec == {"n": -1000, "f": 1500.0, "b": True, "no": None, "l": [1, "a", {"k": []}]}


@pytest.mark.parametrize("head", ['version: "1.2"', 'attributes: version: "1.2"', 'attributes: {version: "1.2"}'])
def test_a_version_may_stand_in_the_head_or_among_the_attributes(head: str) -> None:
    rendered = definitions.render(f'"it": {{\n\ttype: "workflow-step"\n\t{head}\n}}\ntemplate: parameter: {{}}\n')
    assert rendered["spec"]["version"] == "1.2"
    assert '\n\tversion: "1.2"\n' in definitions.write(rendered)


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=path.stem) for path in sorted(definitions.built_in().rglob("*.cue"))]
)
def test_write_is_the_way_back(path: Path) -> None:
    rendered = definitions.render(path)
    assert definitions.render(definitions.write(rendered)) == rendered


def test_write_keeps_everything_of_a_head() -> None:
    rendered = definitions.render(FULL)
    assert definitions.render(definitions.write(rendered)) == rendered


@pytest.mark.parametrize(
    "text",
    ['a"""b\nc', 'a"""#\nb', "a\\#\nb", "a\\(b)\nc", "\n", "a\n\n\nb", "if", "ü \t\\ \"'"],
    ids=["quotes", "quotes and hash", "escape", "interpolation", "line feed", "empty lines", "a word of CUE", "others"],
)
def test_write_keeps_every_text(text: str) -> None:
    given = definitions.render(FULL)
    given["metadata"]["annotations"]["definition.oam.dev/description"] = text
    given["metadata"]["labels"]["if"] = text
    given["metadata"]["labels"]["example.com/if"] = text
    back = definitions.render(definitions.write(given))
    assert back["metadata"]["annotations"] == given["metadata"]["annotations"]
    assert back["metadata"]["labels"]["example.com/if"] == text


@pytest.mark.parametrize(
    "definition",
    [{}, {"kind": "Pod"}, {"kind": "TraitDefinition", "spec": {"schematic": {"terraform": {}}}}],
    ids=["nothing", "another kind", "no CUE"],
)
def test_write_refuses_what_is_no_definition(definition: dict[str, Any]) -> None:
    with pytest.raises(errors.Invalid, match=r"spec\.schematic\.cue\.template"):
        definitions.write(definition)


def test_load_all(tmp_path: Path) -> None:
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps" / "b.cue").write_text('b: type: "workflow-step"\ntemplate: {}')
    (tmp_path / "steps" / "a.cue").write_text('a: {type: "workflow-step", labels: x: "y"}\ntemplate: {}')
    found = definitions.load_all(tmp_path)
    assert [item["metadata"]["name"] for item in found] == ["a", "b"]
    assert found[0]["metadata"]["labels"] == {"custom.definition.oam.dev/x": "y", **definitions.MANAGED_BY}
    assert found[1]["metadata"]["labels"] == definitions.MANAGED_BY


def test_load_all_tells_the_problems_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "a.cue").write_text('x: type: "policy"\ntemplate: {}')
    (tmp_path / "b.cue").write_text('x: type: "policy"\ntemplate: {}')
    (tmp_path / "c.cue").write_text("{")
    with pytest.raises(errors.Invalid) as caught:
        definitions.load_all(tmp_path)
    assert [problem.path for problem in caught.value.problems] == ["b.cue", "c.cue"]
    assert "a.cue" in caught.value.problems[0].message


def test_the_built_in_definitions_load() -> None:
    found = definitions.load_all()
    names = {item["metadata"]["name"] for item in found if item["kind"] == "WorkflowStepDefinition"}
    assert {"apply-object", "suspend", "step-group", "notification"} <= names
    assert names == {path.stem for path in (definitions.built_in() / "steps").glob("*.cue")}
