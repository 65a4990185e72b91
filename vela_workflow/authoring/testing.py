"""Tests of a definition as text: what a step is given, and what it must do. No cluster has a part in it.

A test file belongs to one definition and holds as many cases as it takes. A case starts with its title between ``==``
and has sections, each of them YAML:

    == waits until the object is ready ==
    -- parameter --        the properties of the step
    -- context --          what its context says beside the usual (optional)
    -- results --          what its operations answer, by path; {raises: text} for one that fails (optional)
    -- resumed --          the paths of suspends that somebody has resumed (optional)
    -- outputs --          expressions to look up when it has succeeded, by name (optional)
    -- expect --           operations in order with their arguments, how the step ends, message, outputs

Text before the first case is for readers. The expectation need not be typed: ``update`` writes what the step did, and
the author reads whether that is right. Here is the text; ``cli/rehearsal.py`` makes the attempt to hold it against.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from vela_workflow import errors
from vela_workflow.api import yaml_style
from vela_workflow.engine import result

JSON = dict[str, Any]

SECTIONS: Final = ("parameter", "context", "results", "resumed", "outputs", "expect")
EXPECT: Final = "expect"
RAISES: Final = "raises"
SUFFIX: Final = ".test.txt"
"""The end of the name of a test file that lies beside its definition: ``my-step.cue`` has ``my-step.test.txt``."""

_TITLE: Final = re.compile(r"^== (.+) ==$", re.MULTILINE)
_SECTION: Final = re.compile(r"^-- (\w+) --$", re.MULTILINE)
_PLACE: Final = re.compile(r",? ?line \d+:\d+")
"""Lines of a template, which change with every comment, are left out of expected messages."""


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """An operation that a step carried out: its path in the template, the name of what it does, its arguments."""

    path: str
    do: str
    arguments: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One case of a test file; ``texts`` are its sections as they are written, ``line`` is that of its title."""

    path: Path
    title: str
    line: int
    texts: Mapping[str, str]
    lines: Mapping[str, int]

    @property
    def definition(self) -> str:
        """The name of the definition that the case is about."""
        return definition_of(self.path)

    def section(self, name: str) -> JSON:
        """A section that holds values by name, empty when it is not there; raises ``Invalid`` with its line."""
        found = self._load(name)
        if not isinstance(found, dict):
            raise _wrong(self.path, self.lines[name], f"{name} must be a mapping")
        return found

    @property
    def resumed(self) -> frozenset[str]:
        """The paths of suspends that somebody has resumed."""
        found = self._load("resumed") or []
        if not isinstance(found, list):
            raise _wrong(self.path, self.lines["resumed"], "resumed must be a list of paths")
        return frozenset(str(path) for path in found)

    def canned(self) -> JSON:
        """The answers of operations by path, failures as exceptions."""
        return canned(self.section("results"))

    def _load(self, name: str) -> Any:
        try:
            found = yaml.safe_load(self.texts.get(name, ""))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = self.lines[name] + (mark.line if mark is not None else 1)
            raise _wrong(self.path, line, f"{name} is not YAML: {getattr(error, 'problem', error)}") from None
        return {} if found is None else found


def canned(results: Mapping[str, Any]) -> JSON:
    """Answers as test files write them; ``{raises: text}`` becomes the error of an operation that failed."""
    return {path: _answer(answer) for path, answer in results.items()}


def _answer(answer: Any) -> Any:
    return errors.Transient(str(answer[RAISES])) if isinstance(answer, dict) and RAISES in answer else answer


def definition_of(path: Path) -> str:
    """The name of the definition that a test file is about."""
    return path.name.removesuffix(SUFFIX) if path.name.endswith(SUFFIX) else path.stem


def read(path: Path) -> list[Case]:
    """The cases of a test file; raises ``Invalid`` with the line of what is wrong with it."""
    text = path.read_text(encoding="utf-8")
    titles = list(_TITLE.finditer(text))
    if not titles:
        raise _wrong(path, 1, "there is no case; one starts with a line == what it shows ==")
    ends = [match.start() for match in titles[1:]] + [len(text)]
    cases = [_case(path, text, match, end) for match, end in zip(titles, ends, strict=True)]
    seen: set[str] = set()
    for case in cases:
        if case.title in seen:
            raise _wrong(path, case.line, f'there are two cases "{case.title}"')
        seen.add(case.title)
    return cases


