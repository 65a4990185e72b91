"""Work that goes on as long as the operator does, whatever goes wrong once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from vela_workflow.clusters import follow
from vela_workflow.clusters.client import ClusterClient, WatchEvent
from vela_workflow.errors import WorkflowError
from vela_workflow.operator import background


async def test_work_that_breaks_off_begins_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "PAUSE", 0.0)
    attempts = 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise KeyError("an error of ours")

    with caplog.at_level(logging.ERROR):
        await background.keep_up("the work", work)
    assert attempts == 3
    assert caplog.text.count("the work broke off, beginning anew") == 2


async def test_work_that_is_stopped_ends() -> None:
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    task = background.keep_up("the work", work)
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


class Garbling:
    """A cluster whose first watch tells what nobody understands."""

    def __init__(self) -> None:
        self.watches = 0

    async def list(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {"metadata": {"resourceVersion": "1"}, "items": []}

    async def watch(self, *_: Any, **__: Any) -> AsyncGenerator[WatchEvent, None]:
        self.watches += 1
        if self.watches == 1:
            yield WatchEvent("ADDED", {"metadata": None})
        else:
            yield WatchEvent("ADDED", {"metadata": {"resourceVersion": "2"}})


class Listening:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.problems: list[WorkflowError] = []

    def listed(self, *_: Any) -> None:
        """Nothing is there."""

    def changed(self, event: WatchEvent) -> None:
        self.told.append(event.object["metadata"]["resourceVersion"])

    def position(self, resource_version: str) -> None:
        """It is not asked for."""

    def ended(self) -> bool:
        return not self.told

    def failed(self, error: WorkflowError) -> bool:
        self.problems.append(error)
        return True


async def test_a_watch_that_tells_rubbish_is_tried_again() -> None:
    cluster, listener = cast(ClusterClient, Garbling()), Listening()
    async with asyncio.timeout(10):
        await follow.follow(lambda: cluster, follow.Selection("v1", "ConfigMap"), listener)
    assert listener.told == ["2"]
    assert "what the API server tells of ConfigMap is not understood" in str(listener.problems[0])
