"""Results: shown as a table, kept as JSON, compared with earlier ones."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1


class UnreadableError(Exception):
    """A file of results cannot be read."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure. ``goal`` is what it should be at most (at least, if more is better); ``detail`` says how it came."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    more_is_better: bool = False
    detail: str = ""

    @property
    def reached(self) -> bool | None:
        """Whether the goal is reached; ``None`` when there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one benchmark, and the machine they were measured on."""

    machine: dict[str, str]
    measurements: tuple[Measurement, ...]

    def value(self, name: str) -> float | None:
        """One figure by its name."""
        return next((one.value for one in self.measurements if one.name == name), None)


def save(report: Report, path: Path) -> None:
    """Write a report as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"format": FORMAT, **dataclasses.asdict(report)}
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def load(path: Path) -> Report:
    """Read a report; raises ``UnreadableError`` that names the file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise UnreadableError(f"{path} has format {data['format']}, this program reads {FORMAT}")
        return Report(data["machine"], tuple(Measurement(**one) for one in data["measurements"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"{path} holds no results of a benchmark: {error}") from error


def table(report: Report, compared: Sequence[Report] = ()) -> str:
    """The figures as lines of text: value, goal, and for each earlier report its value and by how much that differs."""
    head = ["", "value", "goal", *(f"[{number}]" for number in range(1, len(compared) + 1)), ""]
    rows = [
        head,
        *([*_row(one), *(_beside(one, other) for other in compared), one.detail] for one in report.measurements),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(_aligned(cell, width, index) for index, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    machines = [
        _machine(report.machine, "measured"),
        *(_machine(one.machine, f"[{n}]") for n, one in enumerate(compared, 1)),
    ]
    return "\n".join([*(line.rstrip() for line in lines), "", *machines])


def _row(one: Measurement) -> list[str]:
    sign = {None: "", True: "", False: "  missed"}[one.reached]
    bound = "≥" if one.more_is_better else "≤"
    return [one.name, _figure(one.value, one.unit), f"{bound} {_figure(one.goal, one.unit)}{sign}" if one.goal else ""]


def _beside(one: Measurement, other: Report) -> str:
    value = other.value(one.name)
    if value is None:
        return "–"
    factor = f" (×{value / one.value:.2g})" if one.value else ""
    return f"{_figure(value, one.unit)}{factor}"


def _figure(value: float, unit: str) -> str:
    text = f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column == 1 else cell.ljust(width)


def _machine(machine: dict[str, Any], label: str) -> str:
    return f"{label}: " + ", ".join(f"{key} {value}" for key, value in machine.items())
