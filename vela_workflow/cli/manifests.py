"""What a file holds for ``run``, and the values that ``--set`` puts into a run. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vela_workflow.api import constants
from vela_workflow.cli import yaml_text
from vela_workflow.cli.errors import CommandError
from vela_workflow.engine import paths

JSON = dict[str, Any]

STEPS: Final = "steps"
CONTEXT: Final = "context"

NOT_COPIED: Final = ("kubectl.kubernetes.io/last-applied-configuration", constants.ANNOTATION_RESTART)
"""Annotations of a run that do not go to its rerun."""


@dataclass(frozen=True, slots=True)
class Manifests:
    """The objects of a file: runs to create, and others to apply first."""

    runs: tuple[JSON, ...]
    others: tuple[JSON, ...]


def read(text: str, source: str) -> Manifests:
    """Sort the objects of a file.

    A single Workflow that no run of the file refers to gets a generated run. Raises ``CommandError`` when there is
    nothing to run, or no telling what.
    """
    documents = list(yaml_text.documents(text, source))
    for document in documents:
        if not isinstance(document.get("metadata", {}), dict):
            raise CommandError(f"{source}: metadata of a {document['kind']} must be an object")
    runs = [one for one in documents if _is(one, constants.WORKFLOW_RUN)]
    others = [one for one in documents if not _is(one, constants.WORKFLOW_RUN)]
    for one in others:
        if not (one.get("metadata") or {}).get("name"):
            raise CommandError(f"{source}: a {one['kind']} has no metadata.name")
    workflows = [one for one in others if _is(one, constants.WORKFLOW)]
    if not runs and len(workflows) == 1:
        runs = [_run_of(workflows[0])]
    elif not runs:
        held = f"{len(workflows)} Workflows" if workflows else "no Workflow either"
        raise CommandError(f"{source} holds no WorkflowRun and {held}: nothing says what to run")
    return Manifests(tuple(runs), tuple(others))


def _is(document: JSON, kind: constants.Kind) -> bool:
    return document["kind"] == kind.kind and str(document["apiVersion"]).partition("/")[0] == kind.group


def _run_of(workflow: JSON) -> JSON:
    metadata = workflow["metadata"]
    kept = {key: metadata[key] for key in ("namespace", "labels") if metadata.get(key)}
    return {
        "apiVersion": constants.WORKFLOW_RUN.api_version,
        "kind": constants.WORKFLOW_RUN.kind,
        "metadata": {"generateName": f"{metadata['name']}-", **kept},
        "spec": {"workflowRef": metadata["name"]},
    }


def again(run: JSON) -> JSON:
    """A new run with the spec, labels and annotations of ``run``; its name is generated from the old one."""
    old = run["metadata"]
    metadata: JSON = {"generateName": old.get("generateName") or f"{old['name']}-", "namespace": old["namespace"]}
    if old.get("labels"):
        metadata["labels"] = dict(old["labels"])
    annotations = {key: value for key, value in (old.get("annotations") or {}).items() if key not in NOT_COPIED}
    if annotations:
        metadata["annotations"] = annotations
    head = {"apiVersion": run["apiVersion"], "kind": run["kind"]}
    return {**head, "metadata": metadata, "spec": copy.deepcopy(run.get("spec") or {})}


def named(run: JSON, name: str) -> JSON:
    """The run under the name a user chose."""
    metadata = {key: value for key, value in (run.get("metadata") or {}).items() if key != "generateName"}
    return {**run, "metadata": {**metadata, "name": name}}


def with_values(run: JSON, assignments: Sequence[str]) -> JSON:
    """The run with the values of ``--set``.

    ``steps.NAME.path=value`` sets a property of a step that the run holds; any other path is one of ``spec.context``,
    with or without ``context.`` before it. Raises ``CommandError`` that names the assignment.
    """
    run = copy.deepcopy(run)
    spec = run["spec"] = run.get("spec") or {}
    for assignment in assignments:
        text, equals, value = assignment.partition("=")
        if not equals:
            raise CommandError(f"--set {assignment}: write it as KEY=VALUE")
        try:
            _assign(spec, paths.parse(text), yaml_text.value(value))
        except paths.PathError as error:
            raise CommandError(f"--set {assignment}: {error}") from None
    return run


def _assign(spec: JSON, path: paths.Path, value: Any) -> None:
    if path[0] == STEPS:
        if len(path) < 3:
            raise paths.PathError("a property of a step is written as steps.NAME.path=VALUE")
        step = _step(spec, path[1])
        step["properties"] = step.get("properties") or {}
        paths.assign(step["properties"], path[2:], value)
        return
    path = path[1:] if path[0] == CONTEXT and len(path) > 1 else path
    spec[CONTEXT] = spec.get(CONTEXT) or {}
    paths.assign(spec[CONTEXT], path, value)


def _step(spec: JSON, name: str | int) -> JSON:
    steps = (spec.get("workflowSpec") or {}).get("steps") or []
    if not steps and spec.get("workflowRef"):
        raise paths.PathError(
            f'the steps are in the Workflow "{spec["workflowRef"]}"; a run that refers to one takes values as context'
        )
    found = dict(_by_name(steps, "step"))
    if name not in found:
        raise paths.PathError(f'there is no step "{name}" (there are: {", ".join(found) or "none"})')
    return found[str(name)]


def _by_name(steps: Sequence[JSON], unnamed: str) -> Iterator[tuple[str, JSON]]:
    for index, step in enumerate(steps):
        yield str(step.get("name") or f"{unnamed}-{index}"), step
        yield from _by_name(step.get("subSteps") or (), f"{unnamed}-{index}")
