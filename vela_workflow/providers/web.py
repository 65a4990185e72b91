"""Reading the body of an HTTP response within a limit."""

from __future__ import annotations

from typing import Final

import aiohttp

_CHUNK: Final = 1 << 16


class BodyTooLongError(Exception):
    """The body of a response is longer than the limit."""


async def body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body; raises ``BodyTooLongError`` once more than ``limit`` bytes (after decompression) have come."""
    collected = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        collected += chunk
        if len(collected) > limit:
            raise BodyTooLongError
    return bytes(collected)
