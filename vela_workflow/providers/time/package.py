"""The package ``vela/time`` and its operations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from vela_workflow.providers import arguments, schema
from vela_workflow.providers.contract import Call, Effect, Operation, Outcome, Package
from vela_workflow.providers.time import layout

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def to_timestamp(call: Call) -> Outcome:
    """``#DateToTimestamp``: seconds since 1970 of ``date`` as ``timestamp`` (ops 3.6)."""
    date = arguments.optional_text(call.args, "date")
    if not date:
        raise arguments.wrong("empty date to convert")
    form = arguments.optional_text(call.args, "layout") or layout.RFC3339
    try:
        moment = layout.parse(date, form)
    except ValueError as error:
        raise arguments.wrong(f"date: {error}") from error
    return Outcome({"timestamp": (moment - EPOCH) // timedelta(seconds=1)})


async def to_date(call: Call) -> Outcome:
    """``#TimestampToDate``: the date of ``timestamp`` in UTC as ``date`` (ops 3.6)."""
    timestamp = arguments.integer(call.args, "timestamp")
    form = arguments.optional_text(call.args, "layout") or layout.RFC3339
    try:
        moment = EPOCH + timedelta(seconds=timestamp)
    except OverflowError:
        raise arguments.wrong(f"timestamp {timestamp} is not in the years 1 to 9999") from None
    return Outcome({"date": layout.write(moment, form)})


OPERATIONS: Final = {
    "timestamp": Operation(to_timestamp, Effect.READ, legacy={"timestamp": "timestamp"}),
    "date": Operation(to_date, Effect.READ, legacy={"date": "date"}),
}
"""What carries out each ``#do``."""

PACKAGE: Final = Package("vela/time", "time", schema.read("time", "time"), OPERATIONS)
