"""What came from a Secret stays in Secrets, from step to step, and is told nowhere."""

from __future__ import annotations

import base64
import json

import pytest

from tests.cluster import operator_fixture as fixture
from tools.rest import Api

VALUE = "ofNobodysBusiness"
ENCODED = base64.b64encode(VALUE.encode()).decode()

READ = """
import "vela/kube"

parameter: name: string
r: kube.#Read & {$params: value: {apiVersion: "v1", kind: "Secret", metadata: {name: parameter.name, namespace: context.namespace}}}
"""

TAKE = """
import (
	"vela/builtin"
	"vela/http"
	"vela/kube"
)

parameter: {text: string, how: string}
if parameter.how == "keep" {put: builtin.#DoVar & {$params: {method: "Put", path: "put", value: parameter.text}}}
if parameter.how == "message" {m: builtin.#Message & {$params: message: "it is \\(parameter.text)"}}
if parameter.how == "fail" {m: builtin.#Fail & {$params: message: "not \\(parameter.text)"}}
if parameter.how == "kind" {m: kube.#Read & {$params: value: {apiVersion: "v1", kind: parameter.text, metadata: name: "x"}}}
if parameter.how == "field" {m: kube.#Apply & {$params: value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: "x", data: a: b: parameter.text}}}
if parameter.how == "url" {m: http.#HTTPGet & {$params: url: "http://127.0.0.1:1/\\(parameter.text)"}}
if parameter.how == "duration" {m: builtin.#Suspend & {$params: duration: parameter.text}}
if parameter.how == "number" {m: builtin.#Message & {$params: message: "\\(parameter.text + 1)"}}
"""

PASSED_ON = """
- {name: read, type: read-one, properties: {name: NAME}, outputs: [{name: secret, valueFrom: r.$returns.value.data.key}]}
- name: take
  type: take
  properties: {how: keep}
  inputs: [{from: secret, parameterKey: text}]
  outputs: [{name: again, valueFrom: parameter.text}]
- name: once-more
  type: take
  properties: {how: message}
  inputs: [{from: again, parameterKey: text}]
  outputs: [{name: last, valueFrom: '"<\\(parameter.text)>"'}]
"""

FAILING = """
- {name: read, type: read-one, properties: {name: NAME}, outputs: [{name: secret, valueFrom: r.$returns.value.data.key}]}
- {name: take, type: take, properties: {how: HOW}, inputs: [{from: secret, parameterKey: text}], retry: {limit: 0}}
"""

CONDITION = """
- {name: read, type: read-one, properties: {name: NAME}, outputs: [{name: secret, valueFrom: r.$returns.value.data.key}]}
- {name: take, type: suspend, if: 'IF', inputs: [{from: secret}]}
"""

INPUT = """
- {name: read, type: read-one, properties: {name: NAME}, outputs: [{name: secret, valueFrom: r.$returns.value.data.key}]}
- name: take
  type: suspend
  if: 'IF'
  inputs: [{from: secret, parameterKey: message}, {from: 'parameter.message & "x"', parameterKey: duration}]
"""


@pytest.fixture
def secret(runs: fixture.Runs, admin: Api) -> str:
    runs.definition("read-one", READ)
    runs.definition("take", TAKE)
    name = fixture.unique("secret")
    admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"key": ENCODED}},
                 runs.namespace)  # fmt: skip
    return name


def told(runs: fixture.Runs, run: fixture.Run) -> str:
    """All that others than readers of Secrets can see of a run."""
    context = runs.get("ConfigMap", f"workflow-{run.name}-context") or {}
    events = [one for one in runs.api.list("v1", "Event", runs.namespace) if one["involvedObject"]["name"] == run.name]
    return json.dumps([run.status, context.get("data"), [one["message"] for one in events]])


def test_steps_that_pass_a_secret_on_keep_it_in_a_secret(runs: fixture.Runs, secret: str) -> None:
    run = runs.start(PASSED_ON.replace("NAME", secret))
    assert fixture.step(run.ended("succeeded"), "once-more")["message"] == "it is …"
    kept = runs.get("Secret", f"workflow-{run.name}-context")
    assert kept is not None
    variables = json.loads(base64.b64decode(kept["data"]["vars"]))
    assert variables == {"secret": ENCODED, "again": ENCODED, "put": ENCODED, "last": f"<{ENCODED}>"}
    assert ENCODED not in told(runs, run)


@pytest.mark.parametrize("how", ["fail", "kind", "field", "url", "duration", "number"])
def test_no_failure_tells_it(runs: fixture.Runs, operator: fixture.OperatorProcess, secret: str, how: str) -> None:
    before = len(operator.history())
    run = runs.start(FAILING.replace("NAME", secret).replace("HOW", how))
    assert "…" in fixture.step(run.ended("failed"), "take")["message"]
    assert ENCODED not in told(runs, run)
    assert ENCODED not in operator.history()[before:]


@pytest.mark.parametrize("condition", ["inputs.secret", 'inputs.secret & "x"'])
def test_no_condition_tells_it(runs: fixture.Runs, secret: str, condition: str) -> None:
    run = runs.start(CONDITION.replace("NAME", secret).replace("IF", condition))
    assert fixture.step(run.ended("failed"), "take")["reason"] == "Rendering"
    assert ENCODED not in told(runs, run)


@pytest.mark.parametrize("condition", ["always", 'context.name != ""'])
def test_no_input_tells_it(runs: fixture.Runs, secret: str, condition: str) -> None:
    run = runs.start(INPUT.replace("NAME", secret).replace("IF", condition))
    assert fixture.step(run.ended("failed"), "take")["reason"] == "Input"
    assert ENCODED not in told(runs, run)
