"""A command that was started ahead of time.

More than half of the time of a short evaluation is the start of the process. So one process is started while there is
nothing to do; it waits for its program at its standard input, takes it, answers and ends. What it says about programs
that it refuses is not listened to: they are asked again in the ordinary way.
"""

from __future__ import annotations

import asyncio
from typing import cast


class Ahead(asyncio.SubprocessProtocol):
    """One process that waits; ``limit`` is how many bytes it may print."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._transport: asyncio.SubprocessTransport | None = None
        self._output: list[bytes] = []
        self._size = 0
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def started(self) -> bool:
        """Whether there is a process by now."""
        return self._transport is not None

    @property
    def waits(self) -> bool:
        """Whether it can be asked."""
        return self._transport is not None and not self._ended.done() and self._transport.get_returncode() is None

    async def ask(self, text: str) -> tuple[int, bytes]:
        """Give it its program, wait for its end, return exit code and output; once.

        A code of -1 stands for one that printed too much. Raises ``OSError``.
        """
        assert self._transport is not None
        stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        stdin.write(text.encode())
        stdin.write_eof()
        await self._ended
        code = self._transport.get_returncode()
        return (-1, b"") if code is None or self._size > self._limit else (code, b"".join(self._output))

    def close(self) -> None:
        """End it, if it has not ended."""
        if self._transport is not None:
            self._transport.close()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It was started."""
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, _: int, data: bytes) -> None:
        """It printed something."""
        self._size += len(data)
        if self._size <= self._limit:
            self._output.append(data)
        else:
            self.close()

    def connection_lost(self, _: Exception | None) -> None:
        """It has ended, and everything it printed was read."""
        if not self._ended.done():
            self._ended.set_result(None)
