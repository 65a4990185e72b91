"""The CustomResourceDefinitions, generated from the models.

``python -m vela_workflow.api.crd`` writes them to ``crds/``; ``--check`` only tells whether the files are up to date.
The models are the one place where fields are described: what ``kubectl explain`` says, what the API server accepts and
what ``model.parse`` accepts come from there.

pydantic gives JSON Schema, an API server wants a *structural* OpenAPI v3 schema: no references, no alternatives of
types, no ``additionalProperties`` beside ``properties``. The way from one to the other is a small set of rules, and a
keyword that no rule knows is an error rather than silently lost:

- references are replaced by what they refer to;
- an optional field (type or null) is the type alone, since the API server takes ``null`` for absent; it is ``nullable``
  only where a model says so;
- a free-form object keeps fields that it does not know, any other object loses them (the models keep them: the schema
  says what is stored, not what is read);
- defaults are left out, so that a stored object holds what its author wrote, unless a model insists.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from vela_workflow.api import constants, package, stepdefinition, workflow, workflowrun, yaml_style
from vela_workflow.api.model import Resource

JSON = dict[str, Any]

DIRECTORY: Final = Path(__file__).resolve().parents[2] / "crds"
HEADER: Final = "# Generated from the models in vela_workflow/api by `python -m vela_workflow.api.crd`. Do not edit.\n"

STANDARD_PROPERTIES: Final[JSON] = {
    "apiVersion": {
        "type": "string",
        "description": "Version of the schema of this object, such as core.oam.dev/v1alpha1.",
    },
    "kind": {"type": "string", "description": "Kind of this object."},
    "metadata": {"type": "object"},
}
"""Fields of every object; the API server knows more about them than a schema may say."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``; ``priority`` 1 shows it only with ``-o wide``. Dates are shown as time since."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""

    def render(self) -> JSON:
        """The column as the definition writes it."""
        column: JSON = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            column["description"] = self.description
        if self.priority:
            column["priority"] = self.priority
        return column


AGE: Final = Column("AGE", ".metadata.creationTimestamp", "date")


@dataclass(frozen=True, slots=True)
class Definition:
    """What a CustomResourceDefinition says besides its schema."""

    kind: constants.Kind
    model: type[Resource]
    short_names: tuple[str, ...] = ()
    status_subresource: bool = False
    columns: tuple[Column, ...] = (AGE,)

    @property
    def file_name(self) -> str:
        """Name of its file: ``core.oam.dev_workflowruns.yaml``."""
        return f"{self.kind.group}_{self.kind.plural}.yaml"

    def render(self) -> JSON:
        """The whole CustomResourceDefinition."""
        names: JSON = {
            "kind": self.kind.kind,
            "listKind": f"{self.kind.kind}List",
            "plural": self.kind.plural,
            "singular": self.kind.singular,
            "categories": list(CATEGORIES),
        }
        if self.short_names:
            names["shortNames"] = list(self.short_names)
        version: JSON = {
            "name": self.kind.version,
            "served": True,
            "storage": True,
            "additionalPrinterColumns": [column.render() for column in self.columns],
            "schema": {"openAPIV3Schema": schema(self.model)},
        }
        if self.status_subresource:
            version["subresources"] = {"status": {}}
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": self.kind.crd_name},
            "spec": {"group": self.kind.group, "names": names, "scope": "Namespaced", "versions": [version]},
        }


CATEGORIES: Final = ("oam", "vela")
"""``kubectl get oam`` and ``kubectl get vela`` list objects of all kinds."""

DEFINITIONS: Final = (
    Definition(
        constants.WORKFLOW_RUN,
        workflowrun.WorkflowRun,
        short_names=("wr",),
        status_subresource=True,
        columns=(
            Column("PHASE", ".status.status", description="Phase of the run."),
            Column("STEPS", ".status.progress", description="Steps that have ended, of how many."),
            Column("STEP", ".status.currentStep", description="The step that the run is at."),
            Column("SINCE", ".status.currentStepSince", "date", description="How long it has been there."),
            AGE,
            Column("MODE", ".status.mode.steps", priority=1, description="How the steps follow each other."),
            Column("MESSAGE", ".status.message", priority=1, description="Why the run is where it is."),
        ),
    ),
    Definition(
        constants.WORKFLOW,
        workflow.Workflow,
        columns=(Column("MODE", ".mode.steps", description="How the steps follow each other."), AGE),
    ),
    Definition(
        constants.STEP_DEFINITION,
        stepdefinition.WorkflowStepDefinition,
        short_names=("workflowstep",),
        status_subresource=True,
        columns=(
            Column(
                "DESCRIPTION",
                r".metadata.annotations.definition\.oam\.dev/description",
                description="What the step type is for.",
            ),
            AGE,
        ),
    ),
    Definition(
        constants.PACKAGE,
        package.Package,
        short_names=("pkg", "cpkg", "cuepkg", "cuepackage"),
        columns=(
            Column("PATH", ".spec.path", description="Path by which templates import the package."),
            Column("PROTO", ".spec.provider.protocol", description="Protocol of the service behind it."),
            Column("ENDPOINT", ".spec.provider.endpoint", description="Address of the service behind it."),
            AGE,
        ),
    ),
)
"""One row for each kind."""


