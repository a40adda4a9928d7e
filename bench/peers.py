"""SQLite, DuckDB and tantivy, with the same messages and the same questions.

They get the tree that livelog makes of an expression. SQLite has FTS5 for words and columns for
fields, DuckDB columns alone and one thread, tantivy indexed and fast fields in one segment. All
hold their data in memory or in the page cache. DuckDB looks for parts of words, as livelog does,
and must count the same; the others know whole words.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import msgspec

from bench.days import Row
from bench.questions import PAGE, Answer, Question
from livelog.index.where.expression import (
    And,
    Equals,
    Expression,
    Not,
    Or,
    Range,
    Word,
)
from livelog.wire.timestamps import parse_moment

COLUMNS = {
    "type": "type",
    "user_id": "author",
    "channel": "channel",
    "server": "server",
    "severity": "severity",
    "metadata.level": "level",
    "timestamp": "time",
}
"""Field → column of a `Row`."""

SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Peer(Protocol):
    """An engine that livelog is compared with."""

    name: str

    def load(self, rows: Iterable[Row]) -> None:
        """Take all messages, in order."""

    def can(self, question: Question) -> bool:
        """Tell whether the engine can answer."""

    def agrees_on(self, question: Question, words: set[str]) -> bool:
        """Tell whether its answer must be livelog's, where `words` are those of all texts."""

    def ask(self, question: Question) -> Answer:
        """Count all matches and fetch a page of them, or count by group and interval."""

    def close(self) -> None:
        """Give memory and files back."""


def are_whole(question: Question, words: set[str]) -> bool:
    """Tell whether no word of the question is a part of another word."""
    everything = "\n".join(words)
    return all(everything.count(word) == (word in words) for word in question.words)


def condition(node: Expression, of_words: Callable[[Expression], str | None]) -> str:
    """Return an expression in SQL; `of_words` answers what it can of words."""
    found = of_words(node)
    if found is not None:
        return found
    match node:
        case And(items):
            return " AND ".join(f"({condition(item, of_words)})" for item in items) or "1=1"
        case Or(items):
            return " OR ".join(f"({condition(item, of_words)})" for item in items)
        case Not(item):
            return f"NOT ({condition(item, of_words)})"
        case Equals(field, value):
            return f"{COLUMNS[field]} = '{value}'"
        case Range(field):
            bounds = ((SIGNS[name], getattr(node, name)) for name in SIGNS)
            each = (f"{COLUMNS[field]} {s} {_number(b)}" for s, b in bounds if b is not None)
            return " AND ".join(each)
    raise ValueError(node)


def _number(bound: float | str) -> float:
    return parse_moment(bound, "") if isinstance(bound, str) else bound


def counting(question: Question, where: str) -> str:
    """Return the query of an analysis: start, value and count."""
    start = f"time - time % {question.interval * 1_000_000}" if question.interval else "0"
    value = COLUMNS[question.group_by] if question.group_by else "''"
    column = COLUMNS.get(question.distinct)
    count = f"count(DISTINCT {column})" if column else "count(*)"
    # Messages without an author, level and so on have no value.
    some = f" AND {value} <> ''" if question.group_by not in ("", "metadata.level") else ""
    query = f"SELECT {start}, {value}, {count} FROM message WHERE ({where}){some} GROUP BY 1, 2"
    return f"{query} ORDER BY 3 DESC LIMIT {question.limit}" if question.limit else query


def counted(rows: list[tuple[int, str, int]], total: int) -> Answer:
    """Return the answer of an analysis."""
    return Answer(total, {(start, str(value)): count for start, value, count in rows})


class Sqlite:
    """SQLite in memory, with FTS5."""

    name = "SQLite"

    def __init__(self) -> None:
        self._connection = sqlite3.connect(
            ":memory:", isolation_level=None, check_same_thread=False
        )
        self._connection.executescript(
            """
            CREATE TABLE message(
                rowid INTEGER PRIMARY KEY, type TEXT, author TEXT, channel TEXT, server TEXT,
                severity TEXT, level INTEGER, time INTEGER, payload TEXT);
            CREATE VIRTUAL TABLE word USING fts5(
                text, content='', detail=none, tokenize="unicode61 tokenchars '_'");
            """
        )

    def load(self, rows: Iterable[Row]) -> None:
        execute = self._connection.execute
        execute("BEGIN")
        for row in rows:
            columns = (*row[:8], row.payload)
            execute("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", columns)
            execute("INSERT INTO word(rowid, text) VALUES (?, ?)", (row.number, row.text))
        execute("COMMIT")
        for column in ("type", "channel", "server", "severity", "level", "time"):
            execute(f"CREATE INDEX by_{column} ON message({column})")
        execute("INSERT INTO word(word) VALUES ('optimize')")
        execute("ANALYZE")

    def can(self, question: Question) -> bool:
        return True

    def agrees_on(self, question: Question, words: set[str]) -> bool:
        return are_whole(question, words)

    def ask(self, question: Question) -> Answer:
        execute, where = self._connection.execute, condition(question.node, _in_fts)
        if question.is_analysis:
            rows = execute(counting(question, where)).fetchall()
            [[total]] = execute(f"SELECT count(*) FROM message WHERE {where}")
            return counted(rows, total)
        [[total]] = execute(f"SELECT count(*) FROM message WHERE {where}")
        page = f"SELECT payload FROM message WHERE {where} ORDER BY rowid DESC LIMIT {PAGE}"
        execute(page).fetchall()
        return Answer(total)

    def close(self) -> None:
        self._connection.close()


