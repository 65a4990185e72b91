"""Values of Secrets do not get into messages, whatever form they have there."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from vela_workflow import errors
from vela_workflow.steps.concealment import Concealment

PASSWORD = "correct horse"


def secret(value: str) -> dict[str, Any]:
    encoded = base64.b64encode(value.encode()).decode()
    metadata = {"name": "credentials", "namespace": "default"}
    return {"value": {"kind": "Secret", "type": "Opaque", "metadata": metadata, "data": {"type": encoded}}}


@pytest.mark.parametrize(
    ("value", "message", "told"),
    [
        pytest.param(secret(PASSWORD), 'no kind "Y29ycmVjdCBob3JzZQ=="', 'no kind "…"', id="as it is in the Secret"),
        pytest.param(secret(PASSWORD), f'no kind "{PASSWORD}"', 'no kind "…"', id="decoded"),
        pytest.param(secret(f"{PASSWORD}\n"), f"no {PASSWORD}: x", "no …: x", id="without its line feed"),
        pytest.param(secret("first line\nsecond"), 'value "second" x', 'value "…" x', id="one of its lines"),
        pytest.param([{"a": ["deeper"]}], "no deeper", "no …", id="inside a value"),
        pytest.param(["inner", "with inner in it"], "x with inner in it", "x …", id="one inside another"),
        pytest.param(secret(PASSWORD), "Secret default/credentials", "Secret default/credentials", id="its name"),
        pytest.param(secret("true"), "http is true", "http is true", id="too short to be one"),
        pytest.param([1, None, True], "1 None True", "1 None True", id="no text"),
    ],
)
def test_what_is_told(value: Any, message: str, told: str) -> None:
    concealment = Concealment()
    concealment.take(value)
    assert concealment.told(message) == told


def test_the_beginning_of_one_is_not_told_either() -> None:
    concealment = Concealment()
    concealment.take("s" + "x" * 5000)
    cut = errors.bounded("refused: s" + "x" * 5000)
    assert concealment.told(cut) == "refused: …"
