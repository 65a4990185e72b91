"""Following a run until it got somewhere: ``wait``, and what ``run --watch`` and ``status --watch`` show meanwhile.

Changes come through a Kubernetes watch. On a terminal the steps are drawn anew at each change (and their durations
four times a second); elsewhere each change is a line with the time, which suits the log of a CI job. Ctrl-C ends the
watching, never the run.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vela_workflow.cli import lazy, options, output, runs, view
from vela_workflow.cli.errors import ExitCode, Interrupted
from vela_workflow.cli.kube import Deadline, Kube

if TYPE_CHECKING:
    from rich.console import RenderableType

JSON = dict[str, Any]

REDRAWS_PER_SECOND: Final = 4
app = lazy.family()


class Goal(enum.StrEnum):
    """What a run is waited for to do: values of ``wait --for``."""

    SUCCEEDED = "succeeded"
    FINISHED = "finished"
    SUSPENDED = "suspended"


def verdict(run: view.Run, goal: Goal, *, wait_suspended: bool = True) -> ExitCode | None:
    """The exit code when the run got to ``goal``, or can no longer get there; ``None`` while it may."""
    if run.finished and not run.restarting:
        reached = goal is Goal.FINISHED or (goal is Goal.SUCCEEDED and run.succeeded)
        return ExitCode.OK if reached else ExitCode.FAILED
    if run.suspended:
        if goal is Goal.SUSPENDED:
            return ExitCode.OK
        if not wait_suspended:
            return ExitCode.SUSPENDED
    return None


@app.command(
    epilog=lazy.examples(
        "vela-workflow wait deploy-7x2kq --timeout 10m",
        "vela-workflow wait deploy-7x2kq --for suspended && vela-workflow resume deploy-7x2kq",
        "",
        "Exit code: 0 it got there; 1 it cannot any more (it failed, say); 3 it is suspended and",
        "--no-wait-suspended was given; 4 the time was over.",
    )
)
@options.connected
def wait(
    cluster: Kube,
    name: options.Run,
    goal: Annotated[Goal, typer.Option("--for", help="What to wait for.")] = Goal.SUCCEEDED,
    timeout: options.Timeout = None,
    no_wait_suspended: options.NoWaitSuspended = False,
) -> None:
    """Wait until a run has succeeded, ended or been suspended.

    A suspended run is waited for until somebody resumes it, unless --no-wait-suspended is given.
    """
    code = until(cluster, name, _Silent(), goal=goal, seconds=timeout, wait_suspended=not no_wait_suspended)
    raise typer.Exit(code)


def watch(
    cluster: Kube, name: str, *, namespace: str = "", seconds: float | None = None, wait_suspended: bool = True
) -> ExitCode:
    """Show the steps of a run until it has ended; returns the exit code that tells how."""
    shown = _Live() if output.console().is_terminal else _Lines()
    return until(cluster, name, shown, namespace=namespace, seconds=seconds, wait_suspended=wait_suspended)


def until(
    cluster: Kube,
    name: str,
    shown: _Silent,
    *,
    namespace: str = "",
    goal: Goal = Goal.SUCCEEDED,
    seconds: float | None,
    wait_suspended: bool,
) -> ExitCode:
    """Follow a run until there is a verdict; what is not 0 is explained on standard error."""
    try:
        with shown:
            found = runs.follow(cluster, name, Deadline(seconds), namespace)
            run, code = _judged(found, cluster, shown, goal, wait_suspended=wait_suspended)
    except KeyboardInterrupt:
        raise Interrupted(f"stopped watching; {name} goes on") from None
    if code is not ExitCode.OK:
        output.tell(_explained(run, code))
    return code


def _judged(
    found: Iterator[JSON], cluster: Kube, shown: _Silent, goal: Goal, *, wait_suspended: bool
) -> tuple[view.Run, ExitCode]:
    steps: list[JSON] | None = None
    for body in found:
        if steps is None:
            steps = runs.spec_steps(cluster, body)
        run = view.read(body, steps)
        shown.update(run)
        code = verdict(run, goal, wait_suspended=wait_suspended)
        if code is not None:
            return run, code
    raise AssertionError("following ends by an error only")


def _explained(run: view.Run, code: ExitCode) -> str:
    if code is ExitCode.SUSPENDED:
        return f"{run.name} is suspended; `vela-workflow resume {run.name}` lets it go on"
    message = f": {' '.join(run.message.split())}" if run.message else ""
    return f"{run.name} {run.phase}{message}"


class _Silent:
    """Shows nothing."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, run: view.Run) -> None:
        """Take the run as it is now."""


class _Lines(_Silent):
    """One line for each change."""

    def __init__(self, print_line: Callable[[str], None] = output.say) -> None:
        self._print = print_line
        self._last: view.Run | None = None

    def update(self, run: view.Run) -> None:
        """Print what changed."""
        from vela_workflow.cli import render

        stamp = view.now().astimezone().strftime("%H:%M:%S")
        for line in render.transitions(self._last, run):
            self._print(f"{stamp}  {line}")
        self._last = run


class _Live(_Silent):
    """The tree of steps, drawn over itself."""

    def __init__(self) -> None:
        from rich.live import Live

        self._run: view.Run | None = None
        self._live = Live(
            console=output.console(), get_renderable=self._draw, refresh_per_second=REDRAWS_PER_SECOND, transient=False
        )

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _draw(self) -> RenderableType:
        from vela_workflow.cli import render

        return "" if self._run is None else render.tree(self._run, view.now())

    def update(self, run: view.Run) -> None:
        """Draw the run anew."""
        self._run = run
        self._live.refresh()
