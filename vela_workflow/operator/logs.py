"""Log lines: one JSON object per line in a cluster, readable text at a terminal.

What a line is about (run, step, attempt, cluster) is bound where it becomes known and rides along with every line that
is logged inside, whoever logs it: the fields are in a context variable, which tasks inherit. Messages tell people what
happened; the fields are for machines.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import orjson

_BOUND: ContextVar[Mapping[str, Any]] = ContextVar("bound")

QUIET: Final[Mapping[str, int]] = {"kopf": logging.WARNING, "aiohttp": logging.WARNING, "opentelemetry": logging.ERROR}
"""Loggers of libraries that say more than anybody wants to read, with the least level that is shown."""

_CONTROL: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What steers terminals, or turns the direction of text."""


@contextlib.contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Everything that is logged inside carries these fields; empty ones are left out."""
    token = _BOUND.set({**_BOUND.get({}), **{key: value for key, value in fields.items() if value not in ("", None)}})
    try:
        yield
    finally:
        _BOUND.reset(token)


def fields() -> Mapping[str, Any]:
    """The fields that are bound here and now."""
    return _BOUND.get({})


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ``time``, ``level``, ``logger``, ``message``, the bound fields, ``error``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """A line for people, the bound fields at its end.

    Names and texts of users are in it, so nothing of them may look like a line of its own or steer a terminal: further
    lines are indented, other control characters written out.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is the library's
        """The line without a trace."""
        told = " ".join(f"{key}={value}" for key, value in getattr(record, "fields", {}).items())
        line = super().formatMessage(record)
        shown = f"{line} [{told}]" if told else line
        return _CONTROL.sub(lambda found: _visible(found[0]), shown)


def _visible(character: str) -> str:
    return "\n    " if character == "\n" else character.encode("unicode_escape").decode("ascii")


def _bind(record: logging.LogRecord) -> bool:
    record.fields = dict(fields())
    return True


def set_up(level: str, form: str) -> None:
    """Send all log lines of the process to standard error in the form ``text`` or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_bind)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)
