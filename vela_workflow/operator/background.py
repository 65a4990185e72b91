"""Work beside the runs that goes on as long as the operator does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

logger = logging.getLogger(__name__)

PAUSE: Final = 1.0
"""Seconds before work that broke off begins anew."""


def keep_up(what: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """A task that carries ``work`` out, and begins it anew whenever an error that nobody foresaw has ended it."""
    return asyncio.create_task(_keep_up(what, work))


async def _keep_up(what: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            logger.exception("%s broke off, beginning anew", what)
            await asyncio.sleep(PAUSE)
        else:
            return
