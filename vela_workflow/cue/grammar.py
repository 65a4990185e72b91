"""Declarations and expressions of CUE text, by recursive descent.

Declarations are understood: fields with chains of labels, comprehensions with their clauses, embedded values. An
expression is only cut: which literals stand in it, what it refers to, what its operands are. Both hold each other, so
they are one subject. What stands before the declarations of a file is ``scanner.py``'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from vela_workflow.cue import tokens
from vela_workflow.cue.cursor import Cursor
from vela_workflow.cue.syntax import (
    Clause,
    Comprehension,
    Decl,
    Embed,
    Expr,
    Field,
    Let,
    ListLit,
    Operand,
    Ref,
    Struct,
)
from vela_workflow.cue.tokens import ScanError, Token

_CLOSERS = frozenset({")", "]", "}"})


class Grammar(Cursor):
    """A descent over one list of tokens; each method takes what it is named after, from the current place."""

    # Declarations.

    def decls(self, struct: Struct, *, closer: str) -> None:
        """Fill ``struct`` with the declarations up to ``closer``, which stays; the empty one is the end of the text."""
        self.commas()
        while (token := self.peek()) is not None:
            if token.kind == tokens.OPERATOR and token.text in _CLOSERS:
                if token.text != closer:
                    raise ScanError(f"{token.text!r} closes what was not opened", token.start)
                return
            if token.kind == tokens.ATTRIBUTE:
                self.take()
            else:
                struct.decls.append(self.decl())
            self.commas()
        if closer:
            raise ScanError("a brace is not closed", _unclosed(self.text, self.toks))

    def decl(self) -> Decl:
        """One declaration."""
        token = self.peek()
        assert token is not None
        if token.is_keyword("let") and self.word_follows() and self.op("=", 2):
            start = self.take().start
            name = self.take().text
            self.take()
            value = self.expr()
            return Let(start, value.end, name, value)
        if token.is_keyword("if", "for") and not self.is_label():
            return self.comprehension()
        if token.is_op("..."):
            self.take()
            value = self.expr()
            return Embed(token.start, max(token.end, value.end), value, ellipsis=True)
        field = self.field()
        if field is not None:
            return field
        if token.kind == tokens.IDENT and token.text == "else" and (self.op("{", 1) or self.word_follows()):
            raise ScanError("CUE has no else; write another if with the opposite condition", token.start)
        value = self.expr()
        if value.alias:
            name = value.alias
            raise ScanError(f"{name} = … declares nothing here; write {name}: … or let {name} = …", value.start)
        if value.start == value.end:
            stray = self.peek()
            where = stray.start if stray else len(self.text)
            raise ScanError(f"unexpected {stray.text!r}" if stray else "unexpected end of the template", where)
        return Embed(value.start, value.end, value)

    def field(self, *, chained: bool = False) -> Field | None:
        """A field if one starts here, else ``None`` with nothing taken."""
        mark = self.at
        token = self.peek()
        if token is None:
            return None
        start = token.start
        alias = ""
        if token.kind == tokens.IDENT and self.op("=", 1):
            alias = token.text
            self.at += 2
        label = self._label()
        if label is None:
            self.at = mark
            return None
        label.start = start
        label.alias = alias
        label.chained = chained
        label.value = self._field_value()
        label.end = label.value.end
        while (token := self.peek()) is not None and token.kind == tokens.ATTRIBUTE:
            label.attributes.append(self.take().text)
            label.end = token.end
        return label

    def _label(self) -> Field | None:
        token = self.peek()
        if token is None:
            return None
        field = Field(token.start, 0, None, token.start, token.end, Expr(0, 0))
        if token.kind in (tokens.IDENT, tokens.NUMBER):
            field.name = token.text
            self.at += 1
        elif token.kind == tokens.STRING:
            field.quoted = True
            field.name = None if token.parts else tokens.unquote(token)
            field.label_exprs = [self._part(part) for part in token.parts]
            self.at += 1
        elif token.is_op("(") or token.is_op("["):
            closing = self.matching()
            after = self.toks[closing + 1] if closing + 1 < len(self.toks) else None
            if after is None or not (after.is_op(":") or after.is_op("?") or after.is_op("!")):
                return None
            self.at += 1
            inner = self.peek()
            if inner is not None and self.op("=", 1):
                field.label_alias = inner.text
                self.at += 2
            field.label_exprs = [self.expr()]
            field.pattern = token.text == "["
            self.at = closing + 1
            field.label_end = self.last_end()
        else:
            return None
        if self.op("?") or self.op("!"):
            field.optional_at = self.take().start
        if not self.op(":"):
            return None
        self.take()
        return field

    def _field_value(self) -> Expr:
        inner = self.field(chained=True) if self.label_ahead() else None
        if inner is None:
            return self.expr()
        struct = Struct(inner.start, inner.end, [inner], implicit=True)
        operand = Operand(inner.start, inner.end, struct=struct)
        return Expr(inner.start, inner.end, operands=[operand], structs=[struct])

    def comprehension(self) -> Comprehension:
        """Clauses and the struct behind them."""
        first = self.peek()
        assert first is not None
        clauses: list[Clause] = []
        while (token := self.peek()) is not None and token.is_keyword("if", "for", "let"):
            clauses.append(self._clause())
            if (comma := self.peek()) is not None and comma.kind == tokens.COMMA:
                self.commas()
        if not self.op("{"):
            token = self.peek()
            raise ScanError(
                "expected '{' after the clauses of a comprehension", token.start if token else len(self.text)
            )
        body = self.struct()
        return Comprehension(first.start, body.end, clauses, body)

    def _clause(self) -> Clause:
        keyword = self.take()
        names: tuple[str, ...] = ()
        names_start = -1
        if keyword.text == "for":
            names_start = self.toks[self.at].start if self.at < len(self.toks) else -1
            words: list[str] = []
            while (token := self.peek()) is not None and not token.is_keyword("in"):
                if token.kind == tokens.IDENT:
                    words.append(token.text)
                self.at += 1
            if self.peek() is None:
                raise ScanError("expected 'in' after 'for'", keyword.start)
            self.take()
            names = tuple(words) if len(words) > 1 else ("", *words)
        elif keyword.text == "let":
            names = (self.take().text,)
            self.take()
        expr = self.expr(clause=True)
        return Clause(keyword.text, keyword.start, expr.end, expr, names, names_start)

    def struct(self) -> Struct:
        """A struct literal with its braces."""
        opening = self.take()
        struct = Struct(opening.start, 0)
        self.decls(struct, closer="}")
        struct.end = self.take().end
        return struct

    # Expressions.

    def _part(self, part: Sequence[Token]) -> Expr:
        return Grammar(self.text, part).expr()

    def expr(self, *, clause: bool = False) -> Expr:
        """An expression up to the comma, closing bracket, attribute or (in a clause) body that ends it."""
        first = self.peek()
        expr = Expr(first.start if first else len(self.text), 0)
        if first is not None and first.kind == tokens.IDENT and self.op("=", 1) and not self.op("=", 2):
            expr.alias = first.text
            self.at += 2
        want_operand = True
        while (token := self.peek()) is not None:
            if token.kind in (tokens.COMMA, tokens.ATTRIBUTE):
                break
            if token.kind == tokens.OPERATOR and (token.text in _CLOSERS or token.text in (":", "=")):
                break
            if want_operand:
                want_operand = not self._operand(expr, token)
                continue
            if clause and (token.is_op("{") or token.is_keyword("if", "for", "let")):
                break
            if token.kind == tokens.OPERATOR or token.is_keyword("div", "mod", "quo", "rem"):
                self.at += 1
                expr.operators.append(token.text)
                want_operand = True
            else:
                raise ScanError(f"expected an operator or the end of the expression, found {token.text!r}", token.start)
        expr.end = max(self.last_end(), expr.start) if (expr.operands or expr.operators or expr.alias) else expr.start
        return expr

    def _operand(self, expr: Expr, token: Token) -> bool:
        """Take an operand or a prefix operator; true when it was an operand."""
        operand = Operand(token.start, token.end)
        if token.is_op("{"):
            operand.struct = self.struct()
            expr.structs.append(operand.struct)
        elif token.is_op("["):
            operand.list = self.list()
            expr.lists.append(operand.list)
        elif token.is_op("("):
            self.take()
            self.commas()
            operand.group = self.expr()
            self.commas()
            expr.inner.append(operand.group)
            if not self.op(")"):
                raise ScanError("a parenthesis is not closed", token.start)
            self.take()
        elif token.kind == tokens.OPERATOR:
            self.take()
            if token.text == "...":
                return False
            expr.operators.append("unary" + token.text)
            return False
        else:
            self.take()
            for part in token.parts:
                expr.inner.append(self._part(part))
            if token.is_plain_string:
                operand.literal = tokens.unquote(token)
            if token.kind == tokens.IDENT and not token.text[0].isdigit():
                operand.ref = Ref(token.text, (), token.start, token.end)
                expr.refs.append(operand.ref)
        self._selectors(expr, operand)
        operand.end = self.last_end()
        expr.operands.append(operand)
        return True

    def _selectors(self, expr: Expr, operand: Operand) -> None:
        tail: list[str | None] = []
        ref = operand.ref
        inside = len(expr.inner)
        while (token := self.peek()) is not None:
            if token.is_op("."):
                self.take()
                name = self.peek()
                if name is None or name.kind not in (tokens.IDENT, tokens.STRING):
                    raise ScanError("expected a name after '.'", token.start)
                self.take()
                tail.append(tokens.unquote(name) if not name.parts else None)
                if name.parts:
                    expr.inner.extend(self._part(part) for part in name.parts)
            elif token.is_op("[") and token.start == self.last_end():
                tail.append(self._index(expr))
            elif token.is_op("("):
                self._between(expr, self.take(), ")")
                operand.ref = None
                tail.append(None)
            else:
                break
            if ref is not None and operand.ref is ref:
                ref.end = self.last_end()
            else:
                operand.struct = operand.list = operand.group = None
        if ref is not None:
            ref.tail = tuple(tail)
        operand.derived = bool(tail) and operand.ref is None
        if operand.derived and ref is not None and ref.name == "close" and len(tail) == 1 == len(expr.inner) - inside:
            operand.group, operand.derived = expr.inner[-1], False

    def _index(self, expr: Expr) -> str | None:
        opening = self.take()
        self.commas()
        first, second = self.peek(), self.peek(1)
        literal = None
        if first is not None and second is not None and second.is_op("]"):
            if first.is_plain_string:
                literal = tokens.unquote(first)
            elif first.kind == tokens.NUMBER:
                literal = first.text
        self._between(expr, opening, "]")
        return literal

    def _between(self, expr: Expr, opening: Token, closer: str) -> None:
        """Take the expressions up to the bracket that closes a call, an index or a slice."""
        self.commas()
        while not self.op(closer):
            if self.peek() is None:
                raise ScanError(f"{opening.text!r} is not closed", opening.start)
            if closer == "]" and self.op(":"):
                self.take()
                continue
            before = self.at
            expr.inner.append(self.expr())
            self.commas()
            if self.at == before:
                token = self.peek()
                raise ScanError(f"unexpected {token.text!r}" if token else "unexpected end", opening.start)
        self.take()

    def list(self) -> ListLit:
        """A list literal with its brackets."""
        opening = self.take()
        result = ListLit(opening.start, 0)
        self.commas()
        while not self.op("]"):
            token = self.peek()
            if token is None:
                raise ScanError("'[' is not closed", opening.start)
            before = self.at
            if token.is_keyword("if", "for", "let"):
                result.elements.append(self.comprehension())
            else:
                result.elements.append(self.expr())
            self.commas()
            if self.at == before:
                raise ScanError(f"unexpected {token.text!r} in a list", token.start)
        result.end = self.take().end
        return result


def _unclosed(text: str, toks: Sequence[Token]) -> int:
    """The offset of the brace that most likely lacks the one that closes it, in a text with too few of those.

    People indent: a brace that closes stands at the beginning of a line as far in as the line of the one it closes. The
    first pair of which that is not so tells the place; without one it is the last brace that is open at the end.
    """
    opened: list[Token] = []
    for token in toks:
        if token.is_op("{"):
            opened.append(token)
        elif token.is_op("}") and opened:
            opening = opened.pop()
            indent, first = _line(text, token.start)
            if first == token.start and indent != _line(text, opening.start)[0]:
                return opening.start
    return opened[-1].start if opened else len(text)


def _line(text: str, offset: int) -> tuple[str, int]:
    """How the line of an offset is indented, and where its first word stands."""
    start = text.rfind("\n", 0, offset) + 1
    words = text[start:].lstrip(" \t")
    first = len(text) - len(words)
    return text[start:first], first
