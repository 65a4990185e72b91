"""Time, rate limiter, metrics and helpers: everything that needs neither network nor cluster."""

from __future__ import annotations

import json
import logging
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.providers.support import Memory, call
from vela_workflow import errors
from vela_workflow.providers import arguments
from vela_workflow.providers.contract import Effect
from vela_workflow.providers.http import request
from vela_workflow.providers.http.limiter import Limiter
from vela_workflow.providers.legacy import package as legacy
from vela_workflow.providers.metrics import check, condition
from vela_workflow.providers.time import layout
from vela_workflow.providers.time import package as times
from vela_workflow.providers.util import package as util

# reason: date, layout, the moment in UTC, and how it is written back
DATES: dict[str, tuple[str, str, str, str]] = {
    "the default": ("2024-05-06T07:08:09Z", layout.RFC3339, "2024-05-06T07:08:09", "2024-05-06T07:08:09Z"),
    "an offset": ("2024-05-06T07:08:09+02:00", layout.RFC3339, "2024-05-06T05:08:09", "2024-05-06T05:08:09Z"),
    "a fraction that the layout leaves out": (
        "2024-05-06T07:08:09.25Z",
        layout.RFC3339,
        "2024-05-06T07:08:09.250",
        "2024-05-06T07:08:09Z",
    ),
    "a date alone": ("2024-05-06", "2006-01-02", "2024-05-06T00:00:00", "2024-05-06"),
    "date and time": ("2024-05-06 17:08:09", "2006-01-02 15:04:05", "2024-05-06T17:08:09", "2024-05-06 17:08:09"),
    "names and a zone": (
        "Mon, 06 May 2024 07:08:09 UTC",
        "Mon, 02 Jan 2006 15:04:05 MST",
        "2024-05-06T07:08:09",
        "Mon, 06 May 2024 07:08:09 UTC",
    ),
    "full names": (
        "Monday, 06-May-24 07:08:09 UTC",
        "Monday, 02-Jan-06 15:04:05 MST",
        "2024-05-06T07:08:09",
        "Monday, 06-May-24 07:08:09 UTC",
    ),
    "the month in full": ("May 6, 2024", "January 2, 2006", "2024-05-06T00:00:00", "May 6, 2024"),
    "twelve hours": ("12:30AM", "3:04PM", "0001-01-01T00:30:00", "12:30AM"),
    "the afternoon": ("3:04pm", "3:04pm", "0001-01-01T15:04:00", "3:04pm"),
    "a day with a space": ("May  6 07:08", "Jan _2 15:04", "0001-05-06T07:08:00", "May  6 07:08"),
    "the last century": ("31/12/99", "02/01/06", "1999-12-31T00:00:00", "31/12/99"),
    "milliseconds": ("07:08:09.120", "15:04:05.000", "0001-01-01T07:08:09.120", "07:08:09.120"),
    "a fraction of any length": ("07:08:09.12", "15:04:05.999", "0001-01-01T07:08:09.120", "07:08:09.12"),
    "a day of the year": ("2024-060", "2006-002", "2024-02-29T00:00:00", "2024-060"),
    "an offset without a colon": ("07:08 -0130", "15:04 -0700", "0001-01-01T08:38:00", "08:38 +0000"),
}


@pytest.mark.parametrize(("text", "form", "moment", "back"), DATES.values(), ids=DATES)
def test_layouts(text: str, form: str, moment: str, back: str) -> None:
    parsed = layout.parse(text, form).astimezone(UTC)
    assert parsed == datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert layout.write(parsed, form) == back


@pytest.mark.parametrize(
    ("text", "form"),
    [("2024-05-06", layout.RFC3339), ("2024-02-30", "2006-01-02"), ("x", "2006"), ("", "15:04")],
)
def test_dates_that_are_none(text: str, form: str) -> None:
    with pytest.raises(ValueError, match="date"):
        layout.parse(text, form)


def test_the_name_of_a_zone_that_is_ambiguous() -> None:
    with pytest.raises(ValueError, match="the zone CET, a name that stands for no certain offset"):
        layout.parse("07:08 CET", "15:04 MST")
    assert layout.parse("07:08 CET +0100", "15:04 MST -0700").astimezone(UTC).hour == 6


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)))
def test_what_is_written_is_read_back(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC, microsecond=0)
    assert layout.parse(layout.write(moment)) == moment


async def test_time_stamps_both_ways() -> None:
    there = await times.OPERATIONS["timestamp"].run(call({"date": "1969-12-31T23:59:58.5Z", "layout": ""}))
    assert there.value == {"timestamp": -2}
    back = await times.OPERATIONS["date"].run(call({"timestamp": -2, "layout": ""}))
    assert back.value == {"date": "1969-12-31T23:59:58Z"}


