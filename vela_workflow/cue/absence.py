"""What a value waits for, told without asking CUE.

Most waits compare a field of a result that is not there yet. Whether it is can be seen in the result itself, so the
``cue`` command need not be asked to explain. Where the text is more involved nothing is said, and CUE explains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vela_workflow.cue import names as names_
from vela_workflow.cue import scanner
from vela_workflow.cue.survey import Path, Site
from vela_workflow.cue.syntax import Field
from vela_workflow.cue.template import Template

_MISSING = object()


def awaited(template: Template, site: Site, field: str, results: Mapping[Path, Any]) -> str:
    """The reference in argument ``field`` of an operation that leads to what no result has yet; empty: not known."""
    if not isinstance(site.text, Field):
        return ""
    for argument in _arguments(site.text, field):
        text = template.text[argument.value.start : argument.value.end]
        if "_|_" in text:
            return ""
        for ref, scope in template.survey.names.refs_of(argument):
            nodes = template.survey.names.lookup(ref.name, scope)
            top = template.survey.names.lookup(ref.name, template.survey.names.root)
            if nodes and nodes == top and _absent((ref.name, *ref.tail), results):
                return template.text[ref.start : ref.end]
    return ""


def _arguments(field: Field, name: str) -> list[Field]:
    found: list[Field] = []
    for struct in scanner.child_structs(field.value):
        found.extend(names_.declared(struct, name))
        for params in names_.declared(struct, "$params"):
            for inner in scanner.child_structs(params.value):
                found.extend(names_.declared(inner, name))
    return found


def _absent(path: tuple[str | None, ...], results: Mapping[Path, Any]) -> bool:
    """Whether a path leads into a result, and there to nothing."""
    for depth in range(1, len(path)):
        head = path[:depth]
        if None in head:
            return False
        value = results.get(tuple(part for part in head if part is not None), _MISSING)
        if value is not _MISSING:
            return _leads_nowhere(value, path[depth:])
    return False


def _leads_nowhere(value: Any, tail: tuple[str | None, ...]) -> bool:
    for part in tail:
        if part is None:
            return False
        if isinstance(value, list) and part.isdigit():
            if int(part) >= len(value):
                return True
            value = value[int(part)]
        elif isinstance(value, dict):
            if part not in value:
                return True
            value = value[part]
        else:
            return False
    return False
