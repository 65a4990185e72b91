"""Everything in which parameters do not fit their schema, at once (decisions 10).

CUE tells conflicts and missing fields, but not both in one call: as long as anything conflicts, nothing else counts. So
the parameters are held against their schema twice: as they are, for the conflicts, and with the conflicting values
left open, for what is missing.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from vela_workflow import errors
from vela_workflow.cue import messages, values
from vela_workflow.cue.messages import Report
from vela_workflow.cue.names import declared
from vela_workflow.cue.syntax import Field, Struct, child_structs

ROOT = "parameter"
MISSING = "is required but missing"
AMBIGUOUS = (
    "fits more than one of its alternatives, so nothing is read from it; "
    "close({…}) around each alternative tells them apart"
)

TOGETHER = "cannot be given together"

_BOUND = re.compile(r"invalid value (?P<one>.+) \(out of bound (?P<bound>.+)\)", re.DOTALL)
_PART = re.compile(r'"(?:[^"\\]|\\.)*"|[^.]+')


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with parameters, and what will probably not do what its author wants."""

    problems: list[errors.Problem]
    doubts: list[errors.Problem]


def conflicts(reports: Iterable[Report]) -> list[Report]:
    """The reports that say that a given value is wrong."""
    return [report for report in reports if report.is_final and _of_parameter(report)]


def missing(reports: Iterable[Report], known: Collection[str]) -> list[Report]:
    """The reports that say that a plain required field is missing.

    An undecided disjunction is an error only where it is used. ``known`` are paths that are told already.
    """
    return [
        dataclasses.replace(report, message=MISSING)
        for report in reports
        if _of_parameter(report) and report.path not in known and report.is_not_yet and not _is_disjunction(report)
    ]


def ambiguous(reports: Iterable[Report], parameter: Mapping[str, Any]) -> list[Report]:
    """The reports of given values that fit several alternatives, of which CUE then reads none.

    ``{value: string} | {secretRef: {…}}`` takes ``{value: "x"}`` both ways, since structs are open.
    """
    return [
        dataclasses.replace(report, message=AMBIGUOUS)
        for report in reports
        if _of_parameter(report) and _is_disjunction(report) and isinstance(_at(report.path, parameter), dict)
    ]


def without_followers(lacking: Sequence[Report], wrong: Sequence[Report], body: Struct) -> list[Report]:
    """What is missing, but for fields whose default leads to another problem: ``*name | string``."""
    causes = [*wrong, *(report for report in lacking if not _has_default(report, body))]
    return [report for report in lacking if not (causes and _has_default(report, body))]


def _has_default(report: Report, body: Struct) -> bool:
    return any("unary*" in field.value.operators for field in _declarations(report.path, body))


def _declarations(path: str, body: Struct) -> list[Field]:
    structs = [body]
    fields: list[Field] = []
    for part in parts(path):
        fields = [field for struct in structs for field in declared(struct, part)]
        structs = [inner for field in fields for inner in child_structs(field.value)]
    return fields


def told_apart(reports: Sequence[Report], body: Struct) -> list[Report]:
    """The reports, with one for the fields of a struct that no alternative takes together.

    CUE refuses all fields of such a struct, also those that fit; the strange ones among them are what is wrong.
    """
    siblings: dict[str, list[Report]] = {}
    for report in reports:
        if "not allowed" in report.message:
            siblings.setdefault(_parent(report.path), []).append(report)
    told: list[Report] = []
    for report in reports:
        group = siblings.get(_parent(report.path), []) if "not allowed" in report.message else []
        known = [one for one in group if _declarations(one.path, body)]
        if report not in known:
            told.append(report)
        elif len(known) == len(group) > 1 and report is known[0]:
            names = " and ".join(dict.fromkeys(parts(one.path)[-1] for one in known))
            told.append(dataclasses.replace(report, path=_parent(report.path), message=f"{names} {TOGETHER}"))
        elif len(group) == 1:
            told.append(report)
    return told


