"""Runs as tables, trees and lines.

Everything here is pure: from ``view`` and the present time to what rich prints, or to lines of plain text for logs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from rich.console import Group
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from vela_workflow.api.constants import RunPhase, StepPhase
from vela_workflow.cli import view
from vela_workflow.cli.output import clean

STYLES: Final[dict[str, str]] = {
    StepPhase.SUCCEEDED: "green",
    StepPhase.FAILED: "red",
    StepPhase.RUNNING: "cyan",
    StepPhase.SUSPENDING: "yellow",
    StepPhase.PENDING: "bright_black",
    StepPhase.SKIPPED: "bright_black",
    RunPhase.EXECUTING: "cyan",
    RunPhase.INITIALIZING: "yellow",
    RunPhase.TERMINATED: "red",
    "": "bright_black",
}
"""Colour of each phase of a step or run."""

MARKS: Final[dict[str, str]] = {
    StepPhase.SUCCEEDED: "✔",
    StepPhase.FAILED: "✖",
    StepPhase.RUNNING: "●",
    StepPhase.SUSPENDING: "‖",
    StepPhase.PENDING: "○",
    StepPhase.SKIPPED: "–",
    RunPhase.EXECUTING: "●",
    RunPhase.INITIALIZING: "○",
    RunPhase.TERMINATED: "✖",
    "": "○",
}
"""A sign for each phase, one column wide."""

NOT_STARTED: Final = "not started"
RETRIED: Final = "is tried again"
RETRIED_MARK: Final = "↻"
"""How a step is told from others that failed when it has not failed for good."""


def phase(word: str) -> Text:
    """A phase in its colour."""
    return Text(word or NOT_STARTED, style=STYLES.get(word, ""))


GAP: Final = 3
"""Blanks between two columns."""

ELASTIC: Final[dict[str, int]] = {"STEP": 10, "DESCRIPTION": 30, "MESSAGE": 30}
"""Columns that are shortened where a terminal is narrow, down to this width. Names and phases never are: they are there
to be copied, so lines that are still too long are left to the terminal."""


def table(headers: Sequence[str], rows: Sequence[Sequence[str | Text]], columns: int | None = None) -> Table:
    """Columns as kubectl shows them: no lines, nothing wrapped; ``columns`` is the width of the terminal."""
    cells = [[cell if isinstance(cell, Text) else Text(clean(cell)) for cell in row] for row in rows]
    widths = [max([len(header), *(row[at].cell_len for row in cells)]) for at, header in enumerate(headers)]
    over = 0 if columns is None else _length(widths) - columns
    for at, header in enumerate(headers):
        least = max(len(header), ELASTIC.get(header, widths[at]))
        saved = min(over, widths[at] - least)
        if saved > 0:
            over -= saved
            widths[at] -= saved
            for row in cells:
                row[at].truncate(widths[at], overflow="ellipsis")
    shown = Table(box=None, show_edge=False, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    shown.width = _length(widths) if over > 0 else None
    for header in headers:
        shown.add_column(header, no_wrap=True, overflow="fold")
    for row in cells:
        shown.add_row(*row)
    return shown


def _length(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def runs(
    items: Sequence[view.Run],
    now: datetime,
    *,
    namespaces: bool = False,
    wide: bool = False,
    columns: int | None = None,
) -> Table:
    """The table of ``ls``; ``columns`` is the width of the terminal."""
    headers = ["NAME", "PHASE", "STEPS", "STEP", "SINCE", "AGE"]
    if namespaces:
        headers.insert(0, "NAMESPACE")
    if wide:
        headers += ["DURATION", "MESSAGE"]
    rows: list[list[str | Text]] = []
    for run in items:
        row: list[str | Text] = [
            run.name,
            phase(run.phase),
            run.progress,
            run.current,
            view.since(run.since, now) if run.current else "",
            view.since(run.created, now),
        ]
        if namespaces:
            row.insert(0, run.namespace)
        if wide:
            row += [view.duration(run.seconds(now)), " ".join(run.message.split())]
        rows.append(row)
    return table(headers, rows, columns)


def tree(run: view.Run, now: datetime) -> Group:
    """The tree of ``status``: a head that says where the run is, and its steps with what they say."""
    head = Text.assemble(
        (f"{MARKS.get(run.phase, '●')} ", STYLES.get(run.phase, "")),
        (clean(run.name), "bold"),
        "  ",
        phase(run.phase),
        f"  {run.progress} steps",
    )
    if run.started is not None:
        head.append(f"  {view.duration(run.seconds(now))}")
    if run.message:
        head.append(f"\n  {clean(run.message)}", style=STYLES.get(run.phase, ""))
    root = Tree(head, guide_style="bright_black")
    for step in run.steps:
        node = root.add(_step(step, now))
        for sub in step.sub_steps:
            node.add(_step(sub, now))
    return Group(root)


def _step(step: view.Step, now: datetime) -> Text:
    style = STYLES[StepPhase.SUSPENDING] if step.retried else STYLES.get(step.phase, "")
    line = Text.assemble(
        (f"{RETRIED_MARK if step.retried else MARKS.get(step.phase, '●')} ", style),
        clean(step.name or step.id),
        (f" ({clean(step.type)})" if step.type else "", "bright_black"),
        "  ",
        (step.phase or NOT_STARTED, style),
    )
    if step.reason:
        line.append(f" {clean(step.reason)}", style=style)
    if step.retried:
        line.append(f", {RETRIED}", style=style)
    seconds = step.seconds(now)
    if seconds is not None:
        line.append(f"  {view.duration(seconds)}")
    if step.message:
        line.append(f"\n  {clean(step.message)}", style="red" if step.phase == StepPhase.FAILED else "")
    return line


def transitions(old: view.Run | None, new: view.Run) -> Iterator[str]:
    """One line of text for everything that changed between two views of a run; all of it when there is no old one."""
    before = {} if old is None else dict(_by_path(old))
    for path, step in _by_path(new):
        was = before.get(path)
        if step.phase and (
            was is None or (was.phase, was.reason, was.message) != (step.phase, step.reason, step.message)
        ):
            word = f"{step.phase}, {RETRIED}" if step.retried else step.phase
            yield clean(" ".join(f"step {path}: {_state(word, step.reason, step.message)}".split()))
    was_run = ("", "") if old is None else (old.phase, old.message)
    if new.phase and was_run != (new.phase, new.message):
        yield clean(" ".join(f"run {new.name}: {_state(new.phase, '', new.message)}".split()))


def _by_path(run: view.Run) -> Iterator[tuple[str, view.Step]]:
    for step in run.steps:
        yield step.name, step
        for sub in step.sub_steps:
            yield f"{step.name}/{sub.name}", sub


def _state(word: str, reason: str, message: str) -> str:
    state = f"{word} ({reason})" if reason else word
    return f"{state}: {message}" if message else state
