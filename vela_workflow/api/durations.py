"""Durations as users write them: ``30s``, ``1h30m``, ``1.5h``, ``300ms``, ``2d``.

The syntax is that of Go, which the whole Kubernetes world writes, plus ``d`` for days of 24 hours (decisions 12). A
number without a unit is refused rather than guessed, with a message that says what to write; only ``0`` needs no unit,
as in Go. Computation is exact, down to the microsecond; what is finer is cut off.
"""

from __future__ import annotations

import re
from datetime import timedelta
from fractions import Fraction
from typing import Final

from vela_workflow import errors

UNITS: Final[dict[str, Fraction]] = {
    "ns": Fraction(1, 1000),
    "us": Fraction(1),
    "µs": Fraction(1),  # micro sign, U+00B5
    "μs": Fraction(1),  # Greek letter mu, U+03BC
    "ms": Fraction(1000),
    "s": Fraction(1_000_000),
    "m": Fraction(60_000_000),
    "h": Fraction(3_600_000_000),
    "d": Fraction(86_400_000_000),
}
"""Microseconds in each unit."""

MEANT: Final[dict[str, str]] = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    "D": "d", "day": "d", "days": "d", "H": "h", "M": "m", "S": "s",
}  # fmt: skip
"""Units that people write by mistake, and what they most likely mean."""

KNOWN: Final = "ns, us, ms, s, m, h, d"
LENGTH_LIMIT: Final = 64
MAX_MICROSECONDS: Final = -timedelta.min // timedelta(microseconds=1)

# Linear on any input: number and unit share no character, and every group needs one character at least.
_PART: Final = re.compile(r"([0-9]*)(?:(\.)([0-9]*))?([^0-9.]*)")
_BARE: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?|[-+]?\.[0-9]+")
_ZERO: Final = re.compile(r"[-+]?0")


def parse(text: str) -> timedelta:
    """Read a duration.

    Raises ``errors.Invalid`` with one problem, whose message names the text and what is wrong with it: nothing
    written, a number without a unit, an unknown unit, no number before a unit, or too long a time (decisions 12).
    """
    if len(text) > LENGTH_LIMIT:
        raise _invalid(text, f"it is longer than {LENGTH_LIMIT} characters")
    if any(character.isspace() for character in text):
        raise _invalid(text, "it contains white space; write it as in 1h30m")
    if _ZERO.fullmatch(text):
        return timedelta(0)
    if _BARE.fullmatch(text):
        raise _invalid(text, f"a bare number has no unit; write {text}s, {text}m or {text}h")
    negative = text.startswith("-")
    rest = text[1:] if text[:1] in ("-", "+") else text
    if not rest:
        raise _invalid(text, "write a number and a unit, such as 30s, 5m or 1h30m")
    total = Fraction(0)
    for part in _PART.finditer(rest):
        if part.group():
            total += _microseconds(text, part)
    if total > MAX_MICROSECONDS:
        raise _invalid(text, "it is too long")
    return timedelta(microseconds=-int(total) if negative else int(total))


def _microseconds(text: str, part: re.Match[str]) -> Fraction:
    whole, _, fraction, unit = part.groups()
    if unit and unit not in UNITS:
        hint = f'; write "{MEANT[unit]}"' if unit in MEANT else ""
        raise _invalid(text, f'unknown unit "{unit}" (known are {KNOWN}){hint}')
    if not whole and not fraction:
        raise _invalid(text, f'there is no number before "{part.group()}"')
    if not unit:
        raise _invalid(text, f'there is no unit after "{part.group()}" (known are {KNOWN})')
    number = Fraction(int(whole or "0"))
    if fraction:
        number += Fraction(int(fraction), 10 ** len(fraction))
    return number * UNITS[unit]


def _invalid(text: str, problem: str) -> errors.Invalid:
    shown = text if len(text) <= LENGTH_LIMIT else text[:LENGTH_LIMIT] + "…"
    return errors.Invalid([errors.Problem(f'invalid duration "{shown}": {problem}')])


def format(duration: timedelta) -> str:
    """Write a duration so that people read it and ``parse`` gives it back: ``2d``, ``1h30m``, ``1.5s``, ``300ms``."""
    micros = duration // timedelta(microseconds=1)
    if micros == 0:
        return "0s"
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    if micros < 1000:
        return f"{sign}{micros}us"
    if micros < 1_000_000:
        return f"{sign}{_decimal(micros, 1000)}ms"
    parts = []
    for unit in ("d", "h", "m"):
        count, micros = divmod(micros, int(UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    if micros:
        parts.append(f"{_decimal(micros, 1_000_000)}s")
    return sign + "".join(parts)


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    digits = str(rest).zfill(len(str(scale)) - 1).rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