@pytest.mark.parametrize(
    ("do", "args", "message"),
    [
        ("timestamp", {"date": ""}, "empty date to convert"),
        ("timestamp", {"date": "never"}, 'date: the date "never" does not have the layout'),
        ("date", {"timestamp": 10**15}, "years 1 to 9999"),
        ("date", {"timestamp": "1"}, "timestamp must be an integer"),
    ],
)
async def test_time_arguments_that_are_wrong(do: str, args: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.Terminal, match=message):
        await times.OPERATIONS[do].run(call(args))


def test_a_bucket_is_full_at_first_and_refills() -> None:
    limiter = Limiter()
    assert [limiter.take("GET-u", 2, 10, now) for now in (0, 0, 0)] == [0, 0, 10]
    assert limiter.take("GET-u", 2, 10, 4) == 6
    assert limiter.take("GET-u", 2, 10, 10) == 0
    assert limiter.take("GET-u", 2, 10, 1000) == 0


def test_buckets_do_not_share_and_new_settings_make_a_new_one() -> None:
    limiter = Limiter()
    assert limiter.take("GET-u", 1, 10, 0) == 0
    assert limiter.take("GET-v", 1, 10, 0) == 0
    assert limiter.take("GET-u", 1, 10, 0) > 0
    assert limiter.take("GET-u", 1, 5, 0) == 0


def test_only_the_buckets_used_last_are_kept() -> None:
    limiter = Limiter(size=2)
    for key in ("a", "b", "a", "c"):
        limiter.take(key, 2, 10, 0)
    assert limiter.take("a", 2, 10, 0) > 0, "a was used before c and is kept"
    assert limiter.take("b", 2, 10, 0) == 0, "b was forgotten"


CONDITIONS = [
    (">=0.95", 0.95, True),
    (">=0.95", 0.94, False),
    ("== 1", 1, True),
    (" < 3 ", 3, False),
    ("<=3", 3, True),
    ("!=2", 3, True),
    (">-1e3", -999, True),
    (">1 && <3", 2, True),
    (">1 && <3", 3, False),
    ("<1 || >3 && <5", 4, True),
    ("<1 || >3 && <5", 2, False),
    (">=0", float("nan"), False),
]


@pytest.mark.parametrize(("text", "value", "expected"), CONDITIONS)
def test_conditions(text: str, value: float, expected: bool) -> None:
    assert condition.holds(value, text) is expected


@pytest.mark.parametrize("text", ["", "0.95", "=1", ">", ">= x", ">1 &&", "> 1; rm", ">1 and <2"])
def test_conditions_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no condition"):
        condition.holds(1, text)


RULE = check.Rule(">=1", "5m", "2m", timedelta(minutes=5), timedelta(minutes=2))
Row = tuple[int, bool, bool, bool, str]
# reason: (seconds, condition holds, result, failed, part of the message) in the order of time
HISTORIES: dict[str, list[Row]] = {
    "passes after the duration": [
        (0, True, False, False, "The healthy condition should be >=1, and the query result is 7, indicating success."),
        (299, True, False, False, "The success has persisted for 4m59s, with success duration being 5m."),
        (300, True, True, False, "The metric check has passed successfully."),
    ],
    "fails after the failure duration": [
        (
            0,
            False,
            False,
            False,
            "indicating failure, with the failure duration being 2m. This is first failed checking.",
        ),
        (119, False, False, False, "The failure has persisted for 1m59s, with the failure duration being 2m."),
        (120, False, False, True, "The check has terminated."),
    ],
    "a failure between starts the success anew": [
        (0, True, False, False, "indicating success"),
        (200, False, False, False, "first failed checking"),
        (250, True, False, False, "indicating success."),
        (400, True, False, False, "persisted for 2m30s"),
        (550, True, True, False, "passed"),
    ],
    "a success between starts the failure anew": [
        (0, False, False, False, "first failed checking"),
        (100, True, False, False, "indicating success"),
        (110, False, False, False, "first failed checking"),
        (220, False, False, False, "persisted for 1m50s"),
    ],
}


@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES)
def test_metric_checks_over_time(history: list[Row]) -> None:
    state = check.State()
    for seconds, holds, result, failed, message in history:
        verdict = check.judge(RULE, state, value="7", holds=holds, now=1000 + seconds)
        assert (verdict.result, verdict.failed) == (result, failed), seconds
        assert message in verdict.message
        state = verdict.state
        assert not (state.success and state.failure)


async def test_bytes_become_text() -> None:
    assert (await util.OPERATIONS["string"].run(call({"bt": "w6R4"}))).value == {"str": "äx"}


