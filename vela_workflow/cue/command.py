"""The ``cue`` command: the only place that starts it.

Programs come from users, so every command is held in: a time limit, limits on CPU time and memory, an empty
environment, a directory of its own, no registry and no network, and a bound on what it may print. Programs are
independent packages of one module, so one command can be asked for many at once: while the allowed number of
commands (about the number of cores) is busy, programs queue up, and the next command takes all that wait. With nothing
waiting, a program goes alone at once. Any failure empties the output of a command; then the program that its message
names is taken out and judged alone, and the rest is asked for again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import itertools
import os
import re
import resource
import shutil
import tempfile
from collections import deque
from pathlib import Path

import orjson

from vela_workflow import errors
from vela_workflow.cue import messages
from vela_workflow.cue.ahead import Ahead
from vela_workflow.cue.library import Library
from vela_workflow.cue.naming import OUT

CUE_LANGUAGE = "v0.17.0"
"""The language version that programs are read with, so that a newer command changes nothing."""


_EXPORT = ("export", "--out", "json", "-e", OUT)

PREFIX = "vela-workflow-cue-"
"""How the names of working directories begin; the process follows."""


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What one command may use. Times in seconds, sizes in bytes.

    ``ahead``: while there is nothing to do, one command is started ahead of time; for programs that run for long.
    """

    wall_clock: float = 20.0
    cpu: int = 15
    memory: int = 1024 * 1024 * 1024
    output: int = 16 * 1024 * 1024
    commands: int = max(1, os.cpu_count() or 1)
    batch: int = 32
    ahead: bool = False


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


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """The command refused a program; ``stderr`` is what it printed."""

    stderr: str


