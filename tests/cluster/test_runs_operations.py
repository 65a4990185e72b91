"""Every operation through a step definition of its own, in the form of today and in the older flat form of ``vela/op``.

The templates below differ only in how arguments are written and results are read; what comes of them must not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster import operator_fixture as fixture

JSON = dict[str, Any]

HEADER = {
    "new": 'import (\n\t"vela/kube"\n\t"vela/builtin"\n)\nparameter: {name: string, ...}\n',
    "legacy": 'import "vela/op"\nparameter: {name: string, ...}\n',
}
CONFIG_MAP = 'value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: parameter.name}'


@dataclasses.dataclass(frozen=True)
class Row:
    """One operation: its template in both forms, what the step comes to, and what else has to be true then."""

    reason: str
    new: str
    legacy: str
    outputs: dict[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    expected: JSON = dataclasses.field(default_factory=dict)
    existing: bool = True
    ends: str = "succeeded"
    message: str = ""
    check: Callable[[fixture.Runs, str], bool] = lambda runs, name: True


def exists(*suffixes: str) -> Callable[[fixture.Runs, str], bool]:
    return lambda runs, name: all(runs.get("ConfigMap", name + suffix) is not None for suffix in suffixes)


def data(**wanted: str) -> Callable[[fixture.Runs, str], bool]:
    return lambda runs, name: (runs.get("ConfigMap", name) or {}).get("data") == wanted


def is_gone(runs: fixture.Runs, name: str) -> bool:
    return runs.get("ConfigMap", name) is None


ROWS = [
    Row(
        "apply",
        'apply: kube.#Apply & {$params: {%s, value: data: k: "v"}}' % CONFIG_MAP,
        'apply: op.#Apply & {%s, value: data: k: "v"}' % CONFIG_MAP,
        outputs={
            "uid": (
                'apply.$returns.value.metadata.labels["workflowrun.oam.dev/name"]',
                'apply.value.metadata.labels["workflowrun.oam.dev/name"]',
            )
        },
        expected={"uid": "{run}"},
        existing=False,
        check=data(k="v"),
    ),
    Row(
        "apply-with-server-defaults",
        """
svc: kube.#Apply & {$params: value: {apiVersion: "v1", kind: "Service", metadata: name: parameter.name, spec: {ports: [{port: 80}]}}}
""",
        """
svc: op.#Apply & {value: {apiVersion: "v1", kind: "Service", metadata: name: parameter.name, spec: {ports: [{port: 80}]}}}
""",
        outputs={
            "type": ("svc.$returns.value.spec.type", "svc.value.spec.type"),
            "protocol": ("svc.$returns.value.spec.ports[0].protocol", "svc.value.spec.ports[0].protocol"),
        },
        expected={"type": "ClusterIP", "protocol": "TCP"},
        existing=False,
    ),
    Row(
        "apply-in-parallel",
        """
all: kube.#ApplyInParallel & {$params: value: [for suffix in ["-a", "-b"] {
	apiVersion: "v1", kind: "ConfigMap", metadata: name: parameter.name + suffix
}]}
""",
        """
all: op.#ApplyInParallel & {value: [for suffix in ["-a", "-b"] {
	apiVersion: "v1", kind: "ConfigMap", metadata: name: parameter.name + suffix
}]}
""",
        outputs={"second": ("all.$returns.value[1].metadata.name", "all.value[1].metadata.name")},
        expected={"second": "{name}-b"},
        existing=False,
        check=exists("-a", "-b"),
    ),
    Row(
        "read",
        "read: kube.#Read & {$params: {%s}}" % CONFIG_MAP,
        "read: op.#Read & {%s}" % CONFIG_MAP,
        outputs={"k": ("read.$returns.value.data.k", "read.value.data.k")},
        expected={"k": "old"},
    ),
    Row(
        "read-what-is-not-there",
        """
read: kube.#Read & {$params: {%s}}
found: *true | bool
if read.$returns.err != _|_ {found: false}
"""
        % CONFIG_MAP,
        """
read: op.#Read & {%s}
found: *true | bool
if read.err != _|_ {found: false}
"""
        % CONFIG_MAP,
        outputs={"found": ("found", "found")},
        expected={"found": False},
        existing=False,
    ),
    Row(
        "list",
        """
list: kube.#List & {$params: {
	resource: {apiVersion: "v1", kind: "ConfigMap"}
	filter: {namespace: context.namespace, matchingLabels: test: parameter.name}
}}
names: [for item in list.$returns.values.items {item.metadata.name}]
""",
        """
list: op.#List & {
	resource: {apiVersion: "v1", kind: "ConfigMap"}
	filter: {namespace: context.namespace, matchingLabels: test: parameter.name}
}
names: [for item in list.list.items {item.metadata.name}]
""",
        outputs={"names": ("names", "names")},
        expected={"names": ["{name}"]},
    ),
    Row(
        "patch",
        'patch: kube.#Patch & {$params: {%s, patch: data: more: "new"}}' % CONFIG_MAP,
        'patch: op.#Patch & {%s, patch: data: more: "new"}' % CONFIG_MAP,
        outputs={"all": ("patch.$returns.result.data", "patch.result.data")},
        expected={"all": {"k": "old", "more": "new"}},
        check=data(k="old", more="new"),
    ),
    Row(
        "delete",
        "delete: kube.#Delete & {$params: {%s}}" % CONFIG_MAP,
        "delete: op.#Delete & {%s}" % CONFIG_MAP,
        check=is_gone,
    ),
    Row(
        "delete-what-is-not-there",
        "delete: kube.#Delete & {$params: {%s}}" % CONFIG_MAP,
        "delete: op.#Delete & {%s}" % CONFIG_MAP,
        existing=False,
    ),
    Row(
        "delete-by-labels",
        """
