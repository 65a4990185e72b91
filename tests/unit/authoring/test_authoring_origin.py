"""Lines and columns of a template, led back to the file that a person wrote."""

from __future__ import annotations

import pytest

from vela_workflow import errors
from vela_workflow.authoring import definitions, origin

HEAD = '"x": type: "workflow-step"\n'


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(HEAD + "template: {\n\ta: 1\n\tMARK: 2\n}\n", id="no imports"),
        pytest.param(f'import "vela/kube"\n\n{HEAD}template: {{\n\ta: 1\n\n\tMARK: 2\n}}\n', id="an import"),
        pytest.param(
            f'// About it.\nimport (\n\t"vela/kube"\n\t"strings"\n)\n{HEAD}template: {{\n\n\n    MARK: 2\n}}\n',
            id="a group of imports and empty lines",
        ),
        pytest.param(f'import "strings"\nimport MARK "list"\n{HEAD}template: {{a: 1}}\n', id="the mark in an import"),
        pytest.param(HEAD + "template: {MARK: 1}\n", id="one line"),
        pytest.param(HEAD + "template: MARK: 1\n", id="without braces"),
    ],
)
def test_places_in_a_definition_file(text: str) -> None:
    definition, where = definitions.trace(text)
    template = definition["spec"]["schematic"]["cue"]["template"]
    assert _placed(where, template, "MARK") == _place(text, "MARK")


MANIFEST = """\
apiVersion: core.oam.dev/v1beta1
kind: WorkflowStepDefinition
metadata: {name: x}
spec:
  schematic:
    cue:
      template: |
        a: 1

          MARK: 2
"""


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(MANIFEST, id="one object"),
        pytest.param(f"kind: Other\n---\n{MANIFEST}", id="the second document"),
        pytest.param("kind: List\nitems:\n- " + MANIFEST.replace("\n", "\n  ").rstrip(" "), id="an item of a list"),
        pytest.param(MANIFEST.replace("|", "|-"), id="a block that is stripped"),
    ],
)
def test_places_in_a_manifest(text: str) -> None:
    ((body, where),) = origin.of_manifest(text)
    assert _placed(where, body["spec"]["schematic"]["cue"]["template"], "MARK") == _place(text, "MARK")


def test_a_template_that_is_no_block_has_no_lines_to_tell() -> None:
    text = '{"kind": "X", "spec": {"schematic": {"cue": {"template": "a: 1\\nb: 2"}}}}'
    ((_, where),) = origin.of_manifest(text)
    problem = errors.Problem("wrong", line=2, column=1)
    assert where.problem(problem) == problem


def test_what_is_no_yaml_is_told_with_its_place() -> None:
    with pytest.raises(errors.Invalid) as caught:
        list(origin.of_manifest("a: [1\nb: 2\n"))
    assert [(one.line, one.column) for one in caught.value.problems] == [(2, 2)]


def test_problems_come_in_the_order_of_the_file() -> None:
    where = origin.Origin(((7, 1), (9, 2)))
    found = where.problems([errors.Problem("b", line=2, column=1), errors.Problem("a", line=1, column=4)])
    assert [(one.message, one.line, one.column) for one in found] == [("a", 7, 5), ("b", 9, 3)]


def _place(text: str, word: str) -> tuple[int, int]:
    offset = text.index(word)
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


def _placed(where: origin.Origin, template: str, word: str) -> tuple[int, int]:
    line, column = _place(template, word)
    found = where.problem(errors.Problem("", line=line, column=column))
    return found.line, found.column
