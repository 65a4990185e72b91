"""Asking the ``cue`` command for the values of programs, many at once.

One command can be asked for many programs (``cue/batch.py``): those that are asked for in the same moment go together,
and while the allowed number of commands (about the number of cores) is busy, programs queue up and the next command
takes all that wait. Any failure empties the output of a command; then the programs that its message names are judged
alone, and the others are asked for again.

A template without an end must not hold up others. Programs that go together have less time than one alone, and a
command that takes long leaves its place to others while it goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import os
import shutil
import tempfile
from collections import deque
from pathlib import Path
from typing import Final

import orjson

from vela_workflow import errors
from vela_workflow.cue import batch, trials
from vela_workflow.cue.library import Library
from vela_workflow.cue.naming import OUT
from vela_workflow.cue.sandbox import Child, LimitExceeded, Limits, Sandbox

CUE_VERSION: Final = "v0.17.1"
"""The version of ``cue`` that templates are tested with."""

CUE_LANGUAGE = "v0.17.0"
"""The language version that programs are read with, so that a newer command changes nothing."""


_EXPORT = ("export", "--out", "json", "-e", OUT)

TOGETHER = 5.0
"""Seconds that several programs may take together; after that each is judged alone."""

PREFIX = "vela-workflow-cue-"
"""How the names of working directories begin; the process follows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """The command refused a program; ``stderr`` is what it printed."""

    stderr: str


