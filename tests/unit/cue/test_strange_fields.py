"""What is said of operations and arguments that there are not, before anything is evaluated."""

from __future__ import annotations

import pytest

from vela_workflow import errors
from vela_workflow.cue import template
from vela_workflow.cue.library import Library
from vela_workflow.providers import registry

LIBRARY = Library.build({path: package.source for path, package in registry.packages().items()})
HEAD = "".join(f'import "vela/{name}"\n' for name in ("builtin", "http", "kube", "op", "util"))

REFUSED = {
    "a misspelt argument": ('x: builtin.#Message & {$params: mesage: "a"}', 'no field "$params.mesage"; did you mean "message"?'),
    "beside a right one": ('x: kube.#Read & {$params: {value: {}, clster: "a"}}', 'did you mean "cluster"?'),
    "like none": ('x: builtin.#Message & {$params: colour: "a"}', "it takes message"),
    "in the flat form": ('x: op.#Suspend & {durations: "1s"}', 'no field "durations"; did you mean "duration"?'),
    "deeper": ('x: kube.#List & {$params: {resource: {apiVersion: "v1", kinds: "Pod"}}}', '"$params.resource.kinds"'),
    "in a chain": ('x: kube.#List & {$params: filter: matchLabels: a: "b"}', '"$params.filter.matchLabels"'),
    "through another definition": ('x: http.#HTTPPost & {$params: {url: "a", uri: "b"}}', 'http.#HTTPPost has no field "$params.uri"'),
    "in a definition of the template": ("#X: op.#Fail & {reason: string}", 'no field "reason"; it takes message'),
    "in a list": ('x: [op.#Fail & {mesage: "a"}]', 'did you mean "message"?'),
    "in parentheses": ('x: op.#Fail & ({mesage: "a"})', 'did you mean "message"?'),
    "the form of the other packages": ('x: op.#Message & {$params: message: "a"}', "takes its arguments directly, not in $params"),
    "the same where other fields are taken": ("x: op.#Apply & {$params: value: {}}", "takes its arguments directly"),
    "the flat form": ('x: builtin.#Message & {message: "a"}', "takes its arguments in $params: $params: message: …"),
    "the flat form where other fields are taken": ("x: kube.#Apply & {value: {}}", "$params: value: …"),
    "a misspelt operation": ('x: http.#HttpDo & {}', 'has no operation #HttpDo; did you mean #HTTPDo?'),
    "an operation of another package": ('x: kube.#Get & {}', "vela/kube has no operation #Get: use #Read"),
    "an operation of very old versions": ("x: op.#Task & {}", "has no operation #Task: apply a Job"),
    "a type of Applications": ("x: op.#Placement & {}", "has no operation #Placement: it works on the components of an Application"),
    "a package in the flat one": ("x: op.oam.#ApplyComponent & {}", "has no field oam: it works on the components of an Application"),
    "an operation on components": ("x: op.#Load & {}", "has no operation #Load: it works on the components of an Application"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_field_that_a_definition_does_not_take(text: str, message: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        template.prepare(HEAD + text, LIBRARY)
    assert message in str(caught.value)
    [problem] = caught.value.problems
    assert (problem.line, problem.column > 1) == (HEAD.count("\n") + 1, True)


def test_a_package_of_other_programs() -> None:
    with pytest.raises(errors.Invalid, match='unknown import "vela/oam"; it works on the components of an Application'):
        template.prepare('import "vela/oam"\nx: oam.#ApplyComponent & {}', LIBRARY)


TAKEN = {
    "any field of a struct that says so": "x: kube.#Apply & {$params: value: {any: thing: 1}, note: 1}",
    "hidden fields and definitions": 'x: op.#Message & {_who: "me", #D: int, message: _who}',
    "an optional field": "x: op.#Message & {more?: int}",
    "a result that is declared": "x: util.#ConvertString & {$params: bt: '', $returns: {str: string, more?: int}}",
    "what is beside an embedded operation": 'x: {op.#Message, message: "a", more: 1}',
    "arguments from elsewhere": "x: kube.#Apply & {$params: parameter, value: $params.value}",
    "a field of the same name beside arguments": "x: kube.#Read & {value: {}, $params: {value: x.value}}",
    "arguments under a guard": "x: kube.#Read & {if parameter.a {$params: value: {}}, value: {}}",
    "arguments that are embedded": "x: kube.#Read & {parameter, value: {}}",
    "a field called like them beside arguments of the flat form": "x: op.#Apply & {$params: {v: {}}, value: $params.v}",
    "labels of any name": 'x: http.#HTTPDo & {$params: request: header: "X-Any": "a"}',
    "operations in a group": 'x: op.#Steps & {any: op.#Message & {message: "a"}}',
    "arguments that alternatives decide": "x: util.#Log & {$params: source: {urls: 1}}",
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN.keys())
def test_a_field_that_a_definition_takes(text: str) -> None:
    prepared = template.prepare(HEAD + text, LIBRARY)
    assert not prepared.doubts


DOUBTED = {
    "under a guard": ('x: op.#Fail & {if parameter.a {mesage: "b"}}', 'op.#Fail has no field "mesage"'),
    "of an operation under a guard": ('if parameter.a {x: op.#Fail & {mesage: "b"}}', 'op.#Fail has no field "mesage"'),
    "of an operation that a loop makes": ('l: [for a in [1] {op.#Fail & {mesage: "b"}}]', 'op.#Fail has no field "mesage"'),
    "nearly a known one, where all are taken": ('x: http.#HTTPDo & {$params: request: headers: {}}', 'did you mean "header"?'),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), DOUBTED.values(), ids=DOUBTED.keys())
def test_a_field_that_is_most_likely_a_mistake(text: str, message: str) -> None:
    [doubt] = template.prepare(HEAD + text, LIBRARY).doubts
    assert message in doubt.message
    assert doubt.line == HEAD.count("\n") + 1
