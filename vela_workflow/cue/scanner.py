"""The structure of CUE text: declarations, label chains, comprehensions, literals, references.

This is no CUE parser. Expressions are not understood, only cut: which struct and list literals stand in them, which
names they refer to, and what their top-level operands are. That is enough to find every place where an operation is
written, its position, the guards around it and the names that its text reaches, and to change the text at exactly
these places. What CUE refuses, CUE refuses later with its own message; what is refused here is unbalanced text.

Here a file is taken as a whole; what its declarations are made of is taken by ``grammar.py``, token by token with
``cursor.py``. The nodes are those of ``syntax.py``; they can be imported from here too.
"""

from __future__ import annotations

from vela_workflow.cue import tokens
from vela_workflow.cue.grammar import Grammar
from vela_workflow.cue.syntax import (
    Clause,
    Comprehension,
    Decl,
    Embed,
    Expr,
    Field,
    File,
    Import,
    Let,
    ListLit,
    Operand,
    Ref,
    Struct,
    child_structs,
)
from vela_workflow.cue.tokens import ScanError, Token

__all__ = [
    "Clause",
    "Comprehension",
    "Decl",
    "Embed",
    "Expr",
    "Field",
    "File",
    "Import",
    "Let",
    "ListLit",
    "Operand",
    "Ref",
    "ScanError",
    "Struct",
    "child_structs",
    "scan",
]


def scan(text: str) -> File:
    """Scan CUE ``text``; raises ``ScanError`` when brackets do not match or a string is not closed."""
    return _File(text, tokens.tokenize(text)).file()


class _File(Grammar):
    """What a file has beside declarations: a package clause, imports and attributes before them."""

    def file(self) -> File:
        """All of the text."""
        imports: list[Import] = []
        preamble: list[tuple[int, int]] = []
        attributes: list[Token] = []
        self.commas()
        while (token := self.peek()) is not None:
            if token.kind == tokens.ATTRIBUTE:
                attributes.append(self.take())
            elif token.is_keyword("package") and self.word_follows():
                start = self.take().start
                preamble.append((start, self.take().end))
            elif token.is_keyword("import") and not self.is_label():
                self._import(imports, preamble)
            else:
                break
            self.commas()
        body = Struct(start=0, end=len(self.text))
        self.decls(body, closer="")
        if (token := self.peek()) is not None:
            raise ScanError(f"{token.text!r} closes what was not opened", token.start)
        return File(self.text, body, imports, preamble, attributes)

    def _import(self, imports: list[Import], preamble: list[tuple[int, int]]) -> None:
        start = self.take().start
        if self.op("("):
            self.take()
            self.commas()
            while not self.op(")"):
                imports.append(self._import_spec())
                self.commas()
            self.take()
        else:
            imports.append(self._import_spec())
        preamble.append((start, self.last_end()))

    def _import_spec(self) -> Import:
        token = self.peek()
        if token is None:
            raise ScanError("an import is not complete", len(self.text))
        start = token.start
        alias = ""
        if token.kind == tokens.IDENT:
            alias = self.take().text
            token = self.peek()
        if token is None or not token.is_plain_string:
            raise ScanError("expected the path of an import", start)
        self.take()
        path = tokens.unquote(token)
        bare, _, qualifier = path.partition(":")
        name = alias or qualifier or bare.rsplit("/", 1)[-1]
        return Import(path=path, name=name, alias=alias, start=start, end=token.end)
