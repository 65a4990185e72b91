"""How many cores may be used, and how many commands that makes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vela_workflow.cue import cores, sandbox


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param("max 100000\n", 16, id="no-bound"),
        pytest.param("200000 100000\n", 2, id="two"),
        pytest.param("150000 100000\n", 2, id="one-and-a-half"),
        pytest.param("10000 100000\n", 1, id="a-tenth"),
        pytest.param("6400000 100000\n", 16, id="more-than-there-are"),
        pytest.param("rubbish", 16, id="rubbish"),
        pytest.param("1 0", 16, id="no-period"),
        pytest.param(None, 16, id="no-container"),
    ],
)
def test_the_share_of_a_container_counts(
    told: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    quota = tmp_path / "cpu.max"
    if told is not None:
        quota.write_text(told, encoding="ascii")
    assert cores.usable(quota) == expected


def test_a_large_node_does_not_make_for_a_crowd_of_commands() -> None:
    assert 1 <= sandbox.Limits().commands == min(cores.usable(), sandbox.MOST_COMMANDS)
