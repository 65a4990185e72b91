"""The benchmark drives a controller from outside, keeps what it measured and compares it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import report
from bench.report import Measurement, Report
from tests.e2e.terminal import ROOT

MACHINE = {"controller": "this", "cores": "2"}
FIGURES = Report(
    MACHINE,
    (
        Measurement("one apply step", 38.4, "ms", goal=40, detail="30 to 50 ms, 20 times"),
        Measurement("runs per second", 18.0, "1/s", goal=35, more_is_better=True),
        Measurement("memory", 86.0, "MiB"),
    ),
)


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmark as a process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_a_run_of_three_steps_costs_few_requests(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    done = start("--only", "requests", "--output", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    requests = report.load(file).value("requests per run")
    assert requests is not None
    assert 3 <= requests <= 6, "three applies and the status, and little else: " + done.stdout


def test_a_controller_that_ends_is_an_error_with_its_log() -> None:
    done = start("--only", "idle", "--controller-command", "/bin/sh -c 'echo no such flag: {kubeconfig} >&2; exit 3'")
    assert done.returncode == 1
    assert "the controller ended with code 3" in done.stderr
    assert "no such flag: /" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--only", "nothing"], "no such scenario: nothing. There are: idle, ", id="unknown scenario"),
        pytest.param(["--compare", "missing.json"], "missing.json holds no results", id="missing results"),
    ],
)
def test_mistakes_are_told_before_anything_is_started(arguments: list[str], message: str) -> None:
    done = start(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "API server" not in done.stderr


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    report.save(FIGURES, tmp_path / "results.json")
    assert report.load(tmp_path / "results.json") == FIGURES


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="a list"),
        pytest.param(json.dumps({"format": 0}), id="another format"),
        pytest.param(json.dumps({"format": 1, "machine": {}, "measurements": [{"nome": "x"}]}), id="another field"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "results.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(report.UnreadableError, match=r"results\.json"):
        report.load(file)


def test_the_table_tells_goals_and_compares() -> None:
    earlier = Report({"controller": "other"}, (Measurement("one apply step", 76.8, "ms"),))
    lines = [re.sub(r"\s+", " ", line).strip() for line in report.table(FIGURES, [earlier]).splitlines()]
    assert lines == [
        "value goal [1]",
        "one apply step 38.4 ms ≤ 40 ms 76.8 ms (×2) 30 to 50 ms, 20 times",
        "runs per second 18 1/s ≥ 35 1/s missed –",
        "memory 86 MiB –",
        "",
        "measured: controller this, cores 2",
        "[1]: controller other",
    ]
