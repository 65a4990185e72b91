"""Dates in the layouts of Go: ``2006-01-02 15:04:05`` is how the reference time looks in that layout (ops 3.6).

A layout is split into elements (a year, a month, …) and the text between them; the table below says for each element
what it matches and how it is written. An element that a date leaves open is zero or one, and a date without a zone
is in UTC, as in Go.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

RFC3339: Final = "2006-01-02T15:04:05Z07:00"

MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
SHORT: Final = 3
PIVOT: Final = 69
"""Years of two digits from this one on are in the 20th century."""

UTC_NAMES: Final = frozenset({"UTC", "GMT", "Z"})
"""Names of zones that everybody means the same by."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a layout: the field it fills, what it matches and how a date in UTC is written in it."""

    field: str
    pattern: str
    write: Callable[[datetime], str]


def _names(names: tuple[str, ...]) -> str:
    return "|".join(names)


_OFFSET_COLON: Final = r"[+-]\d\d:\d\d"
_OFFSET: Final = r"[+-]\d{4}"
_SHORT_MONTHS: Final = tuple(name[:SHORT] for name in MONTHS)
_SHORT_DAYS: Final = tuple(name[:SHORT] for name in DAYS)

ELEMENTS: Final[dict[str, Element]] = {
    "January": Element("month_name", _names(MONTHS), lambda d: MONTHS[d.month - 1]),
    "Jan": Element("month_name", _names(_SHORT_MONTHS), lambda d: _SHORT_MONTHS[d.month - 1]),
    "Monday": Element("", _names(DAYS), lambda d: DAYS[d.weekday()]),
    "Mon": Element("", _names(_SHORT_DAYS), lambda d: _SHORT_DAYS[d.weekday()]),
    "MST": Element("zone_name", r"[A-Z]{1,5}", lambda _: "UTC"),
    "2006": Element("year", r"\d{4}", lambda d: f"{d.year:04}"),
    "__2": Element("year_day", r"[ \d]{2}\d", lambda d: f"{d.timetuple().tm_yday:3}"),
    "002": Element("year_day", r"\d{3}", lambda d: f"{d.timetuple().tm_yday:03}"),
    "01": Element("month", r"\d\d", lambda d: f"{d.month:02}"),
    "02": Element("day", r"\d\d", lambda d: f"{d.day:02}"),
    "03": Element("hour12", r"\d\d", lambda d: f"{d.hour % 12 or 12:02}"),
    "04": Element("minute", r"\d\d", lambda d: f"{d.minute:02}"),
    "05": Element("second", r"\d\d", lambda d: f"{d.second:02}"),
    "06": Element("short_year", r"\d\d", lambda d: f"{d.year % 100:02}"),
    "15": Element("hour", r"\d{1,2}", lambda d: f"{d.hour:02}"),
    "_2": Element("day", r"[ \d]?\d", lambda d: f"{d.day:2}"),
    "PM": Element("half", r"AM|PM", lambda d: "PM" if d.hour >= 12 else "AM"),
    "pm": Element("half", r"am|pm", lambda d: "pm" if d.hour >= 12 else "am"),
    "Z07:00": Element("offset", rf"Z|{_OFFSET_COLON}", lambda _: "Z"),
    "Z0700": Element("offset", rf"Z|{_OFFSET}", lambda _: "Z"),
    "Z07": Element("offset", r"Z|[+-]\d\d", lambda _: "Z"),
    "-07:00": Element("offset", _OFFSET_COLON, lambda _: "+00:00"),
    "-0700": Element("offset", _OFFSET, lambda _: "+0000"),
    "-07": Element("offset", r"[+-]\d\d", lambda _: "+00"),
    "1": Element("month", r"\d{1,2}", lambda d: str(d.month)),
    "2": Element("day", r"\d{1,2}", lambda d: str(d.day)),
    "3": Element("hour12", r"\d{1,2}", lambda d: str(d.hour % 12 or 12)),
    "4": Element("minute", r"\d{1,2}", lambda d: str(d.minute)),
    "5": Element("second", r"\d{1,2}", lambda d: str(d.second)),
}
"""The elements of Go's layouts."""

