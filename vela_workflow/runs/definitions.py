"""The step definitions in the cluster, in memory.

Watch events keep the index up to date, so looking a definition up costs no request. A type is looked for in the run's
own namespace, then in the system namespace; ``suspend`` is built in and wins over definitions of that name, and
``step-group`` never comes here (engine 11, decisions 37). Runs that miss a definition say so and are woken when it
appears or changes (decisions 23).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from vela_workflow import errors
from vela_workflow.api import constants

SUSPEND = """
import "vela/builtin"

suspend: builtin.#Suspend & {
	$params: {
		if parameter.duration != _|_ {duration: parameter.duration}
		if parameter.message != _|_ {message: parameter.message}
	}
}
parameter: {
	// How long to suspend, such as `30s`; without it only a resume ends the suspension.
	duration?: string
	// Shown as the message of the step.
	message?: string
}
"""

BUILT_IN: Mapping[str, str] = {"suspend": SUSPEND}
"""Templates that no definition in the cluster replaces."""

_APPLY = "apply-object and apply-objects apply plain objects"
_DEPLOY = "distribute-object applies a plain object to several clusters"
_EXPORT = "apply-object applies a plain object to a cluster"

APPLICATION_TYPES: Final[Mapping[str, str]] = {
    "apply-application": _APPLY,
    "apply-application-in-parallel": _APPLY,
    "apply-component": _APPLY,
    "apply-remaining": _APPLY,
    "builtin-apply-component": _APPLY,
    "collect-service-endpoints": "read-object reads a Service or an Ingress",
    "deploy": _DEPLOY,
    "deploy-cloud-resource": "apply-terraform-config makes cloud resources",
    "deploy2env": _DEPLOY,
    "deploy2runtime": _DEPLOY,
    "export-data": "export2config and export2secret write to a cluster",
    "export-service": _EXPORT,
    "restart-workflow": f"the annotation {constants.ANNOTATION_RESTART} restarts a run",
    "share-cloud-resource": "export2secret writes to a cluster",
}
"""Step types of KubeVela that work on the Application in which they stand; here nobody can make them work.

With each is what comes nearest to it.
"""

Key = tuple[str, str]


class MissingDefinition(errors.WorkflowError):
    """There is no definition of a step type where it is looked for."""


class Definitions:
    """Templates by namespace and name."""

    def __init__(self, system_namespace: str) -> None:
        self.system_namespace = system_namespace
        self._templates: dict[Key, str | None] = {}
        self._waiting: dict[str, dict[Key, None]] = {}
        self._listeners: list[Callable[[Key], None]] = []

    def __len__(self) -> int:
        """How many definitions there are."""
        return len(self._templates)

    def known(self) -> list[Key]:
        """Namespace and name of each."""
        return list(self._templates)

    def texts(self) -> list[str]:
        """All templates."""
        return [*BUILT_IN.values(), *(text for text in self._templates.values() if text is not None)]

    def listen(self, wake: Callable[[Key], None]) -> None:
        """Call ``wake`` with the key of every run that waits for a definition which changes."""
        self._listeners.append(wake)

    def update(self, body: Mapping[str, Any]) -> None:
        """Take in a ``WorkflowStepDefinition`` that is there or has changed."""
        key = _key(body)
        template = _template(body)
        if key in self._templates and self._templates[key] == template:
            return
        self._templates[key] = template
        self._wake(key[1])

    def remove(self, body: Mapping[str, Any]) -> None:
        """Forget a definition; steps that run already keep their template."""
        self._templates.pop(_key(body), None)
        self._wake(_key(body)[1])

    def template(self, step_type: str, namespace: str) -> str:
        """The template of a step type for a run in ``namespace``; raises ``MissingDefinition``, or ``Invalid``."""
        if not step_type:
            raise errors.Invalid([errors.Problem("the step has no type")])
        if step_type in BUILT_IN:
            return BUILT_IN[step_type]
        for place in (namespace, self.system_namespace):
            if (place, step_type) in self._templates:
                template = self._templates[(place, step_type)]
                if template is None:
                    raise errors.Invalid(
                        [errors.Problem("is not a string", path="spec.schematic.cue.template")],
                        summary=f'invalid workflow step definition "{step_type}" in namespace {place}',
                    )
                return template
        raise MissingDefinition(
            f'there is no WorkflowStepDefinition "{step_type}" in namespace {namespace} or {self.system_namespace}'
            f"{self._advice(step_type, namespace)}"
        )

    def _advice(self, step_type: str, namespace: str) -> str:
        """What to put behind the message about a step type that is not there."""
        if step_type in APPLICATION_TYPES:
            return (
                ": it works on the Application in which it stands, a kind that this program does not have; "
                f"{APPLICATION_TYPES[step_type]}"
            )
        places = (namespace, self.system_namespace)
        return errors.did_you_mean(step_type, (name for place, name in self._templates if place in places))

    def wait(self, run: Key, step_type: str) -> None:
        """Wake ``run`` when a definition of this type appears or changes."""
        self._waiting.setdefault(step_type, {})[run] = None

    def _wake(self, step_type: str) -> None:
        for run in self._waiting.pop(step_type, {}):
            for listener in self._listeners:
                listener(run)


def _key(body: Mapping[str, Any]) -> Key:
    metadata = body.get("metadata") or {}
    return str(metadata.get("namespace") or "default"), str(metadata.get("name"))


def _template(body: Mapping[str, Any]) -> str | None:
    spec = body.get("spec") or {}
    cue = (spec.get("schematic") or {}).get("cue") if isinstance(spec.get("schematic") or {}, dict) else None
    template = cue.get("template") if isinstance(cue, dict) else None
    return template if isinstance(template, str) else None
