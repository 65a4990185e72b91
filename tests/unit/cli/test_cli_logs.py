from __future__ import annotations

import json

import pytest

from vela_workflow.cli import logs
from vela_workflow.cli.errors import CommandError

RESOURCES = {"resources": [{"labelSelector": {"x": "y"}}]}
CONTEXT = {"logConfig": json.dumps({"s1": {"data": True, "source": RESOURCES}, "s2": {"data": True}})}


def test_sources_by_step() -> None:
    assert logs.sources(CONTEXT, "r", None) == {"s1": RESOURCES, "s2": {}}
    assert logs.sources(CONTEXT, "r", "s1") == {"s1": RESOURCES}


@pytest.mark.parametrize(
    ("context", "step", "said"),
    [
        pytest.param({}, None, "no log config found for r", id="no-context"),
        pytest.param({"logConfig": "{}"}, None, "no log config found for r", id="nothing-said"),
        pytest.param(CONTEXT, "s3", "no log config found for step s3 (there is one for: s1, s2)", id="other-step"),
        pytest.param({"logConfig": "x"}, None, "is not JSON", id="no-json"),
    ],
)
def test_no_sources(context: dict[str, str], step: str | None, said: str) -> None:
    with pytest.raises(CommandError) as error:
        logs.sources(context, "r", step)
    assert said in str(error.value)
