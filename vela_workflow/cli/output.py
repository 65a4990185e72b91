"""What goes to the terminal: tables and trees for people, JSON and YAML for programs.

Colours are used on a terminal only, and not with ``NO_COLOR``. Texts of the cluster are shown without their control
characters, so that a message cannot steer the terminal of whoever reads it.
"""

from __future__ import annotations

import enum
import functools
import io
import json
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vela_workflow.cli.errors import ExitCode

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPE_WIDTH: Final = 10_000
"""Columns where no terminal cuts lines: nothing is wrapped or shortened in a pipe."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class Format(enum.StrEnum):
    """Values of ``-o`` for lists."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class ObjectFormat(enum.StrEnum):
    """Values of ``-o`` for one object."""

    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class TextFormat(enum.StrEnum):
    """Values of ``-o`` for what is told in words."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


List = Annotated[Format, typer.Option("--output", "-o", help="How to show them.")]
Object = Annotated[ObjectFormat, typer.Option("--output", "-o", help="How to show it.")]
OptionalObject = Annotated[
    ObjectFormat | None, typer.Option("--output", "-o", help="Print the object instead.", show_default=False)
]
Text = Annotated[TextFormat, typer.Option("--output", "-o", help="How to show it.")]


def clean(text: str) -> str:
    """``text`` with control characters (other than line feed and tab) made visible."""
    return _CONTROL.sub("�", text)


@functools.cache
def console() -> Console:
    """Standard output as rich sees it."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(highlight=False, markup=False, emoji=False, width=width)


def columns() -> int | None:
    """The width of the terminal; ``None`` where there is none, so that nothing needs to be shortened."""
    return console().width if console().is_terminal else None


def show(renderable: RenderableType) -> None:
    """Print a table, tree or text; in a pipe without trailing blanks."""
    if console().is_terminal:
        console().print(renderable, crop=False)
        return
    from rich.console import Console

    page = io.StringIO()
    Console(file=page, highlight=False, markup=False, emoji=False, width=PIPE_WIDTH, no_color=True).print(renderable)
    for line in page.getvalue().splitlines():
        typer.echo(line.rstrip())


def say(text: str) -> None:
    """Print a line of text."""
    typer.echo(clean(text))


def tell(text: str) -> None:
    """Tell the person something that is not the result: it goes to standard error."""
    typer.echo(clean(text), err=True)


def fail(text: str, code: ExitCode = ExitCode.FAILED) -> None:
    """Tell what went wrong, in one line, and end the process with ``code``."""
    tell(f"error: {text}")
    raise typer.Exit(code)


def data(value: Any, form: str) -> None:
    """Print plain data as ``json`` or ``yaml``."""
    if form == "json":
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return
    from vela_workflow.cli import yaml_text

    typer.echo(yaml_text.dump(value), nl=False)


def obj(body: Mapping[str, Any], form: ObjectFormat) -> None:
    """Print one object; what only field managers need is left out."""
    if form is ObjectFormat.NAME:
        typer.echo(full_name(body))
    else:
        data(_tidy(body), form)


def objects(bodies: list[dict[str, Any]], form: Format) -> None:
    """Print objects as a list for programs (``json``, ``yaml``), or their names."""
    if form is Format.NAME:
        for body in bodies:
            typer.echo(full_name(body))
    else:
        data({"apiVersion": "v1", "kind": "List", "items": [_tidy(body) for body in bodies]}, form)


def full_name(body: Mapping[str, Any]) -> str:
    """``workflowrun.core.oam.dev/name``, as kubectl has it."""
    group = str(body["apiVersion"]).rpartition("/")[0]
    kind = str(body["kind"]).lower()
    return f"{kind}.{group}/{body['metadata']['name']}" if group else f"{kind}/{body['metadata']['name']}"


def _tidy(body: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {**body, "metadata": metadata}
