from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pydantic
import pytest
import yaml

from vela_workflow.api import crd
from vela_workflow.api.model import Model, Resource

JSON = dict[str, Any]

EACH_DEFINITION = pytest.mark.parametrize(
    "definition", [pytest.param(definition, id=definition.kind.plural) for definition in crd.DEFINITIONS]
)
STANDARD = {"apiVersion": "string", "kind": "string", "metadata": "object"}


def schema_paths(schema: JSON, path: str = "") -> Iterator[tuple[str, JSON]]:
    """Every node of a structural schema; ``[]`` stands for the items of a list, ``*`` for the values of a map."""
    if path:
        yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from schema_paths(child, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from schema_paths(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from schema_paths(schema["additionalProperties"], f"{path}.*")


def model_paths(annotation: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every field of a model with its type, read off the annotations, in the notation of ``schema_paths``."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        yield from model_paths(arguments[0], path)
    elif origin in (typing.Union, types.UnionType):
        (only,) = [argument for argument in arguments if argument is not type(None)]
        yield from model_paths(only, path)
    elif isinstance(annotation, type) and issubclass(annotation, Model):
        if path:
            yield path, "object"
        for name, field in annotation.model_fields.items():
            alias = field.alias or name
            yield from model_paths(field.annotation, f"{path}.{alias}" if path else alias)
    elif origin is list:
        yield path, "array"
        yield from model_paths(arguments[0], f"{path}[]")
    elif origin is dict:
        yield path, "object"
        if arguments[1] is not Any:
            yield from model_paths(arguments[1], f"{path}.*")
    elif origin is Literal:
        yield path, "string"
    else:
        yield (
            path,
            {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}.get(
                annotation.__name__, "string"
            ),
        )


@EACH_DEFINITION
def test_models_and_schemas_have_the_same_fields(definition: crd.Definition) -> None:
    in_model = {path: kind for path, kind in model_paths(definition.model) if not path.startswith("metadata.")}
    in_schema = {path: node["type"] for path, node in schema_paths(crd.schema(definition.model))}
    assert in_schema == in_model


@EACH_DEFINITION
def test_files_are_those_of_the_models(definition: crd.Definition) -> None:
    path = crd.DIRECTORY / definition.file_name
    assert path.read_text(encoding="utf-8") == crd.render(definition), "run `python -m vela_workflow.api.crd`"
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == definition.render()


def test_there_are_no_other_files() -> None:
    assert crd.outdated() == []


@EACH_DEFINITION
def test_every_field_is_described(definition: crd.Definition) -> None:
    undescribed = [
        path
        for path, node in schema_paths(crd.schema(definition.model))
        if not node.get("description", "").strip() and path != "metadata" and not path.endswith(("[]", ".*"))
    ]
    assert undescribed == []


@EACH_DEFINITION
def test_descriptions_are_sentences(definition: crd.Definition) -> None:
    for path, node in schema_paths(crd.schema(definition.model)):
        if "description" in node:
            assert node["description"].endswith("."), path
            assert "``" not in node["description"], path


@EACH_DEFINITION
def test_columns_show_fields_that_exist(definition: crd.Definition) -> None:
    known = dict(schema_paths(crd.schema(definition.model)))
    for column in definition.columns:
        if column.path.startswith(".metadata."):
            continue
        node = known[column.path.removeprefix(".")]
        assert node["type"] == "string"
        assert (column.type == "date") == (node.get("format") == "date-time"), column.name


@EACH_DEFINITION
def test_nothing_in_status_is_required(definition: crd.Definition) -> None:
    required = {
        f"{path}.{name}"
        for path, node in schema_paths(crd.schema(definition.model))
        if path.split(".", 1)[0] == "status"
        for name in node.get("required", [])
    }
    # The key of a keyed list has to be.
    assert required <= {"status.conditions[].type"}


STEP_FIELDS = {
    "name": "string",
    "type": "string!",
    "meta": "object",
    "meta.alias": "string",
    "if": "string",
    "timeout": "string",
    "dependsOn": "array",
    "dependsOn[]": "string",
    "inputs": "array",
    "inputs[].from": "string!",
    "inputs[].parameterKey": "string",
    "outputs": "array",
    "outputs[].name": "string!",
    "outputs[].valueFrom": "string",
    "properties": "open",
}
TOP_STEP_FIELDS = (
    STEP_FIELDS
    | {"mode": "string?", "subSteps": "array"}
    | {f"subSteps[].{path}": kind for path, kind in STEP_FIELDS.items()}
)
STEP_STATUS_FIELDS = {
    "id": "string",
    "name": "string",
    "type": "string",
    "phase": "string",
    "message": "string",
    "reason": "string",
    "firstExecuteTime": "date-time?",
    "lastExecuteTime": "date-time?",
}
CONDITION_FIELDS = {
    "status.conditions[].type": "string!",
    "status.conditions[].status": "string",
    "status.conditions[].reason": "string",
    "status.conditions[].message": "string",
    "status.conditions[].lastTransitionTime": "date-time?",
}

# Sections 1.1 to 1.5 of the specification of the API: what other controllers write and users have. ``!`` is required,
# ``?`` may be null, ``open`` keeps fields that the schema does not know.
REFERENCE: dict[str, dict[str, str]] = {
    "workflowruns": {
        "spec": "object",
        "spec.context": "open",
        "spec.mode": "object",
        "spec.mode.steps": "string",
        "spec.mode.subSteps": "string",
        "spec.workflowRef": "string",
        "spec.workflowSpec": "object",
        "spec.workflowSpec.steps": "array",
        **{f"spec.workflowSpec.steps[].{path}": kind for path, kind in TOP_STEP_FIELDS.items()},
        "status": "object",
        "status.mode": "object",
        "status.mode.steps": "string",
        "status.mode.subSteps": "string",
        "status.status": "string",
        "status.message": "string",
        "status.suspend": "boolean",
        "status.suspendState": "string",
        "status.terminated": "boolean",
        "status.finished": "boolean",
        "status.startTime": "date-time?",
        "status.endTime": "date-time?",
        "status.contextBackend.apiVersion": "string",
        "status.contextBackend.kind": "string",
        "status.contextBackend.name": "string",
        "status.contextBackend.namespace": "string",
        "status.contextBackend.uid": "string",
        "status.contextBackend.resourceVersion": "string",
        "status.contextBackend.fieldPath": "string",
        **{f"status.steps[].{path}": kind for path, kind in STEP_STATUS_FIELDS.items()},
        **{f"status.steps[].subSteps[].{path}": kind for path, kind in STEP_STATUS_FIELDS.items()},
        **CONDITION_FIELDS,
    },
    "workflows": {
        "mode.steps": "string",
        "mode.subSteps": "string",
        "steps": "array",
        **{f"steps[].{path}": kind for path, kind in TOP_STEP_FIELDS.items()},
    },
    "workflowstepdefinitions": {
        "spec.definitionRef.name": "string!",
        "spec.definitionRef.version": "string",
        "spec.version": "string",
        "spec.schematic": "open",
        "spec.schematic.cue.template": "string!",
        "spec.schematic.terraform.configuration": "string!",
        "spec.schematic.terraform.customRegion": "string",
        "spec.schematic.terraform.deleteResource": "boolean",
        "spec.schematic.terraform.gitCredentialsSecretReference.name": "string",
        "spec.schematic.terraform.gitCredentialsSecretReference.namespace": "string",
        "spec.schematic.terraform.path": "string",
        "spec.schematic.terraform.providerRef.name": "string!",
        "spec.schematic.terraform.providerRef.namespace": "string",
        "spec.schematic.terraform.type": "string",
        "spec.schematic.terraform.writeConnectionSecretToRef.name": "string!",
        "spec.schematic.terraform.writeConnectionSecretToRef.namespace": "string",
        "status.configMapRef": "string",
        "status.latestRevision.name": "string",
        "status.latestRevision.revision": "integer",
        "status.latestRevision.revisionHash": "string",
        **CONDITION_FIELDS,
    },
    "packages": {
        "spec": "object!",
        "spec.path": "string!",
        "spec.templates": "object!",
        "spec.templates.*": "string",
        "spec.provider": "object",
        "spec.provider.protocol": "string!",
        "spec.provider.endpoint": "string!",
        "spec.provider.header.*": "string",
    },
}

OURS: dict[str, set[str]] = {
    "workflowruns": {
        "spec.ttlSecondsAfterFinished",
        "status.observedGeneration",
        "status.progress",
        "status.currentStep",
        "status.currentStepSince",
        "status.conditions[].observedGeneration",
    },
    "workflowstepdefinitions": {"status.conditions[].observedGeneration"},
}
"""Fields beyond the reference, apart from ``retry`` and ``exportKey`` of steps."""


def kinds_of_fields(definition: crd.Definition) -> dict[str, str]:
    """The schema in the notation of ``REFERENCE``."""
    nodes = dict(schema_paths(crd.schema(definition.model)))
    nodes[""] = crd.schema(definition.model)
    kinds = {}
    for path, node in nodes.items():
        kind = node.get("format") if node.get("format") == "date-time" else node["type"]
        if node.get("x-kubernetes-preserve-unknown-fields"):
            kind = "open"
        parent, _, name = path.rpartition(".")
        mark = "!" if name in nodes.get(parent, {}).get("required", []) else "?" if node.get("nullable") else ""
        kinds[path] = f"{kind}{mark}"
    return kinds


@EACH_DEFINITION
def test_the_fields_of_the_reference_are_there(definition: crd.Definition) -> None:
    kinds, reference = kinds_of_fields(definition), REFERENCE[definition.kind.plural]
    assert {path: kinds.get(path) for path in reference} == reference


@EACH_DEFINITION
def test_what_is_added_is_known(definition: crd.Definition) -> None:
    reference = REFERENCE[definition.kind.plural]
    # A path stands for those above it as well.
    above = {path[: index + len(mark) - 1] for path in reference for mark in (".", "[]")
             for index in range(len(path)) if path.startswith(mark, index)}  # fmt: skip
    added = {
        path
        for path in kinds_of_fields(definition)
        if path and path not in STANDARD and path not in reference and path not in above and f"{path}[]" not in above
        and ".retry" not in path and not path.endswith(("[]", ".exportKey"))
    }  # fmt: skip
    assert added == OURS.get(definition.kind.plural, set())


@EACH_DEFINITION
def test_nothing_is_stricter_than_the_reference(definition: crd.Definition) -> None:
    strict = {
        path
        for path, node in schema_paths(crd.schema(definition.model))
        if node.keys() & {"enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "maxItems", "default"}
    }
    ours = {path for path in strict if ".retry." in path or path == "spec.ttlSecondsAfterFinished"}
    terraform = "spec.schematic.terraform"
    assert strict - ours <= {f"{terraform}.type", f"{terraform}.deleteResource", f"{terraform}.providerRef.namespace"}


def test_defaults_are_those_of_terraform_only() -> None:
    definition = next(row for row in crd.DEFINITIONS if row.kind.plural == "workflowstepdefinitions")
    defaults = {
        path.removeprefix("spec.schematic.terraform."): node["default"]
        for path, node in schema_paths(crd.schema(definition.model))
        if "default" in node
    }
    assert defaults == {"type": "hcl", "deleteResource": True, "providerRef.namespace": "default"}


class Choice(Resource):
    either: int | str = pydantic.Field(default=0, description="Two types.")


class Knot(Model):
    knot: Knot | None = pydantic.Field(default=None, description="Itself.")


class Tied(Resource):
    knot: Knot | None = pydantic.Field(default=None, description="A knot.")


class Odd(Resource):
    text: str = pydantic.Field(default="", description="Text.", json_schema_extra={"contentEncoding": "base64"})


@pytest.mark.parametrize(
    ("model", "words"),
    [
        pytest.param(Choice, "choice of types", id="union"),
        pytest.param(Tied, "Knot contains itself", id="recursion"),
        pytest.param(Odd, "Odd.text: no rule for the keyword contentEncoding", id="keyword"),
    ],
)
def test_what_cannot_be_written_is_an_error(model: type[Resource], words: str) -> None:
    with pytest.raises(crd.NotStructuralError, match=words):
        crd.schema(model)


def test_the_command_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--directory", str(tmp_path)]
    assert crd.main([*arguments, "--check"]) == 1
    assert "run `python -m vela_workflow.api.crd`" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []

    assert crd.main(arguments) == 0
    assert {path.name for path in tmp_path.iterdir()} == {definition.file_name for definition in crd.DEFINITIONS}
    assert crd.main([*arguments, "--check"]) == 0

    (tmp_path / "core.oam.dev_retired.yaml").write_text("kind: CustomResourceDefinition\n")
    (tmp_path / crd.DEFINITIONS[0].file_name).write_text("edited by hand\n")
    capsys.readouterr()
    assert crd.main([*arguments, "--check"]) == 1
    said = capsys.readouterr().out
    assert "core.oam.dev_retired.yaml: not up to date" in said
    assert f"{crd.DEFINITIONS[0].file_name}: not up to date" in said
    assert crd.main(arguments) == 0
    assert crd.outdated(tmp_path) == []
