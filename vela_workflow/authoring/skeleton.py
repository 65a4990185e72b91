"""The start of a new step type: a small definition that works and shows what there is to write, with its tests."""

from __future__ import annotations

import re
from typing import Final

from vela_workflow.authoring import literals

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

_TESTS: Final = """\
Operations answer what stands under results. After a change, `vela-workflow def test --update` writes what is expected
anew; read the difference before you keep it.

== keeps the message ==
-- parameter --
{message: hello}
-- context --
{stepName: greet}
-- results --
output: {value: {metadata: {name: greet, uid: "1"}}}
-- expect --
operations:
- apply output:
    cluster: ''
    value:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: greet}
      data: {message: hello}
result: succeeded

== waits as long as nothing is there ==
-- parameter --
{message: hello}
-- results --
output: {value: {}}
-- expect --
operations:
- apply output:
    cluster: ''
    value:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: step}
      data: {message: hello}
result: waiting
message: waiting for ConfigMap step

== tries again when the API server does not answer ==
-- parameter --
{message: hello}
-- results --
output: {raises: the API server does not answer}
-- expect --
operations:
- apply output:
    cluster: ''
    value:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: step}
      data: {message: hello}
result: failed/Execute
message: 'output: the API server does not answer'
retried: true

== a message is needed ==
-- parameter --
{}
-- expect --
operations: []
result: failed/Rendering
message: 'invalid parameters: message: is required but missing'
"""


def definition(name: str) -> str:
    """A definition file for a step type of that name."""
    return _DEFINITION.replace("LABEL", literals.label(name)).replace("NAME", name)


def tests() -> str:
    """The test file of that definition; all of its cases pass."""
    return _TESTS
