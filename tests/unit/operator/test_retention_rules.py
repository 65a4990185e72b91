"""Which finished runs go."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from vela_workflow.api import constants
from vela_workflow.operator import retention

JSON = dict[str, Any]
HOUR = 3600.0
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()


def run(name: str, hours: float | None, *, finished: bool = True, **metadata: Any) -> JSON:
    """A run that ended so many hours ago; ``None``: nobody knows when."""
    status: JSON = {"finished": finished}
    if hours is not None:
        status["endTime"] = datetime.fromtimestamp(NOW - hours * HOUR, UTC).isoformat().replace("+00:00", "Z")
    return {"metadata": {"name": name, "namespace": "n", "uid": name, **metadata}, "status": status}


RESTART = {"annotations": {constants.ANNOTATION_RESTART: "*"}}
DELETED = {"deletionTimestamp": "2026-06-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("runs", "keep", "gone"),
    [
        pytest.param([], 1, [], id="nothing"),
        pytest.param([run("a", 900)], 1, [], id="the-newest-stays-however-old"),
        pytest.param([run("a", 900), run("b", 800)], 1, ["a"], id="older-ones-go"),
        pytest.param([run("a", 900), run("b", 1)], 1, ["a"], id="after-a-new-one"),
        pytest.param([run("a", 719), run("b", 1)], 1, [], id="not-before-their-time"),
        pytest.param([run("a", 720), run("b", 1)], 1, ["a"], id="exactly-at-their-time"),
        pytest.param([run("a", 900), run("b", 800), run("c", 750)], 2, ["a"], id="keep-two"),
        pytest.param([run("a", 900), run("b", None, finished=False)], 1, [], id="unfinished-ones-do-not-count"),
        pytest.param([run("a", 900, finished=False), run("b", 800)], 1, [], id="unfinished-ones-stay"),
        pytest.param([run("a", 900), run("b", None)], 1, ["a"], id="unknown-ends-count-as-newest"),
        pytest.param([run("a", 900, **RESTART), run("b", 800)], 1, [], id="to-be-restarted"),
        pytest.param([run("a", 900, **DELETED), run("b", 800)], 1, [], id="on-its-way-out"),
    ],
)
def test_groups(runs: list[JSON], keep: int, gone: list[str]) -> None:
    found = retention.recyclable(runs, retention.Rules(keep=keep), NOW)
    assert [one["metadata"]["name"] for one in found] == gone


@pytest.mark.parametrize(
    ("spec", "ttl"),
    [({}, None), ({"ttlSecondsAfterFinished": 0}, 0), ({"ttlSecondsAfterFinished": 60}, 60)]
    + [({"ttlSecondsAfterFinished": wrong}, None) for wrong in (True, "60", None)],
)
def test_time_to_live(spec: JSON, ttl: int | None) -> None:
    assert retention.time_to_live({"spec": spec}) == ttl


@pytest.mark.parametrize(
    ("status", "known"),
    [
        ({"finished": True, "endTime": "2026-06-01T12:00:00Z"}, True),
        ({"finished": False, "endTime": "2026-06-01T12:00:00Z"}, False),
        ({"finished": True}, False),
        ({"finished": True, "endTime": "yesterday"}, False),
    ],
)
def test_end(status: JSON, known: bool) -> None:
    assert retention.ended_at({"status": status}) == (NOW if known else None)
