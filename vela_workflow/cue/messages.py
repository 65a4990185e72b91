"""What the ``cue`` command says when it refuses, read and put into words for the author of a template.

CUE reports errors as text. Two things are read from it. First, its kind: *not yet* (a reference to a field that does
not exist, a value that is not concrete) or *final* (a conflict, a field that is not allowed): the same list for every
rule that asks. Second, its place, which is led back from the program to the template. Names of ours, positions inside
packages and injected data are left out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

from vela_workflow import errors
from vela_workflow.cue.naming import OUT
from vela_workflow.cue.program import Program

PROGRAM_FILE = "-"
"""The name of the file that holds a program: the command reads it at its standard input."""

_BEHIND_THE_END = "index out of range"
_NOT_YET = (
    "undefined field",
    "incomplete",
    "non-concrete",
    "cannot reference optional field",
    "unresolved disjunction",
    "key value of dynamic field must be concrete",
    _BEHIND_THE_END,
    "required field missing",
    "field is required but not present",
)
_FINAL = (
    "conflicting",
    "not allowed",
    "mismatched",
    "does not satisfy",
    "incompatible",
    "invalid value",
    "invalid operand",
    "out of bound",
    "explicit error",
    "error in call",
    "structural cycle",
    "cycle",
    "division by zero",
    "cannot use",
)
COMPILE = (
    re.compile(r"reference \"[^\"]+\" not found"),
    re.compile(r"imported and not used"),
    re.compile(r"unreferenced alias or let clause"),
    re.compile(r"(?:builtin )?package \"[^\"]+\" undefined"),
    re.compile(r"expected .+, found"),
    re.compile(r"undefined field in package|cannot find package|undefined: |could not resolve import"),
    re.compile(r"missing ',' |illegal |invalid character|unterminated|string literal not terminated"),
)

_PLACE = re.compile(r"^\s+(?:\./)?(?P<file>[^\s:]+):(?P<line>\d+):(?P<column>\d+)$")
_PATH = re.compile(r"(?:[\w.$#\[\]\-/]|\"[^\"]*\")+")
_UNUSED = re.compile(r"imported and not used: \"(?P<path>[^\"]+)\"(?: as (?P<name>\w+))?")
CONFLICT = re.compile(r"conflicting values (?P<one>.+?) and (?P<other>.+?)(?: \(mismatched types .+\))?$", re.DOTALL)
"""How CUE says that two values do not go together."""
_LET = re.compile(r"^let\[\]\.?")
"""How CUE names the inside of a ``let``, where the template stands."""
_VALUE = re.compile(r"""(?<![\w.\]])(["'])(?:\\.|(?!\1).)*\1""", re.DOTALL)
"""A quoted value; what stands behind a dot or a letter is a label, or part of a name."""
_DEFAULTS = re.compile(r"incomplete value (?:(?:true|false|[\d.]+|\"[^\"]*\") \| ){2,}(?:bool|string|int|number)$")
"""What is left of two declarations such as ``*true | bool`` and ``*false | bool``."""
_TOTAL = re.compile(r"\[if \((.*?)\) != _\|_ \{\1\}, (?:\[\]|false)\]\[0\]", re.DOTALL)
"""A condition that a program made total."""
_SUMMARY = re.compile(r"\d+ errors in empty disjunction")
_DATA_COUNT = re.compile(r" \(and \d+ more errors?\)")


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """One error of the command: what it says, the CUE path it is about, where in the program."""

    message: str
    path: str
    places: tuple[tuple[str, int, int], ...]

    @property
    def is_final(self) -> bool:
        """Whether no further result can mend it."""
        return any(word in self.message for word in _FINAL) and not self.is_not_yet

    @property
    def is_not_yet(self) -> bool:
        """Whether something that it needs does not exist yet."""
        return any(word in self.message for word in _NOT_YET)

    @property
    def is_behind_the_end(self) -> bool:
        """Whether it is about a list that is shorter than an index asks for."""
        return _BEHIND_THE_END in self.message

    @property
    def is_compile(self) -> bool:
        """Whether the text itself is wrong, whatever the data."""
        return any(pattern.search(self.message) for pattern in COMPILE)


def parse(stderr: str) -> list[Report]:
    """Read what the command printed: errors, each followed by indented places."""
    reports: list[Report] = []
    head = ""
    places: list[tuple[str, int, int]] = []
    for line in stderr.splitlines():
        if not line.strip():
            continue
        match = _PLACE.match(line)
        if match:
            places.append((match["file"], int(match["line"]), int(match["column"])))
        elif line.startswith((" ", "\t")) and head:
            head += " " + line.strip()
        else:
            if head:
                reports.append(_report(head, places))
            head, places = line.strip(), []
    if head:
        reports.append(_report(head, places))
    return [report for report in reports if not _SUMMARY.fullmatch(report.message)] or reports


def condensed(reports: list[Report]) -> list[Report]:
    """The reports with one for each value that no alternative takes, instead of one for each alternative."""
    by_path: dict[str, list[Report]] = {}
    for report in reports:
        by_path.setdefault(report.path, []).append(report)
    return [one for path, found in by_path.items() for one in (_as_one(found) if path else found)]


def _as_one(reports: list[Report]) -> list[Report]:
    pairs = [(match["one"], match["other"]) for report in reports if (match := CONFLICT.search(report.message))]
    common = set(pairs[0]).intersection(*pairs) if pairs else set()
    if len(pairs) < 2 or len(pairs) < len(reports) or len(common) != 1:
        return reports
    [value] = common
    others = dict.fromkeys(one if other == value else other for one, other in pairs)
    return [dataclasses.replace(reports[0], message=f"{value} is not {' or '.join(others)}")]


def _report(head: str, places: list[tuple[str, int, int]]) -> Report:
    text = _DATA_COUNT.sub("", head.rstrip(":"))
    path, separator, message = text.partition(": ")
    if separator and _PATH.fullmatch(path):
        return Report(message, path, tuple(places))
    return Report(text, "", tuple(places))


def unused_imports(stderr: str) -> frozenset[tuple[str, str]]:
    """The imports that the command says nothing uses, as pairs of name (as far as it differs) and path."""
    return frozenset((match["name"] or "", match["path"]) for match in _UNUSED.finditer(stderr))


def problems(reports: list[Report], program: Program) -> list[errors.Problem]:
    """The reports as problems with places in the template, without repetition."""
    found: dict[tuple[str, str], errors.Problem] = {}
    for report in reports:
        line, column = locate(report, program)
        asked = report.path.split(".", 1)[0] == OUT
        # A question of ours: what it is about stands in the message.
        text = report.message.removeprefix("error in call to encoding/json.Marshal: ") if asked else report.message
        message = readable(text, program.tag)
        path = "" if asked else readable_path(report.path, program.tag)
        found.setdefault((message, path), errors.Problem(message, path=path, line=line, column=column))
    return list(found.values())


def locate(report: Report, program: Program) -> tuple[int, int]:
    """The first place of a report that lies in the template, or ``(0, 0)``."""
    for file, line, column in report.places:
        if file == PROGRAM_FILE:
            place = program.source_map.locate(line, column)
            if place is not None:
                return place
    return 0, 0


def readable(message: str, tag: str) -> str:
    """A message without names of ours and without the text of whole values."""
    text = re.sub(rf"\bW_{tag}\.", "", message)
    text = re.sub(rf"\b(?:E|P|J|W|R)_{tag}\b\.?", "", text)
    text = re.sub(r"\s+", " ", _TOTAL.sub(r"\1", text)).strip().rstrip(":")
    return f"{text}, since defaults that differ cancel each other" if _DEFAULTS.search(text) else text


def readable_path(path: str, tag: str) -> str:
    """A CUE path as users write it: ``ports.0.port`` and without names of ours."""
    return _LET.sub("", re.sub(rf"\b(?:E|P|W|_o\d+_\d+)_{tag}\.?", "", path))


def of_expression(text: str) -> str:
    """A message about an expression: the brace that follows it, and what stands behind that, is not its author's."""
    return text.replace("found '}'", "found its end")


def redacted(text: str) -> str:
    """A message without the values in it, for templates that deal with Secrets; labels in paths stay."""
    return _VALUE.sub("…", text)


def missing(reports: list[Report], tag: str) -> Iterator[str]:
    """The names that are not there yet, as far as the reports tell."""
    for report in reports:
        match = re.search(r"(?:undefined field|cannot reference optional field): (\S+)", report.message)
        if match:
            yield readable(match[1], tag)
