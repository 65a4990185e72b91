"""What all that speaks HTTP shares: bodies within a limit, and why there is no connection."""

from __future__ import annotations

import os
import socket
import ssl
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


def unreached(error: aiohttp.ClientConnectorError) -> str:
    """Why a connection could not be made, in the words of the system; those of asyncio are put in their place."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        why = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else str(cause)
        return f"TLS: the certificate is not trusted: {why}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error}"
    return f"cannot connect to {error.host}:{error.port}: {_said(error.os_error)}"


def _said(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or not error.errno:
        return str(error.strerror or error)
    return os.strerror(error.errno)
