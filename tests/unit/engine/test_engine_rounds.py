"""Rounds: what makes a step do all of it again, operations included that are carried out once (decisions 19)."""

from __future__ import annotations

from typing import Any

import pytest
from engine_driver import Run, error, fail, step

from vela_workflow.api.constants import Reason
from vela_workflow.engine import restart, result

WAIT = result.Waiting("not yet")
TIMEOUT = result.Failed(Reason.TIMEOUT, "too slow")

ROUNDS: list[tuple[str, dict[str, Any], list[result.Result], list[tuple[int, int]]]] = [
    ("errors, tried again by themselves", {}, [error(), error()], [(1, 1), (2, 1), (3, 1)]),
    ("errors, by an own policy", {"limit": 2, "on": ["error"]}, [error(), error()], [(1, 1), (2, 1), (3, 1)]),
    ("looks at a step that waits", {}, [WAIT, WAIT], [(1, 1), (1, 1), (1, 1)]),
    ("looks after an error", {}, [error(), WAIT], [(1, 1), (2, 1), (2, 1)]),
    ("a failure that is final", {"limit": 2}, [fail()], [(1, 1)]),
    ("failures, when asked for", {"limit": 2, "on": ["fail"]}, [fail(), fail()], [(1, 1), (2, 2), (3, 3)]),
    ("the last of them", {"limit": 1, "on": ["fail"]}, [fail(), fail()], [(1, 1), (2, 2)]),
    (
        "errors between failures",
        {"limit": 3, "on": ["error", "fail"]},
        [error(), fail(), error()],
        [(1, 1), (2, 1), (3, 2), (4, 2)],
    ),
    ("time-outs, when asked for", {"limit": 1, "on": ["timeout"]}, [TIMEOUT], [(1, 1), (2, 2)]),
    ("time-outs, when not", {"limit": 1, "on": ["fail"]}, [TIMEOUT], [(1, 1)]),
]
"""What makes a step be begun again: title, policy, answers, and attempt and round of each task."""


@pytest.mark.parametrize(("retry", "script", "rounds"), [row[1:] for row in ROUNDS], ids=[row[0] for row in ROUNDS])
def test_a_round_begins_only_when_a_step_is_to_do_all_of_it_again(
    retry: dict[str, Any], script: list[result.Result], rounds: list[tuple[int, int]]
) -> None:
    run = Run(step("a", **({"retry": retry} if retry else {})))
    run.script["a"] = list(script)
    while not run.go().status["finished"]:
        run.wait()
    assert [(task.attempt, task.round) for task in run.executed] == rounds


def test_a_step_that_is_restarted_has_a_new_id_instead_of_a_new_round() -> None:
    run = Run(step("a", retry={"limit": 1, "on": ["fail"]}))
    run.go(a=[fail(), fail()])
    run.wait()
    run.go()
    again = restart.restart_step(run.plan(), run.status, run.state, "run", "a", now=run.now)
    run.edit(again.patch)
    run.state = again.state
    run.go()
    first, second, third = run.executed
    assert [task.round for task in run.executed] == [1, 2, 1]
    assert first.id == second.id != third.id
