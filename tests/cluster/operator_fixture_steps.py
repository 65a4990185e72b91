"""Small step types for tests, each with one thing to say; installed in the namespace of the operator under test."""

from __future__ import annotations

from typing import Final

TEMPLATES: Final = {
    # Does nothing; what it is given can be had as an output.
    "echo": """
result: parameter.value
parameter: value: *null | _
""",
    # Makes a ConfigMap.
    "touch": """
import "vela/kube"

output: kube.#Apply & {
	$params: value: {
		apiVersion: "v1"
		kind:       "ConfigMap"
		metadata: name: parameter.name
		data: parameter.data
	}
}
parameter: {
	name: string
	data: *{ready: "yes"} | {[string]: string}
}
""",
    # Fails unless there is a ConfigMap: tells that something came before something else.
    "need": """
import (
	"vela/kube"
	"vela/builtin"
)

read: kube.#Read & {
	$params: value: {
		apiVersion: "v1"
		kind:       "ConfigMap"
		metadata: name: parameter.name
	}
}
if read.$returns.err != _|_ {
	fail: builtin.#Fail & {$params: message: "there is no \\(parameter.name) yet"}
}
data: read.$returns.value.data
parameter: name: string
""",
    # Waits until a ConfigMap says `ready: "yes"`.
    "await": """
import (
	"vela/kube"
	"vela/builtin"
)

read: kube.#Read & {
	$params: value: {
		apiVersion: "v1"
		kind:       "ConfigMap"
		metadata: name: parameter.name
	}
}
wait: builtin.#ConditionalWait & {
	$params: continue: read.$returns.value.data.ready == "yes"
	if parameter.message != _|_ {
		$params: message: parameter.message
	}
}
data: read.$returns.value.data
parameter: {
	name:     string
	message?: string
}
""",
    "fail": """
import "vela/builtin"

if parameter.when {
	fail: builtin.#Fail & {$params: message: parameter.message}
}
parameter: {
	when:    *true | bool
	message: *"oops" | string
}
""",
    "break": """
import "vela/builtin"

break: builtin.#Break & {$params: message: parameter.message}
parameter: message: *"enough" | string
""",
    # Suspends twice, so that it takes two resumes.
    "suspend-twice": """
import "vela/builtin"

first: builtin.#Suspend & {$params: message: "first"}
second: builtin.#Suspend & {$params: message: "second"}
parameter: {}
""",
    # Asks somebody to approve, and reports what came after.
    "approval": """
import (
	"vela/builtin"
	"vela/kube"
)

ask: builtin.#Suspend & {$params: message: "approve the roll-out of \\(parameter.what)"}
apply: kube.#Apply & {
	$params: value: {
		apiVersion: "v1"
		kind:       "ConfigMap"
		metadata: name: parameter.what
		data: approved: "yes"
	}
}
parameter: what: string
""",
    "seen-context": """
import "encoding/json"

result: json.Marshal(context)
parameter: {}
""",
    "put-variable": """
import "vela/builtin"

put: builtin.#DoVar & {
	$params: {
		method: "Put"
		path:   parameter.path
		value:  parameter.value
	}
}
parameter: {
	path:  string
	value: _
}
""",
    "get-variable": """
import "vela/builtin"

get: builtin.#DoVar & {$params: path: parameter.path}
result: get.$returns.value
parameter: path: string
""",
    # Sends one POST; the step has the number that the server gave it.
    "post": """
import (
	"vela/http"
	"encoding/json"
)

request: http.#HTTPPost & {
	$params: {
		url: parameter.url
		request: {
			timeout: "10s"
			body: json.Marshal({from: context.stepName})
		}
	}
}
number: request.$returns.body
parameter: url: string
""",
}
