"""Exact counts: window, disk and both together count what a plain loop counts."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from msgspec.json import encode

from livelog.budget.owner import INTERNAL, Owner
from livelog.errors import SERVER_ERROR, RefusedError
from livelog.index.analysis import answer as answer_module
from livelog.index.analysis import tally as tally_module
from livelog.index.analysis import timeline
from livelog.index.analysis.answer import Answer, answer
from livelog.index.analysis.calendar import SECOND
from livelog.index.analysis.question import Counts, Question
from livelog.index.folding import normalized
from livelog.index.paging import Page, Span
from livelog.index.plan import finish
from livelog.index.query import EVERYTHING, Query, compile_query
from livelog.index.where.fields import NAMES, ROOTS
from livelog.log.log import Log
from livelog.log.window import Window
from livelog.store.base import Bounds, Store, StoreReader
from livelog.store.memory import MemoryJournal
from livelog.store.reader import segments
from livelog.store.reader.calls import AnalyzeCall
from livelog.wire.commands import KEY_FILTERS, Filters
from livelog.wire.record import Record
from tests.support.disk import Disk
from tests.support.expressions import NOW
from tests.support.strategies import Json, askers, filters, messages, principal, record
from tests.support.ways import WAYS, counted
from tests.test_planner import Disks
from tests.test_query import complete

DAY = 86_400


@pytest.fixture(autouse=True, scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[None]:
    """Take all ways: the messages themselves, lists, numbers, and columns that are not kept."""
    with counted(request.param), pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "_INDEXED_PER_STEP", 1)
        yield


class StoreOf:
    """The reading half of a store whose reading process is this one."""

    impaired = ""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self.refusal: RefusedError | None = None

    async def page(self, query: Query, upto: int, span: Span, owner: Owner, **more: Any) -> Page:
        return self.disk.page(query, upto, span, more.get("ahead", 0))

    async def analyze(
        self, query: Query, upto: int, question: Question, owner: Owner, *, optional: bool
    ) -> Counts:
        assert optional
        if self.refusal is not None:
            raise self.refusal
        return counted_on(self.disk, query, upto, question)


def counted_on(disk: Disk, query: Query, upto: int, question: Question) -> Counts:
    counts = disk.answer(AnalyzeCall(query, disk.trimmed_upto, upto, question))
    assert isinstance(counts, Counts)
    return counts


def told(found: Answer) -> Json:
    """An answer as the door tells it."""
    shown = {value: found.spelled.get(value, value) for value, _ in found.groups}
    return {
        "total": found.total,
        "groups": [(shown[value], count) for value, count in found.groups],
        "others": found.others,
        "missing": found.missing,
        "distinct": found.distinct,
        "buckets": [
            (one.start, one.total, {shown[v]: n for v, n in one.groups.items()}, one.distinct)
            for one in found.stretches
        ],
    }


def spellings(one: Record, field: str) -> dict[str, str]:
    """The values of a field of a message, by the form that is compared; written from the words."""
    message = json.loads(one.payload)
    found: list[Any] = [message.get(field)]
    if field == "type":
        found = [one.type]
    elif field == "author_id":
        found = [message.get("user_id"), message.get("from_user_id")]
        found = found if one.type in ("user", "dm") else []
    elif field.startswith("participants."):
        found = [each.get(field.partition(".")[2]) for each in message.get("participants", [])]
    elif "." in field:
        root, _, name = field.partition(".")
        found = [message.get(root, {}).get(name)]
    elif field in KEY_FILTERS:
        keys = {key.partition("=")[2] for key in one.keys if key.startswith(f"{field}=")}
        compared = str if field.endswith("_id") else normalized
        # Some entry of the message spells it.
        strings = [each for each in strings_in(message) if compared(each) in keys]
        return {compared(each): each for each in reversed(strings)}
    text = str if field.endswith("_id") else normalized
    plain = [each if isinstance(each, str) else encode(each).decode() for each in flat(found)]
    return {text(each): each for each in reversed(plain)}


def flat(found: list[Any]) -> Iterator[Any]:
    for each in found:
        if isinstance(each, list):
            yield from flat(each)
        elif isinstance(each, (str, int, float)):
            yield each


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from strings_in(each)


def plainly(records: list[Record], question: Question) -> Json:
    """Count as a plain loop does; `records` are oldest first."""
    group_by, distinct, limit = question.group_by, question.distinct, question.limit
    groups, spelled = Counter[str](), dict[str, str]()
    missing, over_time = 0, dict[int, list[Record]]()
    for one in records:
        found = spellings(one, group_by) if group_by else {"": ""}
        groups.update(found.keys())
        spelled |= found
        missing += not found
        if question.interval:
            start = one.time - one.time % question.interval
            over_time.setdefault(start, []).append(one)
    groups = groups if group_by else Counter()
    ranked = sorted(groups.items(), key=lambda each: (-each[1], each[0]))
    shown = dict(ranked[:limit])

    def different(some: list[Record]) -> int:
        return len({value for one in some for value in spellings(one, distinct)}) if distinct else 0

    def grouped(some: list[Record]) -> dict[str, int]:
        counts = Counter(v for one in some for v in spellings(one, group_by)) if group_by else {}
        return {spelled[value]: count for value, count in counts.items() if value in shown}

    return {
        "total": len(records),
        "groups": [(spelled[value], count) for value, count in shown.items()],
        "others": sum(groups.values()) - sum(shown.values()),
        "missing": missing if group_by else 0,
        "distinct": different(records),
        "buckets": [
            (start, len(some), grouped(some), different(some))
            for start, some in sorted(over_time.items())
        ],
    }


scalars = st.integers(0, 3) | st.booleans()
scalars |= st.sampled_from(["2", "true", "Ärger", "ärger", "x" * 65, 2.5, 1e300, 2**53, 2**53 + 1])
levels = scalars | st.lists(scalars, max_size=3)
common = ["type", "user_id", "username", "channel", "author_id", "metadata.level"]
paths = ["metadata.channel", "data.user_id", "event_data.channel"]
paths += [f"participants.{name}" for name in ("user_id", "username", "role", "class")]
plain = sorted({*NAMES} - {"id", "timestamp", "content", *ROOTS})
fields = st.sampled_from(common) | st.sampled_from(paths) | st.sampled_from(plain)
extremes = st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])


def with_level(message: Json, level: Any, moment: str | None) -> Json:
    if message["type"] == "user":
        message = {**message, "metadata": {**message.get("metadata", {}), "level": level}}
    return message if moment is None else {**message, "timestamp": moment}


sources = st.lists(
    st.builds(with_level, messages.map(complete), levels, st.none() | st.none() | extremes),
    min_size=1,
    max_size=14,
)
questions = st.builds(
    Question,
    st.just("") | fields,
    st.just("") | fields,
    st.sampled_from([0, 1800 * SECOND, 3600 * SECOND, DAY * SECOND, 3000 * DAY * SECOND]),
    st.just(""),
    st.integers(1, 4),
)


def recorded(some: list[Json]) -> list[Record]:
    return [record(one | {"id": f"id_{seq}"}, seq) for seq, one in enumerate(some, 1)]


@settings(max_examples=20, deadline=None)
@given(sources, filters, askers, st.lists(questions, min_size=1, max_size=3), st.integers(0, 14))
def test_all_sources_count_what_a_plain_loop_counts(
    some: list[Json], wanted: Filters, asker: str | None, asked: list[Question], split: int
) -> None:
    records = recorded(some)
    query = compile_query(principal(asker), wanted)
    matching = [one for one in records if query.matches(one)]
    expected = [plainly(matching, question) for question in asked]
    for question, right in zip(asked, expected, strict=True):
        window = Window(100, 1 << 20)
        window.extend(records)
        for _ in range(split):  # some are in the index, and others wait for it
            window.work()
        assert told(of_window(window, query, question)) == right
        while window.work():
            pass
        assert told(of_window(window, query, question)) == right
    with tempfile.TemporaryDirectory() as folder:
        disks = Disks(folder, records)
        try:
            for stage in disks.stages():
                for question, right in zip(asked, expected, strict=True):
                    alone = of_log(disks.disk, [], records, query, question)
                    assert told(alone) == right, stage
                    newer = records[min(split, len(records)) :]
                    both = of_log(disks.disk, newer, records, query, question)
                    assert told(both) == right, stage
        finally:
            disks.disk.close()


def of_window(window: Window, query: Query, question: Question) -> Answer:
    counted = finish(window.analyze(query, question))
    assert counted.follows == 0
    finish(counted.tally.spell(window.at))
    return finish(answer(counted.tally))


def of_log(
    disk: Disk, newer: list[Record], records: list[Record], query: Query, question: Question
) -> Answer:
    """Count with those that are `newer` in the window, and the others on disk alone."""
    log = log_of(StoreOf(disk), newer, records)
    return asyncio.run(log.analyze(query, question, INTERNAL))


def log_of(store: StoreOf, newer: list[Record], records: list[Record]) -> Log:
    follows = newer[0].seq - 1 if newer else records[-1].seq
    window = Window(100, 1 << 20, follows)
    window.extend(newer)
    return Log(window, Store(MemoryJournal(), cast(StoreReader, store), Bounds()))


def said(user: str, name: str, **more: Any) -> Json:
    return complete(
        {"type": "user", "user_id": user, "username": name, "content": "hi", "metadata": {}} | more
    )


def at(second: int) -> str:
    return f"2025-12-03T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"


def window_of(records: list[Record], most: int = 1000) -> Window:
    window = Window(most, 1 << 30)
    window.extend(records)
    while window.work():
        pass
    return window


@pytest.mark.parametrize("field", ["user_id", "metadata.level"])
def test_what_is_evicted_and_swept_meanwhile_is_counted_still(field: str) -> None:
    """The answer is that of the moment at which the search ended, with an index or without."""
    some = [
        said(f"u{n % 50}", "Ann", timestamp=at(n % 7 * 600), metadata={"level": n % 3})
        for n in range(500)
    ]
    records = recorded(some)
    window = window_of(records, 500)
    question = Question(field, "user_id", 600 * SECOND, "", 1000)
    right = plainly(records, question)
    later = recorded([said("late", "Late") for _ in range(1500)])[500:]
    steps = window.analyze(EVERYTHING, question)
    paused = 0
    try:
        while True:
            next(steps)
            paused += 1
            fresh, later = (later[:9], later[9:]) if paused > 2 else ([], later)
            if fresh:
                window.extend(fresh)
                window.evict(fresh[-1].seq)
                window._sweeping = window._sweeping or window._index.sweep(window._needed_from)
                while window.work():
                    pass
    except StopIteration as stop:
        counted = stop.value
    assert window.evicted_upto > 20
    assert counted.follows == 0
    found = told(finish(answer(counted.tally)))
    assert {**found, "groups": sorted(found["groups"])} == {
        **right,
        "groups": sorted(right["groups"]),
    }
    assert not window._held
    window._check()


def test_too_many_buckets_are_refused_with_a_length_that_will_do() -> None:
    moments = [*(at(10 * n) for n in range(2500)), "9999-12-31T23:59:59Z"]
    window = window_of(recorded([said("u1", "Ann", timestamp=each) for each in moments]), 10_000)
    for question, allowed in [
        (Question("", "", SECOND), 30),
        (Question("", "", 3 * SECOND), 30),
        (Question("", "", 7 * SECOND), 14),
        (Question("", "", SECOND, "Europe/Berlin"), 30),
        (Question("type", "", SECOND), 30),
    ]:
        with pytest.raises(RefusedError, match="makes more than 2000 buckets") as refused:
            of_window(window, EVERYTHING, question)
        assert refused.value.field == "interval_seconds"
        assert refused.value.details["allowed"] == allowed
        fitting = Question(question.group_by, "", allowed * SECOND, question.zone)
        assert len(of_window(window, EVERYTHING, fitting).stretches) > 100


def test_the_more_values_the_fewer_buckets() -> None:
    records = recorded([said(f"u{n % 100}", "Ann", timestamp=at(60 * n)) for n in range(1000)])
    window = window_of(records)
    found = of_window(window, EVERYTHING, Question("user_id", "", 60 * SECOND))
    assert (len(found.groups), len(found.stretches)) == (20, 1000)
    with pytest.raises(RefusedError, match="makes more than 200 buckets") as refused:
        of_window(window, EVERYTHING, Question("user_id", "", 60 * SECOND, limit=100))
    fitting = refused.value.details["allowed"] * SECOND
    found = of_window(window, EVERYTHING, Question("user_id", "", fitting, limit=100))
    assert (len(found.groups), len(found.stretches)) == (100, 100)


@pytest.mark.parametrize(("field", "newer"), [("user_id", 40), ("metadata.name", 40)])
def test_buckets_and_values_of_both_sides_are_bounded_together(
    tmp_path: Path, field: str, newer: int
) -> None:
    some = [
        said(f"u{n}", "Ann", timestamp=at(60 * n), metadata={"name": f"n{n}"}) for n in range(80)
    ]
    records = recorded(some)
    disk = Disk(tmp_path / "live.db")
    disk.write(records)
    disk.settle()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "MAX_BUCKETS", 50)
        patch.setattr(answer_module, "MAX_BUCKETS", 50)
        with pytest.raises(RefusedError, match="more than 50 buckets") as refused:
            of_log(disk, records[newer:], records, EVERYTHING, Question("", field, 60 * SECOND))
        assert refused.value.details["allowed"] == 120
        # Values of 80 users do not fit, those of 40 do.
        patch.setattr(tally_module, "MAX_VALUE_BYTES", 60 * 153)
        with pytest.raises(RefusedError, match="too many different values") as refused:
            of_log(disk, records[newer:], records, EVERYTHING, Question(distinct=field))
        assert refused.value.field == "distinct"
        with pytest.raises(RefusedError, match="too many different values") as refused:
            of_log(disk, records[-1:], records, EVERYTHING, Question(field))
        assert refused.value.field == "group_by"
        assert of_window(window_of(records[newer:]), EVERYTHING, Question(field)).total == 40
    disk.close()


def test_a_value_is_spelled_as_the_newest_message_has_it(tmp_path: Path) -> None:
    """Whether it is in the window, on disk, or shown for what is on disk alone."""
    disk = Disk(tmp_path / "live.db")
    names = ["ÄNN", "bob", "Bob", "carl"] * 10 + ["Bob"] * 40 + ["ann", "Carl", "Dora", "dora"] * 3
    names += ["eve", "Änn", "CARL"]
    records = recorded([said("u1", name) for name in names])
    disk.write(records)
    disk.settle()
    for split in (0, 40, 80, len(names) - 1, len(names)):
        for limit in (1, 2, 10):
            question = Question("username", limit=limit)
            found = of_log(disk, records[split:], records, EVERYTHING, question)
            assert told(found)["groups"] == plainly(records, question)["groups"]
    disk.close()


def test_numbers_are_one_value_where_filters_take_them_for_one() -> None:
    levels = [40, 40.0, 2**53 + 1, 2.0**53, 2**53, 10**22, 1e22, 1e23, int(1e23), 10**23, True, 1]
    records = recorded([said("u1", "Ann", metadata={"level": level}) for level in levels])
    window = window_of(records)
    found = of_window(window, EVERYTHING, Question("metadata.level", limit=50))
    numbers = dict(found.groups)
    assert numbers.pop("true") == 1
    for level in levels[:10]:
        where = {"field": "metadata.level", "gte": level, "lte": level}
        query = compile_query(principal("u1"), Filters(where=where), now=NOW)
        [(value, count)] = of_window(window, query, Question("metadata.level")).groups
        assert numbers[value] == count
    assert numbers == {
        "40": 2, "9007199254740993": 1, "9007199254740992": 2, "1e22": 2, "1e23": 2,
        "100000000000000000000000": 1, "1": 1,
    }  # fmt: skip


def test_without_the_store_the_newest_are_counted(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "live.db")
    records = recorded([said("u1", "Ann")] * 10)
    disk.write(records)
    store = StoreOf(disk)
    log = log_of(store, records[4:], records)
    store.refusal = RefusedError(SERVER_ERROR, "", "silent", retry_after=1.0)
    found = asyncio.run(log.analyze(EVERYTHING, Question("user_id"), INTERNAL))
    assert (found.total, found.groups, found.incomplete) == (6, [("u1", 6)], True)
    store.refusal = RefusedError(SERVER_ERROR, "", "damaged")
    with pytest.raises(RefusedError, match="damaged"):
        asyncio.run(log.analyze(EVERYTHING, Question("user_id"), INTERNAL))
    disk.close()


def test_an_answer_is_bounded_in_bytes() -> None:
    records = recorded([said("u1", "Ann", metadata={"note": f"{n:04d}" * 200}) for n in range(100)])
    log = Log(window_of(records), Store(MemoryJournal(), None, Bounds()))
    question = Question("metadata.note", limit=50)
    assert len(asyncio.run(log.analyze(EVERYTHING, question, INTERNAL, 50_000)).groups) == 50
    with pytest.raises(RefusedError, match="more than 30000 bytes") as refused:
        asyncio.run(log.analyze(EVERYTHING, question, INTERNAL, 30_000))
    assert refused.value.field == "limit"


def test_a_reader_learns_no_value_of_direct_messages_of_others() -> None:
    """Whatever the filter is: a NOT, too, leaves them out."""
    dm = {"type": "dm", "from_username": "Ann", "to_user_id": "u2", "content": "hi"}
    sources = [complete({**dm, "from_user_id": "u1", "timestamp": at(60)}), said("u3", "Eve")]
    records = recorded(sources)
    window = window_of(records)
    for where in ["-user_id:u3", "NOT (dragon type:user)", "*"]:
        for asker, seen in [("u1", True), ("u2", True), ("u3", False)]:
            query = compile_query(principal(asker), Filters(where=where), now=NOW)
            found = of_window(window, query, Question("user_id", "username", 60 * SECOND))
            assert (("u1", 1) in found.groups) is seen
            assert (found.total, found.distinct) == (
                sum(query.matches(one) for one in records),
                len({key for one in records if query.matches(one) for key in one.keys
                     if key.startswith("username=")}),
            )  # fmt: skip
