"""What a definition offers, for readers: its parameters with their comments, and the page of all definitions.

Everything comes from the definition file itself: the comment at its top is an example, the comments above the fields
of ``parameter`` say what they mean, and types and defaults stand in the fields. So the page cannot say anything else
than the definitions do; a test holds the page in ``docs/reference`` against them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vela_workflow.authoring import definitions
from vela_workflow.cue import scanner
from vela_workflow.cue.scanner import Clause, Comprehension, Expr, Field, Struct

INTRODUCTION: Final = """\
# Step types

The definitions that come with vela-workflow, made from `definitions/steps` by `python -m vela_workflow.authoring`.
A parameter without a default is required unless it says *optional*. `[]` stands for the elements of a list.
"""

_BASIC: Final = re.compile(r"(string|int|bool)\b|\{…\}|\[\.\.\.")
"""Types that say all about a value, so that its default need not stand beside them."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. ``path`` leads to it from ``properties``; ``type`` and ``default`` are CUE text.

    ``default`` is empty when there is none; ``when`` is the condition under which the parameter exists.
    """

    path: str
    type: str
    default: str
    optional: bool
    meaning: str
    when: str = ""


def parameters(template: str) -> list[Parameter]:
    """The parameters of a template, each struct before its fields; raises ``scanner.ScanError`` for what is no CUE."""
    file = scanner.scan(template)
    found: list[Parameter] = []
    for decl in file.body.decls:
        if isinstance(decl, Field) and decl.name == "parameter":
            found += _Reader(template).inside(decl.value, "", "")
    return found


class _Reader:
    """Reads the fields of one template."""

    def __init__(self, text: str) -> None:
        self.text = text

    def inside(self, value: Expr, prefix: str, when: str) -> Iterator[Parameter]:
        for struct in value.structs:
            yield from self._struct(struct, prefix, when)
        for literal in value.lists:
            for element in literal.elements:
                if isinstance(element, Expr):
                    yield from self.inside(element, f"{prefix}[]", when)
        for inner in value.inner:
            yield from self.inside(inner, prefix, when)

    def _struct(self, struct: Struct, prefix: str, when: str) -> Iterator[Parameter]:
        for decl in struct.decls:
            if isinstance(decl, Comprehension):
                condition = " && ".join(self._condition(clause) for clause in decl.clauses)
                yield from self._struct(decl.body, prefix, condition)
            elif isinstance(decl, Field) and decl.name is not None and not decl.pattern:
                path = f"{prefix}.{decl.name}" if prefix else decl.name
                yield self._parameter(decl, path, when)
                yield from self.inside(decl.value, path, when)

    def _condition(self, clause: Clause) -> str:
        return self.text[clause.expr.start : clause.expr.end]

    def _parameter(self, field: Field, path: str, when: str) -> Parameter:
        alternatives = [_short(part) for part in _alternatives(self.text[field.value.start : field.value.end])]
        default = next((part[1:] for part in alternatives if part.startswith("*")), "")
        shown = [part.removeprefix("*") for part in alternatives]
        if default and len(shown) == 2 and _BASIC.match(shown[1]):
            shown = shown[1:]
        unique = list(dict.fromkeys(shown))
        if default == "{…}":
            default = ""
        return Parameter(path, " | ".join(unique), default, field.optional_at >= 0, self._comment(field), when)

    def _comment(self, field: Field) -> str:
        """The lines of comment right above a field, as one text."""
        lines: list[str] = []
        for line in reversed(self.text[: field.start].split("\n")[:-1]):
            if not line.strip().startswith("//"):
                break
            lines.append(line.strip().removeprefix("//").strip())
        return " ".join(reversed(lines))


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


def page(folder: Path | None = None) -> str:
    """The page of all step definitions of a folder (by default the built-in ones), in Markdown."""
    files = sorted(((folder or definitions.built_in()) / "steps").glob("*.cue"))
    return INTRODUCTION + "".join(_section(path) for path in files)


def _section(path: Path) -> str:
    source = path.read_text(encoding="utf-8")
    definition = definitions.render(source)
    metadata = definition["metadata"]
    annotations = metadata["annotations"]
    category = annotations.get(f"{definitions.USER_PREFIX}category", "")
    text = f"\n## {metadata['name']}\n\n"
    text += f"{annotations['definition.oam.dev/description']} ({category})\n"
    text += _example(example(source))
    rows = parameters(definition["spec"]["schematic"]["cue"]["template"])
    if not rows:
        return text + "\nNo parameters.\n"
    return text + "\n| Parameter | Type | Default | Meaning |\n|---|---|---|---|\n" + "".join(map(_row, rows))


def _example(comment: str) -> str:
    words, _, code = comment.partition("\t")
    if not code:
        return ""
    said, _, after = code.partition("\n\n")
    lines = "\n".join(line.removeprefix("\t") for line in said.split("\n"))
    words = f"\n{words.strip()}\n" if words.strip() else ""
    return f"{words}\n```yaml\n{lines}\n```\n" + (f"\n{after.strip()}\n" if after.strip() else "")


def _row(row: Parameter) -> str:
    default = f"`{row.default}`" if row.default else "*optional*" if row.optional else ""
    meaning = f"{row.meaning} (When `{row.when}`.)" if row.when else row.meaning
    cells = (f"`{row.path}`", f"`{row.type}`", default, meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"
