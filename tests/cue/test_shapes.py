"""Shapes in which templates write operations: nested, computed, mirrored, in lists, old and new."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from harness import attempt

from vela_workflow.api.constants import Reason
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.engine import result
from vela_workflow.providers.contract import Call


def echo(call: Call) -> dict[str, Any]:
    """An object that came to life as it was asked for, and is well."""
    return {"value": {**call.args["value"], "status": {"ok": True}}}


def kind(call: Call) -> dict[str, Any]:
    return {"value": {"z": call.args["value"]["kind"]}}


@dataclasses.dataclass(frozen=True)
class Shape:
    """A template with parameters and canned results, the operations it must carry out and what must come of it."""

    template: str
    paths: str
    parameter: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    canned: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"*": {"value": {}}})
    outputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    message: str = ""


SHAPES = {
    "operations inside a definition that is used twice": Shape(
        """
        import "vela/kube"
        import "vela/builtin"
        #common: {
            apply: kube.#Apply & {$params: value: {kind: "X", metadata: name: n}}
            wait: builtin.#ConditionalWait & {$params: continue: apply.$returns.value.status.ok}
            n: string
        }
        a: #common & {n: "one"}
        b: #common & {n: "two"}
        """,
        "a.apply b.apply",
        canned={"*": echo},
    ),
    "an operation inside the arguments of another runs first": Shape(
        """
        import "vela/kube"
        m: kube.#Apply & {
            $params: value: {x: inner.$returns.value.z}
            inner: kube.#Read & {$params: value: {kind: "X"}}
        }
        """,
        "m.inner m",
        canned={"m.inner": {"value": {"z": "hi"}}, "m": {"value": {}}},
        outputs={"z": "m.$params.value.x"},
        values={"z": "hi"},
    ),
    "operations that a pattern makes": Shape(
        """
        import "vela/op"
        items: [string]: op.#Apply
        items: {
            one: value: {kind: "X", metadata: name: "one"}
            for n in parameter.names {"\\(n)": value: {kind: "X", metadata: name: n}}
        }
        m: op.#Message & {message: items.one.value.status.ok}
        """,
        "items.one items.two items.three m",
        parameter={"names": ["two", "three"]},
        canned={"*": lambda call: {"value": {**call.args["value"], "status": {"ok": "well"}}}},
        message="well",
    ),
    "operations that a pattern in a definition makes of names": Shape(
        """
        import "vela/kube"
        #All: {[N=string]: kube.#Read & {$params: value: {kind: N}}}
        all: #All & {first: _, second: _}
        kinds: [for one in all {one.$returns.value.z}]
        """,
        "all.first all.second",
        canned={"*": kind},
        outputs={"kinds": "kinds"},
        values={"kinds": ["first", "second"]},
    ),
    "what is added to an object elsewhere gives way to the live one": Shape(
        """
        import "vela/op"
        apply: op.#Apply & {value: {kind: "X", spec: containers: [{name: "a"}]}}
        apply: value: spec: containers: [{cpu: "0.5"}]
        if parameter.label != _|_ {
            apply: value: metadata: labels: l: parameter.label
        }
        w: op.#ConditionalWait & {continue: apply.value.metadata.labels.l == "other"}
        m: op.#Message & {message: apply.value.spec.containers[0].cpu}
        """,
        "apply m",
        parameter={"label": "x"},
        canned={
            "apply": lambda call: {
                "value": {
                    **call.args["value"],
                    "metadata": {"labels": {"l": "other", "was": call.args["value"]["metadata"]["labels"]["l"]}},
                    "spec": {"containers": [{"name": "a", "cpu": "500m"}, {"name": "sidecar"}]},
                }
            }
        },
        outputs={"was": "apply.value.metadata.labels.was"},
        values={"was": "x"},
        message="500m",
    ),
    "outputs of fields that no name can refer to": Shape(
        """
        import "vela/kube"
        "my-read": kube.#Read & {$params: value: kind: "A"}
        if parameter.on {
            guarded: kube.#Read & {$params: value: kind: "B"}
        }
        for n in ["x", "y-z"] {
            "loop-\\(n)": kube.#Read & {$params: value: kind: n}
        }
        for n in ["x"] {
            (n): kube.#Read & {$params: value: kind: n}
        }
        """,
        "my-read guarded loop-x loop-y-z x",
        parameter={"on": True},
        canned={"*": kind},
        outputs={
            "quoted": '"my-read".$returns.value.z',
            "guarded": "guarded.$returns.value.z",
            "spelt": '"\\(guarded.$returns.value.z)!"',
            "looped": '"loop-y-z".$returns.value.z',
            "indexed": '"loop-x"["$returns"].value.z',
            "computed": "x.$returns.value.z",
            "text": '"my-read"',
            "number": "42",
        },
        values={
            "quoted": "A",
            "guarded": "B",
            "spelt": "B!",
            "looped": "y-z",
            "indexed": "x",
            "computed": "x",
            "text": "my-read",
            "number": 42,
        },
    ),
    "outputs written for the older form": Shape(
        """
        import "vela/kube"
        apply: kube.#Apply & {$params: value: kind: "A"}
        output: kube.#Read & {$params: value: kind: "B"}
        secret: {
            apply: kube.#Apply & {$params: value: kind: "C"}
            "by-name": kube.#Read & {$params: value: kind: "D"}
        }
        """,
        "apply output secret.apply secret.by-name",
        canned={"*": kind},
        outputs={
            "path": "apply.value.z",
            "nested": "secret.apply.value.z",
            "quoted": '(secret . "by-name".value.z) + secret["by-name"].value.z',
            "known": "output.value.z",
            "both": "apply.value.z + output.value.z",
            "spelt": '"\\(apply.value.z)"',
            "whole": "apply",
            "newer": "apply.$params.value.kind + output.$returns.value.z",
        },
        values={
            "path": "A",
            "nested": "C",
            "quoted": "DD",
            "known": "B",
            "both": "AB",
            "spelt": "A",
            "whole": {"$params": {"value": {"kind": "A"}, "cluster": ""}, "$returns": {"value": {"z": "A"}}},
            "newer": "AB",
        },
    ),
    "fields of computed labels keep their order": Shape(
        """
        import "vela/kube"
        all: {
            for k, v in parameter.of {
                "r-\\(k)": kube.#Read & {$params: value: {kind: v}}
            }
        }
        nested: {
            for k, v in parameter.of {
                (k): inner: "s-\\(k)": kube.#Read & {$params: value: {kind: v}} @step(1)
            }
        }
        """,
        "all.r-z all.r-a all.r-m nested.z.inner.s-z nested.a.inner.s-a nested.m.inner.s-m",
        parameter={"of": {"z": "1", "a": "2", "m": "3"}},
        canned={"*": kind},
        outputs={
            "keys": "[for k, v in all {k}]",
            "kinds": "[for k, v in all {v.$returns.value.z}]",
            "nested": "[for k, v in nested {k}]",
        },
        values={"keys": ["r-z", "r-a", "r-m"], "kinds": ["1", "2", "3"], "nested": ["z", "a", "m"]},
    ),
    "operations by hand, in either form": Shape(
        """
        a: {#do: "read", value: {kind: "A"}}
        b: {#do: "read", #provider: "kube", $params: value: {kind: "B"}}
        c: {#do: "message", $params: message: a.value.z + b.$returns.value.z}
        s: {#do: "steps", m: {#do: "message", message: c.$params.message + "C"}}
        """,
        "a b c s.m",
        canned={"*": kind},
        message="ABC",
    ),
    "computed labels in computed labels": Shape(
        """
        import "vela/kube"
        g: {
            for x in parameter.xs {
                "g-\\(x)": {
                    r: kube.#Read & {$params: value: {kind: x}}
                    for y in ["p", "q"] {
                        "s-\\(y)": kube.#Apply & {$params: value: {kind: "\\(r.$returns.value.z)-\\(y)"}}
                    }
                }
            }
        }
        parameter: xs: [...string]
        """,
        "g.g-a.r g.g-a.s-p g.g-a.s-q g.g-b.r g.g-b.s-p g.g-b.s-q",
        parameter={"xs": ["a", "b"]},
        canned={"*": kind},
        outputs={"z": 'g["g-b"]["s-q"].$returns.value.z'},
        values={"z": "b-q"},
    ),
    "a comprehension over a struct keeps its order": Shape(
        """
        import "vela/kube"
        for name, n in parameter.sizes {
            "r-\\(name)": kube.#Read & {$params: value: {kind: name}}
            "a-\\(name)": kube.#Apply & {$params: value: {kind: name, size: n}}
        }
        parameter: sizes: [string]: int
        """,
        "r-x a-x r-b a-b",
        parameter={"sizes": {"x": 1, "b": 2}},
    ),
    "structs with operations in a list comprehension": Shape(
        """
        import "vela/kube"
        l: [for i, x in ["a", "b"] {
            r: kube.#Read & {$params: value: {kind: x}}
            m: kube.#Apply & {$params: value: {kind: r.$returns.value.z}}
        }]
        """,
        "l.0.r l.0.m l.1.r l.1.m",
        canned={"*": kind},
    ),
    "flat operations in a list comprehension": Shape(
        """
        import "vela/op"
        l: [for i, x in ["a", "b"] {op.#Apply & {value: {kind: x, n: 1}}}]
        w: op.#ConditionalWait & {continue: l[1].value.status.ok}
        """,
        "l.0 l.1",
        canned={"*": lambda call: {"value": {"kind": call.args["value"]["kind"], "n": 2, "status": {"ok": True}}}},
    ),
    "an operation embedded under a guard": Shape(
        """
        import "vela/kube"
        import "vela/builtin"
        parameter: c: bool
        x: {
            if parameter.c {kube.#Read & {$params: value: {kind: "X"}}}
        }
        m: builtin.#Message & {$params: message: x.$returns.value.z}
        """,
        "x m",
        parameter={"c": True},
        canned={"x": {"value": {"z": "Z"}}},
        message="Z",
    ),
    "a field that is another operation's result runs nothing again": Shape(
        """
        import "vela/kube"
        copy: r
        r: kube.#Read & {$params: value: {kind: "X"}}
        """,
        "r",
        outputs={"z": "copy.$returns.value.z"},
        canned={"*": kind},
        values={"z": "X"},
    ),
    "outputs fall back to what the newer form returns": Shape(
        """
        import "vela/kube"
        output: kube.#Read & {$params: value: {kind: "X"}}
        read: kube.#Read & {$params: value: {kind: "Y"}}
        """,
        "output read",
        canned={"*": kind},
        outputs={"a": "output.value.z", "b": 'output.value["z"]', "n": "len(read.$returns.value.z)"},
        values={"a": "X", "b": "X", "n": 1},
    ),
    "a request whose answer is read": Shape(
        """
        import (
            "vela/op"
            "encoding/json"
        )
        req: op.#HTTPDo & {
            method: parameter.method
            url:    parameter.url
            request: {
                if parameter.body != _|_ {body: json.Marshal(parameter.body)}
                if parameter.header != _|_ {header: parameter.header}
            }
        }
        wait: op.#ConditionalWait & {continue: req.response != _|_}
        fail: op.#Steps & {
            if req.response.statusCode > 400 {
                requestFail: op.#Fail & {message: "request of \\(parameter.url) is fail: \\(req.response.statusCode)"}
            }
        }
        response: json.Unmarshal(req.response.body)
        parameter: {
            url:    string
            method: *"GET" | "POST" | "PUT" | "DELETE"
            body?: {...}
            header?: [string]: string
        }
        """,
        "req",
        parameter={"url": "u"},
        canned={"req": {"body": '{"a":1}', "statusCode": 200, "header": {}}},
        outputs={"a": "response.a"},
        values={"a": 1},
    ),
    "a comparison with what does not exist": Shape(
        """
        import "vela/op"
        r: op.#Read & {value: {kind: "X"}}
        if r.err == op.NoExist {m: op.#Message & {message: "there"}}
        """,
        "r m",
        canned={"r": {"value": {"a": 1}, "workload": {}}},
        message="there",
    ),
    "lists built under guards": Shape(
        """
        import (
            "vela/kube"
            "strings"
        )
        url: {
            if parameter.context.git != _|_ {
                address: strings.TrimPrefix(parameter.context.git, "git://")
                value:   "git://\\(address)#refs/heads/\\(parameter.context.branch)"
            }
            if parameter.context.git == _|_ {
                value: parameter.context
            }
        }
        pod: kube.#Apply & {$params: value: {kind: "Pod", args: [
            "--context=\\(url.value)",
            if parameter.platform != _|_ {"--platform=\\(parameter.platform)"},
            if parameter.buildArgs != _|_ for a in parameter.buildArgs {"--build-arg=\\(a)"},
        ]}}
        #git: {git: string, branch: *"master" | string}
        parameter: {context: #git | string, platform?: string, buildArgs?: [...string]}
        """,
        "pod",
        parameter={"context": {"git": "git://g"}, "buildArgs": ["q"]},
        canned={"*": echo},
        outputs={"args": "pod.$params.value.args"},
        values={"args": ["--context=git://g#refs/heads/master", "--build-arg=q"]},
    ),
    "a secret read for a request": Shape(
        """
        import (
            "vela/kube"
            "vela/http"
            "vela/util"
            "encoding/base64"
            "encoding/json"
        )
        parameter: slack?: {
            url: close({value: string}) | close({secretRef: {name: string, key: string}})
            message: {text: string}
        }
        slack: {
            if parameter.slack != _|_ {
                if parameter.slack.url.value != _|_ {
                    slack1: http.#HTTPPost & {$params: {url: parameter.slack.url.value}}
                }
                if parameter.slack.url.secretRef != _|_ {
                    read: kube.#Read & {$params: value: {
                        apiVersion: "v1"
                        kind:       "Secret"
                        metadata: {name: parameter.slack.url.secretRef.name, namespace: context.namespace}
                    }}
                    stringValue: util.#ConvertString & {
                        $params: bt: base64.Decode(null, read.$returns.value.data[parameter.slack.url.secretRef.key])
                    }
                    slack2: http.#HTTPPost & {$params: {
                        url: stringValue.$returns.str
                        request: body: json.Marshal(parameter.slack.message)
                    }}
                }
            }
        }
        """,
        "slack.read slack.stringValue slack.slack2",
        parameter={"slack": {"url": {"secretRef": {"name": "s", "key": "k"}}, "message": {"text": "t"}}},
        canned={
            "slack.read": {"value": {"data": {"k": "aHR0cDovL3g="}}},
            "slack.stringValue": {"str": "http://x"},
            "slack.slack2": {"statusCode": 200, "body": ""},
        },
        outputs={"url": "slack.slack2.$params.url"},
        values={"url": "http://x"},
    ),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
async def test_shape(evaluator: Evaluator, shape: Shape) -> None:
    run = await attempt(
        evaluator, shape.template, parameter=shape.parameter, canned=shape.canned, outputs=shape.outputs
    )
    assert isinstance(run.result, result.Succeeded), run.result
    assert run.paths == shape.paths.split()
    assert run.result.outputs == shape.values
    assert run.result.message == shape.message


async def test_a_wait_says_what_it_waits_for(evaluator: Evaluator) -> None:
    template = """
    import "vela/kube"
    import "vela/builtin"
    apply: kube.#Apply & {$params: value: {kind: "X"}}
    wait: builtin.#ConditionalWait & {$params: continue: apply.$returns.value.status.readyReplicas == 1}
    """
    run = await attempt(evaluator, template, canned={"*": {"value": {"kind": "X"}}})
    assert isinstance(run.result, result.Waiting)
    assert run.result.message == "waiting for apply.$returns.value.status.readyReplicas"


async def test_a_wait_on_a_value_of_the_wrong_type_is_an_error(evaluator: Evaluator) -> None:
    template = """
    import "vela/kube"
    import "vela/builtin"
    apply: kube.#Apply & {$params: value: {kind: "X"}}
    wait: builtin.#ConditionalWait & {$params: continue: apply.$returns.value.status}
    """
    run = await attempt(evaluator, template, canned={"*": {"value": {"status": "yes"}}})
    assert isinstance(run.result, result.Failed)
    assert run.result.reason is Reason.EXECUTE
    assert run.result.retriable, "it depends on something live"


async def test_a_missing_output_is_an_error_that_names_it(evaluator: Evaluator) -> None:
    template = """
    import "vela/kube"
    read: kube.#Read & {$params: value: {kind: "X"}}
    """
    canned = {"*": {"value": {"data": {}}}}
    run = await attempt(evaluator, template, canned=canned, outputs={"o": "read.$returns.value.data.nope"})
    assert isinstance(run.result, result.Failed)
    assert run.result.reason is Reason.OUTPUT
    assert "failed to get output o from read.$returns.value.data.nope" in run.result.message
    run = await attempt(evaluator, template, canned=canned, outputs={"o": "nosuch.field"})
    assert isinstance(run.result, result.Failed)
    assert "nosuch" in run.result.message
    assert run.paths == ["read"], "a wrong output does not keep the step from doing its work"
