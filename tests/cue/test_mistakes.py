"""Mistakes that authors of templates make, and what they read then."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from harness import attempt

from vela_workflow import errors
from vela_workflow.api.constants import Reason
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.engine import result


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A template, and what the step fails with."""

    template: str
    message: str
    reason: Reason = Reason.EXECUTE
    parameter: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    canned: Mapping[str, Any] = dataclasses.field(default_factory=dict)


MISTAKES = {
    "none of the alternatives": Mistake(
        'import "vela/http"\ng: http.#HTTPDo & {$params: {url: "http://a", method: "get"}}',
        'g: g.$params.method, line 2:4: "get" is not "DELETE" or "GET" or "POST" or "PUT"',
    ),
    "a wait for what never comes": Mistake(
        'import "vela/op"\nw: op.#ConditionalWait & {continue: parameter.status.ready}',
        "w: w.continue, line 2:47: undefined field: status",
    ),
    "a field that means itself": Mistake(
        'import "vela/op"\nsvc: name: "a"\nm: op.#Apply & {value: {kind: "X", svc: svc.name}}',
        "m: m.value.svc, line 3:45: undefined field: name",
    ),
    "defaults that differ": Mistake(
        'import "vela/op"\nw: op.#ConditionalWait & {continue: parameter.go}\nparameter: go: *true | bool',
        "w: incomplete value false | true | bool, since defaults that differ cancel each other",
    ),
    "an operation by hand that there is not": Mistake(
        'm: {#do: "mesage", message: "a"}', "m: function mesage not found in provider op", Reason.RENDERING
    ),
    "a default that is no default": Mistake(
        'import "vela/op"\nparameter: {name: *"a" | string, len: *len(name) | int}\nm: op.#Message & {message: "\\(parameter.len)"}',
        "line 2:39: ambiguous default elimination by referencing parameter.len; "
        "line 2:39: invalid interpolation: ambiguous default elimination by referencing parameter.len",
        Reason.RENDERING,
    ),
    "parameters that the operation does not take": Mistake(
        'import "vela/kube"\nm: kube.#Apply & {$params: parameter}\nparameter: {...}',
        'm: kube.#Apply has no field "$params.clster"; did you mean "cluster"?',
        parameter={"clster": "far", "value": {"apiVersion": "v1", "kind": "ConfigMap"}},
    ),
    "the same in the flat form": Mistake(
        'import "vela/op"\nm: op.#Message & parameter\nparameter: {...}',
        'm: op.#Message has no field "note"; it takes message',
        parameter={"message": "a", "note": "b"},
    ),
    "the same in a list": Mistake(
        'import "vela/http"\nm: [http.#HTTPGet & {$params: {url: "http://a", tls_config: parameter}}]\nparameter: {...}',
        'm.0: http.#HTTPGet has no field "$params.tls_config.name"; it takes secret, namespace',
        parameter={"secret": "a", "name": "b"},
    ),
    "an argument under a guard that the operation does not take": Mistake(
        'import "vela/op"\nm: op.#Message & {if parameter.on {mesage: "a"}}\nparameter: on: *true | bool',
        'm: op.#Message has no field "mesage"; did you mean "message"?',
    ),
    "an output of a field that is called otherwise": Mistake(
        'import "vela/op"\napply: op.#Read & {value: kind: "X"}',
        "failed to get output o from output.value: the template has no output; it has apply, parameter, context",
        Reason.OUTPUT,
        outputs={"o": "output.value"},
    ),
    "an output that ends too early": Mistake(
        "x: 1",
        "failed to get output o from x +: expected operand, found its end",
        Reason.OUTPUT,
        outputs={"o": "x +", "good": "x"},
    ),
    "an output that CUE does not take": Mistake(
        "x: 1",
        "failed to get output o from *x: preference mark not allowed at this position",
        Reason.OUTPUT,
        outputs={"good": "x", "o": "*x"},
    ),
    "an output that is not in the result": Mistake(
        'import "vela/kube"\nobj: kube.#Apply & {$params: value: kind: "X"}',
        "failed to get output o from obj.value.data: undefined field: data",
        Reason.OUTPUT,
        outputs={"o": "obj.value.data"},
        canned={"obj": {"value": {"kind": "X"}}},
    ),
    "an output that is called like a package": Mistake(
        'import "vela/config"\nread: config.#ReadConfig & {$params: {name: "a", namespace: "b"}}',
        "failed to get output o from config: the template has no config; it has read, parameter, context",
        Reason.OUTPUT,
        outputs={"o": "config"},
    ),
    "an output of what a guard leaves out": Mistake(
        'import "vela/op"\nif parameter.on {read: op.#Read & {value: kind: "X"}}\nparameter: on: *false | bool',
        "failed to get output o from read.value: cannot reference optional field: read",
        Reason.OUTPUT,
        outputs={"o": "read.value"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
async def test_what_the_step_fails_with(evaluator: Evaluator, mistake: Mistake) -> None:
    run = await attempt(
        evaluator, mistake.template, parameter=mistake.parameter, outputs=mistake.outputs, canned=mistake.canned
    )
    failed = run.result
    assert isinstance(failed, result.Failed), failed
    assert (failed.reason, failed.message, failed.retriable) == (mistake.reason, mistake.message, False)


REFUSED = {
    "an assignment": ("x = 1", (1, 1), "x = … declares nothing here; write x: … or let x = …"),
    "an alternative": ("if true {x: 1} else {x: 2}", (1, 16), "CUE has no else; write another if with the opposite condition"),
    "another alternative": ("if true {x: 1} else if false {x: 2}", (1, 16), "CUE has no else"),
}  # fmt: skip


@pytest.mark.parametrize(("template", "place", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_cue(evaluator: Evaluator, template: str, place: tuple[int, int], message: str) -> None:
    with pytest.raises(errors.Invalid) as raised:
        evaluator.prepare(template)
    [problem] = raised.value.problems
    assert (problem.line, problem.column) == place
    assert problem.message.startswith(message)
