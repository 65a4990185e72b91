"""How kopf reaches the API server: with the same credentials as the rest of the program.

kopf is handed a session of ours whose every request carries a fresh ``Authorization`` header, so tokens that expire and
certificates of any origin work alike. By the session it is also known when kopf lists: it tells nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import aiohttp
import kopf

from vela_workflow.clusters.credentials import Source

PAUSE: Final = 2.0
"""Seconds for which an answer is kept back that says that we are not known.

Kopf takes a new session at once and asks again, and would ask, and tell the log, many times a second.
"""


async def session(source: Source, listed: Callable[[str], None]) -> kopf.AiohttpSession:
    """A session to the cluster of ``source`` in the form that kopf wants.

    ``listed`` is told the plural of a kind whose objects kopf has listed.
    """
    endpoint = await source.open()

    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        header = await source.authorization()
        if header:
            request.headers["Authorization"] = header
        answer = await handler(request)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            await asyncio.sleep(PAUSE)
        if request.method == "GET" and "watch" not in request.url.query and answer.ok:
            listed(request.url.name)
        return answer

    connector = aiohttp.TCPConnector(limit=0, ssl=endpoint.ssl if endpoint.ssl is not None else True)
    client = aiohttp.ClientSession(
        connector=connector,
        middlewares=(authorize,),
        headers={"User-Agent": "vela-workflow/kopf"},
        proxy=endpoint.proxy,
    )
    return kopf.AiohttpSession(server=endpoint.server, aiohttp_session=client)
