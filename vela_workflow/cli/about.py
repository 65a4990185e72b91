"""``version`` and ``completion``."""

from __future__ import annotations

import enum
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Annotated, Final

import typer

from vela_workflow import __version__
from vela_workflow.api import constants
from vela_workflow.cli import lazy, options

app = lazy.family()


class Shell(enum.StrEnum):
    """Shells that can complete commands."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {"cue": ("version",), "helm": ("version", "--short")}
"""Commands that the operator uses, with the arguments that make them tell their version."""


def command_version(name: str, arguments: tuple[str, ...]) -> str:
    """The version that a command tells, or why there is none."""
    chosen = os.environ.get("VELA_WORKFLOW_CUE") if name == "cue" else None
    path = shutil.which(chosen or name)
    if path is None:
        return "not found"
    try:
        told = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be started: {error}"
    found = re.search(r"v\d+\.\d+\S*", told)
    return found[0] if found else "does not tell its version"


def tell_versions() -> None:
    """Print the version of this program and of the commands that the operator uses."""
    typer.echo(f"vela-workflow  {__version__}")
    for name, arguments in COMMANDS.items():
        typer.echo(f"{name:14} {command_version(name, arguments)}")


@app.command(epilog=lazy.examples("vela-workflow version", "vela-workflow version --client"))
def version(
    client: Annotated[bool, typer.Option("--client", help="Only this program; ask no cluster.")] = False,
    kubeconfig: options.Kubeconfig = "",
    context: options.Context = "",
) -> None:
    """Print the versions of this program and of the cluster.

    With those of the commands that the operator uses, as they are found here.
    """
    tell_versions()
    if client:
        return
    from vela_workflow.cli import kube

    with kube.Kube(kubeconfig, context) as cluster:
        typer.echo(f"Kubernetes     {cluster.server_version()}  {cluster.server}")
        run = constants.WORKFLOW_RUN
        served = cluster.discover_or_none(run.api_version, run.kind) is not None
    told = run.api_version.rpartition("/")[2] if served else "not installed; `vela-workflow install` does that"
    typer.echo(f"WorkflowRun    {told}")


@app.command(
    epilog=lazy.examples(
        "source <(vela-workflow completion bash)",
        "vela-workflow completion zsh > ~/.zfunc/_vela-workflow",
        "vela-workflow completion fish > ~/.config/fish/completions/vela-workflow.fish",
        "vela-workflow completion powershell >> $PROFILE",
    )
)
def completion(
    context: typer.Context, shell: Annotated[Shell, typer.Argument(help="The shell.", show_default=False)]
) -> None:
    """Print a script that completes commands and names in a shell.

    Names of runs are completed too, by asking the cluster.
    """
    from typer import completion as scripts

    scripts.get_completion_inspect_parameters()  # registers the shells
    scripts.shell_complete(context.find_root().command, {}, "vela-workflow", lazy.COMPLETE, f"source_{shell}")
