"""What a shell offers behind a command: names of runs, steps, step types, namespaces and contexts.

A shell asks by starting the program with the words typed so far. Names come from the cluster that these words choose.
Nobody can be told of an error in the middle of a line, so what cannot be found out is offered as nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import typer

from vela_workflow.cli import errors

if TYPE_CHECKING:
    from vela_workflow.cli.kube import Kube


def run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs of the namespace."""
    from vela_workflow.cli import kube

    return _asked(ctx, incomplete, lambda cluster: [one["metadata"]["name"] for one in cluster.list(kube.RUNS)])


def step(ctx: typer.Context, incomplete: str) -> list[str]:
    """Steps of the run that was typed before."""
    from vela_workflow.cli import runs, view

    # An option that still lacks its value ends the parsing, and leaves the arguments before it where they are.
    name = ctx.params.get("name") or next(iter(ctx.args), "")

    def names(cluster: Kube) -> list[str]:
        found = runs.find(cluster, name)
        return [one.name for one in view.read(found, runs.spec_steps(cluster, found)).walk()]

    return _asked(ctx, incomplete, names) if name else []


def step_type(ctx: typer.Context, incomplete: str) -> list[str]:
    """Step types that runs of the namespace can use."""
    from vela_workflow.api import constants
    from vela_workflow.cli import kube

    def names(cluster: Kube) -> list[str]:
        places = {cluster.namespace, ctx.params.get("system_namespace") or constants.DEFAULT_SYSTEM_NAMESPACE}
        resource = kube.of(constants.STEP_DEFINITION)
        return sorted({one["metadata"]["name"] for place in places for one in cluster.list(resource, place)})

    return _asked(ctx, incomplete, names)


def namespace(ctx: typer.Context, incomplete: str) -> list[str]:
    """Namespaces of the cluster."""
    from vela_workflow.cli import kube

    return _asked(ctx, incomplete, lambda cluster: [one["metadata"]["name"] for one in cluster.list(kube.NAMESPACES)])


def context(ctx: typer.Context, incomplete: str) -> list[str]:
    """Contexts of the kubeconfig."""
    from vela_workflow.cli import kubeconfig

    try:
        return _beginning(incomplete, kubeconfig.contexts(ctx.params.get("kubeconfig") or ""))
    except errors.CommandError:
        return []


def phase(incomplete: str) -> list[str]:
    """Phases of a run, also behind a comma."""
    from vela_workflow.cli import runs

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{one}" for one in _beginning(last, runs.PHASES) if one not in before.split(",")]


def _asked(ctx: typer.Context, incomplete: str, names: Callable[[Kube], list[str]]) -> list[str]:
    """What the cluster answers that the words typed so far choose."""
    from vela_workflow.cli import kube

    chosen = [ctx.params.get(word) or "" for word in ("kubeconfig", "context", "namespace")]
    try:
        with kube.Kube(*chosen) as cluster:
            return _beginning(incomplete, names(cluster))
    except errors.CommandError:
        return []


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
