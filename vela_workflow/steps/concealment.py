"""Values of Secrets, kept out of what is told of a step (decisions 18).

What an operation says of a failure, and what a template says by itself, may quote a value that came from a Secret: an
API server repeats the field that it refuses, a path or a duration is named that is none. So an attempt remembers the
texts that it got from Secrets, or by inputs that hold such values, and takes them out of every message. Short texts
stay: they are ``true`` or ``http`` more often than a secret, and would make messages unreadable.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, Final

LEAST: Final = 5
"""Characters of the shortest text that is taken out."""

HIDDEN: Final = "…"

_OPEN: Final = frozenset({"apiVersion", "kind", "metadata", "type"})
"""Fields of a Secret that are no secret."""


class Concealment:
    """The texts that must not be told."""

    def __init__(self) -> None:
        self._texts: set[str] = set()

    def take(self, value: Any) -> None:
        """Remember what is in a value: all its texts, and what those in base64 stand for."""
        for text in _texts(value):
            for form in (text, _decoded(text)):
                lines = form.splitlines() if "\n" in form else ()
                self._texts.update(one for one in (form, form.strip(), *lines) if len(one) >= LEAST)

    def told(self, message: str) -> str:
        """A message without those texts; also without the beginning of one at which the message was cut off."""
        for text in sorted(self._texts, key=len, reverse=True):
            message = message.replace(text, HIDDEN)
        if self._texts and message.endswith("…"):
            return _without_beginning(message[:-1], self._texts) + "…"
        return message


def _texts(value: Any) -> Iterator[str]:
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, Mapping):
            skipped = _OPEN if "metadata" in one else frozenset()
            todo += [item for key, item in one.items() if key not in skipped]
        elif isinstance(one, list):
            todo += one


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return ""


def _without_beginning(message: str, texts: set[str]) -> str:
    for text in texts:
        for length in range(min(len(text), len(message)), LEAST - 1, -1):
            if message.endswith(text[:length]):
                return message[:-length]
    return message