@dataclasses.dataclass(slots=True)
class _Job:
    text: str
    alone: bool
    future: asyncio.Future[bytes | Refusal]

    def answered(self, answer: bytes | Refusal) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def failed(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Lot:
    """Programs that one command is asked for."""

    def __init__(self) -> None:
        self.jobs: list[_Job] = []
        self._batch = batch.Batch()
        self._alone = False

    def add(self, job: _Job) -> bool:
        """Take in a program; false when it cannot go with those that are in already."""
        fits = not self._alone and not job.alone and self._batch.add(batch.Part.of(job.text))
        if self.jobs and not fits:
            return False
        self._alone = not fits
        self.jobs.append(job)
        return True

    def text(self) -> str:
        """What the command is given."""
        return self.jobs[0].text if len(self.jobs) == 1 else self._batch.text()

    def answer(self, output: bytes) -> bool:
        """Hand out what the command printed; false when it is not an answer for each."""
        answers = [output] if len(self.jobs) == 1 else batch.answers(output)
        if len(answers) != len(self.jobs):
            return False
        for job, answer in zip(self.jobs, answers, strict=True):
            job.answered(answer)
        return True

    def named(self, stderr: str) -> set[int]:
        """The programs that an error message speaks of, by number; all, where it names none."""
        return self._batch.named(stderr) or set(range(len(self.jobs)))


@dataclasses.dataclass(slots=True)
class Counters:
    """What was asked of the command since the start."""

    commands: int = 0
    programs: int = 0
    refused: int = 0


class CueCommand:
    """Runs programs with the ``cue`` command; use as an asynchronous context manager or call ``close``."""

    def __init__(self, binary: str, library: Library, limits: Limits | None = None) -> None:
        self.binary = binary
        self.limits = limits or Limits()
        self.counters = Counters()
        _clear_leftovers()
        self._root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_fast_directory()))
        self._sandbox = Sandbox(binary, self.limits, self._root)
        self._queue: deque[_Job] = deque()
        self._asked: set[asyncio.Future[bytes | Refusal]] = set()
        self._running = 0
        self._slow: set[_Lot] = set()
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._installed: set[str] = set()
        self._ahead: Child | None = None
        (self._root / "cue.mod").mkdir()
        module = f'module: "programs.vela-workflow/run@v0"\nlanguage: version: "{CUE_LANGUAGE}"\n'
        (self._root / "cue.mod" / "module.cue").write_text(module)
        self.install(library)

    def install(self, library: Library) -> None:
        """Lay out the packages of a library, so that programs can import them."""
        for package in library.packages.values():
            if package.program_path in self._installed:
                continue
            folder = self._root / "cue.mod" / "pkg" / package.program_path
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.cue").write_text(package.source)
            self._installed.add(package.program_path)

    async def export(self, text: str, *, alone: bool = False) -> bytes | Refusal:
        """The value ``OUT`` of a program as JSON, or the refusal of the command.

        Raises ``LimitExceeded`` when the program needs too much, ``Transient`` when the command cannot be run.
        ``alone`` keeps it out of batches.
        """
        if self._closed:
            raise errors.Transient("templates are not evaluated any more: the program is ending")
        future: asyncio.Future[bytes | Refusal] = asyncio.get_running_loop().create_future()
        self._queue.append(_Job(text, alone, future))
        self.counters.programs += 1
        self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        # Not at once: what else is asked for in this moment goes along.
        asyncio.get_running_loop().call_soon(self._dispatch)
        return await future

    async def run(self, text: str, *arguments: str) -> tuple[int, bytes, str]:
        """Run one command on one program; returns exit code, output and errors.

        Raises ``LimitExceeded`` when it needs too much, ``Transient`` when the command cannot be run.
        """
        return await self._ask(self._start(*arguments), text, self.limits.wall_clock)

    def close(self) -> None:
        """Forget what waits and remove the working directory; whoever waits is cancelled."""
        self._closed = True
        if self._ahead is not None:
            self._ahead.close()
        for task in self._tasks:
            task.cancel()
        for future in list(self._asked):
            future.cancel()
        self._queue.clear()
        shutil.rmtree(self._root, ignore_errors=True)

    async def ended(self) -> None:
        """Wait until no command runs any more, after ``close``: processes must not outlive their event loop."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Batches.

    def _dispatch(self) -> None:
        while self._queue and self._running - min(len(self._slow), self.limits.commands) < self.limits.commands:
            lot = self._take()
            if lot.jobs:
                self._running += 1
                task = asyncio.get_running_loop().create_task(self._serve(lot))
                self._tasks.add(task)
                for job in lot.jobs:
                    job.future.add_done_callback(functools.partial(_abandon, lot.jobs, task))
                task.add_done_callback(self._tasks.discard)

    def _take(self) -> _Lot:
        """The next programs that can go together."""
        lot = _Lot()
        while self._queue and len(lot.jobs) < self.limits.batch:
            job = self._queue[0]
            if not job.future.cancelled() and not lot.add(job):
                break
            self._queue.popleft()
        return lot

    def _make_room(self, lot: _Lot) -> None:
        """Let another command start beside one that takes long; as many as may run at all may do so."""
        self._slow.add(lot)
        self._dispatch()

    async def _serve(self, lot: _Lot) -> None:
        patience = asyncio.get_running_loop().call_later(trials.SLOW, self._make_room, lot)
        try:
            await self._attempt(lot)
        except asyncio.CancelledError:
            for job in lot.jobs:
                job.future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - nobody may wait for ever, whatever went wrong
            for job in lot.jobs:
                job.failed(error)
        finally:
            patience.cancel()
            self._slow.discard(lot)
            self._running -= 1
            self._dispatch()
        self._start_ahead()

    async def _attempt(self, lot: _Lot) -> None:
        """Ask a command; what it does not answer is asked for again, in smaller parts."""
        try:
            within = min(TOGETHER, self.limits.wall_clock) if len(lot.jobs) > 1 else self.limits.wall_clock
            code, output, stderr = await self._ask(self._waiting() or self._start(*_EXPORT), lot.text(), within)
        except LimitExceeded as error:
            if len(lot.jobs) == 1:
                lot.jobs[0].failed(error)
            else:
                self._again(lot.jobs, set(range(len(lot.jobs))))
            return
        if code == 0 and lot.answer(output):
            return
        if len(lot.jobs) == 1:
            self.counters.refused += 1
            lot.jobs[0].answered(Refusal(stderr))
        else:
            self._again(lot.jobs, lot.named(stderr))

    def _again(self, jobs: list[_Job], named: set[int]) -> None:
        """Ask again: those that were named each alone."""
        for index, job in reversed(list(enumerate(jobs))):
            self._queue.appendleft(dataclasses.replace(job, alone=True) if index in named else job)

    # Commands.

    def _start(self, *arguments: str) -> Child:
        try:
            return self._sandbox.start(*arguments)
        except OSError as error:
            raise errors.Transient(f"the cue command cannot be started: {error}") from error

    async def _ask(self, child: Child, text: str, within: float) -> tuple[int, bytes, str]:
        self.counters.commands += 1
        return await child.ask(text, within)

    def _waiting(self) -> Child | None:
        """The command that was started ahead of time, if there is one."""
        child, self._ahead = self._ahead, None
        if child is not None and not child.waits:
            child.close()
            return None
        return child

    def _start_ahead(self) -> None:
        """Have a command that waits, unless there is more to do than to wait."""
        if self.limits.ahead and not self._closed and not self._queue and self._ahead is None:
            with contextlib.suppress(OSError):  # the next program meets the same error and says so
                self._ahead = self._sandbox.start(*_EXPORT)


def _abandon(jobs: list[_Job], task: asyncio.Task[None], _done: asyncio.Future[bytes | Refusal]) -> None:
    """End a command that nobody waits for any more."""
    # Told twice, it would not wait for the end of its process.
    if not task.cancelling() and all(job.future.cancelled() for job in jobs):
        task.cancel()


def _clear_leftovers() -> None:
    """Remove the working directories of processes that were killed."""
    for folder in Path(_fast_directory() or tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        owner = folder.name.removeprefix(PREFIX).split("-", 1)[0]
        if owner.isdigit() and not _is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _fast_directory() -> str | None:
    """A directory in memory where there is one: programs live for milliseconds."""
    shared = Path("/dev/shm")  # noqa: S108 - files lie in a fresh directory of our own below it
    return str(shared) if shared.is_dir() and os.access(shared, os.W_OK) else None


def loads(document: bytes) -> dict[str, object]:
    """The JSON object that a program answered with."""
    value = orjson.loads(document)
    if not isinstance(value, dict):
        raise errors.WorkflowError("the cue command answered with something else than an object")
    return value
