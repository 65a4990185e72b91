"""What is done once, when the operator has started, so that no run has to wait for it.

Templates are prepared, which takes up to 30 ms each. And what is there by then (modules, templates) is put aside from
garbage collection: going through all of that again and again would hold the event loop for a tenth of a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterable

from vela_workflow import errors
from vela_workflow.cue.evaluator import TEMPLATES, Evaluator


def put_aside_modules() -> None:
    """Put aside all that importing has made; before the event loop has anything to do."""
    gc.collect()
    gc.freeze()


async def prepare(evaluator: Evaluator, templates: Iterable[str]) -> None:
    """Prepare as many templates as are kept, and put them aside."""
    for _, text in zip(range(TEMPLATES), templates, strict=False):
        with contextlib.suppress(errors.WorkflowError):  # whoever uses it is told
            evaluator.prepare(text)
        await asyncio.sleep(0)
    gc.freeze()
