"""The lexer: from text to tokens, where each condition is one.

People paste ordinary text into a search box, so whatever is not clearly syntax is text. Tokens end
at white space; operators are whole tokens in capitals; `-`, `(` and quotes mean something at a
token's start, `)` where a group is open, `:` behind a name that is known. The bounds are checked
here, token by token, so that no input takes longer than one within them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from livelog.errors import RefusedError
from livelog.index.text import split
from livelog.index.where import leaves
from livelog.index.where.bounds import Counts, Placed, check_depth, refused
from livelog.index.where.canonical import NEGATES
from livelog.index.where.expression import ALL, And, Expression, Or
from livelog.index.where.fields import NAME, resolve, suggestion
from livelog.index.where.values import QUOTED, QUOTES, unquote

OPERATORS = ("AND", "OR", "NOT")

_SPACE = re.compile(r"\s*")
_QUOTED = re.compile(QUOTED, re.DOTALL)
_FIELD = re.compile(rf"({NAME}):(?![\s:]|//|\Z)", re.DOTALL)
_STOP = re.compile(r"[\s()]")
_STOP_IN_LIST = re.compile(r"[\s(),]")
_OF_REGEX = re.compile(r"[][\\(){}^$|+*?]")
_SHOUTED = re.compile(rf"[^\W\d_][^\s()*:{QUOTES}]*:?")
_SIGN = re.compile(r"[<>]=?")
_COMPARISONS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_VALUES = "a value, in quotes if it has other signs than letters, digits, _, -, . and @"


class Token(NamedTuple):
    """An operator, a parenthesis or a condition."""

    kind: str
    """`AND`, `OR`, `NOT`, `(`, `)`, or "" for a condition."""
    column: int
    """Place of its first character, counted from 1 in code points."""
    node: Expression = ALL


def tokens(text: str, now: float) -> Iterator[Token]:
    """Iterate over the tokens of `text`, which arrived at `now`.

    Raises `RefusedError` with the column of what is wrong.
    """
    return _Lexer(text, now).run()


class _Lexer:
    def __init__(self, text: str, now: float) -> None:
        self._text = text
        self._now = now
        self._at = 0
        self._token = Token("", 0)
        """The last one."""
        self._groups: list[tuple[int, int]] = []
        """Column of each open parenthesis, and the NOTs and parentheses around it."""
        self._around = 0
        """NOTs and parentheses around the place."""
        self._nots = 0
        """Those of them that are NOTs of the next operand alone."""
        self._counts = Counts()
        self._is_shouted = _is_shouted(text)

    def run(self) -> Iterator[Token]:
        while self._skip_space():
            with Placed(column=self._at + 1):
                self._begin(whole=True)
            yield self._token
            while self._is_inside():
                with Placed(column=self._at + 1):
                    added = self._continue()
                if added:
                    yield self._token
        if self._groups:
            column, _ = self._groups[-1]
            raise refused('"(" is not closed; to search for it, quote it', ")", column=column)

    def _skip_space(self) -> bool:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at < len(self._text)

    def _is_inside(self) -> bool:
        return self._at < len(self._text) and not self._text[self._at].isspace()

    def _continue(self) -> bool:
        """Read on where no white space ends a token; tell whether it adds one."""
        last = self._token.kind
        if last in ("(", "NOT"):  # of NOT only `-` has something right behind it
            self._begin(whole=last == "(")
            return True
        return self._close() or (last == ")" and self._open()) or self._glued()

    def _begin(self, *, whole: bool) -> None:
        """Read a token at its start; `whole` tells that no `-` stands before it."""
        negation = NEGATES.match(self._text, self._at) if whole else None
        if negation:
            self._operator("NOT", 1)
        elif not (self._close() or self._open() or self._phrase() or self._field()):
            self._word(whole)

    def _open(self) -> bool:
        if self._text[self._at] != "(":
            return False
        self._groups.append((self._at + 1, self._around - self._nots))
        self._around += 1
        self._nots = 0
        check_depth(self._around)
        self._add("(", 1)
        return True

    def _close(self) -> bool:
        if self._text[self._at] != ")" or not self._groups:
            return False
        _, self._around = self._groups.pop()
        self._nots = 0
        self._add(")", 1)
        return True

    def _operator(self, kind: str, length: int) -> None:
        if kind == "NOT":
            self._around += 1
            self._nots += 1
            check_depth(self._around)
        self._add(kind, length)

    def _add(self, kind: str, length: int) -> None:
        self._token = Token(kind, self._at + 1)
        self._at += length

    def _condition(self, node: Expression, start: int) -> None:
        """Add a condition that was read from `start` up to here."""
        # Several in one token are a group of their own.
        check_depth(self._around + isinstance(node, (And, Or)))
        self._around -= self._nots
        self._nots = 0
        self._token = Token("", start + 1, node)

    def _counted(self, node: Expression) -> Expression:
        self._counts.add(node)
        return node

    def _phrase(self) -> bool:
        if self._text[self._at] not in QUOTES:
            return False
        start, words = self._at, self._quoted()
        begins = self._text.startswith("*", self._at) and len(split(words)) == 1
        self._at += begins
        node = leaves.begins(words) if begins else leaves.phrase(words)
        self._condition(self._counted(node), start)
        return True

    def _quoted(self) -> str:
        """Read what stands in quotes."""
        found = _QUOTED.match(self._text, self._at)
        if found is None:
            raise refused("a quote is not closed", 'a closing "', column=self._at + 1)
        self._at = found.end()
        return unquote(found[0])

    def _word(self, whole: bool) -> None:
        start, run = self._at, self._run(_STOP)
        if whole and run in OPERATORS and not self._is_shouted_not(run):
            self._at = start
            self._operator(run, len(run))
            return
        _check_regex(run)
        if run == "*":
            node: Expression = ALL
        else:
            node = leaves.begins(run[:-1]) if run.endswith("*") else leaves.words(run)
        self._condition(self._counted(node), start)

    def _is_shouted_not(self, run: str) -> bool:
        return run == "NOT" and self._is_shouted and self._token.kind not in ("AND", "OR")

    def _glued(self) -> bool:
        """Read text right behind a phrase or group: there, punctuation only separates words."""
        start, run = self._at, self._run(_STOP)
        words = split(f'x"{run}')[1:]
        if words:
            self._condition(self._counted(leaves.words(" ".join(words))), start)
        return bool(words)

    def _run(self, stop: re.Pattern[str]) -> str:
        """Read up to white space, the end of a group, or what else `stop` finds but parentheses."""
        start, inner = self._at, 0
        self._at = len(self._text)
        for found in stop.finditer(self._text, start):
            if found[0] == "(":
                inner += 1
            elif found[0] == ")" and (inner or not self._groups):
                inner = max(0, inner - 1)
            else:
                self._at = found.start()
                break
        return self._text[start : self._at]

    def _field(self) -> bool:
        """Read a field with its values, if a name and something behind its colon stand here."""
        found = _FIELD.match(self._text, self._at)
        if found is None or (self._groups and self._text[found.end()] == ")"):
            return False
        name = resolve(found[1])
        if name is None:
            if suggestion(found[1]) or self._text[found.end()] in f"<>({QUOTES}":
                raise leaves.unknown(found[1])
            return False
        start, self._at = self._at, found.end()
        with Placed(column=self._at + 1):
            node = self._values(name)
        self._condition(node, start)
        return True

    def _values(self, name: str) -> Expression:
        if self._text[self._at] == "(":
            return self._group(name)
        if self._text[self._at] not in QUOTES:
            start, run = self._at, self._run(_STOP)
            alone = leaves.exists(name) if run == "*" else self._comparison(name, run)
            if alone is not None:
                return self._counted(alone)
            self._at = start
        return _any(self._list(name))

    def _comparison(self, name: str, run: str) -> Expression | None:
        """Return the comparison or range that `run` is; None if it is neither."""
        if sign := _SIGN.match(run):
            bound = leaves.bound_in(run[sign.end() :], self._now)
            return leaves.compare(name, _COMPARISONS[sign[0]], bound)
        first, dots, last = run.partition("..")
        if not dots:
            return None
        lower, upper = (leaves.bound_of(side, self._now) for side in (first, last))
        if lower is None and upper is None:
            return None
        if not last and lower is not None:
            return leaves.compare(name, "gte", lower)
        if not first and upper is not None:
            return leaves.compare(name, "lte", upper)
        if lower is None or upper is None:
            raise refused(f"'{run}' is no range", "40..60, 40.. or ..60; else quote it")
        return leaves.between(name, lower, upper)

    def _group(self, name: str) -> Expression:
        """Read `(a OR b)` behind the colon of a field."""
        opened = self._at + 1
        self._groups.append((opened, self._around))
        self._at += 1
        found: list[Expression] = []
        while True:
            self._skip_space()
            self._check_closed(opened)
            with Placed(column=self._at + 1):
                self._check_operand()
                found += self._list(name)
            self._skip_space()
            self._check_closed(opened)
            if self._text[self._at] == ")":
                break
            with Placed(column=self._at + 1):
                if self._run(_STOP) != "OR":
                    raise refused("between values in parentheses OR is missing", "a OR b")
        self._groups.pop()
        self._at += 1
        return _any(found)

    def _check_closed(self, opened: int) -> None:
        if self._at == len(self._text):
            raise refused('"(" is not closed', ")", column=opened)

    def _check_operand(self) -> None:
        start = self._at
        run = self._run(_STOP)
        if run in OPERATORS:
            raise missing_operand(run)
        self._at = start

    def _list(self, name: str) -> list[Expression]:
        """Read values with commas between them."""
        found: list[Expression] = []
        while not found or self._text.startswith(",", self._at):
            self._at += bool(found)
            with Placed(column=self._at + 1):
                found.append(self._counted(self._item(name)))
        return found

    def _item(self, name: str) -> Expression:
        if self._text[self._at : self._at + 1] in tuple(QUOTES):
            return self._quoted_item(name)
        run = self._run(_STOP_IN_LIST)
        if not run:
            raise refused("a value is missing", _VALUES)
        _check_regex(run)
        if _SIGN.match(run) or self._comparison(name, run):
            raise refused(f"'{run}' stands among other values", f"{name}:{run} by itself")
        if "*" in run[:-1] or run == "*":
            raise refused("* stands only at the end of a value", ["pre*", f"{name}:*", '"*"'])
        if run.endswith("*"):
            return leaves.prefix(name, run[:-1])
        return leaves.equals_bare(name, run, self._now)

    def _quoted_item(self, name: str) -> Expression:
        value = self._quoted()
        begins = self._text.startswith("*", self._at)
        self._at += begins
        with Placed(column=self._at + 1):
            if self._run(_STOP_IN_LIST):
                raise refused("after a value in quotes stands something else", ["a space", ","])
        return leaves.prefix(name, value) if begins else leaves.equals(name, value, self._now)


def _is_shouted(text: str) -> bool:
    """Tell whether a text is nothing but capitals, two words at least besides the operators.

    NOT is a word there: as an operator it would leave out the very DO NOT PANIC that was pasted.
    """
    words = [word for word in text.split() if word not in OPERATORS]
    return len(words) > 1 and all(_SHOUTED.fullmatch(word) and word.isupper() for word in words)


def _any(items: list[Expression]) -> Expression:
    return items[0] if len(items) == 1 else Or(tuple(items))


def _check_regex(run: str) -> None:
    if len(run) > 1 and run[0] == run[-1] == "/" and _OF_REGEX.search(run):
        raise refused("regular expressions are not searched", "words, word*, or quote it")


def hint_for_nothing(text: str) -> str:
    """Return what may be wrong with an expression that finds nothing; empty without a guess.

    >>> hint_for_nothing('gold or "this and that"')
    "'or' is a word here; the operator is OR, in capitals"
    """
    words = _QUOTED.sub(" ", text).split()
    for word in words:
        if word not in OPERATORS and word.upper() in OPERATORS:
            return f"{word!r} is a word here; the operator is {word.upper()}, in capitals"
    return ""


def missing_operand(operator: str) -> RefusedError:
    """Return the refusal of an operator without the condition it needs."""
    issue = f"{operator} has no condition on one side; to search for the word, quote it"
    return refused(issue, f'"{operator}"')
