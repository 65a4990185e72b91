"""What users asked for while a pass was busy, folded into the status of the pass (decisions 25)."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from engine_driver import GROUP, Run, entry, phases, status, step

from vela_workflow.engine import commands, fold, result

WAIT = result.Waiting("not yet")


WAITING = entry("a", "running", "Wait")
BASE = status(WAITING, entry("b", "pending"))

FOLDS: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], list[str], dict[str, Any]]] = [
    (
        "nothing asked",
        BASE,
        status(entry("a", "succeeded"), entry("b", "running")),
        BASE,
        ["a: succeeded", "b: running"],
        {"suspend": False},
    ),
    (
        "suspend wins over running",
        BASE,
        status(WAITING, entry("b", "running")),
        status(entry("a", "suspending", "Wait"), entry("b", "pending"), suspend=True, suspendState="manual"),
        ["a: suspending/Wait", "b: running"],
        {"suspend": True, "suspendState": "manual"},
    ),
    (
        "an outcome wins over suspend",
        BASE,
        status(entry("a", "succeeded"), entry("b", "running")),
        status(entry("a", "suspending", "Wait"), entry("b", "pending"), suspend=True),
        ["a: succeeded", "b: running"],
        {"suspend": True},
    ),
    (
        "terminate",
        BASE,
        status(WAITING, entry("b", "running")),
        status(entry("a", "failed", "Terminate"), entry("b", "pending"), terminated=True),
        ["a: failed/Terminate", "b: running"],
        {"terminated": True},
    ),
    (
        "terminate after the end",
        BASE,
        status(entry("a", "succeeded"), entry("b", "succeeded"), finished=True),
        status(entry("a", "failed", "Terminate"), entry("b", "pending"), terminated=True),
        ["a: succeeded", "b: succeeded"],
        {"terminated": False, "finished": True},
    ),
    (
        "resume",
        status(entry("a", "suspending", "Suspend"), suspend=True),
        status(entry("a", "suspending", "Suspend"), suspend=True),
        status(entry("a", "running", "Suspend")),
        ["a: running/Suspend"],
        {"suspend": False},
    ),
    (
        "taken out",
        status(entry("a", "succeeded"), entry("b", "failed", "Action")),
        status(entry("a", "succeeded"), entry("b", "failed", "Action"), finished=True, terminated=True, endTime="x"),
        status(entry("a", "succeeded")),
        ["a: succeeded"],
        {"finished": False, "terminated": False, "endTime": None},
    ),
    (
        "sub steps",
        status(GROUP),
        status(GROUP),
        status(
            entry(
                "g",
                "suspending",
                subs=[
                    entry("x", "succeeded"),
                    entry("y", "suspending", "Wait"),
                    entry("z", "failed", "Execute"),
                    entry("p", "pending"),
                ],
            ),
            suspend=True,
        ),
        ["g: suspending", "x: succeeded", "y: suspending/Wait", "z: failed/Execute", "p: pending"],
        {"suspend": True},
    ),
]


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "shown", "flags"), [row[1:] for row in FOLDS], ids=[row[0] for row in FOLDS]
)
def test_fold(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any], shown: list[str], flags: dict[str, Any]
) -> None:
    untouched = copy.deepcopy((base, ours, theirs))
    folded = fold.fold(base, ours, theirs)
    assert (base, ours, theirs) == untouched
    assert phases(folded) == shown
    assert {key: folded.get(key) for key in flags} == flags


def test_a_whole_restart_leaves_nothing_of_the_pass() -> None:
    assert fold.fold(BASE, status(entry("a", "succeeded")), {"suspend": True}) == {"suspend": True}


def test_what_was_asked_during_a_pass_is_done_in_the_next() -> None:
    run = Run(step("a"), step("b"), mode="DAG")
    run.go(a=WAIT, b=WAIT)
    base = copy.deepcopy(run.status)
    theirs = {**copy.deepcopy(base), **commands.terminate(base, "run").patch}
    run.wait()
    run.go(a=result.Succeeded())
    run.status = fold.fold(base, run.status, theirs)
    assert run.shown() == ["a: succeeded", 'b: failed/Terminate "not yet"']
    run.go()
    assert run.phase == "terminated"
