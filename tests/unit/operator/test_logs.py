"""Log lines hold what users wrote, and stay one line for one event."""

from __future__ import annotations

import logging

import orjson
import pytest

from vela_workflow.operator import logs

HOSTILE = "a\n2026-01-01 00:00:00,000 ERROR   root: forged\r\x1b[31mred\x9b\u202ethgir"


def record(message: str, **fields: str) -> logging.LogRecord:
    made = logging.LogRecord("name", logging.INFO, __file__, 1, "said: %s", (message,), None)
    made.fields = fields
    return made


@pytest.mark.parametrize(("message", "fields"), [(HOSTILE, {}), ("a", {"step": HOSTILE})], ids=["message", "field"])
def test_a_line_of_text_cannot_be_forged(message: str, fields: dict[str, str]) -> None:
    first, *rest = logs.TextFormatter().format(record(message, **fields)).split("\n")
    assert "said: a" in first
    assert rest
    assert all(line.startswith("    ") for line in rest)
    assert not set("\r\x1b\x9b\u202e") & set("".join(rest))
    assert "\\x1b[31mred" in rest[0]


def test_a_trace_keeps_its_lines() -> None:
    made = record("a")
    made.exc_info = (ValueError, ValueError("x"), None)
    assert logs.TextFormatter().format(made).endswith("\nValueError: x")


def test_a_line_of_json_is_one_line() -> None:
    line = logs.JsonFormatter().format(record(HOSTILE, step=HOSTILE))
    assert "\n" not in line
    assert orjson.loads(line)["step"] == HOSTILE
