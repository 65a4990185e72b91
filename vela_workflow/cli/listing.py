"""``ls``, ``status`` and ``show``: see runs."""

from __future__ import annotations

from typing import Annotated

import typer

from vela_workflow.cli import completing, kube, lazy, options, output, render, runs, view, watching
from vela_workflow.cli.kube import Kube
from vela_workflow.cli.output import Format, ObjectFormat

app = lazy.family()


def _phases(words: list[str] | None) -> frozenset[str]:
    chosen = {word.strip() for one in words or () for word in one.split(",")}
    unknown = sorted(chosen - set(runs.PHASES))
    if unknown:
        raise typer.BadParameter(f'there is no phase "{unknown[0]}" (there are: {", ".join(runs.PHASES)})')
    return frozenset(chosen)


@app.command(
    epilog=lazy.examples(
        "vela-workflow ls -A",
        "vela-workflow ls --phase executing,suspending -l team=shop -o wide",
        "vela-workflow ls -o name --phase failed | cut -d/ -f2 | xargs -r vela-workflow delete",
    )
)
@options.connected
def ls(
    cluster: Kube,
    everywhere: options.AllNamespaces = False,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHASE,...",
            help=f"Only runs in these phases: {', '.join(runs.PHASES)}.",
            show_default=False,
            autocompletion=completing.phase,
        ),
    ] = None,
    selector: options.Selector = "",
    form: output.List = Format.TABLE,
) -> None:
    """List runs and where they are.

    STEPS says how many steps of the top level have ended, of how many; STEP is the one the run is at, and SINCE for
    how long it has been there. The newest run is last.
    """
    wanted = _phases(phase)
    namespace = None if everywhere else cluster.namespace
    found = [
        run
        for run in cluster.list(kube.RUNS, namespace, labels=selector)
        if not wanted or (run.get("status") or {}).get("status") in wanted
    ]
    found.sort(key=lambda run: (run["metadata"].get("creationTimestamp") or "", run["metadata"]["name"]))
    if form not in {Format.TABLE, Format.WIDE}:
        output.objects(found, form)
        return
    if not found:
        place = "in any namespace" if everywhere else f"in namespace {cluster.namespace}"
        output.tell(f"no runs {place}{' that match' if wanted or selector else ''}")
        return
    items = [view.read(run) for run in found]
    output.show(
        render.runs(items, view.now(), namespaces=everywhere, wide=form is Format.WIDE, columns=output.columns())
    )


@app.command(
    epilog=lazy.examples(
        "vela-workflow status deploy-7x2kq",
        "vela-workflow status deploy-7x2kq --watch --timeout 10m",
        "",
        "Exit code with --watch: as that of `run --watch`; otherwise 0 whatever the run does.",
    )
)
@options.connected
def status(
    cluster: Kube,
    name: options.Run,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing them until the run has ended.")] = False,
    timeout: options.Timeout = None,
    no_wait_suspended: options.NoWaitSuspended = False,
) -> None:
    """Show the steps of a run.

    Each with its type, phase, reason, how long it took or has taken so far, and what it says.
    """
    if watch:
        code = watching.watch(cluster, name, seconds=timeout, wait_suspended=not no_wait_suspended)
        raise typer.Exit(code)
    run = runs.find(cluster, name)
    output.show(render.tree(view.read(run, runs.spec_steps(cluster, run)), view.now()))


@app.command(
    epilog=lazy.examples("vela-workflow show deploy-7x2kq", "vela-workflow show deploy-7x2kq -o json | jq .status")
)
@options.connected
def show(cluster: Kube, name: options.Run, form: output.Object = ObjectFormat.YAML) -> None:
    """Print a run as it is stored."""
    output.obj(runs.find(cluster, name), form)
