"""The page of the packages that templates import, made from the CUE files of the providers and their comments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from typing import Final

from vela_workflow.authoring import reference
from vela_workflow.cue import scanner
from vela_workflow.cue.scanner import Field, Struct
from vela_workflow.providers import schema

SOURCES: Final = (
    ("vela/kube", "kube", "kube"),
    ("vela/builtin", "builtin", "builtin"),
    ("vela/http", "http", "http"),
    ("vela/config", "config", "config"),
    ("vela/email", "email", "email"),
    ("vela/metrics", "metrics", "metrics"),
    ("vela/util", "util", "util"),
    ("vela/time", "time", "time"),
    ("vela/base64", "base64", "base64"),
    ("vela/op", "legacy", "op"),
)
"""The packages in the order of the page: import path, folder of the provider, name of its CUE file."""

PAGE: Final = "packages.md"

INTRODUCTION: Final = """\
# Packages for templates

What templates import, and the operations in it. This page is made from the CUE files in `vela_workflow/providers` by
`python -m vela_workflow.authoring docs/reference`.

An operation is a field of the template: `read: kube.#Read & {$params: value: {…}}`. Its arguments are under `$params`;
what came of it is under `$returns` once it has been carried out. In the older `vela/op` both stand at the top of the
field. An argument without a default is required unless it says *optional*.
"""

_ARGUMENTS: Final = "$params"
_RESULTS: Final = "$returns"


def page() -> str:
    """The page, in Markdown."""
    return INTRODUCTION + "".join(_package(*source) for source in SOURCES)


def folders() -> set[str]:
    """The folders of providers that bring a CUE file."""
    root = resources.files("vela_workflow.providers")
    return {one.name for one in root.iterdir() if one.is_dir() and any(f.name.endswith(".cue") for f in one.iterdir())}


def _package(path: str, folder: str, name: str) -> str:
    text = schema.read(folder, name)
    file = scanner.scan(text)
    head = text.partition("\npackage ")[0]
    about = " ".join(line.removeprefix("//").strip() for line in head.splitlines() if line.startswith("//"))
    found = "".join(_definition(text, decl) for decl in file.body.decls if isinstance(decl, Field) and decl.name)
    return f"\n## {path}\n\n`import {json.dumps(path)}`\n\n{about}\n{found}"


def _definition(text: str, decl: Field) -> str:
    """One definition; those that nobody writes in a template (hidden, without a comment) are left out."""
    meaning = reference.comment(text, decl)
    if not str(decl.name).startswith("#") or not meaning:
        return ""
    shown = f"\n### {decl.name}\n\n{meaning}\n"
    arguments, results = [], []
    for struct in decl.value.structs:
        arguments += list(_rows(text, struct, _ARGUMENTS))
        results += list(_rows(text, struct, _RESULTS))
    for title, rows in (("Argument", arguments), ("Result", results)):
        if rows:
            shown += f"\n| {title} | Type | Default | Meaning |\n|---|---|---|---|\n" + "".join(rows)
    return shown


def _rows(text: str, struct: Struct, part: str) -> Iterator[str]:
    """The rows of one part; in the flat form all fields are arguments, since results stand among them."""
    parts = {decl.name: decl for decl in struct.decls if isinstance(decl, Field)}
    if part in parts:
        found = reference.fields(text, parts[part].value)
    elif part == _ARGUMENTS and _RESULTS not in parts:
        found = [one for one in reference.fields_of(text, struct) if not one.path.startswith("#")]
    else:
        return
    for one in found:
        yield reference.row(one)
