"""How kopf reaches the API server: with the same credentials as the rest of the program.

kopf is handed a session of ours whose every request carries a fresh ``Authorization`` header, so tokens that expire and
certificates of any origin work alike.
"""

from __future__ import annotations

from typing import Final

import aiohttp
import kopf
from kopf._cogs.clients import errors  # there is no public name for what kopf raises

from vela_workflow.clusters.credentials import Source

LOST: Final = (aiohttp.ClientError, errors.APIError, TimeoutError, OSError)
"""What kopf ends with when it has given up on the API server."""


async def session(source: Source) -> kopf.AiohttpSession:
    """A session to the cluster of ``source`` in the form that kopf wants."""
    endpoint = await source.open()

    async def authorize(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        header = await source.authorization()
        if header:
            request.headers["Authorization"] = header
        return await handler(request)

    connector = aiohttp.TCPConnector(limit=0, ssl=endpoint.ssl if endpoint.ssl is not None else True)
    client = aiohttp.ClientSession(
        connector=connector,
        middlewares=(authorize,),
        headers={"User-Agent": "vela-workflow/kopf"},
        proxy=endpoint.proxy,
    )
    return kopf.AiohttpSession(server=endpoint.server, aiohttp_session=client)