def _in_fts(node: Expression) -> str | None:
    """Return what FTS5 answers at once: words with AND, OR and NOT."""
    found = _fts(node)
    return found and f"rowid IN (SELECT rowid FROM word WHERE word MATCH '{found}')"


def _fts(node: Expression) -> str | None:
    match node:
        case Word(word):
            return f'"{word}"'
        case Or(items):
            found = [_fts(item) for item in items]
            return f"({' OR '.join(filter(None, found))})" if all(found) else None
        case And(items):
            wanted = [_fts(item) for item in items if not isinstance(item, Not)]
            others = [_fts(item.item) for item in items if isinstance(item, Not)]
            if not wanted or not all([*wanted, *others]):
                return None
            both = f"({' AND '.join(filter(None, wanted))})"
            return f"({' NOT '.join([both, *filter(None, others)])})"
    return None


class Duckdb:
    """DuckDB in memory, with one thread."""

    name = "DuckDB"

    def __init__(self) -> None:
        import duckdb

        self._connection = duckdb.connect(config={"threads": "1"})

    def load(self, rows: Iterable[Row]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "rows.ndjson")
            with path.open("wb") as file:
                encoder = msgspec.json.Encoder()
                file.writelines(encoder.encode(row._asdict()) + b"\n" for row in rows)
            types = dict.fromkeys(Row._fields, "VARCHAR")
            types |= {"number": "INTEGER", "level": "INTEGER", "time": "BIGINT"}
            self._connection.execute(
                f"CREATE TABLE message AS FROM read_json('{path}', format='nd', columns={types})"
            )

    def can(self, question: Question) -> bool:
        return True

    def agrees_on(self, question: Question, words: set[str]) -> bool:
        return True

    def ask(self, question: Question) -> Answer:
        where = condition(question.node, _contained)
        if question.is_analysis:
            rows = self._rows(counting(question, where))
            return counted(rows, self._rows(f"SELECT count(*) FROM message WHERE {where}")[0][0])
        [[total]] = self._rows(f"SELECT count(*) FROM message WHERE {where}")
        self._rows(f"SELECT payload FROM message WHERE {where} ORDER BY number DESC LIMIT {PAGE}")
        return Answer(total)

    def _rows(self, query: str) -> list[Any]:
        found: list[Any] = self._connection.execute(query).fetchall()
        return found

    def close(self) -> None:
        self._connection.close()


def _contained(node: Expression) -> str | None:
    return f"contains(text, '{node.word}')" if isinstance(node, Word) else None


TEXTS = ("type", "channel", "server", "severity")
"""Fields whose values are terms."""


class Tantivy:
    """An index on disk, in one segment, searched by one thread."""

    name = "tantivy"

    def __init__(self) -> None:
        import tantivy

        from bench.tantivyindex import TantivyIndex

        self._t: Any = tantivy
        self._index = TantivyIndex(TEXTS, ("level", "time"), "number")

    def load(self, rows: Iterable[Row]) -> None:
        self._index.load(map(self._document, rows))

    def _document(self, row: Row) -> Any:
        document = self._t.Document()
        for field in ("text", *TEXTS):
            document.add_text(field, getattr(row, field))
        for field in ("level", "time", "number"):
            document.add_integer(field, getattr(row, field))
        document.add_bytes("payload", row.payload.encode())
        return document

    def can(self, question: Question) -> bool:
        return not question.is_analysis

    def agrees_on(self, question: Question, words: set[str]) -> bool:
        return are_whole(question, words)

    def ask(self, question: Question) -> Answer:
        total, _ = self._index.ask(self._query(question.node), PAGE)
        return Answer(total)

    def close(self) -> None:
        self._index.close()

    def _query(self, node: Expression) -> Any:
        query, occur = self._t.Query, self._t.Occur
        match node:
            case And(items):
                parts = [
                    (occur.MustNot, self._query(item.item))
                    if isinstance(item, Not)
                    else (occur.Must, self._query(item))
                    for item in items
                ]
                if all(kind == occur.MustNot for kind, _ in parts):
                    parts.append((occur.Must, query.all_query()))
                return query.boolean_query(parts)
            case Or(items):
                return query.boolean_query([(occur.Should, self._query(item)) for item in items])
            case Not():
                return self._query(And((node,)))
            case Word(word):
                return query.term_query(self._index.schema, "text", word)
            case Equals(field, value):
                return query.term_query(self._index.schema, COLUMNS[field], value)
            case Range(field):
                integer = self._t.FieldType.Integer
                first, last = (_number(bound) for bound in _ends(node))
                return query.range_query(self._index.schema, COLUMNS[field], integer, first, last)
        raise ValueError(node)


def _ends(node: Range) -> tuple[float | str, float | str]:
    assert node.gt is node.lt is None
    first = -(2**63) if node.gte is None else node.gte
    return first, 2**63 - 1 if node.lte is None else node.lte


_NEEDED: dict[str, tuple[str, Callable[[], Peer]]] = {
    "sqlite3": ("SQLite", Sqlite),
    "duckdb": ("DuckDB", Duckdb),
    "tantivy": ("tantivy", Tantivy),
}


def installed() -> Iterator[Callable[[], Peer]]:
    """Yield what makes each peer that is installed; say which are not."""
    for package, (name, make) in _NEEDED.items():
        if find_spec(package) is None:
            print(f"{name} is not installed and left out", flush=True)
        else:
            yield make