# The longest element wins, and a fraction of a second (.000, .999) is one of any length.
_SPLIT: Final = re.compile(
    r"[.,](?:0+|9+)(?!\d)|" + "|".join(re.escape(name) for name in sorted(ELEMENTS, key=len, reverse=True))
)


def parse(text: str, layout: str = RFC3339) -> datetime:
    """Read a date; raises ``ValueError`` that names the text and the layout."""
    pattern = []
    fields = []
    for part, is_element in _parts(layout):
        if not is_element:
            pattern.append(re.escape(part))
        elif part in ELEMENTS:
            pattern.append(f"({ELEMENTS[part].pattern})")
            fields.append(ELEMENTS[part].field)
            if ELEMENTS[part].field == "second" and not _fraction_follows(layout, part):
                pattern.append(r"((?:[.,]\d+)?)")  # Go takes a fraction that the layout does not mention.
                fields.append("fraction")
        else:
            pattern.append(r"([.,]\d+)" if "0" in part else r"((?:[.,]\d+)?)")
            fields.append("fraction")
    match = re.fullmatch("".join(pattern), text)
    if match is None:
        raise ValueError(f'the date "{text}" does not have the layout "{layout}"')
    found = {field: value for field, value in zip(fields, match.groups(), strict=True) if field}
    zone = found.get("zone_name", "UTC")
    if zone not in UTC_NAMES and "offset" not in found:
        raise ValueError(
            f'the date "{text}" is in the zone {zone}, a name that stands for no certain offset; use -0700'
        )
    try:
        return _moment(found)
    except (ValueError, OverflowError) as error:
        raise ValueError(f'there is no date "{text}": {error}') from error


def write(moment: datetime, layout: str = RFC3339) -> str:
    """Write a date in UTC."""
    moment = moment.astimezone(UTC)
    return "".join(_written(part, moment) if is_element else part for part, is_element in _parts(layout))


def _parts(layout: str) -> list[tuple[str, bool]]:
    """The layout as pieces, each with whether it is an element."""
    parts: list[tuple[str, bool]] = []
    end = 0
    for match in _SPLIT.finditer(layout):
        if match.start() > end:
            parts.append((layout[end : match.start()], False))
        parts.append((match.group(), True))
        end = match.end()
    if end < len(layout):
        parts.append((layout[end:], False))
    return parts


def _fraction_follows(layout: str, second: str) -> bool:
    rest = layout[layout.index(second) + len(second) :]
    return re.match(r"[.,](?:0+|9+)(?!\d)", rest) is not None


def _written(element: str, moment: datetime) -> str:
    known = ELEMENTS.get(element)
    if known is not None:
        return known.write(moment)
    digits = f"{moment.microsecond:06}".ljust(len(element) - 1, "0")[: len(element) - 1]
    if "0" in element:
        return element[0] + digits
    digits = digits.rstrip("0")
    return element[0] + digits if digits else ""


def _moment(found: dict[str, str]) -> datetime:
    hour = int(found.get("hour", 0))
    if "hour12" in found:
        hour = int(found["hour12"])
        half = found.get("half", "").upper()
        hour = {"PM": hour % 12 + 12, "AM": hour % 12}.get(half, hour)
    fraction = found.get("fraction", "")[1:7].ljust(6, "0")
    moment = datetime(
        _year(found),
        _month(found),
        int(found.get("day", "1")),
        hour,
        int(found.get("minute", 0)),
        int(found.get("second", 0)),
        int(fraction),
        tzinfo=_zone(found.get("offset", "Z")),
    )
    return moment + timedelta(days=int(found["year_day"]) - 1) if "year_day" in found else moment


def _year(found: dict[str, str]) -> int:
    if "short_year" in found:
        short = int(found["short_year"])
        return 1900 + short if short >= PIVOT else 2000 + short
    return int(found.get("year", 1))


def _month(found: dict[str, str]) -> int:
    if "month_name" in found:
        return _SHORT_MONTHS.index(found["month_name"][:SHORT]) + 1
    return int(found.get("month", 1))


def _zone(offset: str) -> timezone:
    if offset == "Z":
        return UTC
    digits = offset[1:].replace(":", "").ljust(4, "0")
    delta = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-delta if offset[0] == "-" else delta)
