"""What is said of a step type for which there is no definition."""

from __future__ import annotations

from typing import Any

import pytest

from vela_workflow.api import constants
from vela_workflow.authoring import definitions
from vela_workflow.runs.definitions import APPLICATION_TYPES, Definitions, MissingDefinition


def definition(name: str, namespace: str) -> dict[str, Any]:
    template = "parameter: {}"
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"schematic": {"cue": {"template": template}}}}


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        pytest.param(
            "deploy",
            "in which it stands, a kind that this program does not have; distribute-object applies a plain object to "
            "several clusters",
            id="application",
        ),
        pytest.param(
            "builtin-apply-component",
            "a kind that this program does not have; apply-object and apply-objects apply plain objects",
            id="embedded",
        ),
        pytest.param("restart-workflow", "the annotation workflowrun.oam.dev/restart restarts a run", id="no-step"),
        pytest.param("call-servce", "system; did you mean call-service?", id="misspelt"),
        pytest.param("nearly-elsewhere", "in namespace team or system", id="what-others-use-is-not-offered"),
    ],
)
def test_a_missing_definition_is_explained(asked: str, advice: str) -> None:
    known = Definitions("system")
    for name, namespace in (("call-service", "system"), ("nearly-elsewhere2", "other")):
        known.update(definition(name, namespace))
    with pytest.raises(MissingDefinition) as raised:
        known.template(asked, "team")
    assert str(raised.value).startswith(f'there is no WorkflowStepDefinition "{asked}" in namespace team or system')
    assert str(raised.value).endswith(advice)


def test_a_definition_of_that_name_is_used_whatever_others_use_the_name_for() -> None:
    known = Definitions("system")
    known.update(definition("deploy", "team"))
    assert known.template("deploy", "team") == "parameter: {}"


@pytest.mark.parametrize("asked", APPLICATION_TYPES)
def test_what_is_advised_in_place_of_a_type_is_there(asked: str) -> None:
    built_in = {path.stem for path in (definitions.built_in() / "steps").glob("*.cue")}
    assert asked not in built_in
    advised = {word for word in APPLICATION_TYPES[asked].split() if "-" in word or "2" in word}
    assert advised <= built_in
    assert advised or constants.ANNOTATION_RESTART in APPLICATION_TYPES[asked]
