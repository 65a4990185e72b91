from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from vela_workflow.cli import output, render, view

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)

RUN = view.read(
    {
        "metadata": {"name": "deploy", "namespace": "shop", "creationTimestamp": "2026-01-01T11:00:00Z"},
        "spec": {
            "workflowSpec": {
                "steps": [
                    {"name": "build", "type": "build-push-image"},
                    {"name": "test", "type": "step-group", "subSteps": [{"name": "unit", "type": "apply-job"}]},
                    {"name": "release", "type": "apply-object"},
                ]
            }
        },
        "status": {
            "status": "executing",
            "progress": "1/3",
            "currentStep": "test",
            "currentStepSince": "2026-01-01T11:58:00Z",
            "startTime": "2026-01-01T11:50:00Z",
            "steps": [
                {
                    "name": "build",
                    "phase": "succeeded",
                    "firstExecuteTime": "2026-01-01T11:50:00Z",
                    "lastExecuteTime": "2026-01-01T11:55:30Z",
                },
                {
                    "name": "test",
                    "phase": "running",
                    "firstExecuteTime": "2026-01-01T11:58:00Z",
                    "subSteps": [
                        {
                            "name": "unit",
                            "phase": "running",
                            "reason": "Wait",
                            "message": "waiting for\x1b[31m the [bold] job",
                            "firstExecuteTime": "2026-01-01T11:58:00Z",
                        }
                    ],
                },
            ],
        },
    }
)


def shown(renderable: Any, capsys: pytest.CaptureFixture[str]) -> list[str]:
    output.show(renderable)
    return capsys.readouterr().out.splitlines()


def test_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(render.tree(RUN, NOW), capsys) == [
        "● deploy  executing  1/3 steps  10m",
        "├── ✔ build (build-push-image)  succeeded  5m30s",
        "├── ● test (step-group)  running  2m",
        "│   └── ● unit (apply-job)  running Wait  2m",
        "│         waiting for�[31m the [bold] job",
        "└── ○ release (apply-object)  not started",
    ]


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(render.runs([RUN], NOW), capsys)
    assert [line.split() for line in lines] == [
        ["NAME", "PHASE", "STEPS", "STEP", "SINCE", "AGE"],
        ["deploy", "executing", "1/3", "test", "2m", "1h"],
    ]


def test_wide_table_of_all_namespaces_is_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    lines = shown(render.runs([replace(RUN, message=long)], NOW, namespaces=True, wide=True), capsys)
    assert lines[0].split() == ["NAMESPACE", "NAME", "PHASE", "STEPS", "STEP", "SINCE", "AGE", "DURATION", "MESSAGE"]
    assert lines[1].split() == ["shop", "deploy", "executing", "1/3", "test", "2m", "1h", "10m", long]


@pytest.mark.parametrize(
    ("columns", "step"),
    [
        pytest.param(None, "a-step-with-a-long-name", id="no-terminal"),
        pytest.param(200, "a-step-with-a-long-name", id="wide"),
        pytest.param(70, "a-step-with-a…", id="as-much-as-needed"),
        pytest.param(40, "a-step-wi…", id="not-below-what-can-be-read"),
    ],
)
def test_a_narrow_terminal_shortens_steps_and_never_names(
    columns: int | None, step: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = replace(RUN, name="a-name-to-be-copied", current="a-step-with-a-long-name")
    lines = shown(render.runs([run], NOW, columns=columns), capsys)
    assert lines[1].split() == ["a-name-to-be-copied", "executing", "1/3", step, "2m", "1h"]
    assert columns is None or columns < 70 or max(map(len, lines)) <= columns


def test_every_phase_has_a_mark_and_a_colour() -> None:
    from vela_workflow.api.constants import RunPhase, StepPhase

    for word in (*StepPhase, *(phase for phase in RunPhase if phase is not RunPhase.SKIPPED), ""):
        assert len(render.MARKS[word]) == 1
        assert render.STYLES[word]


def test_transitions_tell_each_change_once() -> None:
    (build, group, release) = RUN.steps
    later = replace(
        RUN,
        phase="failed",
        message='step "release" failed',
        steps=(
            build,
            replace(
                group,
                phase="succeeded",
                sub_steps=(replace(group.sub_steps[0], phase="succeeded", message="", reason=""),),
            ),
            replace(release, phase="failed", reason="Action", message="no\nrights"),
        ),
    )
    assert list(render.transitions(None, RUN)) == [
        "step build: succeeded",
        "step test: running",
        "step test/unit: running (Wait): waiting for�[31m the [bold] job",
        "run deploy: executing",
    ]
    assert list(render.transitions(RUN, RUN)) == []
    assert list(render.transitions(RUN, later)) == [
        "step test: succeeded",
        "step test/unit: succeeded",
        "step release: failed (Action): no rights",
        'run deploy: failed: step "release" failed',
    ]


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        pytest.param("plain — ünï 日本", "plain — ünï 日本", id="plain"),
        pytest.param("a\tb\nc", "a\tb\nc", id="tab-and-line-feed"),
        pytest.param("\x1b]0;title\x07", "�]0;title�", id="escape-sequence"),
        pytest.param("a\rb", "a�b", id="carriage-return"),
        pytest.param("\x9b31m", "�31m", id="c1-control"),
        pytest.param("\u202eevil", "�evil", id="right-to-left"),
    ],
)
def test_texts_cannot_steer_the_terminal(text: str, cleaned: str) -> None:
    assert output.clean(text) == cleaned


@pytest.mark.parametrize(
    ("reason", "line", "change"),
    [
        pytest.param(
            "Execute", "↻ a  failed Execute, is tried again", "failed, is tried again (Execute): refused", id="retried"
        ),
        pytest.param(
            "FailedAfterRetries",
            "✖ a  failed FailedAfterRetries",
            "failed (FailedAfterRetries): refused",
            id="given-up",
        ),
    ],
)
def test_a_step_that_is_tried_again_does_not_look_as_if_it_had_ended(
    reason: str, line: str, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    step = {"name": "a", "phase": "failed", "reason": reason, "message": "refused"}
    run = view.read({"metadata": {"name": "r"}, "status": {"status": "executing", "steps": [step]}})
    assert shown(render.tree(run, NOW), capsys)[1] == f"└── {line}"
    assert next(iter(render.transitions(None, run))) == f"step a: {change}"
