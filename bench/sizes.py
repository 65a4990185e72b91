"""How much is measured: as much as fits between two cups of tea, or all that the budgets speak of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """Repetitions, seconds of waiting, runs at once, runs that wait, and runs in each batch of a long series."""

    repetitions: int
    waits: tuple[int, ...]
    runs: int
    waiting: tuple[int, ...]
    growth: int


QUICK = Size(repetitions=20, waits=(3,), runs=150, waiting=(300,), growth=60)
FULL = Size(repetitions=50, waits=(3, 20, 90), runs=300, waiting=(300, 2000), growth=1000)
