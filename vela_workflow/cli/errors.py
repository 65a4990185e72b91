"""How a command says that it did not do what it was asked to.

An error is one line for the person who typed the command; it becomes the exit code of the process, which scripts and
CI jobs read. Usage errors (2) are the command-line parser's own.
"""

from __future__ import annotations

import enum

from vela_workflow import errors


class ExitCode(enum.IntEnum):
    """Exit codes of all commands."""

    OK = 0
    """Done; for ``run --watch`` and ``wait``: the run got where it was awaited."""
    FAILED = 1
    """The command failed; for ``run --watch`` and ``wait``: so did the run, or it was terminated."""
    USAGE = 2
    """The command line makes no sense."""
    SUSPENDED = 3
    """The run waits for a person, and the command was told not to wait for that."""
    TIMEOUT = 4
    """The run did not get there within ``--timeout``; it goes on."""
    INTERRUPTED = 130
    """Ctrl-C; the run goes on."""


class CommandError(errors.WorkflowError):
    """The command failed; the text says what is wrong and what to do."""

    exit_code: ExitCode = ExitCode.FAILED


class TimedOut(CommandError):
    """What was awaited did not happen in time."""

    exit_code = ExitCode.TIMEOUT


class Interrupted(CommandError):
    """The person stopped waiting."""

    exit_code = ExitCode.INTERRUPTED


class ApiError(CommandError):
    """The API server refused; ``code`` is the HTTP status."""

    def __init__(self, message: str, *, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class NotFound(ApiError):
    """There is no such object; ``what`` is its name, empty when the server does not even know the kind."""

    def __init__(self, message: str, *, code: int = 404, what: str = "") -> None:
        super().__init__(message, code=code)
        self.what = what


class Forbidden(ApiError):
    """The user has no right to do that."""


class AlreadyExists(ApiError):
    """An object of that name is there already."""


class Conflict(ApiError):
    """The object was changed since it was read."""


class Gone(ApiError):
    """The version to watch from is too old."""


class Unreachable(ApiError):
    """The API server does not answer."""


def one_line(error: errors.WorkflowError) -> str:
    """The text of an error, bounded and on one line."""
    return " ".join(error.message.split())
