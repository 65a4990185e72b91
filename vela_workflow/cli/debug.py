"""``debug``: what the templates of a run evaluated to, as the operator keeps it for runs with the debug annotation."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from vela_workflow.api import constants
from vela_workflow.cli import completing, kube, lazy, options, output, runs, view
from vela_workflow.cli.errors import CommandError
from vela_workflow.cli.kube import Kube

JSON = dict[str, Any]

app = lazy.family()


@app.command(epilog=lazy.examples("vela-workflow debug deploy-7x2kq", "vela-workflow debug deploy-7x2kq apply"))
@options.connected
def debug(
    cluster: Kube,
    name: options.Run,
    step: Annotated[
        str, typer.Argument(metavar="STEP", help="Only this step.", show_default=False, autocompletion=completing.step)
    ] = "",
) -> None:
    """Show what the templates of a run evaluated to.

    The operator keeps that for runs with the annotation workflowrun.oam.dev/debug: "true"; `run --debug` sets it.
    Values of Secrets that a template reads may be among it.
    """
    run = runs.find(cluster, name)
    seen = [one for one in view.read(run, runs.spec_steps(cluster, run)).walk() if one.id]
    chosen = [one for one in seen if not step or one.name == step]
    if not chosen:
        there = ", ".join(one.name for one in seen) or "none yet"
        raise CommandError(f'{name} has no step "{step}" that was run (there are: {there})' if step else _nothing(run))
    found = [(one, text) for one in chosen if (text := _text(cluster, run, one)) is not None]
    if not found:
        raise CommandError(_nothing(run))
    for one, text in found:
        if not step:
            output.say(f"// {one.name} ({one.type}): {one.phase}")
        typer.echo(text.rstrip("\n"))


def _text(cluster: Kube, run: JSON, step: view.Step) -> str | None:
    metadata = run["metadata"]
    name = constants.DEBUG_NAME.format(run=metadata["name"], step_id=step.id, uid_tail=metadata["uid"][-5:])
    found = cluster.get_or_none(kube.CONFIG_MAPS, name, metadata["namespace"])
    return None if found is None else str((found.get("data") or {}).get(constants.DEBUG_KEY) or "")


def _nothing(run: JSON) -> str:
    name = run["metadata"]["name"]
    annotations = run["metadata"].get("annotations") or {}
    if annotations.get(constants.ANNOTATION_DEBUG) == "true":
        return (
            f"nothing is kept of these steps of {name}: groups have no template, and pending steps were not evaluated"
        )
    return (
        f"nothing is kept of {name}: it has no annotation {constants.ANNOTATION_DEBUG}; run it with --debug, or "
        f"kubectl annotate workflowrun {name} {constants.ANNOTATION_DEBUG}=true and restart it"
    )
