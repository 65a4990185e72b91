"""The API server when it is away: the operator waits for it, says so, and is not ready.

Nothing of the operator works without it, so there is nothing better to do. At the start it is waited for however long
that takes (``until_done``). Later everybody tries again for themselves; only kopf gives up when what it watches cannot
be had for about a minute (``BACKOFFS``), or at once when a watch ends with an error, and ends. ``LostError`` says so,
and the operator starts anew in the same process: to end would only mean to wait for whoever starts ended processes,
longer each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from vela_workflow import errors
from vela_workflow.clusters import errors as cluster_errors

logger = logging.getLogger(__name__)

BACKOFFS: Final = (1.0, 1.0, 2.0, 3.0, *(5.0,) * 10)
"""Seconds between kopf's attempts: as long in all as by its own defaults, but never long after the server is back."""

PAUSE: Final = 3.0
"""Seconds before the operator starts anew, so that it does not spin when kopf gives up again at once."""

FIRST_DELAY: Final = 0.5
MOST_DELAY: Final = 5.0
"""Seconds between attempts at the start; doubling from the first."""


class LostError(errors.WorkflowError):
    """The API server cannot be watched any longer; to start anew is all that helps."""


async def until_done(work: Callable[[], Awaitable[None]], stop: asyncio.Event, told: Callable[[str], None]) -> None:
    """Do what needs the API server, again and again until it answers or ``stop`` is set.

    ``told`` is called with what is wrong, and with nothing when all is well again. Raises what trying again does not
    help against. A refusal is waited out like an absence; whoever thinks otherwise raises something else for it.
    """
    delay, away = FIRST_DELAY, False
    while not stop.is_set():
        try:
            await work()
        except (cluster_errors.Unavailable, cluster_errors.Forbidden) as error:
            away = True
            what = "refuses" if isinstance(error, cluster_errors.Forbidden) else "cannot be reached"
            logger.warning("the API server %s, trying again in %g s: %s", what, delay, error)
            told(f"the API server {what}: {error.message}")
        else:
            if away:
                logger.info("the API server answers")
            told("")
            return
        try:
            async with asyncio.timeout(delay):
                await stop.wait()
        except TimeoutError:
            delay = min(2 * delay, MOST_DELAY)
