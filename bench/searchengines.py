"""livelog's window, SQLite's FTS5 and tantivy, with the same messages and the same questions.

Each is set up as its makers would for this job, loaded in bulk, merged and warm. Every engine
answers with the exact count and the newest `PAGE` messages as bytes. `Engine.can` tells which
questions an engine can answer; the others are not compared.

FTS5: one table for words without positions (`detail=none`), which counts fastest, and one for parts
of words by trigrams; messages and their fields in an indexed table beside them. tantivy: one field
for words, raw fields for the filters, order and dates in fast fields; parts of words by regular
expression over its dictionary.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec
import tantivy

from bench.tantivyindex import TantivyIndex
from livelog.auth.principal import ANYBODY
from livelog.index.query import compile_query
from livelog.log.window import Window
from livelog.wire.commands import Filters
from livelog.wire.record import Record

PAGE = 100
NO_FILTERS = Filters()


@dataclass(frozen=True)
class Question:
    """Search for words, or a part of one, with filters, and the offset of the page."""

    words: tuple[str, ...] = ()
    part: str = ""
    filters: Filters = NO_FILTERS
    offset: int = 0


class Answer(msgspec.Struct):
    """Number of matches, length of the page, and the longest stretch in seconds without a pause."""

    count: int
    page: int
    longest: float


class Engine(Protocol):
    """Search engine that is compared."""

    name: str

    def load(self, records: Iterable[Record]) -> None:
        """Take all messages, in order."""

    def can(self, question: Question) -> bool:
        """Whether the engine can answer."""

    def ask(self, question: Question) -> Answer:
        """Count all matches and fetch a page of them."""


class Livelog:
    """Window of a server, searched as the log searches it."""

    name = "livelog"

    def __init__(self, count: int) -> None:
        self.window = Window(count, 1 << 40)

    def load(self, records: Iterable[Record]) -> None:
        for record in records:
            self.window.append(record)
            while self.window.work():  # the index follows in steps
                pass

    def can(self, question: Question) -> bool:
        return True

    def ask(self, question: Question) -> Answer:
        text = " ".join([*question.words, question.part]).strip() or msgspec.UNSET
        steps = self.window.find(compile_query(ANYBODY, question.filters, text))
        longest, began = 0.0, time.perf_counter()
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                matches = stop.value
                payloads = matches.payloads(question.offset, PAGE)
                return Answer(
                    matches.total, len(payloads), max(longest, time.perf_counter() - began)
                )
            now = time.perf_counter()
            longest, began = max(longest, now - began), now


class Fts5:
    """SQLite in memory."""

    name = "FTS5"

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection.executescript(
            """
            CREATE TABLE message(
                rowid INTEGER PRIMARY KEY, type TEXT, user TEXT, time INTEGER, payload BLOB);
            CREATE VIRTUAL TABLE word USING fts5(text, content='', detail=none);
            CREATE VIRTUAL TABLE part USING fts5(text, content='', tokenize='trigram');
            """
        )

    def load(self, records: Iterable[Record]) -> None:
        execute = self._connection.execute
        execute("BEGIN")
        for record in records:
            user = next((k.split("=", 1)[1] for k in record.keys if k.startswith("user_id=")), "")
            row = (record.seq, record.type, user, record.time, record.payload)
            execute("INSERT INTO message VALUES (?, ?, ?, ?, ?)", row)
            execute("INSERT INTO word(rowid, text) VALUES (?, ?)", (record.seq, record.text))
            execute("INSERT INTO part(rowid, text) VALUES (?, ?)", (record.seq, record.text))
        execute("COMMIT")
        execute("CREATE INDEX by_user ON message(user, type, time)")
        execute("INSERT INTO word(word) VALUES ('optimize')")
        execute("INSERT INTO part(part) VALUES ('optimize')")
        execute("ANALYZE")

    def can(self, question: Question) -> bool:
        return bool(question.words) or len(question.part) >= 3

    def ask(self, question: Question) -> Answer:
        table = "part" if question.part else "word"
        words = (question.part,) if question.part else question.words
        text = " AND ".join(f'"{word}"' for word in words)
        source = f"FROM {table} JOIN message ON message.rowid = {table}.rowid WHERE {table} MATCH ?"
        conditions, values = _conditions(question.filters)
        if not conditions:
            source = f"FROM {table} WHERE {table} MATCH ?"
        source += "".join(f" AND {condition}" for condition in conditions)
        began = time.perf_counter()
        [[count]] = self._connection.execute(f"SELECT count(*) {source}", (text, *values))
        page = f"SELECT {table}.rowid {source} ORDER BY {table}.rowid DESC LIMIT {PAGE} OFFSET ?"
        rows = self._connection.execute(
            f"SELECT payload FROM message WHERE rowid IN ({page})",
            (text, *values, question.offset),
        ).fetchall()
        return Answer(count, len(rows), time.perf_counter() - began)


def _conditions(filters: Filters) -> tuple[list[str], list[object]]:
    query = compile_query(ANYBODY, filters)
    found: list[tuple[str, object]] = []
    if filters.type is not msgspec.UNSET:
        found.append(("message.type = ?", filters.type))
    if filters.user_id is not msgspec.UNSET:
        found.append(("message.user = ?", filters.user_id))
    if filters.date_from is not msgspec.UNSET:
        found.append(("message.time >= ?", query.date_from))
    if filters.date_to is not msgspec.UNSET:
        found.append(("message.time <= ?", query.date_to))
    return [condition for condition, _ in found], [value for _, value in found]


class Tantivy:
    """An index on disk, in one segment, searched by one thread."""

    name = "tantivy"

    def __init__(self) -> None:
        self._index = TantivyIndex(("type", "user"), ["time"], "seq")

    def load(self, records: Iterable[Record]) -> None:
        self._index.load(map(self._document, records))

    def _document(self, record: Record) -> tantivy.Document:
        document = tantivy.Document()
        document.add_text("text", record.text)
        document.add_text("type", record.type)
        for key in record.keys:
            if key.startswith("user_id="):
                document.add_text("user", key.split("=", 1)[1])
        document.add_integer("time", record.time)
        document.add_integer("seq", record.seq)
        document.add_bytes("payload", record.payload)
        return document

    def can(self, question: Question) -> bool:
        return True

    def ask(self, question: Question) -> Answer:
        began = time.perf_counter()
        parts = [(tantivy.Occur.Must, query) for query in self._queries(question)]
        query = tantivy.Query.boolean_query(parts)
        count, page = self._index.ask(query, PAGE, question.offset)
        return Answer(count, page, time.perf_counter() - began)

    def _queries(self, question: Question) -> list[tantivy.Query]:
        filters, query = question.filters, compile_query(ANYBODY, question.filters)
        found = [
            tantivy.Query.term_query(self._index.schema, "text", word) for word in question.words
        ]
        if question.part:
            pattern = f".*{question.part}.*"
            found.append(tantivy.Query.regex_query(self._index.schema, "text", pattern))
        if filters.type is not msgspec.UNSET:
            found.append(tantivy.Query.term_query(self._index.schema, "type", filters.type))
        if filters.user_id is not msgspec.UNSET:
            found.append(tantivy.Query.term_query(self._index.schema, "user", filters.user_id))
        if filters.date_from is not msgspec.UNSET or filters.date_to is not msgspec.UNSET:
            integer = tantivy.FieldType.Integer
            low, high = query.date_from, min(query.date_to, 2**63 - 1)
            found.append(tantivy.Query.range_query(self._index.schema, "time", integer, low, high))
        return found or [tantivy.Query.all_query()]