class NotStructuralError(Exception):
    """A model gave a schema that no rule of this module can write; change the model or add a rule."""


_COPIED: Final = frozenset(
    {"type", "description", "format", "enum", "required", "anyOf", "minimum", "maximum", "minLength", "maxLength"}
)
_DROPPED: Final = frozenset({"title", "default", "$defs", "properties", "items", "additionalProperties", "$ref"})
_RENAMED: Final = {"x-default": "default", "x-nullable": "nullable"}
_ORDER: Final = ("description", "type", "format", "nullable", "default", "enum")


def schema(model: type[Resource]) -> JSON:
    """The structural schema of a kind."""
    source = model.model_json_schema(by_alias=True)
    own = {name: field for name, field in source["properties"].items() if name not in STANDARD_PROPERTIES}
    result = _convert(source | {"properties": own}, source.get("$defs", {}), path=model.__name__, within=())
    result["properties"] = copy.deepcopy(STANDARD_PROPERTIES) | result["properties"]
    return result


def _convert(source: JSON, definitions: JSON, *, path: str, within: tuple[str, ...]) -> JSON:
    """Write one schema of pydantic as a structural schema; ``within`` names the references around it."""
    source = _without_null(source)
    if "$ref" in source:
        name = source["$ref"].rsplit("/", 1)[-1]
        if name in within:
            raise NotStructuralError(f"{path}: {name} contains itself, which a structural schema cannot express")
        within = (*within, name)
        source = {**definitions[name], **{key: value for key, value in source.items() if key != "$ref"}}
    result: JSON = {}
    for key, value in source.items():
        if key in _RENAMED:
            result[_RENAMED[key]] = value
        elif key in _COPIED or key.startswith("x-kubernetes-"):
            result[key] = copy.deepcopy(value)
        elif key not in _DROPPED:
            raise NotStructuralError(f"{path}: no rule for the keyword {key}")
    if "type" not in result:
        raise NotStructuralError(f"{path}: a choice of types, or any type, is not structural")
    if result["type"] == "integer":
        result["format"] = "int32" if "maximum" in result else "int64"
    if "items" in source:
        result["items"] = _convert(source["items"], definitions, path=f"{path}[]", within=within)
    if result["type"] == "object":
        result |= _object(source, definitions, path=path, within=within)
    return {key: result[key] for key in (*_ORDER, *sorted(result)) if key in result}


def _object(source: JSON, definitions: JSON, *, path: str, within: tuple[str, ...]) -> JSON:
    if "properties" in source:
        properties = {
            name: _convert(field, definitions, path=f"{path}.{name}", within=within)
            for name, field in source["properties"].items()
        }
        return {"properties": properties}
    values = source.get("additionalProperties", True)
    if isinstance(values, dict) and values:
        return {"additionalProperties": _convert(values, definitions, path=f"{path}[*]", within=within)}
    return {"x-kubernetes-preserve-unknown-fields": True}


def _without_null(source: JSON) -> JSON:
    """Take the type out of an optional field: ``anyOf: [type, null]``."""
    types = source.get("anyOf")
    if types is None or {"type": "null"} not in types:
        return source
    others = [type_ for type_ in types if type_ != {"type": "null"}]
    if len(others) > 1:
        return {**source, "anyOf": others}
    return {**others[0], **{key: value for key, value in source.items() if key != "anyOf"}}


def render(definition: Definition) -> str:
    """The text of the file of a definition."""
    return HEADER + yaml.dump(
        definition.render(),
        Dumper=yaml_style.Indented,
        sort_keys=False,
        width=120,
        allow_unicode=True,
        default_flow_style=False,
    )


def outdated(directory: Path = DIRECTORY) -> list[Path]:
    """Files of ``directory`` that are missing, differ from the models, or belong to no definition."""
    wanted = {directory / definition.file_name: render(definition) for definition in DEFINITIONS}
    found = {path: path.read_text(encoding="utf-8") for path in directory.glob("*.yaml")}
    return sorted(path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path))


def write(directory: Path = DIRECTORY) -> list[Path]:
    """Write the files that are missing or differ, remove those that belong to no definition; return all these."""
    directory.mkdir(parents=True, exist_ok=True)
    changed = outdated(directory)
    wanted = {directory / definition.file_name: definition for definition in DEFINITIONS}
    for path in changed:
        if path in wanted:
            path.write_text(render(wanted[path]), encoding="utf-8")
        else:
            path.unlink()
    return changed


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with ``--check`` only compare; 1 when a comparison finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m vela_workflow.api.crd", description="Generate crds/*.yaml.")
    parser.add_argument("--check", action="store_true", help="only tell which files are not up to date")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="where the files are (default: crds/)")
    options = parser.parse_args(arguments)
    changed = outdated(options.directory) if options.check else write(options.directory)
    for path in changed:
        sys.stdout.write(f"{path}: {'not up to date' if options.check else 'written'}\n")
    if options.check and changed:
        sys.stdout.write("run `python -m vela_workflow.api.crd`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
