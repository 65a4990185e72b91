"""Where a template stands in the file that a person wrote, so that problems are told with lines of that file.

A template is a part of its file: unindented in a definition file, a block of text in a manifest. For every line of the
template an ``Origin`` keeps the line of the file and how many columns were cut off before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from vela_workflow import errors

TEMPLATE_PATH = ("spec", "schematic", "cue", "template")


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """For each line of a template: its line in the file, counted from 1, and the columns before it there."""

    lines: tuple[tuple[int, int], ...]

    def problem(self, problem: errors.Problem) -> errors.Problem:
        """A problem of the template with its place in the file; one without a place stays as it is."""
        if not 1 <= problem.line <= len(self.lines):
            return problem
        line, shift = self.lines[problem.line - 1]
        return dataclasses.replace(problem, line=line, column=problem.column + shift)

    def problems(self, found: Iterable[errors.Problem]) -> list[errors.Problem]:
        """Problems in the order of the file."""
        return sorted((self.problem(one) for one in found), key=lambda one: (one.line, one.column))


def of_manifest(text: str) -> Iterator[tuple[dict[str, Any], Origin]]:
    """The objects of a manifest that hold a CUE template, each with the origin of its template.

    Where the text is not a block (``|``), lines cannot be told; the origin is empty then. Raises ``Invalid`` when the
    text is not YAML.
    """
    try:
        nodes = list(yaml.compose_all(text, yaml.SafeLoader))
        values = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = {"line": mark.line + 1, "column": mark.column + 1} if mark is not None else {}
        raise errors.Invalid([errors.Problem(f"not YAML: {getattr(error, 'problem', error)}", **place)]) from None
    for node, value in zip(nodes, values, strict=True):
        if not isinstance(value, dict):
            continue
        items = value.get("items") if value.get("kind") == "List" else None
        inner = _child(node, "items")
        if isinstance(items, list) and isinstance(inner, yaml.SequenceNode):
            pairs = zip(inner.value, items, strict=True)
        else:
            pairs = zip([node], [value], strict=True)
        for one, body in pairs:
            found = one
            for key in TEMPLATE_PATH:
                found = _child(found, key)
            if isinstance(body, dict) and isinstance(found, yaml.ScalarNode):
                yield body, _of_block(text, found)


def _child(node: Any, key: str) -> Any:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == key:
                return value
    return None


def _of_block(text: str, node: yaml.ScalarNode) -> Origin:
    if node.style != "|":
        return Origin(())
    written = text.splitlines()
    first = int(node.start_mark.line) + 1
    lines = str(node.value).splitlines()
    shift = next(
        (len(there) - len(here) for there, here in zip(written[first:], lines, strict=False) if here.strip()), 0
    )
    return Origin(tuple((first + 1 + index, shift) for index in range(len(lines))))