@pytest.mark.parametrize("written", ["/w==", "not base64!"])
async def test_bytes_that_are_no_text_are_not_shown(written: str) -> None:
    with pytest.raises(errors.Terminal) as raised:
        await util.OPERATIONS["string"].run(call({"bt": written}))
    assert written not in str(raised.value)


async def test_merging_says_what_contradicts() -> None:
    outcome = await util.OPERATIONS["patch-k8s-object"].run(call({"value": {"a": 1}, "patch": {"b": 2}}))
    assert outcome.value == {"result": {"a": 1, "b": 2}}
    outcome = await util.OPERATIONS["patch-k8s-object"].run(call({"value": {"a": "1"}, "patch": {"a": "2"}}))
    assert outcome.value == {"err": 'result check err: a: conflicting values "2" and "1"'}


async def test_logs_are_written_and_noted(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory(memos={"logConfig": '{"other":{"data":true}}'})
    with caplog.at_level(logging.DEBUG, "vela_workflow.providers.util.operations"):
        await util.OPERATIONS["log"].run(call({"data": {"b": 1}, "level": 3}, variables=memory))
        await util.OPERATIONS["log"].run(call({"data": "fine print", "level": 4}, variables=memory))
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.INFO, '{"b": 1}'),
        (logging.DEBUG, "fine print"),
    ]
    assert caplog.records[0].__dict__["step_id"] == "abcdefghij"
    await util.OPERATIONS["log"].run(call({"level": 3, "source": {"url": "u"}}, variables=memory))
    await util.OPERATIONS["log"].run(call({"level": 3, "source": {"resources": [{"name": "n"}]}}, variables=memory))
    assert json.loads(memory.memos["logConfig"]) == {
        "other": {"data": True},
        "step": {"data": True, "source": {"url": "u", "resources": [{"name": "n"}]}},
    }


EFFECTS = [
    ({"method": "GET"}, Effect.READ),
    ({}, Effect.READ),
    ({"method": "HEAD"}, Effect.READ),
    ({"method": "POST"}, Effect.ONCE),
    ({"method": "DELETE"}, Effect.ONCE),
    ({"method": "POST", "repeat": False}, Effect.ONCE),
    ({"method": "POST", "repeat": True}, Effect.READ),
]


@pytest.mark.parametrize(("args", "effect"), EFFECTS)
def test_what_is_sent_once(args: dict[str, Any], effect: Effect) -> None:
    assert legacy.OPERATIONS["do"].classify(args) is effect


# reason: arguments of a request, part of the message
BAD_REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "no URL": ({}, "url must be a string"),
    "another scheme": ({"url": "file:///etc/passwd"}, "url must begin with http"),
    "no host": ({"url": "http:///x"}, "url"),
    "method": ({"url": "http://h", "method": "BREW"}, "method must be one of"),
    "timeout without unit": ({"url": "http://h", "request": {"timeout": "3"}}, "request.timeout: invalid duration"),
    "no timeout": ({"url": "http://h", "request": {"timeout": "0s"}}, "request.timeout must be longer"),
    "period": (
        {"url": "http://h", "request": {"ratelimiter": {"limit": 1, "period": "often"}}},
        "request.ratelimiter.period: invalid duration",
    ),
    "limit": ({"url": "http://h", "request": {"rateLimiter": {"limit": 0, "period": "1s"}}}, "greater than 0"),
    "a header that brings another": ({"url": "http://h", "request": {"header": {"A": "b\r\nC: d"}}}, "line break"),
}


@pytest.mark.parametrize(("args", "message"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
async def test_requests_that_are_none(args: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.Terminal, match=message):
        await request.prepare(call(args))


async def test_a_request_is_shown_without_what_may_be_secret() -> None:
    prepared = await request.prepare(call({"url": "https://user:word@h:1/p?token=t#f"}))
    assert str(prepared) == "GET https://h:1/p"


def test_labels_are_text() -> None:
    given = {"a": 1, "b": True, "example.com/c": "x", "d": ""}
    assert arguments.labels({"f": given}, "f") == {"a": "1", "b": "true", "example.com/c": "x", "d": ""}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": None}, "f.a must be a string"),
        ({"a": {"b": "c"}}, "f.a must be a string"),
        ({"a": "x,b!=y"}, 'f.a: "x,b!=y" cannot be the value of a label'),
        ({"a": "-x"}, "cannot be the value"),
        ({"a": "x" * 64}, "cannot be the value"),
        ({"a in (x),b": "y"}, "cannot be the name of a label"),
        ({"": "y"}, "cannot be the name of a label"),
        ({"Up/a": "y"}, "cannot be the name of a label"),
    ],
)
def test_what_no_label_can_be_gets_into_no_selector(given: dict[str, Any], message: str) -> None:
    with pytest.raises(errors.Terminal, match=re.escape(message)):
        arguments.labels({"f": given}, "f")
