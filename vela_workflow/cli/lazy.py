"""A group of commands whose modules are imported only when one of them is used.

The help of the group needs one line for each command; these lines stand in a table, and a test holds them equal to
what the commands say themselves. So ``--help`` costs neither pykube nor rich nor YAML.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import typer
import typer.core
import typer.main

from vela_workflow import errors
from vela_workflow.cli.errors import CommandError, ExitCode, one_line

COMPLETE: Final = "_VELA_WORKFLOW_COMPLETE"
"""The environment variable by which a shell asks for completions."""


FOREIGN: Final[Mapping[str, str]] = {
    "apply": "run",
    "cancel": "terminate",
    "create": "run",
    "describe": "status",
    "get": "status",
    "list": "ls",
    "log": "logs",
    "resubmit": "rerun",
    "retry": "restart",
    "rm": "delete",
    "start": "run",
    "stop": "terminate",
    "submit": "run",
    "watch": "status",
    "why": "explain",
}
"""What other programs for workflows call a command, and how it is called here."""


_NOISE: Final = "Value error, "
"""What the parser puts before its own words when a value is none of those that there are."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: the module it is in (its ``app`` holds it), and the first sentence of its help."""

    module: str
    help: str


class Commands(MutableMapping[str, Any]):
    """The commands of a group by name, made from their modules on first use."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = entries
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            family = importlib.import_module(self.entries[name].module)
            self._made.update(typer.main.get_group(family.app).commands)
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def group(entries: Mapping[str, Entry]) -> type[typer.core.TyperGroup]:
    """A class of groups with these commands."""

    class LazyGroup(typer.core.TyperGroup):
        """Shows its help from the table, and turns errors of commands into one line and an exit code."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands = Commands(entries)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            del ctx
            with formatter.section("Commands"):
                formatter.write_dl([(name, entry.help) for name, entry in entries.items()])

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            if args and args[0] not in entries and FOREIGN.get(args[0]) in entries:
                raise typer.BadParameter(f"No such command '{args[0]}'. Did you mean '{FOREIGN[args[0]]}'?", ctx)
            return super().resolve_command(ctx, args)

        def invoke(self, ctx: Any) -> Any:
            try:
                return super().invoke(ctx)
            except errors.WorkflowError as error:
                code = error.exit_code if isinstance(error, CommandError) else ExitCode.FAILED
                typer.echo(f"error: {one_line(error)}", err=True)
                raise typer.Exit(code) from None
            except typer.BadParameter as error:
                error.message = error.message.removeprefix(_NOISE)
                raise

    return LazyGroup


class FullHelp(typer.core.TyperGroup):
    """A group whose help shows the first sentence of each command whole, on more than one line where it is long."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands and what each is for."""
        entries = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.get_short_help_str(_WHOLE)) for name, entry in entries if entry])


_WHOLE: Final = 1000
"""Characters of a sentence that are shown: all of them."""


def family() -> typer.Typer:
    """An application to put the commands of one module in."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.callback()(_nothing)
    return app


def _nothing() -> None:
    """A group of commands, also when it has only one."""


def examples(*lines: str) -> str:
    """The end of a command's help: lines to try, or to explain; they are not wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
