"""Templates typed by somebody else: other white space, line breaks where CUE allows them, comments in odd places."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

_WORD = re.compile(
    r"""//[^\n]*|@\w+\((?:"[^"]*"|[^)"])*\)|[ \t]+|\n|_\|_|\.\.\.|[\w$#]+|!=|==|=~|<=|>=|&&|\|\||.""", re.DOTALL
)
_OPENING = re.compile(r'#*"')
_GOES_ON = frozenset("{ [ ( , : & | + && || == != < > <= >= =~".split())
"""Words behind which a line may break."""

_BREAKS = ["\n", "\n\n", '\n\t // c: {"}"\n\n', " // if x {\n", "\t\n  "]
_SPACES = [" ", "\t", "   "]
_BETWEEN = ["\n", " // c [(\n", "\t", ' \n\n // "\n']


def retyped(text: str, seed: int) -> str:
    """The same template in another hand."""
    chance = random.Random(seed)  # noqa: S311
    written: list[str] = []
    for word in _words(text):
        if word == "\n":
            written.append(chance.choice(_BREAKS))
        elif not word.strip(" \t"):
            written.append(chance.choice(_SPACES))
        else:
            written.append(word)
            if word in _GOES_ON and chance.random() < 0.3:
                written.append(chance.choice(_BETWEEN))
    found = "".join(written)
    return found.replace("\n", "\r\n") if chance.random() < 0.3 else found


def _words(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        match = _WORD.match(text, at)
        assert match is not None
        end = _string_end(text, at) if _OPENING.match(text, at) else match.end()
        yield text[at:end]
        at = end


def _string_end(text: str, at: int) -> int:
    """Where a string ends; what is interpolated in it may hold strings of its own."""
    opening = _OPENING.match(text, at)
    assert opening is not None
    hashes = "#" * (opening.end() - at - 1)
    at += len(hashes)
    quotes = '"""' if text.startswith('"""', at) else '"'
    at += len(quotes)
    while not text.startswith(quotes + hashes, at):
        if text.startswith(f"\\{hashes}(", at):
            at = _call_end(text, at + len(hashes) + 2)
        else:
            at += 2 if text[at] == "\\" and not hashes else 1
    return at + len(quotes) + len(hashes)


def _call_end(text: str, at: int) -> int:
    depth = 1
    while depth:
        if _OPENING.match(text, at):
            at = _string_end(text, at)
        else:
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            at += 1
    return at
