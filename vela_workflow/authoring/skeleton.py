"""The start of a new step type: a small definition that works and shows what there is to write, with its tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from vela_workflow.authoring import literals, testing

JSON = dict[str, Any]

NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""Names that objects can have."""

_DEFINITION: Final = """\
// Keep a message in a ConfigMap. What stands here, indented, is the example on the page of the step type:
//
//	- name: greet
//	  type: NAME
//	  properties: {message: hello}
//	  outputs:
//	    - {name: version, valueFrom: output.$returns.value.metadata.resourceVersion}
import (
	"vela/builtin"
	"vela/kube"
)

LABEL: {
	type:        "workflow-step"
	description: "Keep a message in a ConfigMap, and wait until it is there."
	annotations: category: "Custom"
}
template: {
	output: kube.#Apply & {
		$params: value: {
			apiVersion: "v1"
			kind:       "ConfigMap"
			metadata: name: context.stepName
			data: message: parameter.message
		}
	}

	wait: builtin.#ConditionalWait & {
		$params: {
			continue: output.$returns.value.metadata.uid != _|_
			message:  "waiting for ConfigMap \\(context.stepName)"
		}
	}

	parameter: {
		// What the ConfigMap says.
		message: string
	}
}
"""

_PREFACE: Final = """\
Operations answer what stands under results. After a change, `vela-workflow def test --update` writes what is expected
anew; read the difference before you keep it.
"""

_GIVEN: Final[JSON] = {"parameter": {"message": "hello"}}
_RAISED: Final = "the API server does not answer"

_CASES: Final[Mapping[str, tuple[Mapping[str, JSON], str, JSON]]] = {
    "keeps the message": (
        {
            **_GIVEN,
            "context": {"stepName": "greet"},
            "results": {"output": {"value": {"metadata": {"name": "greet", "uid": "1"}}}},
        },
        "greet",
        {"result": "succeeded"},
    ),
    "waits as long as nothing is there": (
        {**_GIVEN, "results": {"output": {"value": {}}}},
        "step",
        {"result": "waiting", "message": "waiting for ConfigMap step"},
    ),
    "tries again when the API server does not answer": (
        {**_GIVEN, "results": {"output": {"raises": _RAISED}}},
        "step",
        {"result": "failed/Execute", "message": f"output: {_RAISED}", "retried": True},
    ),
    "a message is needed": (
        {"parameter": {}},
        "",
        {"result": "failed/Rendering", "message": "invalid parameters: message: is required but missing"},
    ),
}
"""The cases by title: their sections, the name of the ConfigMap that is applied if one is, and how the step ends."""


def definition(name: str) -> str:
    """A definition file for a step type of that name."""
    return _DEFINITION.replace("LABEL", literals.label(name)).replace("NAME", name)


def tests() -> str:
    """The test file of that definition; all of its cases pass."""
    cases = [
        testing.case(title, sections, {"operations": [_applied(name)] if name else [], **end})
        for title, (sections, name, end) in _CASES.items()
    ]
    return "\n".join([_PREFACE, *cases])


def _applied(name: str) -> JSON:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"message": "hello"}}
    return {"apply output": {"cluster": "", "value": body}}
