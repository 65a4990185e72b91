"""Running the ``cue`` command, held in: the only place that starts it.

Programs come from users, so every command has a time limit, limits on CPU time and memory, an empty environment, no
registry and no network, and a bound on what it may print. It reads its program at its standard input, so one can be
started before there is something to ask: half of the time of a short evaluation is the start of the process.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import resource
import subprocess
from pathlib import Path
from typing import IO, Final

from vela_workflow import errors
from vela_workflow.cue import cores, messages

MOST_COMMANDS: Final = 8
"""How many commands run at the same time at most, where nobody says otherwise: one event loop asks for no more."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What one command may use. Times in seconds, sizes in bytes.

    ``ahead``: while there is nothing to do, one command is started ahead of time; for programs that run for long.
    """

    wall_clock: float = 20.0
    cpu: int = 15
    memory: int = 1024 * 1024 * 1024
    output: int = 16 * 1024 * 1024
    commands: int = min(cores.usable(), MOST_COMMANDS)
    batch: int = 32
    ahead: bool = False


_CHUNK = 256 * 1024

_BROKEN_DOWN = (b"out of memory", b"\nruntime stack:", b"\ngoroutine ")
"""What a command prints that came to grief: mostly it got no memory, where it could not say so any more."""

STARTS_WITHIN = 20.0
"""Seconds that the command may take to tell its version."""


async def version(binary: str) -> str:
    """What the ``cue`` command says of its version; raises ``WorkflowError`` when it cannot be started."""
    try:
        process = await asyncio.create_subprocess_exec(
            binary, "version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(STARTS_WITHIN):
            output, _ = await process.communicate()
    except (OSError, TimeoutError) as error:
        raise errors.WorkflowError(f"the cue command {binary} cannot be started: {error or 'no answer'}") from error
    words = output.decode("utf-8", "replace").split()
    return words[2] if words[:2] == ["cue", "version"] else "unknown"


class LimitExceeded(errors.WorkflowError):
    """An evaluation needed more time, memory or output than it may have."""


class Child:
    """One command that was started; it waits for its program."""

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits) -> None:
        self._process = process
        self._limits = limits

    @property
    def waits(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    async def ask(self, program: str, within: float) -> tuple[int, bytes, str]:
        """Give it its program and wait for its end, once; returns exit code, output and errors.

        Raises ``LimitExceeded`` when it needs too much, or more than ``within`` seconds.
        """
        try:
            async with asyncio.timeout(within):
                output, stderr = await self._talk(program)
                code = await self._end()
        except TimeoutError:
            raise LimitExceeded(f"the evaluation took longer than {within:g} s") from None
        finally:
            self._close_pipes()
            if self._process.returncode is None:
                self._process.kill()
                await asyncio.shield(self._end())
        if code < 0 or (code == 2 and any(sign in stderr for sign in _BROKEN_DOWN)):
            raise LimitExceeded("the evaluation needed more memory or CPU time than it may have")
        return code, output, stderr.decode("utf-8", "replace")

    def close(self) -> None:
        """End it without having asked; it is idle, so it ends at once."""
        self._close_pipes()
        self._process.kill()
        self._process.wait()

    async def _talk(self, program: str) -> tuple[bytes, bytes]:
        reading = [asyncio.create_task(self._read(pipe)) for pipe in (self._process.stdout, self._process.stderr)]
        try:
            await self._write(program)
            output, stderr = await asyncio.gather(*reading)
            return output, stderr
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    # Pipes stay ours, and are closed once, here: a transport of the event loop would share them with their file
    # objects, and what is closed twice may belong to somebody else by then.

    async def _write(self, program: str) -> None:
        assert self._process.stdin is not None
        pipe, loop = self._process.stdin, asyncio.get_running_loop()
        left = memoryview(program.encode())
        written: asyncio.Future[None] = loop.create_future()

        def write() -> None:
            nonlocal left
            try:
                left = left[os.write(pipe.fileno(), left) :]
            except BlockingIOError:
                return
            except OSError:
                left = left[len(left) :]  # It reads no more; what it has to say of that is read.
            if not left and not written.done():
                written.set_result(None)

        os.set_blocking(pipe.fileno(), False)
        loop.add_writer(pipe.fileno(), write)
        try:
            await written
        finally:
            loop.remove_writer(pipe.fileno())
            pipe.close()

    async def _read(self, pipe: IO[bytes] | None) -> bytes:
        assert pipe is not None
        loop, limit = asyncio.get_running_loop(), self._limits.output
        output = bytearray()
        ended: asyncio.Future[None] = loop.create_future()

        def read() -> None:
            try:
                chunk = os.read(pipe.fileno(), _CHUNK)
            except BlockingIOError:
                return
            if ended.done():
                return
            output.extend(chunk)
            if not chunk:
                ended.set_result(None)
            elif len(output) > limit:
                ended.set_exception(LimitExceeded(f"the evaluation printed more than {limit // (1024 * 1024)} MiB"))

        os.set_blocking(pipe.fileno(), False)
        loop.add_reader(pipe.fileno(), read)
        try:
            await ended
        finally:
            loop.remove_reader(pipe.fileno())
            pipe.close()
        return bytes(output)

    def _close_pipes(self) -> None:
        """Close what is still open."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    async def _end(self) -> int:
        """Wait for the end of a process that has said all, or was killed: a matter of microseconds."""
        code = self._process.poll()
        return await asyncio.to_thread(self._process.wait) if code is None else code


class Sandbox:
    """Starts commands in the directory ``root`` and holds them in."""

    def __init__(self, binary: str, limits: Limits, root: Path) -> None:
        self.binary = binary
        self.limits = limits
        self._root = root

    def start(self, *arguments: str) -> Child:
        """Start a command that reads its program at its standard input; raises ``OSError`` when it cannot be started.

        The event loop's own way to start processes copies the page tables of this one first, which holds the loop for
        ten times as long as this does.
        """
        process = subprocess.Popen(
            [self.binary, *arguments, messages.PROGRAM_FILE],
            cwd=self._root,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        self._restrict(process.pid)
        return Child(process, self.limits)

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self._root),
            "CUE_CACHE_DIR": str(self._root / "cache"),
            "CUE_CONFIG_DIR": str(self._root / "config"),
            "CUE_REGISTRY": "none",
            "GOMEMLIMIT": str(self.limits.memory * 3 // 4),
            "GOGC": "400",
        }

    def _restrict(self, pid: int) -> None:
        """Limit a process that was just started; where the system cannot, the time limit remains."""
        if not hasattr(resource, "prlimit"):
            return
        try:
            resource.prlimit(pid, resource.RLIMIT_CPU, (self.limits.cpu, self.limits.cpu))
            resource.prlimit(pid, resource.RLIMIT_DATA, (self.limits.memory, self.limits.memory))
        except (ProcessLookupError, PermissionError):
            return