def _parent(path: str) -> str:
    return path[: -len(_PART.findall(path)[-1]) - 1]


def _of_parameter(report: Report) -> bool:
    return report.path == ROOT or report.path.startswith(f"{ROOT}.")


def _is_disjunction(report: Report) -> bool:
    return "disjunction" in report.message or " | " in report.message


def parts(path: str) -> list[str]:
    """The labels and indexes in a path as CUE writes it: ``labels."a.b"`` has two."""
    return [_unquoted(part) if part.startswith('"') else part for part in _PART.findall(path)]


def _unquoted(part: str) -> str:
    try:
        return str(json.loads(part))
    except ValueError:
        return part.strip('"')


def without(parameter: Mapping[str, Any], reports: Iterable[Report]) -> dict[str, Any]:
    """The parameters with the values that are wrong left open, and without those that must not be there."""
    rest: dict[str, Any] = {ROOT: copy.deepcopy(dict(parameter))}
    for report in reports:
        _leave_open(rest, parts(report.path), gone="not allowed" in report.message)
    left = rest[ROOT]
    return left if isinstance(left, dict) else {}


def _leave_open(tree: Any, path: Sequence[str], *, gone: bool) -> None:
    for part in path[:-1]:
        tree = _child(tree, part)
    last = path[-1]
    if isinstance(tree, dict) and last in tree:
        if gone:
            del tree[last]
        else:
            tree[last] = values.TOP
    elif _child(tree, last) is not None:
        tree[int(last)] = values.TOP


def _child(tree: Any, part: str) -> Any:
    if isinstance(tree, dict):
        return tree.get(part)
    return tree[int(part)] if isinstance(tree, list) and part.isdigit() and int(part) < len(tree) else None


def worded(problems: Iterable[errors.Problem], parameter: Mapping[str, Any]) -> list[errors.Problem]:
    """One problem per field, with the path that users write and the alternatives that the schema offers."""
    by_path: dict[str, list[errors.Problem]] = {}
    for problem in problems:
        by_path.setdefault(problem.path.removeprefix(ROOT).lstrip("."), []).append(problem)
    return [_merged(path, found, parameter) for path, found in by_path.items()]


def _merged(path: str, found: list[errors.Problem], parameter: Mapping[str, Any]) -> errors.Problem:
    value = _at(path, parameter)
    shown = json.dumps(value, ensure_ascii=False)
    others = [other for problem in found if (other := _required(problem.message, shown))]
    first = _with_hint(found[0], path, parameter)
    alone = len(found) == 1 and messages.CONFLICT.search(first.message) is None
    if alone or len(others) < len(found) or isinstance(value, dict | list):
        return dataclasses.replace(first, path=path or ROOT)
    return dataclasses.replace(first, path=path or ROOT, message=f"{shown} is not {' or '.join(dict.fromkeys(others))}")


def _at(path: str, parameter: Mapping[str, Any]) -> Any:
    value: Any = parameter
    for part in parts(path.removeprefix(ROOT).lstrip(".")):
        value = _child(value, part)
    return value


def _with_hint(problem: errors.Problem, path: str, parameter: Mapping[str, Any]) -> errors.Problem:
    """What is missing, and what is given under nearly that name."""
    *parents, name = parts(path) or [""]
    beside: Any = parameter
    for part in parents:
        beside = _child(beside, part)
    near = errors.nearest(name, beside) if problem.message == MISSING and isinstance(beside, Mapping) else ""
    return dataclasses.replace(problem, message=f"{MISSING}; there is {near}") if near else problem


def _required(message: str, shown: str) -> str:
    """What a value would have to be, if that is all that a message says."""
    if (bound := _BOUND.fullmatch(message)) is not None and bound["one"] == shown:
        return bound["bound"]
    match = messages.CONFLICT.search(message)
    if match is None:
        return ""
    return match["other"] if match["one"] == shown else match["one"]
