"""The parser: from the text of an expression to its tree.

or  = and {"OR" and} ;  and = not {["AND"] not} ;  not = "NOT" not | "(" or ")" | condition
"""

from __future__ import annotations

from collections.abc import Iterator

from livelog.index.where.bounds import MAX_LENGTH, Placed, check_length, refused
from livelog.index.where.canonical import finished
from livelog.index.where.expression import And, Expression, Not, Or
from livelog.index.where.lexer import Token, missing_operand, tokens


def parse(text: str, now: float) -> Expression:
    """Return the canonical form of an expression that arrived at `now`, in Unix seconds.

    Raises `RefusedError` that says what is wrong, what is allowed, and in which column.
    """
    check_length(text, column=MAX_LENGTH + 1)
    with Placed(column=1):
        return finished(_Parser(tokens(text, now)).run())


_END = Token("end", 1)


class _Parser:
    """Reads tokens; the lexer has bounded how deep groups and NOTs go."""

    def __init__(self, tokens: Iterator[Token]) -> None:
        self._tokens = tokens
        self._last = _END
        self._next = next(tokens, _END)

    def run(self) -> Expression:
        """Read all tokens."""
        if self._next is _END:
            raise refused("is empty", "words or conditions, * for everything")
        return self._or()

    def _or(self) -> Expression:
        items = [self._and()]
        while self._take("OR"):
            items.append(self._and())
        return Or(tuple(items))

    def _and(self) -> Expression:
        items = [self._not()]
        while self._take("AND") or self._next.kind in ("", "(", "NOT"):
            items.append(self._not())
        return And(tuple(items))

    def _not(self) -> Expression:
        if self._take("NOT"):
            return Not(self._not())
        if self._take("("):
            node = self._or()
            self._take(")")  # the lexer has seen that it is there
            return node
        if not self._take(""):
            self._refuse()
        return self._last.node

    def _take(self, kind: str) -> bool:
        """Take the next token if it is of this kind."""
        if self._next.kind != kind:
            return False
        self._last, self._next = self._next, next(self._tokens, _END)
        return True

    def _refuse(self) -> None:
        """Refuse an operator without an operand, or an empty group."""
        operator = self._next if self._next.kind in ("AND", "OR") else self._last
        with Placed(column=operator.column):
            if operator.kind == "(":
                raise refused('"()" is empty; to search for it, quote it', "(a OR b)")
            raise missing_operand(operator.kind)
