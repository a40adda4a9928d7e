"""Conditions made of what an expression says, in their only form.

What is refused here is told without its place, which the caller adds.
"""

from __future__ import annotations

from livelog.errors import RefusedError
from livelog.index.folding import normalized
from livelog.index.text import MAX_WORD, MAX_WORDS, split
from livelog.index.where.bounds import refused
from livelog.index.where.expression import (
    And,
    Begins,
    Bound,
    Equals,
    Exists,
    Expression,
    Not,
    Or,
    Phrase,
    Prefix,
    Range,
    Word,
)
from livelog.index.where.fields import NAMES, compared_as_id, is_path, resolve, suggestion
from livelog.index.where.values import (
    ONE_BOUND,
    Number,
    Span,
    is_number,
    moment_text,
    moments,
    number,
    number_text,
)

LITERALS = ("true", "false")
_TIME = "timestamp"
_SHOWN = 64
"""Characters of an unknown name that its refusal repeats."""
_FIRST, _LAST = ("gte", "lt"), ("gt", "lte")
"""Comparisons with the first and with the last moment of a day."""


def words(text: str) -> Expression:
    """Make the condition that each word of `text` occurs."""
    return _all([Word(word) for word in _split(text)])


def begins(text: str) -> Expression:
    """Make the same, where the last word need only be the beginning of one."""
    *others, last = _split(text)
    return _all([*map(Word, others), Begins(last)])


def phrase(text: str) -> Expression:
    """Make the condition that the words of `text` stand side by side."""
    found = _split(text)
    return Phrase(tuple(found)) if len(found) > 1 else Word(found[0])


def _split(text: str) -> list[str]:
    found = split(text)
    if not found:
        raise refused("a word or phrase holds nothing to look for", "letters, digits or signs")
    if len(found) > MAX_WORDS:
        raise refused("has too many words to look for", f"at most {MAX_WORDS} words")
    if max(map(len, found)) > MAX_WORD:
        raise refused("a word is too long", f"at most {MAX_WORD} characters")
    return found


def _all(items: list[Expression]) -> Expression:
    return items[0] if len(items) == 1 else And(tuple(items))


def named(name: str) -> str:
    """Return the name of a field in its only form. Raises `RefusedError` for an unknown one."""
    known = resolve(name)
    if known is None:
        raise unknown(name)
    return known


def unknown(name: str) -> RefusedError:
    """Return the refusal of a name, with a suggestion."""
    near = suggestion(name)
    hint = f"did you mean '{near:.{_SHOWN}}'?" if near else _hint(name)
    allowed = [*NAMES, "metadata.…", "data.…", "event_data.…", "participants.…"]
    return refused(f"unknown field '{name:.{_SHOWN}}'; {hint}", allowed)


def _hint(name: str) -> str:
    if is_path(name):
        return 'quote what is no name in it, as in metadata."my level"'
    return f"is it metadata.{name:.{_SHOWN}}? Text is to be quoted"


def equals_bare(field: str, text: str, now: float) -> Expression:
    """Make the condition that `field` has the value that stands there without quotes.

    A number, `true` and `false` are themselves or the string that looks so.
    """
    if field == _TIME:
        return equals(field, text, now)
    if is_number(text):
        return _equals_number(field, text)
    value = _compared(field, text)
    return Equals(field, value, literal=value in LITERALS)


def _equals_number(field: str, text: str) -> Expression:
    value = number(text)
    if text == number_text(value):
        return Equals(field, text, literal=True)
    # Written in another way, such as 2.50, the number and the string have no text in common.
    return Or((Range(field, gte=value, lte=value), Equals(field, _compared(field, text))))


def equals_literal(field: str, value: Number) -> Expression:
    """Make the condition that `field` has a number or boolean, or the string of its text."""
    if field == _TIME:
        raise _no_moment(number_text(value))
    return Equals(field, number_text(value), literal=True)


def equals(field: str, text: str, now: float) -> Expression:
    """Make the condition that `field` has a string."""
    if field != _TIME:
        return Equals(field, _compared(field, text))
    span = moments(text, now)
    if span is None or text.startswith("-"):
        raise _no_moment(text)
    return _between(field, span, span)


def prefix(field: str, text: str) -> Expression:
    """Make the condition that `field` has a string that begins with `text`."""
    if field == _TIME:
        raise _no_moment(f"{text}*")
    return Prefix(field, _compared(field, text))


def exists(field: str, wanted: bool = True) -> Expression:
    """Make the condition that `field` has a value, or that it has none."""
    return Exists(field) if wanted else Not(Exists(field))


def compare(field: str, operator: str, bound: Number | Span) -> Expression:
    """Make the condition that `field` is `gt`, `gte`, `lt` or `lte` to a bound."""
    return Range(field, **{operator: _bound(field, operator, bound)})


def between(field: str, lower: Number | Span, upper: Number | Span) -> Expression:
    """Make the condition that `field` is between two bounds, or equal to one."""
    if isinstance(lower, Span) != isinstance(upper, Span):
        raise refused("a range from a number to a moment", "two numbers or two moments")
    return _between(field, lower, upper)


def _between(field: str, lower: Number | Span, upper: Number | Span) -> Expression:
    if min(_ends(lower)) > max(_ends(upper)):
        raise refused("a range that ends before it begins", "the lower bound first")
    return Range(field, gte=_bound(field, "gte", lower), lte=_bound(field, "lte", upper))


def _ends(bound: Number | Span) -> tuple[Number, ...]:
    return bound if isinstance(bound, Span) else (bound,)


def _bound(field: str, operator: str, bound: Number | Span) -> Bound:
    if isinstance(bound, Span):
        return moment_text(bound.first if operator in _FIRST else bound.last)
    if field == _TIME:
        raise _no_moment(number_text(bound))
    return bound


def bound_of(text: str, now: float) -> Number | Span | None:
    """Return the number or moment that `text` is; None if it is neither."""
    if not text or text[0] not in "-0123456789":
        return None  # the usual case
    return number(text) if is_number(text) else moments(text, now)


def bound_in(text: str, now: float) -> Number | Span:
    """Return the same. Raises `RefusedError` if it is neither."""
    bound = bound_of(text, now)
    if bound is None:
        raise refused(f"'{text}' is no number and no moment", ONE_BOUND)
    return bound


def _no_moment(text: str) -> RefusedError:
    return refused(f"'{text}' is no moment to compare a timestamp with", _MOMENTS)


_MOMENTS = ["2025-12-03", "2025-12-03T12:00:00Z", ">-15m", "2025-12-01..2025-12-03"]


def _compared(field: str, text: str) -> str:
    return text if compared_as_id(field) else normalized(text)
