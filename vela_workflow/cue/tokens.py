"""The words of CUE text.

``tokenize`` cuts CUE source into tokens with their offsets, the way the CUE scanner does: comments are dropped, a
comma is inserted at the end of a line after a token that can end an expression, and strings carry the tokens of
their interpolations. Nothing is evaluated and no grammar is known here; ``grammar.py`` builds on it.

Offsets are character offsets into the text.
"""

from __future__ import annotations

import dataclasses
import re

IDENT = "ident"
NUMBER = "number"
STRING = "string"
OPERATOR = "op"
COMMA = "comma"
ATTRIBUTE = "attribute"

KEYWORDS = frozenset({"if", "for", "let", "in"})

_IDENTIFIER = re.compile(r"(?:_?#)?[\w$]+|#|_#")
_NUMBER = re.compile(
    r"(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0o[0-7_]+|\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?[KMGTP]?i?|\.\d+)"
)
_OPERATOR = re.compile(r"\.\.\.|==|!=|<=|>=|=~|!~|&&|\|\||[-+*/%&|!=<>.:?,()\[\]{}~^]")
_STRING_START = re.compile(r"(#*)(\"\"\"|'''|\"|')")
_ENDS_EXPRESSION = frozenset({")", "]", "}", "?", "!", "..."})


class ScanError(Exception):
    """The text is not CUE; ``offset`` says where."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """One word; ``parts`` of a string are the token lists of its interpolations.

    ``text`` of an inserted comma is empty.
    """

    kind: str
    text: str
    start: int
    end: int
    parts: tuple[tuple[Token, ...], ...] = ()

    def is_op(self, text: str) -> bool:
        """Whether this is the operator or bracket ``text``."""
        return self.kind == OPERATOR and self.text == text

    def is_keyword(self, *names: str) -> bool:
        """Whether this is one of the words ``names``."""
        return self.kind == IDENT and self.text in names

    @property
    def is_plain_string(self) -> bool:
        """Whether this is a quoted string without interpolation."""
        return self.kind == STRING and not self.parts


def tokenize(text: str) -> list[Token]:
    """Cut CUE ``text`` into tokens; raises ``ScanError`` on an unterminated string or comment or a stray character."""
    tokens, end = _scan(text, 0, closing=False)
    assert end == len(text)
    return tokens


def _scan(text: str, start: int, *, closing: bool) -> tuple[list[Token], int]:
    """Scan from ``start``; with ``closing`` stop at the parenthesis that closes an interpolation."""
    tokens: list[Token] = []
    depth = 0
    position = start
    size = len(text)
    while position < size:
        char = text[position]
        if char == "\n":
            if tokens and _can_end(tokens[-1]):
                tokens.append(Token(COMMA, "", position, position))
            position += 1
        elif char in " \t\r\ufeff":
            position += 1
        elif text.startswith("//", position):
            newline = text.find("\n", position)
            position = size if newline < 0 else newline
        elif closing and char == ")" and depth == 0:
            return tokens, position
        else:
            token = _next(text, position)
            if token.kind == OPERATOR:
                depth += {"(": 1, ")": -1}.get(token.text, 0)
                if token.text == ",":
                    token = dataclasses.replace(token, kind=COMMA)
            tokens.append(token)
            position = token.end
    if closing:
        raise ScanError("an interpolation \\( is not closed", start)
    return tokens, position


def _can_end(token: Token) -> bool:
    if token.kind == OPERATOR:
        return token.text in _ENDS_EXPRESSION
    if token.kind == IDENT:
        return token.text not in KEYWORDS
    return token.kind != COMMA


def _next(text: str, position: int) -> Token:
    match = _STRING_START.match(text, position)
    if match:
        return _string(text, position, hashes=match[1], quote=match[2])
    if text[position] == "@":
        return _attribute(text, position)
    match = _NUMBER.match(text, position)
    if match and (text[position].isdigit() or text[position] == "."):
        return Token(NUMBER, match[0], position, match.end())
    match = _IDENTIFIER.match(text, position)
    if match:
        return Token(IDENT, match[0], position, match.end())
    match = _OPERATOR.match(text, position)
    if match:
        return Token(OPERATOR, match[0], position, match.end())
    raise ScanError(f"unexpected character {text[position]!r}", position)


def _string(text: str, start: int, *, hashes: str, quote: str) -> Token:
    multiline = len(quote) == 3
    escape = "\\" + hashes
    closer = quote + hashes
    position = start + len(hashes) + len(quote)
    parts: list[tuple[Token, ...]] = []
    while position < len(text):
        if text.startswith(closer, position):
            end = position + len(closer)
            return Token(STRING, text[start:end], start, end, tuple(parts))
        if text.startswith(escape, position):
            position += len(escape)
            if text.startswith("(", position):
                inner, position = _scan(text, position + 1, closing=True)
                parts.append(tuple(inner))
            position += 1
        elif text[position] == "\n" and not multiline:
            break
        else:
            position += 1
    raise ScanError("a string is not closed", start)


def _attribute(text: str, start: int) -> Token:
    match = re.compile(r"@[\w]+").match(text, start)
    if not match:
        raise ScanError("unexpected character '@'", start)
    position = match.end()
    if position >= len(text) or text[position] != "(":
        return Token(ATTRIBUTE, match[0], start, position)
    depth = 0
    while position < len(text):
        string = _STRING_START.match(text, position)
        if string:
            position = _string(text, position, hashes=string[1], quote=string[2]).end
            continue
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        position += 1
        if depth == 0:
            return Token(ATTRIBUTE, text[start:position], start, position)
    raise ScanError("an attribute is not closed", start)


_SIMPLE_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "/": "/", "\\": "\\"}


def unquote(token: Token) -> str:
    """The value of a plain string token, or the name that an identifier token writes."""
    if token.kind != STRING:
        return token.text
    match = _STRING_START.match(token.text)
    assert match is not None
    hashes, quote = match[1], match[2]
    body = token.text[len(hashes) + len(quote) : len(token.text) - len(hashes) - len(quote)]
    if len(quote) == 3:
        body = _dedent(body)
    return _unescape(body, "\\" + hashes)


def _dedent(body: str) -> str:
    lines = body.split("\n")
    indent = lines[-1]
    kept = [line.removeprefix(indent) for line in lines[1:-1]]
    return "\n".join(kept)


def _unescape(body: str, escape: str) -> str:
    if escape not in body:
        return body
    pattern = re.compile(re.escape(escape) + r"(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|x[0-9a-fA-F]{2}|.)", re.DOTALL)

    def value(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "uUx" and len(code) > 1:
            return chr(int(code[1:], 16))
        if len(code) == 3:
            return chr(int(code, 8))
        return _SIMPLE_ESCAPES.get(code, code)

    return pattern.sub(value, body)
