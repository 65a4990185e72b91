"""What is said of names in an ``if`` that cannot be meant, and of modes."""

from __future__ import annotations

from typing import Any

import pytest

from vela_workflow.engine import hints

NAMES = ("build", "deploy-web", "test")
SOURCES = ("image", "build.tag")
DASH = "a dash is a minus in CUE: write "
BYTES = "'…' is bytes in CUE and equal to no string; write \"…\""


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ('status.build.failed && inputs.image == "x"', []),
        ('status["deploy-web"].failed', []),
        ('status.build.phase == "status.nope it\'s"', []),
        ('inputs.build.tag > 3 && inputs["build.tag"] > 3', []),
        ("context.status.nope", []),
        ("status.build-status.test", []),
        ("status.buidl.failed", ['there is no step "buidl"; did you mean build?']),
        ('status["deploy_web"].failed', ['there is no step "deploy_web"; did you mean deploy-web?']),
        ("status.deploy-web.failed", [f'{DASH}status["deploy-web"]']),
        ("status.other.failed", ['there is no step "other"']),
        ("inputs.imgae == 1", ['the step has no input from "imgae"; did you mean image?']),
        ("status.build.phase == 'failed'", [BYTES]),
        ("Always", ["did you mean always?"]),
        ("steps.build.failed", ['steps are in `status`: write status["name"].failed']),
    ],
)
def test_conditions(expression: str, told: list[str]) -> None:
    assert list(hints.condition(expression, NAMES, SOURCES)) == told


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        (None, []),
        ("DAG", []),
        ({"steps": "DAG", "subSteps": "StepByStep"}, []),
        ({"steps": ""}, []),
        ({"steps": "dag"}, ["m.steps: unknown mode \"dag\" counts as StepByStep; known are StepByStep and DAG; did you mean DAG?"]),
        ({"subSteps": "step-by-step"}, ["m.subSteps: unknown mode \"step-by-step\" counts as DAG; known are StepByStep and DAG; did you mean StepByStep?"]),
        ({"steps": "parallel"}, ["m.steps: unknown mode \"parallel\" counts as StepByStep; known are StepByStep and DAG"]),
    ],
)  # fmt: skip
def test_modes(mode: Any, told: list[str]) -> None:
    assert [str(one) for one in hints.unknown_modes(mode, "m")] == told
