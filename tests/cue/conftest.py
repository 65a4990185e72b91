"""A real evaluator for the tests of templates."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from vela_workflow.cue.command import CueCommand
from vela_workflow.cue.evaluator import Evaluator
from vela_workflow.cue.library import Library
from vela_workflow.providers import registry


@pytest.fixture(scope="session")
def library() -> Library:
    return Library.build({path: package.source for path, package in registry.packages().items()})


@pytest_asyncio.fixture
async def evaluator(cue_command: str, library: Library) -> AsyncIterator[Evaluator]:
    command = CueCommand(str(cue_command), library)
    yield Evaluator(command, library)
    command.close()
    await command.ended()
