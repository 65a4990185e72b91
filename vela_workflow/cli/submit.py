"""``run`` and ``rerun``: start runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from vela_workflow.api import constants
from vela_workflow.cli import kube, lazy, manifests, options, output, runs, watching
from vela_workflow.cli.errors import AlreadyExists, CommandError
from vela_workflow.cli.kube import Kube

JSON = dict[str, Any]

app = lazy.family()

_CODES: Final = (
    "",
    "Exit code with --watch: 0 succeeded; 1 failed or terminated; 3 suspended and --no-wait-suspended was",
    "given; 4 the time was over. Ctrl-C stops the watching; the run goes on.",
)

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show the steps until the run has ended.")]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the new run.", show_default=False)]


@app.command(
    epilog=lazy.examples(
        "vela-workflow run deploy.yaml --watch",
        "vela-workflow run deploy.yaml --name deploy-1 --set image=nginx:1.29 --set steps.apply.replicas=3",
        "generate | vela-workflow run - -n shop -w --timeout 15m",
        *_CODES,
    )
)
@options.connected
def run(
    cluster: Kube,
    file: Annotated[str, typer.Argument(metavar="FILE", help="YAML or JSON; - is standard input.", show_default=False)],
    *,
    name: Name = "",
    values: options.Set = None,
    watch: Watch = False,
    debug: Annotated[bool, typer.Option("--debug", help="Keep what templates evaluate to, for `debug`.")] = False,
    timeout: options.Timeout = None,
    no_wait_suspended: options.NoWaitSuspended = False,
    form: output.OptionalObject = None,
) -> None:
    """Run a workflow from a file.

    The WorkflowRuns of the file are created, after all its other objects were applied. A file with a Workflow and no
    WorkflowRun runs the Workflow once; the run gets a generated name.
    """
    found = manifests.read(_text(file), "standard input" if file == "-" else file)
    if name and len(found.runs) > 1:
        raise CommandError(f"--name fits one run, but {file} holds {len(found.runs)}")
    wanted = [manifests.with_values(one, values or ()) for one in found.runs]
    if name:
        wanted = [manifests.named(wanted[0], name)]
    if debug:
        wanted = [_with_debug(one) for one in wanted]
    for other in found.others:
        _apply(cluster, other, quiet=form is not None)
    created = [_create(cluster, one, form) for one in wanted]
    if watch:
        _watch(cluster, created, timeout, wait_suspended=not no_wait_suspended)


@app.command(
    epilog=lazy.examples(
        "vela-workflow rerun deploy-7x2kq --watch",
        "vela-workflow rerun deploy-7x2kq --name deploy-again --set image=nginx:1.29",
        *_CODES,
    )
)
@options.connected
def rerun(
    cluster: Kube,
    run: options.Run,
    *,
    name: Name = "",
    values: options.Set = None,
    watch: Watch = False,
    timeout: options.Timeout = None,
    no_wait_suspended: options.NoWaitSuspended = False,
    form: output.OptionalObject = None,
) -> None:
    """Run what a run did once more, as a new run.

    The new run has the spec, labels and annotations of the old one, which stays as it is. To run steps again in the
    same run, use restart.
    """
    wanted = manifests.with_values(manifests.again(runs.find(cluster, run)), values or ())
    created = _create(cluster, manifests.named(wanted, name) if name else wanted, form)
    if watch:
        _watch(cluster, [created], timeout, wait_suspended=not no_wait_suspended)


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"cannot read {file}: it is not text in UTF-8") from None


def _with_debug(run: JSON) -> JSON:
    metadata = run.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), constants.ANNOTATION_DEBUG: "true"}
    return {**run, "metadata": {**metadata, "annotations": annotations}}


def _namespace(cluster: Kube, body: JSON) -> str:
    """Where an object of a file goes: where it says, unless ``--namespace`` says otherwise, which is an error."""
    written = str((body.get("metadata") or {}).get("namespace") or "")
    if written and cluster.chosen_namespace not in {"", written}:
        raise CommandError(
            f"the file says namespace {written} for a {body['kind']}, --namespace says {cluster.chosen_namespace}"
        )
    return written or cluster.namespace


def _apply(cluster: Kube, body: JSON, *, quiet: bool) -> None:
    resource = cluster.discover(str(body["apiVersion"]), str(body["kind"]))
    applied = cluster.apply(resource, body, _namespace(cluster, body) if resource.namespaced else "")
    if not quiet:
        output.say(f"{output.full_name(applied)} applied")


def _create(cluster: Kube, body: JSON, form: output.ObjectFormat | None) -> JSON:
    try:
        created = cluster.create(kube.RUNS, body, _namespace(cluster, body))
    except AlreadyExists:
        name = body["metadata"]["name"]
        raise CommandError(
            f"the run {name} is there already, and a run runs once: choose another --name, or use "
            f"`vela-workflow rerun {name}` (a new run) or `vela-workflow restart {name}` (the same one again)"
        ) from None
    if form is None:
        output.say(f"{output.full_name(created)} created")
    else:
        output.obj(created, form)
    return created


def _watch(cluster: Kube, created: list[JSON], timeout: float | None, *, wait_suspended: bool) -> None:
    """Watch runs one after the other; the first that does not succeed decides the exit code."""
    codes = []
    deadline = kube.Deadline(timeout)
    for run in created:
        metadata = run["metadata"]
        codes.append(
            watching.watch(
                cluster,
                metadata["name"],
                namespace=metadata["namespace"],
                seconds=deadline.left,
                wait_suspended=wait_suspended,
            )
        )
    raise typer.Exit(next((code for code in codes if code), 0))
