"""Fields that server-side apply refuses are found and left out."""

from __future__ import annotations

import pytest

from vela_workflow.clusters import undeclared

DEPLOYMENT = {
    "spec": {"foo": 1, "containers": [{"name": "x", "ports": [{"containerPort": 80, "protocol": "TCP", "q": 1}]}]}
}


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ("Deployment default/junk: .spec.foo: field not declared in schema", ".spec.foo"),
        ('x: .spec.containers[name="x"].bar: field not declared in schema', '.spec.containers[name="x"].bar'),
        ("x: spec.replicas: Invalid value", ""),
    ],
)
def test_the_field_of_a_refusal(message: str, path: str) -> None:
    assert undeclared.field_of(message) == path


@pytest.mark.parametrize(
    ("reason", "path", "found"),
    [
        ("a plain field", ".spec.foo", True),
        ("in a keyed list", '.spec.containers[name="x"].ports[containerPort=80,protocol="TCP"].q', True),
        ("a key that the server fills in", '.spec.containers[name="x",other="1"].ports', True),
        ("by index", ".spec.containers[0].ports", True),
        ("not there", ".spec.bar", False),
        ("no such element", '.spec.containers[name="y"].ports', False),
    ],
)
def test_leaving_a_field_out(reason: str, path: str, found: bool) -> None:
    left = undeclared.without(DEPLOYMENT, path)
    assert (left is not None) is found, reason
    if left is not None:
        assert left != DEPLOYMENT
        assert undeclared.without(left, path) is None
