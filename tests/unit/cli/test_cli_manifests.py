from __future__ import annotations

from typing import Any

import pytest

from vela_workflow.cli import manifests, yaml_text
from vela_workflow.cli.errors import CommandError

JSON = dict[str, Any]

RUN: JSON = {
    "apiVersion": "core.oam.dev/v1alpha1",
    "kind": "WorkflowRun",
    "metadata": {"name": "r", "namespace": "n"},
    "spec": {
        "context": {"env": "test"},
        "workflowSpec": {
            "steps": [
                {"name": "apply", "type": "apply-object", "properties": {"value": {"replicas": 1}}},
                {"type": "suspend"},
                {"name": "group", "type": "step-group", "subSteps": [{"name": "inner", "type": "suspend"}]},
            ]
        },
    },
}
WORKFLOW = {
    "apiVersion": "core.oam.dev/v1alpha1",
    "kind": "Workflow",
    "metadata": {"name": "w", "namespace": "n", "labels": {"a": "b"}},
    "steps": [],
}
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}


def file(*documents: JSON) -> str:
    return "---\n".join(yaml_text.dump(one) for one in documents)


def test_runs_and_other_objects() -> None:
    found = manifests.read(file(RUN, CONFIG_MAP, WORKFLOW), "f")
    assert found.runs == (RUN,)
    assert found.others == (CONFIG_MAP, WORKFLOW)


def test_a_workflow_alone_is_run_once() -> None:
    (run,) = manifests.read(file(CONFIG_MAP, WORKFLOW), "f").runs
    assert run["metadata"] == {"generateName": "w-", "namespace": "n", "labels": {"a": "b"}}
    assert run["spec"] == {"workflowRef": "w"}


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        pytest.param([CONFIG_MAP], "no WorkflowRun and no Workflow either", id="nothing-to-run"),
        pytest.param([WORKFLOW, WORKFLOW], "no WorkflowRun and 2 Workflows", id="no-telling-which"),
        pytest.param([RUN, {**CONFIG_MAP, "metadata": {}}], "a ConfigMap has no metadata.name", id="no-name"),
        pytest.param([{**RUN, "metadata": []}], "metadata of a WorkflowRun", id="metadata-is-a-list"),
    ],
)
def test_files_that_cannot_be_run(documents: list[JSON], said: str) -> None:
    with pytest.raises(CommandError) as error:
        manifests.read(file(*documents), "f")
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("assignment", "where", "value"),
    [
        pytest.param("image=nginx:1.29", ("context", "image"), "nginx:1.29", id="context"),
        pytest.param("context.image=a=b", ("context", "image"), "a=b", id="context-with-its-name"),
        pytest.param("db.port=5432", ("context", "db", "port"), 5432, id="nested-number"),
        pytest.param('port="5432"', ("context", "port"), "5432", id="quoted-stays-a-text"),
        pytest.param("hosts=[a, b]", ("context", "hosts"), ["a", "b"], id="list"),
        pytest.param("context=x", ("context", "context"), "x", id="a-value-called-context"),
        pytest.param(
            "steps.apply.value.replicas=3",
            ("workflowSpec", "steps", 0, "properties", "value", "replicas"),
            3,
            id="property-of-a-step",
        ),
        pytest.param(
            "steps.step-1.duration=5s", ("workflowSpec", "steps", 1, "properties", "duration"), "5s", id="unnamed"
        ),
        pytest.param(
            "steps.inner.on=x", ("workflowSpec", "steps", 2, "subSteps", 0, "properties", "on"), "x", id="sub-step"
        ),
    ],
)
def test_set(assignment: str, where: tuple[str | int, ...], value: Any) -> None:
    found: Any = manifests.with_values(RUN, [assignment])["spec"]
    assert found["context"]["env"] == "test"
    for part in where:
        found = found[part]
    assert found == value
    assert RUN["spec"]["context"] == {"env": "test"}, "what was given is not changed"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        pytest.param("image", "write it as KEY=VALUE", id="no-value"),
        pytest.param("a..b=1", "is not a path", id="no-path"),
        pytest.param("steps.apply=1", "steps.NAME.path=VALUE", id="no-property"),
        pytest.param("steps.gone.a=1", 'no step "gone" (there are: apply, step-1, group, inner)', id="no-such-step"),
        pytest.param("env.x=1", "env is a string", id="through-a-text"),
        pytest.param("x=[", "is not a value", id="no-yaml"),
    ],
)
def test_set_that_makes_no_sense(assignment: str, said: str) -> None:
    with pytest.raises(CommandError) as error:
        manifests.with_values(RUN, [assignment])
    assert said in str(error.value)


def test_steps_of_a_referenced_workflow_cannot_be_set() -> None:
    with pytest.raises(CommandError, match='in the Workflow "w"'):
        manifests.with_values({**RUN, "spec": {"workflowRef": "w"}}, ["steps.apply.a=1"])


def test_rerun_copies_what_was_asked_for_and_nothing_that_happened() -> None:
    metadata = {
        "name": "r-x1",
        "generateName": "r-",
        "namespace": "n",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"a": "b"},
        "annotations": {"kept": "yes", "workflowrun.oam.dev/restart": "*"},
    }
    again = manifests.again({**RUN, "metadata": metadata, "status": {"status": "failed"}})
    assert again == {
        **RUN,
        "metadata": {"generateName": "r-", "namespace": "n", "labels": {"a": "b"}, "annotations": {"kept": "yes"}},
    }
    assert manifests.again(RUN)["metadata"]["generateName"] == "r-"
    assert manifests.named(again, "new")["metadata"]["name"] == "new"
    assert "generateName" not in manifests.named(again, "new")["metadata"]
