"""Golden files of step definitions: what a step is given, and what it must do.

One file per definition, with as many cases as it takes. A case starts with its title between ``==`` and has sections,
each of them YAML:

    == waits until the object is ready ==
    -- parameter --        what the step's properties are
    -- context --          what its context says beside the usual (optional)
    -- results --          what its operations answer, by path; {raises: text} for an operation that fails (optional)
    -- outputs --          expressions to look up when it has succeeded, by name (optional)
    -- expect --           operations in order with their arguments, how the step ends, message, outputs

Text before the first case is for readers. With ``UPDATE_GOLDEN=1`` in the environment the expectations are written
anew; read the difference before you keep it.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import yaml
from harness import Run

from vela_workflow import errors
from vela_workflow.engine import result

SECTIONS = ("parameter", "context", "results", "outputs", "expect")
TITLE = re.compile(r"^== (.+) ==$", re.MULTILINE)
PLACE = re.compile(r",? ?line \d+:\d+")
"""Lines of a template, which change with every comment, are left out of expected messages."""
SECTION = re.compile(r"^-- (\w+) --$", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One case of a golden file; ``texts`` are its sections as they are written."""

    path: Path
    title: str
    texts: dict[str, str]

    @property
    def definition(self) -> str:
        """The name of the definition that the case is about."""
        return self.path.stem

    def section(self, name: str) -> dict[str, Any]:
        """A section's content, empty when it is not there."""
        return yaml.safe_load(self.texts.get(name, "")) or {}

    def canned(self) -> dict[str, Any]:
        """The answers of operations by path, failures as exceptions."""
        return {path: _answer(answer) for path, answer in self.section("results").items()}


def _answer(answer: Any) -> Any:
    if isinstance(answer, dict) and "raises" in answer:
        return errors.Transient(answer["raises"])
    return answer


def read(path: Path) -> list[Case]:
    """The cases of a golden file."""
    _, *parts = TITLE.split(path.read_text(encoding="utf-8"))
    return [
        Case(path, title, _sections(path, title, body)) for title, body in zip(parts[::2], parts[1::2], strict=True)
    ]


def _sections(path: Path, title: str, body: str) -> dict[str, str]:
    before, *parts = SECTION.split(body)
    names = parts[::2]
    if before.strip() or len(set(names)) != len(names) or not set(names) <= set(SECTIONS):
        raise ValueError(f"{path}: case {title!r} must have each of {', '.join(SECTIONS)} at most once, found {names}")
    return dict(zip(names, parts[1::2], strict=True))


def told(run: Run) -> dict[str, Any]:
    """What an attempt did and how it ended, as an ``expect`` section says it."""
    found: dict[str, Any] = {"operations": [{f"{do} {path}": arguments or None} for path, do, arguments in run.calls]}
    match run.finding.result:
        case result.Succeeded(outputs=outputs, message=message):
            found |= {"result": "succeeded", "message": message, "outputs": dict(outputs)}
        case result.Waiting(message=message):
            found |= {"result": "waiting", "message": message}
        case result.Suspended(message=message, until=until):
            found |= {"result": "suspended", "message": message, "until": str(until or "")}
        case result.Broken(message=message):
            found |= {"result": "broken", "message": message}
        case result.Failed(reason=reason, message=message, retriable=retriable):
            found |= {"result": f"failed/{reason}", "message": PLACE.sub("", message), "retried": retriable}
    return {key: value for key, value in found.items() if value or key == "operations"}


def update(path: Path, expected: dict[str, dict[str, Any]]) -> None:
    """Write the expectations of a file anew, by the title of the case."""
    text = path.read_text(encoding="utf-8")
    first = TITLE.search(text)
    parts = [text[: first.start()] if first else text]
    for case in read(path):
        written = _yaml(expected[case.title])
        given = "".join(f"-- {name} --{body.rstrip()}\n" for name, body in case.texts.items() if name != "expect")
        parts.append(f"== {case.title} ==\n{given}-- expect --\n{written}\n")
    path.write_text("".join(parts).rstrip() + "\n", encoding="utf-8")


def _yaml(value: Any) -> str:
    return yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True, default_flow_style=None, indent=2
    )


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: texts of several lines as blocks, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
