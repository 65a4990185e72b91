"""What a definition offers, for readers: its parameters with their comments, as a page per definition.

Everything comes from the definition file itself: the comment at its top is an example, the comments above the fields
of ``parameter`` say what they mean, and types and defaults stand in the fields. So a page cannot say anything else
than its definition does; a test holds the pages in ``docs/reference`` against them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vela_workflow.api import constants
from vela_workflow.authoring import definitions
from vela_workflow.cue import scanner
from vela_workflow.cue.scanner import Clause, Comprehension, Expr, Field, Struct

INTRODUCTION: Final = """\
# Step types

The definitions that come with vela-workflow. These pages are made from the files in `definitions/steps` by
`python -m vela_workflow.authoring docs/reference`.
"""

STEPS: Final = "steps"
"""The folder of step definitions, and the one of their pages."""

OTHER: Final = "Other"
"""The category of definitions that name none."""

_BASIC: Final = re.compile(r"(string|int|bool)\b|\{…\}|\[\.\.\.")
"""Types that say all about a value, so that its default need not stand beside them."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``path`` leads to it from ``properties``; ``type`` and ``default`` are CUE text.

    ``default`` is empty when there is none; ``when`` is the condition under which the parameter exists; ``offset`` is
    where it stands in the template.
    """

    path: str
    type: str
    default: str
    optional: bool
    meaning: str
    when: str = ""
    offset: int = field(default=-1, compare=False)


def parameters(template: str) -> list[Parameter]:
    """The parameters of a template, each struct before its fields; raises ``scanner.ScanError`` for what is no CUE."""
    file = scanner.scan(template)
    found: list[Parameter] = []
    for decl in file.body.decls:
        if isinstance(decl, Field) and decl.name == "parameter":
            found += _Reader(template).inside(decl.value, "", "")
    return found


def fields(text: str, value: Expr) -> list[Parameter]:
    """The fields of a value in ``text``, each struct before its fields."""
    return list(_Reader(text).inside(value, "", ""))


def fields_of(text: str, struct: Struct) -> list[Parameter]:
    """The fields of a struct in ``text``, each struct before its fields."""
    return list(_Reader(text).struct(struct, "", ""))


def comment(text: str, decl: Field) -> str:
    """The lines of comment right above a field, as one text."""
    lines: list[str] = []
    for line in reversed(text[: decl.start].split("\n")[:-1]):
        if not line.strip().startswith("//"):
            break
        lines.append(line.strip().removeprefix("//").strip())
    return " ".join(reversed(lines))


class _Reader:
    """Reads the fields of one template."""

    def __init__(self, text: str) -> None:
        self.text = text

    def inside(self, value: Expr, prefix: str, when: str) -> Iterator[Parameter]:
        """The fields of the structs in a value."""
        for struct in value.structs:
            yield from self.struct(struct, prefix, when)
        for literal in value.lists:
            for element in literal.elements:
                if isinstance(element, Expr):
                    yield from self.inside(element, f"{prefix}[]", when)
        for inner in value.inner:
            yield from self.inside(inner, prefix, when)

    def struct(self, struct: Struct, prefix: str, when: str) -> Iterator[Parameter]:
        """The fields of a struct, and those inside them."""
        for decl in struct.decls:
            if isinstance(decl, Comprehension):
                condition = " && ".join(self._condition(clause) for clause in decl.clauses)
                yield from self.struct(decl.body, prefix, condition)
            elif isinstance(decl, Field) and decl.name is not None and not decl.pattern:
                path = f"{prefix}.{decl.name}" if prefix else decl.name
                yield self._parameter(decl, path, when)
                yield from self.inside(decl.value, path, when)

    def _condition(self, clause: Clause) -> str:
        return self.text[clause.expr.start : clause.expr.end]

    def _parameter(self, decl: Field, path: str, when: str) -> Parameter:
        alternatives = [_short(part) for part in _alternatives(self.text[decl.value.start : decl.value.end])]
        default = next((part[1:] for part in alternatives if part.startswith("*")), "")
        shown = [part.removeprefix("*") for part in alternatives]
        if default and len(shown) == 2 and _BASIC.match(shown[1]):
            shown = shown[1:]
        unique = list(dict.fromkeys(shown))
        if default == "{…}":
            default = ""
        optional = decl.optional_at >= 0 and self.text[decl.optional_at] == "?"
        return Parameter(path, " | ".join(unique), default, optional, comment(self.text, decl), when, decl.start)


def _alternatives(text: str) -> list[str]:
    """The parts of a disjunction, cut where ``|`` stands outside of brackets and strings."""
    parts = [""]
    depth, quoted = 0, False
    for char in text:
        quoted ^= char == '"'
        depth += 0 if quoted else (char in "([{") - (char in ")]}")
        if char == "|" and depth == 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def _short(text: str) -> str:
    """A type in one line: structs and their comments become ``{…}``."""
    text = re.sub(r"^(\*?)close\((.*)\)$", r"\1\2", text, flags=re.DOTALL)
    if "{" in text and text != "{}":
        text = text[: text.index("{")] + "{…}" + text[text.rindex("}") + 1 :]
    return " ".join(text.split())


def example(source: str) -> str:
    """The comment at the top of a definition file without its comment marks."""
    lines: list[str] = []
    for line in source.split("\n"):
        if not line.startswith("//"):
            break
        lines.append(line.removeprefix("//").removeprefix(" "))
    return "\n".join(lines).strip("\n")


def document(source: str) -> str:
    """The page of one definition, in Markdown, from the text of its file; raises ``Invalid`` when that is none."""
    definition = definitions.render(source)
    metadata = definition["metadata"]
    text = f"# {metadata['name']}\n\n{_summary(definition)}\n" + _example(example(source))
    rows = parameters(definition["spec"]["schematic"]["cue"]["template"])
    if not rows:
        return text + "\nNo parameters.\n"
    explained = (
        "\nOne without a default is required unless it says *optional*. `[]` stands for the elements of a list.\n"
    )
    table = "\n| Parameter | Type | Default | Meaning |\n|---|---|---|---|\n" + "".join(map(row, rows))
    return f"{text}\n## Parameters\n{explained}{table}"


def _summary(definition: definitions.Definition) -> str:
    annotations = definition["metadata"].get("annotations") or {}
    return str(annotations.get(constants.ANNOTATION_DEFINITION_DESCRIPTION) or "It has no description.")


def _category(definition: definitions.Definition) -> str:
    annotations = definition["metadata"].get("annotations") or {}
    return str(annotations.get(f"{definitions.USER_PREFIX}category") or OTHER)


def index(folder: Path | None = None) -> str:
    """The page that leads to those of all step definitions of a folder (by default the built-in ones)."""
    by_category: dict[str, list[definitions.Definition]] = {}
    for path in _files(folder):
        definition = definitions.render(path)
        by_category.setdefault(_category(definition), []).append(definition)
    text = INTRODUCTION
    for category in sorted(by_category):
        text += f"\n## {category}\n\n"
        for definition in by_category[category]:
            name = definition["metadata"]["name"]
            text += f"- [{name}]({STEPS}/{name}.md): {_summary(definition)}\n"
    return text


def pages(folder: Path | None = None) -> dict[str, str]:
    """All pages of a folder of definitions (by default the built-in ones) by their paths below ``docs/reference``."""
    found = {f"{STEPS}/{path.stem}.md": document(path.read_text(encoding="utf-8")) for path in _files(folder)}
    return {"definitions.md": index(folder), **found}


def _files(folder: Path | None) -> list[Path]:
    return sorted(((folder or definitions.built_in()) / STEPS).glob("*.cue"))


def _example(comment: str) -> str:
    words, _, code = comment.partition("\t")
    if not code:
        return ""
    said, _, after = code.partition("\n\n")
    lines = "\n".join(line.removeprefix("\t") for line in said.split("\n"))
    words = f"\n{words.strip()}\n" if words.strip() else ""
    return f"{words}\n```yaml\n{lines}\n```\n" + (f"\n{after.strip()}\n" if after.strip() else "")


def row(one: Parameter) -> str:
    """A line of a table."""
    default = f"`{one.default}`" if one.default else "*optional*" if one.optional else ""
    meaning = f"{one.meaning} (When `{one.when}`.)" if one.when else one.meaning
    cells = (f"`{one.path}`", f"`{one.type}`", default, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