def _case(path: Path, text: str, title: re.Match[str], end: int) -> Case:
    found = list(_SECTION.finditer(text, title.end(), end))
    first = found[0].start() if found else end
    if text[title.end() : first].strip():
        line = _line(text, title.end()) + 1
        raise _wrong(path, line, "after its title a case has sections, each under a line -- name --")
    ends = [*(match.start() for match in found[1:]), end][: len(found)]
    texts: dict[str, str] = {}
    lines: dict[str, int] = {}
    for match, stop in zip(found, ends, strict=True):
        name, line = match[1], _line(text, match.start())
        if name not in SECTIONS:
            raise _wrong(path, line, f"unknown section {name}; there are {', '.join(SECTIONS)}")
        if name in texts:
            raise _wrong(path, line, f"section {name} is there twice")
        texts[name], lines[name] = text[match.end() : stop], line
    return Case(path, title[1], _line(text, title.start()), texts, lines)


def _line(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def _wrong(path: Path, line: int, message: str) -> errors.Invalid:
    return errors.Invalid([errors.Problem(message, path.name, line, 1)])


def told(operations: Iterable[Operation], ended: result.Result) -> JSON:
    """What an attempt did and how it ended, as an ``expect`` section says it."""
    found: JSON = {"operations": [{f"{one.do} {one.path}": one.arguments or None} for one in operations]}
    match ended:
        case result.Succeeded(outputs=outputs, message=message):
            found |= {"result": "succeeded", "message": message, "outputs": dict(outputs)}
        case result.Waiting(message=message):
            found |= {"result": "waiting", "message": message}
        case result.Suspended(message=message, until=until):
            found |= {"result": "suspended", "message": message, "until": str(until or "")}
        case result.Broken(message=message):
            found |= {"result": "broken", "message": message}
        case result.Failed(reason=reason, message=message, retriable=retriable):
            found |= {"result": f"failed/{reason}", "message": _PLACE.sub("", message), "retried": retriable}
    return {key: value for key, value in found.items() if value or key == "operations"}


def differences(expected: JSON, did: JSON) -> list[str]:
    """The lines that differ, with ``-`` before what was expected and ``+`` before what was done."""
    if expected == did:
        return []
    before, after = (write(value, flow=False).splitlines() for value in (expected, did))
    return list(difflib.unified_diff(before, after, "expected", "done", lineterm="", n=3))


def update(path: Path, expected: Mapping[str, JSON]) -> bool:
    """Write the expectations of a file anew, by the title of the case; whether that changed the file."""
    text = path.read_text(encoding="utf-8")
    first = _TITLE.search(text)
    parts = [text[: first.start()] if first else text]
    for case in read(path):
        given = "".join(f"-- {name} --{body.rstrip()}\n" for name, body in case.texts.items() if name != EXPECT)
        parts.append(f"== {case.title} ==\n{given}-- {EXPECT} --\n{write(expected[case.title])}\n")
    new = "".join(parts).rstrip() + "\n"
    if new == text:
        return False
    path.write_text(new, encoding="utf-8")
    return True


def case(title: str, sections: Mapping[str, JSON], did: JSON) -> str:
    """A case as test files have it, with what was done as its expectation; empty sections are left out."""
    given = {name: values for name, values in sections.items() if values or name == SECTIONS[0]}
    body = "".join(f"-- {name} --\n{write(values)}" for name, values in {**given, EXPECT: did}.items())
    return f"== {title} ==\n{body}"


def write(value: Any, *, flow: bool = True) -> str:
    """A value as test files have it; with ``flow`` the innermost collections are on one line each."""
    style = None if flow else False
    return yaml.dump(
        value,
        Dumper=yaml_style.Plain,
        sort_keys=False,
        width=120,
        allow_unicode=True,
        default_flow_style=style,
        indent=2,
    )
