"""Changing text at chosen places without losing where everything was.

``Rewrite`` collects edits on a text and then writes the changed text, together with the pieces of the original in it,
so that a position in the output (an error of the ``cue`` command) can be led back to the template.
"""

from __future__ import annotations

import bisect
import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """``length`` characters of the original from ``source`` stand at ``start`` of the output."""

    start: int
    source: int
    length: int


class Rewrite:
    """Edits on one text. Spans may nest; what wraps a larger span is written outside."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._inserts: list[tuple[int, int, int, int, str]] = []
        self._cuts: list[tuple[int, int]] = []

    def insert(self, position: int, text: str, *, size: int = 0, rank: int = 0) -> None:
        """Put ``text`` before ``position``; ``size`` is the span it belongs to, larger ones come first."""
        self._inserts.append((position, 1, -size, rank, text))

    def wrap(self, start: int, end: int, before: str, after: str, *, rank: int = 0) -> None:
        """Put ``before`` and ``after`` around a span; of equal spans the lower ``rank`` is outside."""
        size = end - start
        self._inserts.append((start, 1, -size, rank, before))
        self._inserts.append((end, 0, size, -rank, after))

    def cut(self, start: int, end: int) -> None:
        """Leave a span out."""
        self._cuts.append((start, end))

    def write(self, start: int = 0, end: int | None = None) -> tuple[str, list[Piece]]:
        """The changed text of a span of the original and the pieces of the original in it."""
        stop = len(self.text) if end is None else end
        marks = [(at, "insert", text) for at, _, _, _, text in sorted(self._inserts) if start <= at <= stop]
        marks += [(first, "cut", str(last)) for first, last in self._cuts if start <= first < stop]
        marks.sort(key=lambda mark: mark[0])
        output: list[str] = []
        pieces: list[Piece] = []
        length = 0
        position = start

        def copy(until: int) -> None:
            nonlocal length, position
            if until > position:
                pieces.append(Piece(length, position, until - position))
                output.append(self.text[position:until])
                length += until - position
                position = until

        for at, kind, value in marks:
            copy(at)
            if kind == "insert":
                output.append(value)
                length += len(value)
            else:
                position = max(position, int(value))
        copy(stop)
        return "".join(output), pieces


class SourceMap:
    """From places in a program to places in the template it was made from."""

    def __init__(self, program: str, template: str, pieces: list[Piece]) -> None:
        self._pieces = sorted(pieces, key=lambda piece: piece.start)
        self._starts = [piece.start for piece in self._pieces]
        self._program = program
        self._template = template

    def locate(self, line: int, column: int) -> tuple[int, int] | None:
        """Line and column in the template for those in the program; ``None`` for text of ours.

        Text of ours that was put before something on the same line counts as the beginning of that. The ``cue`` command
        counts columns in bytes, the result counts them in characters.
        """
        offset = _offset(self._program, line, column)
        index = bisect.bisect_right(self._starts, offset) - 1
        if index >= 0:
            piece = self._pieces[index]
            if offset < piece.start + piece.length:
                return place(self._template, piece.source + offset - piece.start)
        if index + 1 < len(self._pieces):
            following = self._pieces[index + 1]
            if "\n" not in self._program[offset : following.start]:
                return place(self._template, following.source)
        return None


def _offset(text: str, line: int, column: int) -> int:
    start = 0
    for _ in range(line - 1):
        newline = text.find("\n", start)
        if newline < 0:
            return len(text)
        start = newline + 1
    end = text.find("\n", start)
    content = text[start : len(text) if end < 0 else end]
    return start + len(content.encode()[: max(column - 1, 0)].decode("utf-8", "ignore"))


def offset_of(text: str, line: int, column: int) -> int:
    """The character offset of a line and column, both counted from 1; the inverse of ``place``."""
    start = 0
    for _ in range(line - 1):
        start = text.find("\n", start) + 1
    return start + column - 1


def place(text: str, offset: int) -> tuple[int, int]:
    """Line and column, counted from 1, of a character offset."""
    line = text.count("\n", 0, offset) + 1
    return line, offset - text.rfind("\n", 0, offset)
