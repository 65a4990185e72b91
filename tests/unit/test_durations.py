from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vela_workflow import errors
from vela_workflow.api import durations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("30s", timedelta(seconds=30), id="seconds"),
        pytest.param("5m", timedelta(minutes=5), id="minutes"),
        pytest.param("1h30m", timedelta(hours=1, minutes=30), id="two-units"),
        pytest.param("1.5h", timedelta(hours=1, minutes=30), id="fraction"),
        pytest.param(".5s", timedelta(milliseconds=500), id="fraction-without-whole"),
        pytest.param("1.s", timedelta(seconds=1), id="point-without-fraction"),
        pytest.param("2d", timedelta(days=2), id="days-beyond-go"),
        pytest.param("1d12h", timedelta(hours=36), id="days-with-hours"),
        pytest.param("300ms", timedelta(milliseconds=300), id="milliseconds"),
        pytest.param("7us", timedelta(microseconds=7), id="microseconds"),
        pytest.param("7µs", timedelta(microseconds=7), id="microseconds-micro-sign"),
        pytest.param("7μs", timedelta(microseconds=7), id="microseconds-greek-mu"),
        pytest.param("1500ns", timedelta(microseconds=1), id="nanoseconds-cut-off"),
        pytest.param("-1s", timedelta(seconds=-1), id="negative"),
        pytest.param("-1h30m", timedelta(minutes=-90), id="sign-holds-for-all-parts"),
        pytest.param("+2m", timedelta(minutes=2), id="plus"),
        pytest.param("30s1h", timedelta(seconds=3630), id="any-order-as-in-go"),
        pytest.param("1m1m", timedelta(minutes=2), id="repeated-unit-as-in-go"),
        pytest.param("0", timedelta(0), id="zero-needs-no-unit-as-in-go"),
        pytest.param("0s", timedelta(0), id="zero-with-unit"),
        pytest.param("0.1s", timedelta(milliseconds=100), id="exact-where-floats-are-not"),
        pytest.param("999999999d", timedelta(days=999_999_999), id="longest"),
        pytest.param("-999999999d", timedelta.min, id="longest-negative"),
    ],
)
def test_parse(text: str, expected: timedelta) -> None:
    assert durations.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("60", ['"60"', "bare number", "60s, 60m or 60h"], id="bare-number"),
        pytest.param("1.5", ["bare number", "1.5s"], id="bare-fraction"),
        pytest.param("-5", ["bare number", "-5s"], id="bare-negative"),
        pytest.param("5min", ['unknown unit "min"', 'write "m"'], id="min"),
        pytest.param("2 h", ["white space"], id="space-inside"),
        pytest.param(" 2h", ["white space"], id="space-before"),
        pytest.param("2h\n", ["white space"], id="newline-after"),
        pytest.param("1w", ['unknown unit "w"', "ns, us, ms, s, m, h, d"], id="unknown-unit"),
        pytest.param("1h30", ['no unit after "30"'], id="last-part-bare"),
        pytest.param("h", ['no number before "h"'], id="unit-only"),
        pytest.param(".s", ['no number before ".s"'], id="point-only"),
        pytest.param("", ["write a number and a unit"], id="empty"),
        pytest.param("-", ["write a number and a unit"], id="sign-only"),
        pytest.param("1h-30m", ['unknown unit "h-"'], id="sign-inside"),
        pytest.param("--1s", ["unknown unit"], id="two-signs"),
        pytest.param("1.2.3s", ['no unit after "1.2"'], id="two-points"),
        pytest.param("١s", ["unknown unit"], id="digits-of-other-scripts"),
        pytest.param("1000000000d", ["too long"], id="too-long-a-time"),
        pytest.param("9" * 5000 + "s", ["longer than 64 characters", "…"], id="too-long-a-text"),
    ],
)
def test_what_is_no_duration_is_refused_with_a_reason(text: str, said: list[str]) -> None:
    with pytest.raises(errors.Invalid) as caught:
        durations.parse(text)
    assert len(caught.value.problems) == 1
    for words in said:
        assert words in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(0), "0s"),
        (timedelta(seconds=30), "30s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(hours=1, minutes=30), "1h30m"),
        (timedelta(days=2), "2d"),
        (timedelta(days=1, seconds=1), "1d1s"),
        (timedelta(milliseconds=300), "300ms"),
        (timedelta(milliseconds=1, microseconds=500), "1.5ms"),
        (timedelta(seconds=1, milliseconds=500), "1.5s"),
        (timedelta(minutes=1, milliseconds=50), "1m0.05s"),
        (timedelta(microseconds=7), "7us"),
        (timedelta(minutes=-90), "-1h30m"),
    ],
)
def test_format(duration: timedelta, text: str) -> None:
    assert durations.format(duration) == text


@given(st.timedeltas())
def test_what_is_written_is_read_back(duration: timedelta) -> None:
    if abs(duration) <= timedelta(days=999_999_999):
        assert durations.parse(durations.format(duration)) == duration


@given(st.text(alphabet="0123456789.+-nuµmshdwx ", max_size=70))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = durations.parse(text)
    except errors.Invalid:
        return
    assert isinstance(read, timedelta)
