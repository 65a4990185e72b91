from __future__ import annotations

import enum
import json
import subprocess
import sys
from typing import get_args

import pytest

from vela_workflow.api import constants, durations, step


@pytest.mark.parametrize(
    ("enumeration", "values"),
    [
        pytest.param(constants.Mode, {"StepByStep", "DAG"}, id="modes"),
        pytest.param(
            constants.RunPhase,
            {"initializing", "executing", "suspending", "terminated", "failed", "succeeded", "skipped"},
            id="run-phases",
        ),
        pytest.param(
            constants.StepPhase,
            {"succeeded", "failed", "skipped", "running", "pending", "suspending"},
            id="step-phases",
        ),
        pytest.param(
            constants.Reason,
            {
                "Wait", "Suspend", "Skip", "Execute", "FailedAfterRetries", "Timeout", "Action", "Terminate",
                "Rendering", "Input", "Output", "DependsOn", "Unknown", "ProcessParameter",
            },
            id="reasons",
        ),
    ],
)  # fmt: skip
def test_the_words_are_those_of_the_api(enumeration: type[enum.StrEnum], values: set[str]) -> None:
    assert set(enumeration) == values


def test_words_are_written_to_json_as_plain_strings() -> None:
    assert json.dumps({"phase": constants.StepPhase.RUNNING}) == '{"phase": "running"}'


@pytest.mark.parametrize(
    ("kind", "api_version", "crd_name"),
    [
        (constants.WORKFLOW_RUN, "core.oam.dev/v1alpha1", "workflowruns.core.oam.dev"),
        (constants.WORKFLOW, "core.oam.dev/v1alpha1", "workflows.core.oam.dev"),
        (constants.STEP_DEFINITION, "core.oam.dev/v1beta1", "workflowstepdefinitions.core.oam.dev"),
        (constants.PACKAGE, "cue.oam.dev/v1alpha1", "packages.cue.oam.dev"),
    ],
)
def test_kinds(kind: constants.Kind, api_version: str, crd_name: str) -> None:
    assert kind.api_version == api_version
    assert kind.crd_name == crd_name


def test_final_phases_are_those_with_a_decided_condition() -> None:
    decided = {
        phase
        for phase, (status, _) in constants.SUCCEEDED_CONDITION.items()
        if status is not constants.ConditionStatus.UNKNOWN
    }
    assert decided == constants.FINAL_RUN_PHASES
    assert {phase for phase in constants.RunPhase if phase.is_final} == decided


def test_every_phase_that_is_stored_has_a_condition() -> None:
    assert set(constants.SUCCEEDED_CONDITION) == set(constants.RunPhase) - {constants.RunPhase.SKIPPED}


def test_the_numbers_give_the_delays_of_the_specification() -> None:
    delays = [
        max(constants.BACKOFF_MIN, int(2**exponent * constants.BACKOFF_COEFFICIENT))
        for exponent in range(constants.MAX_RETRIES)
    ]
    assert delays == [1, 1, 1, 1, 1, 1, 3, 6, 12, 25]


def test_defaults_of_retry_are_the_same_in_model_and_constants() -> None:
    retry = step.Retry()
    assert retry.limit == constants.MAX_RETRIES
    assert retry.on == list(constants.RETRY_ON)
    assert retry.backoff.factor == constants.RETRY_BACKOFF_FACTOR
    assert durations.parse(retry.backoff.duration) < durations.parse(retry.backoff.cap)
    assert set(get_args(step.RetryCause)) == set(constants.RetryOn)


def test_constants_and_durations_do_without_pydantic() -> None:
    program = (
        "import sys, vela_workflow.api; assert not any(m.startswith('vela_workflow.api.') for m in sys.modules); "
        "import vela_workflow.api.constants, vela_workflow.api.durations; print('pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
