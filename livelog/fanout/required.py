"""Required terms: those by which the routing tables find the audiences for a message.

Every message that matches a query has one of the terms that are *required* by it. Most queries
require several sets of terms, one for each part that all matches have; a query stands in the tables
under one set only, so that a message is compared with those queries alone of whose set it has a
term. The best set is the one that the fewest messages have. How many have a term is not known, but
terms of some fields are rarer than those of others, and a term that many audiences require, such as
a common word, is probably frequent. So a term that is *crowded* comes behind all that are not.

Besides the keys of messages, the terms are three letters that stand in their text, and the paths of
their numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from livelog.index.query import Query
from livelog.index.terms import reader
from livelog.index.where.expression import Begins, Leaf, Phrase, Word
from livelog.index.where.lookup import number_term, required, required_terms
from livelog.wire.record import Record

GRAM = 3
"""Letters of a word that are a term; all others are longer."""

_CROWDED = 16
"""Audiences under a term from which on it is crowded."""

# Terms have the form `field=value`; the fewer messages share a value, the fewer candidates.
_MOST_SELECTIVE_FIRST = (
    reader(""),
    "author_id=",
    "user_id=",
    "username=",
    "raid_id=",
    "party_id=",
    "guild_id=",
    "",  # all other paths
    "event=",
    "channel=",
    "status=",
    "severity=",
    "server=",
)
_RANKS = {start: rank for rank, start in enumerate(_MOST_SELECTIVE_FIRST)}
_LETTERS = len(_RANKS)
_NUMBER = _LETTERS + 1

Terms = frozenset[str]
Rank = tuple[bool, int, int]
_ALL = Terms([""])
_LAST: Rank = (True, _NUMBER + 1, 0)


def terms_of(record: Record) -> list[str]:
    """Return the terms of a message but for letters of its text."""
    return ["", *record.keys, *[number_term(path) for path, _ in record.numbers]]


def best(query: Query, audiences: Callable[[str], int]) -> Terms:
    """Return the best of the sets of terms that `query` requires.

    `audiences` tells how many stand under a term already. The term of all messages is "".
    """

    def rank_of(term: str) -> Rank:
        if not term:
            return _LAST
        count = audiences(term)
        return count >= _CROWDED, _kind(term), count

    def rank(terms: Terms) -> Rank:
        return max(map(rank_of, terms))

    def of_leaf(leaf: Leaf) -> Terms | None:
        match leaf:
            case Word(word) | Begins(word):
                return min(_letters([word]), key=rank, default=None)
            case Phrase(words):
                return min(_letters(words), key=rank, default=None)
        return required_terms(leaf)

    keys = (Terms([key]) for key in query.keys)
    letters = _letters(chain.from_iterable(query.phrases))
    where = required(query.where, of_leaf, rank)
    return min([*keys, *letters, *([] if where is None else [where]), _ALL], key=rank)


def _letters(words: Iterable[str]) -> Iterator[Terms]:
    """Iterate over the letters that a text with these words has, those of longer words first."""
    for word in sorted(words, key=len, reverse=True):
        yield from (Terms([word[at : at + GRAM]]) for at in range(len(word) - GRAM + 1))


def _kind(term: str) -> int:
    """Return the place of a term among all kinds of them, the most selective first."""
    if len(term) == GRAM:
        return _LETTERS
    field, equals, _ = term.partition("=")
    if not equals and term == number_term(term[:-1]):
        return _NUMBER
    return _RANKS.get(field + equals, _RANKS[""])
