"""The commands of ``python3 -m tools``.

The local cluster is a control plane without containers (``tools/controlplane.py``), or with ``CLUSTER=kind`` a kind
cluster where a Docker engine answers.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tools import binaries, kind, lifecycle
from tools.errors import ToolError


@dataclass(frozen=True, slots=True)
class Command:
    """One command: what it does, in words and in code; ``code`` returns the exit code."""

    help: str
    code: Callable[[argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """Carry out a command line and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return COMMANDS[options.command].code(options)
    except ToolError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m tools", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        one = commands.add_parser(name, help=command.help, description=command.help)
        if name == "ensure":
            one.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(binaries.TOOLS)}")
        else:
            one.add_argument(
                "--folder", type=Path, default=lifecycle.default_folder(), help="where the state is kept (.cluster)"
            )
    return parser


def _tell(line: str) -> None:
    """Progress goes to standard error, so that results can be used in scripts."""
    print(line, file=sys.stderr, flush=True)


def _ensure(options: argparse.Namespace) -> int:
    found = binaries.ensure(options.names or binaries.DEFAULT, tell=_tell)
    for path in found.values():
        print(path)
    return 0


def _up(options: argparse.Namespace) -> int:
    if _kind():
        print(kind.up(options.folder, _tell))
    else:
        lifecycle.up(options.folder.absolute(), _tell)
        print(lifecycle.kubeconfig(options.folder.absolute()))
    return 0


def _down(options: argparse.Namespace) -> int:
    stopped = kind.down(options.folder, _tell) if _kind() else lifecycle.down(options.folder.absolute())
    _tell("stopped" if stopped else "not running")
    return 0


def _status(options: argparse.Namespace) -> int:
    found = lifecycle.running(options.folder.absolute())
    if found is None:
        print("not running")
        return 3
    print(
        f"running at {found.url} (process {found.pid})\nkubeconfig: {lifecycle.kubeconfig(options.folder.absolute())}"
    )
    return 0


def _kubeconfig(options: argparse.Namespace) -> int:
    print(_existing_kubeconfig(options.folder.absolute()))
    return 0


def _cluster_arguments(options: argparse.Namespace) -> int:
    print(f"--kubeconfig={_existing_kubeconfig(options.folder.absolute())}")
    return 0


def _existing_kubeconfig(folder: Path) -> Path:
    path = lifecycle.kubeconfig(folder)
    if not path.exists():
        raise ToolError("no local cluster is running; start one with `python3 -m tools up` (or `make cluster-up`)")
    return path


def _kind() -> bool:
    choice = os.environ.get("CLUSTER", "local")
    if choice not in ("local", "kind"):
        raise ToolError(f"CLUSTER={choice} is not known; use `local` (the default) or `kind`")
    return choice == "kind"


COMMANDS = {
    "up": Command("Start the local cluster unless it runs, and print the path of its kubeconfig.", _up),
    "down": Command("Stop the local cluster.", _down),
    "status": Command("Tell whether the local cluster runs; exit code 3 when it does not.", _status),
    "kubeconfig": Command("Print the path of the kubeconfig of the running local cluster.", _kubeconfig),
    "cluster-args": Command(
        "Print the argument that makes kubectl and helm use the local cluster.", _cluster_arguments
    ),
    "ensure": Command("Find or build tools and print their paths (without names: all that tests need).", _ensure),
}
