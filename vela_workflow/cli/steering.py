"""``suspend``, ``resume``, ``terminate``, ``restart``, ``delete``: tell a run what to do.

The first three are edits of the status, made by the functions of ``engine.commands``. A restart needs more than the
status, so the operator carries it out: it is asked for by an annotation (decisions 27).
"""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

import typer

from vela_workflow.api import constants
from vela_workflow.cli import kube, lazy, options, output, runs, view
from vela_workflow.cli.errors import CommandError, ExitCode, NotFound
from vela_workflow.cli.kube import Kube
from vela_workflow.engine import commands

JSON = dict[str, Any]

WHOLE_RUN = "*"

app = lazy.family()


@app.command(
    epilog=lazy.examples("vela-workflow suspend deploy-7x2kq", "vela-workflow suspend deploy-7x2kq --step apply")
)
@options.connected
def suspend(cluster: Kube, name: options.Run, step: options.Step = None) -> None:
    """Suspend a run, or one step of it.

    Nothing new starts until it is resumed; what was carried out stays. Time limits go on counting.
    """
    output.say(runs.command(cluster, name, partial(commands.suspend, run=name, step=step)))


@app.command(
    epilog=lazy.examples("vela-workflow resume deploy-7x2kq", "vela-workflow resume deploy-7x2kq --step approve")
)
@options.connected
def resume(cluster: Kube, name: options.Run, step: options.Step = None) -> None:
    """Let a suspended run go on, or one step of it.

    It does not matter what suspended it: a person, a step that waits for approval or for a time, or one that has used
    up its retries where the operator is set to suspend runs then; such a step is tried again.
    """
    output.say(runs.command(cluster, name, partial(commands.resume, run=name, step=step)))


@app.command(epilog=lazy.examples("vela-workflow terminate deploy-7x2kq"))
@options.connected
def terminate(cluster: Kube, name: options.Run) -> None:
    """End a run early.

    Steps that run or are suspended fail with reason Terminate, others are skipped; steps with `if: always` still run.
    Objects that were applied stay. A run that has ended is left alone.
    """
    output.say(runs.command(cluster, name, partial(commands.terminate, run=name)))


@app.command(
    epilog=lazy.examples("vela-workflow restart deploy-7x2kq", "vela-workflow restart deploy-7x2kq --step apply")
)
@options.connected
def restart(cluster: Kube, name: options.Run, step: options.FromStep = None) -> None:
    """Run a run again, whole or from a step on.

    From a step on means: that step, and the steps that come after it or use what it gives. The step must have ended.
    Results of the others are kept. To leave the old run as it is, use rerun.
    """
    run = runs.find(cluster, name)
    metadata = run["metadata"]
    pending = (metadata.get("annotations") or {}).get(constants.ANNOTATION_RESTART)
    if pending:
        raise CommandError(f'a restart of {name} is asked for already ("{pending}"); is the operator running?')
    if step is not None:
        _check_step(view.read(run, runs.spec_steps(cluster, run)), step)
    asked = {constants.ANNOTATION_RESTART: restart_value(step)}
    version = {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"]}
    cluster.patch(kube.RUNS, name, {"metadata": {**version, "annotations": asked}})
    output.say(f"restart of {name} asked for" + (f", from step {step} on" if step else ""))


def restart_value(step: str | None) -> str:
    """What to write into the annotation: the step or ``*``, and after ``#`` an id so that it is done only once."""
    return f"{step or WHOLE_RUN}#{secrets.token_hex(4)}"


def _check_step(run: view.Run, name: str) -> None:
    """Refuse what the operator would refuse, before it is asked."""
    known = {step.name: step for step in reversed(list(run.walk()))}
    if name not in known or not known[name].phase:
        begun = ", ".join(step.name for step in run.walk() if step.phase) or "none yet"
        raise CommandError(f'{run.name} has no step "{name}" that was run (there are: {begun})')
    if not known[name].finished and not run.finished:
        raise CommandError(f'step "{name}" has not ended, it is {known[name].phase}: terminate the run first, or wait')


@app.command(epilog=lazy.examples("vela-workflow delete deploy-7x2kq deploy-m4p9z"))
@options.connected
def delete(cluster: Kube, names: options.Runs) -> None:
    """Delete runs.

    With what they remember; objects that their steps applied stay. A run that is not there does not keep the others.
    """
    code = ExitCode.OK
    for name in names:
        try:
            runs.delete(cluster, name)
        except NotFound as error:
            output.tell(f"error: {error.message}")
            code = ExitCode.FAILED
        else:
            output.say(f"workflowrun.core.oam.dev/{name} deleted")
    if code:
        raise typer.Exit(code)