delete: kube.#Delete & {$params: {
	value: {apiVersion: "v1", kind: "ConfigMap", metadata: namespace: context.namespace}
	filter: {namespace: context.namespace, matchingLabels: test: parameter.name}
}}
""",
        """
delete: op.#Delete & {
	value: {apiVersion: "v1", kind: "ConfigMap", metadata: namespace: context.namespace}
	filter: {namespace: context.namespace, matchingLabels: test: parameter.name}
}
""",
        check=is_gone,
    ),
    Row(
        "conditional-wait",
        """
read: kube.#Read & {$params: {%s}}
wait: builtin.#ConditionalWait & {$params: continue: read.$returns.value.data.k == "old"}
after: kube.#Apply & {$params: value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: parameter.name + "-after"}}
"""
        % CONFIG_MAP,
        """
read: op.#Read & {%s}
wait: op.#ConditionalWait & {continue: read.value.data.k == "old"}
after: op.#Apply & {value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: parameter.name + "-after"}}
"""
        % CONFIG_MAP,
        check=exists("-after"),
    ),
    Row(
        "fail",
        'fail: builtin.#Fail & {$params: message: "no " + parameter.name}',
        'fail: op.#Fail & {message: "no " + parameter.name}',
        ends="failed/Action",
        message="no {name}",
    ),
    Row(
        "fail-while-waiting",
        """
read: kube.#Read & {$params: {%s}}
wait: builtin.#ConditionalWait & {$params: continue: read.$returns.value.data.k == "new"}
if read.$returns.value.data.k == "old" {fail: builtin.#Fail & {$params: message: "it is old"}}
"""
        % CONFIG_MAP,
        """
read: op.#Read & {%s}
wait: op.#ConditionalWait & {continue: read.value.data.k == "new"}
if read.value.data.k == "old" {fail: op.#Fail & {message: "it is old"}}
"""
        % CONFIG_MAP,
        ends="failed/Action",
        message="it is old",
    ),
    Row(
        "break",
        'end: builtin.#Break & {$params: message: "enough"}',
        'end: op.#Break & {message: "enough"}',
        ends="succeeded/Terminate",
        message="enough",
    ),
    Row(
        "message",
        """
read: kube.#Read & {$params: {%s}}
message: builtin.#Message & {$params: message: "k is " + read.$returns.value.data.k}
"""
        % CONFIG_MAP,
        """
read: op.#Read & {%s}
message: op.#Message & {message: "k is " + read.value.data.k}
"""
        % CONFIG_MAP,
        message="k is old",
    ),
    Row(
        "suspend",
        'hold: builtin.#Suspend & {$params: duration: "1s"}',
        'hold: op.#Suspend & {duration: "1s"}',
    ),
    Row(
        "steps",
        """
all: builtin.#Steps & {
	make: kube.#Apply & {$params: {%s, value: data: k: "v"}}
	read: kube.#Read & {$params: value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: make.$returns.value.metadata.name}}
}
"""
        % CONFIG_MAP,
        """
all: op.#Steps & {
	make: op.#Apply & {%s, value: data: k: "v"}
	read: op.#Read & {value: {apiVersion: "v1", kind: "ConfigMap", metadata: name: make.value.metadata.name}}
}
"""
        % CONFIG_MAP,
        outputs={"k": ("all.read.$returns.value.data.k", "all.read.value.data.k")},
        expected={"k": "v"},
        existing=False,
    ),
]


def filled(value: Any, **names: str) -> Any:
    """``value`` with ``{name}`` and ``{run}`` put in."""
    if isinstance(value, str):
        return value.format(**names)
    if isinstance(value, list):
        return [filled(item, **names) for item in value]
    return value


def start(runs: fixture.Runs, row: Row, form: str) -> fixture.Run:
    name = f"{row.reason}-{form}"
    runs.definition(name, HEADER[form] + (row.new if form == "new" else row.legacy))
    if row.existing:
        runs.config_map(name, {"k": "old"}, {"test": name})
    outputs = [{"name": key, "valueFrom": texts[form == "legacy"]} for key, texts in row.outputs.items()]
    step = {"name": "a", "type": name, "properties": {"name": name}, "outputs": outputs}
    return runs.start([step], name=f"run-{name}")


CASES = [pytest.param(row, form, id=f"{row.reason}-{form}") for row in ROWS for form in HEADER]


@pytest.fixture(scope="module")
def started(shared_runs: fixture.Runs) -> dict[tuple[str, str], fixture.Run]:
    """All runs of the table, under way together."""
    return {(row.reason, form): start(shared_runs, row, form) for row in ROWS for form in HEADER}


@pytest.mark.parametrize(("row", "form"), CASES)
def test_an_operation(runs: fixture.Runs, started: dict[tuple[str, str], fixture.Run], row: Row, form: str) -> None:
    run = started[(row.reason, form)]
    name = f"{row.reason}-{form}"
    status = run.until(lambda body: (body.get("status") or {}).get("finished"), "its end")
    step = fixture.step(status, "a")
    assert fixture.brief(status) == {"a": row.ends}, step
    assert step.get("message", "") == row.message.format(name=name)
    if row.outputs:
        assert run.variables() == {key: filled(value, name=name, run=run.name) for key, value in row.expected.items()}
    assert row.check(runs, name)
