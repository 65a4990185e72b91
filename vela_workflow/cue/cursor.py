"""A place in a list of tokens: going on, and looking ahead without going on.

CUE's grammar needs more than one token of foresight only for labels: ``[x]`` and ``(x)`` begin a label or an
expression, and which of them is told by what follows the bracket that closes.
"""

from __future__ import annotations

from collections.abc import Sequence

from vela_workflow.cue import tokens
from vela_workflow.cue.tokens import ScanError, Token


class Cursor:
    """Walks over ``toks``, the tokens of ``text``; ``at`` is the index of the current one."""

    def __init__(self, text: str, toks: Sequence[Token]) -> None:
        self.text = text
        self.toks = toks
        self.at = 0

    # Movement.

    def peek(self, ahead: int = 0) -> Token | None:
        """The token at the current place, or ``ahead`` of it; ``None`` behind the last."""
        index = self.at + ahead
        return self.toks[index] if index < len(self.toks) else None

    def op(self, text: str, ahead: int = 0) -> bool:
        """Whether that token is the operator or bracket ``text``."""
        token = self.peek(ahead)
        return token is not None and token.is_op(text)

    def take(self) -> Token:
        """The current token; goes on to the next. Only to be called where ``peek`` tells one."""
        token = self.toks[self.at]
        self.at += 1
        return token

    def commas(self) -> None:
        """Go past commas, written or inserted."""
        while (token := self.peek()) is not None and token.kind == tokens.COMMA:
            self.at += 1

    def last_end(self) -> int:
        """The offset where the token before the current place ends."""
        return self.toks[self.at - 1].end if self.at else 0

    def word_follows(self) -> bool:
        """Whether the next token is an identifier."""
        token = self.peek(1)
        return token is not None and token.kind == tokens.IDENT

    def is_label(self) -> bool:
        """Whether the current token stands before a colon, with or without a mark."""
        return self.op(":", 1) or ((self.op("?", 1) or self.op("!", 1)) and self.op(":", 2))

    def label_ahead(self) -> bool:
        """Whether a label starts here: then a value is the next link of a chain ``a: b: c``."""
        token = self.peek()
        if token is None:
            return False
        if token.kind in (tokens.IDENT, tokens.STRING, tokens.NUMBER):
            if self.op("=", 1):
                return self.peek(2) is not None and not self.op("{", 2) and self.label_at(2)
            return self.is_label()
        if token.is_op("[") or token.is_op("("):
            return self.label_at(0)
        return False

    def label_at(self, ahead: int) -> bool:
        """Whether a label without alias starts ``ahead`` tokens from here."""
        mark = self.at
        self.at += ahead
        try:
            token = self.peek()
            if token is None:
                return False
            if token.kind in (tokens.IDENT, tokens.STRING, tokens.NUMBER):
                return self.is_label()
            if not (token.is_op("[") or token.is_op("(")):
                return False
            self.at = self.matching()
            return self.is_label()
        finally:
            self.at = mark

    def matching(self) -> int:
        """The index of the token that closes the bracket at the current place; raises ``ScanError`` when none does."""
        depth = 0
        for index in range(self.at, len(self.toks)):
            token = self.toks[index]
            if token.kind == tokens.OPERATOR:
                if token.text in "([{":
                    depth += 1
                elif token.text in ")]}":
                    depth -= 1
                    if depth == 0:
                        return index
        raise ScanError(f"{self.toks[self.at].text!r} is not closed", self.toks[self.at].start)
