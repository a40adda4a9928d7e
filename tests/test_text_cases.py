"""`text-cases.json`, a table of texts and queries in many scripts: the same is found everywhere.

Live, in memory, on disk, and by the JavaScript that highlights what was found.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from livelog.auth.principal import ANYBODY
from livelog.index import plan
from livelog.index.paging import Span
from livelog.index.plan import finish
from livelog.index.query import Query, compile_query
from livelog.index.terms import mentions
from livelog.log.window import Window
from livelog.wire.commands import Filters
from livelog.wire.record import Record
from tests.support.disk import Disk
from tests.support.follower import NODE
from tests.support.strategies import Json, record

TABLE = Path(__file__).with_name("text-cases.json")
HIGHLIGHT = Path(__file__).parent / "support" / "js" / "highlight.mjs"
OTHERS = 40
"""Messages around that of a case, so that their number alone does not make a search read them."""


class Case(NamedTuple):
    script: str
    text: str
    found: list[str]
    missed: list[str]

    @property
    def queries(self) -> list[str]:
        return self.found + self.missed


CASES = [Case(**case) for case in json.loads(TABLE.read_text(encoding="utf-8"))]
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.script)


def asked(query: str) -> Query:
    return compile_query(ANYBODY, Filters(), query)


def records(case: Case) -> list[Record]:
    """The message of the case, and others of which some have the same text, each in a place."""
    texts = [case.text, *["zzz"] * OTHERS, *[case.text] * OTHERS]
    content = {"type": "user", "user_id": "u", "username": "zz"}
    data: Json = {"type": "system", "event": "error", "data": {"deep": [{"of it": case.text}]}}
    messages = [{**content, "content": text} for text in texts]
    return [record(message, seq) for seq, message in enumerate([*messages, data], 1)]


def expected(case: Case) -> dict[str, set[int]]:
    """The seqs that each query finds: all that have the text of the case, or none."""
    having = {1, *range(OTHERS + 2, 2 * OTHERS + 3)}
    return {query: having if query in case.found else set() for query in case.queries}


@each_case
def test_live(case: Case) -> None:
    kept = records(case)
    found = {q: {one.seq for one in kept if asked(q).matches(one)} for q in case.queries}
    assert found == expected(case)


@each_case
def test_in_the_bytes_of_a_message(case: Case) -> None:
    [first, *_] = records(case)
    for query in case.queries:
        told = finish(mentions(first.payload, asked(query).phrases))
        assert told == (query in case.found), query


@pytest.mark.parametrize("few", [0, 32, 1000])
@each_case
def test_in_memory(case: Case, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_FEW", few)
    window = Window(1000, 10**6)
    for one in records(case):
        window.append(one)
    newest = len(records(case))
    found = {}
    for query in case.queries:
        payloads = finish(window.find(asked(query))).payloads(0, newest)
        found[query] = {json.loads(payload)["seq"] for payload in payloads}
    assert found == expected(case)


@pytest.mark.parametrize("sealed", [False, True])
@each_case
def test_on_disk(case: Case, sealed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("livelog.store.reader.segments.SEALED_AT", 20 if sealed else 1000)
    monkeypatch.setattr("livelog.store.reader.segments._INDEXED_PER_STEP", 20)
    monkeypatch.setattr("livelog.store.reader.segmentwriter._JOINED_FROM", 2)
    monkeypatch.setattr(plan, "_FEW", 0)
    kept = records(case)
    disk = Disk(tmp_path / "live.db")
    disk.write(kept)
    disk.settle()
    found = {}
    for query in case.queries:
        page = disk.page(asked(query), kept[-1].seq, Span(len(kept)))
        found[query] = {json.loads(payload)["seq"] for payload in page.payloads}
    disk.close()
    assert found == expected(case)


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_in_the_highlighter() -> None:
    assert NODE is not None
    command = [NODE, "--test", "--test-reporter=tap", str(HIGHLIGHT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "\n# pass 0\n" not in done.stdout
