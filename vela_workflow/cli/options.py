"""Options that many commands share, each written once.

``@connected`` gives a command the options that choose a cluster, and hands it the connection as its first argument.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from vela_workflow.cli import completing


def _seconds(text: str) -> float:
    from vela_workflow import errors
    from vela_workflow.api import durations

    try:
        seconds = durations.parse(text).total_seconds()
    except errors.Invalid as error:
        raise typer.BadParameter(str(error)) from None
    if seconds <= 0:
        raise typer.BadParameter(f'"{text}" is no time to wait; write for example 30s, 10m or 1h')
    return seconds


Kubeconfig = Annotated[
    str,
    typer.Option("--kubeconfig", metavar="FILE", help="Kubeconfig to use, instead of KUBECONFIG or ~/.kube/config."),
]
Context = Annotated[
    str,
    typer.Option(
        "--context", metavar="NAME", help="Context of the kubeconfig to use.", autocompletion=completing.context
    ),
]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAME",
        help="Namespace; by default that of the context.",
        autocompletion=completing.namespace,
    ),
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="Look into all namespaces.")]
Run = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the run.", show_default=False, autocompletion=completing.run)
]
Runs = Annotated[
    list[str], typer.Argument(metavar="NAME", help="Names of runs.", show_default=False, autocompletion=completing.run)
]
Step = Annotated[
    str | None,
    typer.Option("--step", metavar="STEP", help="Only this step, by its name.", autocompletion=completing.step),
]
FromStep = Annotated[
    str | None,
    typer.Option(
        "--step",
        metavar="STEP",
        help="Start at this step, by its name, not at the first.",
        autocompletion=completing.step,
    ),
]
Selector = Annotated[
    str, typer.Option("--selector", "-l", metavar="LABELS", help="Only runs with these labels, such as app=shop.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=_seconds,
        help="Stop waiting after this long (30s, 10m, 1h30m) with exit code 4; the run goes on.",
        show_default=False,
    ),
]
NoWaitSuspended = Annotated[
    bool, typer.Option("--no-wait-suspended", help="End with exit code 3 when the run is suspended.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a value of the run's context (image=nginx), or of a step's properties (steps.deploy.replicas=3). "
        "Values are read as in YAML. May be repeated.",
        show_default=False,
    ),
]

_CONNECTION: Final[dict[str, Any]] = {"namespace": Namespace, "kubeconfig": Kubeconfig, "context": Context}


def connected(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose a cluster to a command whose first parameter is the connection."""

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        from vela_workflow.cli import kube

        chosen = {name: arguments.pop(name) for name in _CONNECTION}
        with kube.Kube(chosen["kubeconfig"], chosen["context"], chosen["namespace"]) as cluster:
            command(cluster, **arguments)

    own = inspect.signature(command, eval_str=True, globals={**command.__globals__, "Kube": object})
    parameters = list(own.parameters.values())[1:]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default="", annotation=annotation)
        for name, annotation in _CONNECTION.items()
    ]
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del run.__wrapped__
    return run