@dataclasses.dataclass(slots=True)
class _Job:
    text: str
    alone: bool
    future: asyncio.Future[bytes | Refusal]


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
        self._numbers = itertools.count()
        self._queue: deque[_Job] = deque()
        self._asked: set[asyncio.Future[bytes | Refusal]] = set()
        self._running = 0
        self._closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._installed: set[str] = set()
        self._ahead: Ahead | None = None
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
        self._dispatch()
        return await future

    async def run(self, text: str, *arguments: str) -> tuple[int, bytes, str]:
        """Run one command on one program; ``arguments`` precede the package. Returns exit code, output, errors."""
        folder = self._root / f"w{next(self._numbers)}"
        try:
            self._lay_out(folder, [text])
            return await self._process([*arguments, "./p0"], folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

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
        while self._queue and self._running < self.limits.commands:
            jobs = self._take()
            if jobs:
                self._running += 1
                task = asyncio.get_running_loop().create_task(self._serve(jobs))
                self._tasks.add(task)
                for job in jobs:
                    job.future.add_done_callback(functools.partial(_abandon, jobs, task))
                task.add_done_callback(self._tasks.discard)

    def _take(self) -> list[_Job]:
        jobs: list[_Job] = []
        while self._queue and len(jobs) < self.limits.batch:
            if self._queue[0].future.cancelled():
                self._queue.popleft()
            elif self._queue[0].alone:
                return jobs or [self._queue.popleft()]
            else:
                jobs.append(self._queue.popleft())
        return jobs

    async def _serve(self, jobs: list[_Job]) -> None:
        try:
            if len(jobs) == 1 and await self._ask_ahead(jobs[0]):
                jobs = []
            while jobs:
                jobs = await self._attempt(jobs)
        except asyncio.CancelledError:
            for job in jobs:
                job.future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - nobody may wait for ever, whatever went wrong
            for job in jobs:
                _fail(job, error)
        finally:
            self._running -= 1
            self._dispatch()
        await self._start_ahead()

    async def _attempt(self, jobs: list[_Job]) -> list[_Job]:
        """Run a batch; returns the programs that still have to be asked for."""
        folder = self._root / f"w{next(self._numbers)}"
        try:
            self._lay_out(folder, [job.text for job in jobs])
            packages = [f"./p{index}" for index in range(len(jobs))]
            code, output, stderr = await self._process([*_EXPORT, *packages], folder)
            if code == 0:
                return self._answer(jobs, output)
        except LimitExceeded as error:
            if len(jobs) == 1:
                _fail(jobs[0], error)
                return []
            return self._split(jobs)
        except OSError as error:
            for job in jobs:
                _fail(job, errors.Transient(f"the cue command cannot be started: {error}"))
            return []
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return self._refused(jobs, stderr)

    def _refused(self, jobs: list[_Job], stderr: str) -> list[_Job]:
        if len(jobs) == 1:
            self.counters.refused += 1
            if not jobs[0].future.done():
                jobs[0].future.set_result(Refusal(stderr))
            return []
        named = {int(match[1]) for match in re.finditer(r"\bp(\d+)/" + re.escape(messages.PROGRAM_FILE), stderr)}
        named &= set(range(len(jobs)))
        if not named:
            return self._split(jobs)
        for index in named:
            self._queue.appendleft(dataclasses.replace(jobs[index], alone=True))
        return [job for index, job in enumerate(jobs) if index not in named]

    def _split(self, jobs: list[_Job]) -> list[_Job]:
        for job in jobs:
            self._queue.appendleft(dataclasses.replace(job, alone=True))
        return []

    def _answer(self, jobs: list[_Job], output: bytes) -> list[_Job]:
        documents = _documents(output) if len(jobs) > 1 else [output]
        if len(documents) != len(jobs):
            return self._split(jobs)
        for job, document in zip(jobs, documents, strict=True):
            if not job.future.done():
                job.future.set_result(document)
        return []

    # The command that is started ahead of time.

    async def _ask_ahead(self, job: _Job) -> bool:
        """Let the command that waits judge a program; false when there is none, or it did not answer."""
        kept = self._ahead
        if kept is None or not kept.started:
            return False
        self._ahead = None
        if not kept.waits:
            kept.close()
            return False
        self.counters.commands += 1
        try:
            async with asyncio.timeout(self.limits.wall_clock):
                code, output = await kept.ask(job.text)
        except TimeoutError:
            _fail(job, LimitExceeded(f"the evaluation took longer than {self.limits.wall_clock:g} s"))
            return True
        except OSError:
            return False  # It ended while it waited.
        finally:
            kept.close()
        if code == 0 and not job.future.done():
            job.future.set_result(output)
        return code == 0

    async def _start_ahead(self) -> None:
        """Have a command that waits, unless there is more to do than to wait."""
        if not self.limits.ahead or self._closed or self._queue or self._ahead is not None:
            return
        kept = self._ahead = Ahead(self.limits.output)
        try:
            transport, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: kept,
                self.binary,
                *_EXPORT,
                "-",
                cwd=self._root,
                env=self._environment(self._root),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError:
            self._ahead = None  # The next program meets the same error and says so.
            return
        self._restrict(transport.get_pid())
        if self._closed:
            kept.close()

    # Processes.

    @staticmethod
    def _lay_out(folder: Path, texts: list[str]) -> None:
        folder.mkdir()
        for index, text in enumerate(texts):
            package = folder / f"p{index}"
            package.mkdir()
            (package / messages.PROGRAM_FILE).write_text(text)

    async def _process(self, arguments: list[str], folder: Path) -> tuple[int, bytes, str]:
        self.counters.commands += 1
        process = await asyncio.create_subprocess_exec(
            self.binary,
            *arguments,
            cwd=folder,
            env=self._environment(folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self._restrict(process.pid)
        try:
            async with asyncio.timeout(self.limits.wall_clock):
                output, stderr = await self._read(process)
                code = await process.wait()
        except TimeoutError:
            raise LimitExceeded(f"the evaluation took longer than {self.limits.wall_clock:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if code < 0 or (code == 2 and "out of memory" in stderr):
            raise LimitExceeded("the evaluation needed more memory or CPU time than it may have")
        return code, output, stderr

    def _environment(self, folder: Path) -> dict[str, str]:
        return {
            "HOME": str(folder),
            "CUE_CACHE_DIR": str(folder / "cache"),
            "CUE_CONFIG_DIR": str(folder / "config"),
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

    async def _read(self, process: asyncio.subprocess.Process) -> tuple[bytes, str]:
        assert process.stdout is not None
        assert process.stderr is not None
        output, stderr = await asyncio.gather(
            _bounded(process.stdout, self.limits.output), _bounded(process.stderr, self.limits.output)
        )
        return output, stderr.decode("utf-8", "replace")


async def _bounded(stream: asyncio.StreamReader, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := await stream.read(256 * 1024):
        size += len(chunk)
        if size > limit:
            raise LimitExceeded(f"the evaluation printed more than {limit // (1024 * 1024)} MiB")
        chunks.append(chunk)
    return b"".join(chunks)


def _documents(output: bytes) -> list[bytes]:
    """Cut the stream of JSON objects that a command prints for several packages."""
    documents = re.split(rb"(?<=^\})\n", output, flags=re.MULTILINE)
    return [document for document in documents if document.strip()]


def _abandon(jobs: list[_Job], task: asyncio.Task[None], _done: asyncio.Future[bytes | Refusal]) -> None:
    """End a command that nobody waits for any more."""
    # Told twice, it would not wait for the end of its process.
    if not task.cancelling() and all(job.future.cancelled() for job in jobs):
        task.cancel()


def _fail(job: _Job, error: Exception) -> None:
    if not job.future.done():
        job.future.set_exception(error)


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
