"""``vela-workflow``, also as ``kubectl vela-workflow``: the table of commands and the start.

Nothing is imported here that ``--help`` does not need.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Final

import typer

from vela_workflow.cli import errors, lazy
from vela_workflow.cli.lazy import Entry

_HERE: Final = "vela_workflow.cli"

COMMANDS: Final[dict[str, Entry]] = {
    "install": Entry(f"{_HERE}.install", "Put CRDs, system namespace and built-in definitions into a cluster."),
    "operator": Entry(f"{_HERE}.operate", "Run the operator in the foreground."),
    "run": Entry(f"{_HERE}.submit", "Run a workflow from a file."),
    "rerun": Entry(f"{_HERE}.submit", "Run what a run did once more, as a new run."),
    "ls": Entry(f"{_HERE}.listing", "List runs and where they are."),
    "status": Entry(f"{_HERE}.listing", "Show the steps of a run."),
    "show": Entry(f"{_HERE}.listing", "Print a run as it is stored."),
    "explain": Entry(f"{_HERE}.explain", "Say what a run waits for, and why."),
    "wait": Entry(f"{_HERE}.watching", "Wait until a run has succeeded, ended or been suspended."),
    "suspend": Entry(f"{_HERE}.steering", "Suspend a run, or one step of it."),
    "resume": Entry(f"{_HERE}.steering", "Let a suspended run go on, or one step of it."),
    "terminate": Entry(f"{_HERE}.steering", "End a run early."),
    "restart": Entry(f"{_HERE}.steering", "Run a run again, whole or from a step on."),
    "delete": Entry(f"{_HERE}.steering", "Delete runs."),
    "logs": Entry(f"{_HERE}.logs", "Show the logs of what the steps of a run started."),
    "debug": Entry(f"{_HERE}.debug", "Show what the templates of a run evaluated to."),
    "def": Entry(f"{_HERE}.definitions", "Write step types, try them out, and put them into a cluster."),
    "cluster": Entry(f"{_HERE}.clusters", "Join further clusters, and see how they are."),
    "version": Entry(f"{_HERE}.about", "Print the versions of this program and of the cluster."),
    "completion": Entry(f"{_HERE}.about", "Print a script that completes commands and names in a shell."),
}
"""Every command; the help is the first sentence of the command's own."""

_PLUGIN_PREFIX: Final = "kubectl-"

_UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})
"""How an output that cannot be written is refused. A pipe that was closed early is no error, and ends quietly."""

app = typer.Typer(
    cls=lazy.group(COMMANDS),
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="`vela-workflow COMMAND --help` shows options and examples of a command.",
)


def _version(asked: bool) -> None:
    if asked:
        from vela_workflow.cli import about

        about.tell_versions()
        raise typer.Exit


@app.callback()
def vela_workflow(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_version,
        is_eager=True,
        help="Print the versions of this program, of cue and of helm.",
    ),
) -> None:
    """Run workflows on Kubernetes, and see how they are getting on."""
    del version


def main() -> None:
    """Run the command of this process's command line; the exit codes are those of ``errors.ExitCode``."""
    called = Path(sys.argv[0]).name
    name = "kubectl vela-workflow" if called.startswith(_PLUGIN_PREFIX) else "vela-workflow"
    if lazy.COMPLETE in os.environ:
        from typer import completion

        completion.get_completion_inspect_parameters()  # registers the shells
    try:
        app(prog_name=name, complete_var=lazy.COMPLETE)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        sys.stderr.write(f"error: cannot write the output: {error.strerror}\n")
        # What is still in the buffer of standard output would fail once more when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(errors.ExitCode.FAILED)


if __name__ == "__main__":
    main()
