"""The window against a plain list: what it keeps, what it finds, by page and by chunk."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from operator import sub
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from livelog.auth.principal import ANYBODY
from livelog.index.analysis.live import Findings
from livelog.index.index import Index
from livelog.index.plan import finish
from livelog.index.query import EVERYTHING, NOTHING, Query, Subscription, compile_query
from livelog.log import indexing, kept
from livelog.log.window import Matches, Window
from livelog.wire import frames
from livelog.wire.acts import Act, Erase, Group, Places, Redact
from livelog.wire.commands import Filters
from livelog.wire.erasure import changes, places_in
from livelog.wire.messages import TYPES
from livelog.wire.record import Known, Record
from tests.support.strategies import Json, ids, messages, principal, record, subscriptions
from tests.support.strategies import queries as asked

PSEUDONYM = "erased_aaaaaaaa"
queries = st.just(EVERYTHING) | asked
ALL = NOTHING.with_types(dict.fromkeys(TYPES, EVERYTHING))


class WindowAgainstAList(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.window = Window(1, 1)
        self.kept: list[Record] = []
        self.last = self.evicted_upto = self.safe_upto = 0

    @initialize(
        count=st.integers(1, 12),
        size=st.sampled_from([1, 6000, 25_000, 10**6]),
        follows=st.sampled_from([0, 10]),
    )
    def open(self, count: int, size: int, follows: int) -> None:
        self.window = Window(count, size, follows)
        self.last = self.evicted_upto = self.safe_upto = follows

    @rule(message=messages, step=st.integers(1, 3), id=st.sampled_from(["a", "b", "c"]))
    def append(self, message: Json, step: int, id: str) -> None:
        """TimeIndex are out of order and ids come again: both are no concern of the window."""
        self.last += step
        new = record({"id": id, **message}, self.last)
        self.window.append(new)
        self.kept.append(new)
        self.evict(self.safe_upto)

    @rule(unsafe=st.integers(0, 6))
    def settle(self, unsafe: int) -> None:
        """All but the last few are on disk."""
        self.safe_upto = max(self.safe_upto, self.last - unsafe)
        self.evict(self.safe_upto)

    @rule(kept=st.integers(0, 20))
    def trim(self, kept: int) -> None:
        upto = self.last - kept
        self.window.trim(upto)
        while self.kept and self.kept[0].seq <= upto:
            self.evicted_upto = self.kept.pop(0).seq

    def evict(self, upto: int) -> None:
        self.window.evict(upto)
        self.follow()

    @rule(steps=st.integers(1, 30))
    def index(self, steps: int) -> None:
        """The index follows in steps of its own; what it takes counts, too."""
        for _ in range(steps):
            if not self.window.work():
                break
        self.follow()

    def follow(self) -> None:
        """Check what has been evicted, and evict the same."""
        while self.kept and self.kept[0].seq <= self.window.evicted_upto:
            self.evicted_upto = self.kept.pop(0).seq
        if self.kept and self.kept[0].seq <= self.safe_upto:
            assert len(self.kept) <= self.window.max_messages
            taken = self.window.memory - self.window._garbage
            if not self.window._unweighed:  # few bytes that have come since are not weighed yet
                assert taken <= self.window.max_bytes or len(self.kept) == 1
            frames_kept = sum(len(one.frame) for one in self.kept)
            assert frames_kept <= self.window.max_bytes or len(self.kept) == 1

    @rule(query=queries, limit=st.integers(1, 5), offset=st.integers(0, 8))
    def read(self, query: Query, limit: int, offset: int) -> None:
        found = finish(self.window.find(query))
        self.follow()
        matching = [one for one in reversed(self.kept) if query.matches(one)]
        page = [one.payload for one in matching[offset : offset + limit]]
        assert found.payloads(offset, limit) == page
        assert found.total == len(matching)
        for seq in range(self.last + 2):
            assert found.newer(seq) == sum(one.seq > seq for one in matching)

    @rule(
        wanted=subscriptions | st.just(ALL),
        back=st.integers(0, 20),
        max_bytes=st.sampled_from([1, 400, 10**6]),
    )
    def after(self, wanted: Subscription, back: int, max_bytes: int) -> None:
        """Chunk by chunk, a reader gets all that is left of what it wants, once and in order."""
        self.index(10**6)  # or it would be evicted while it is read
        cursor = since = max(self.evicted_upto, self.last - back)
        found: list[bytes] = []
        while cursor < self.last:
            chunk = self.window.after(cursor, wanted, max_bytes)
            assert chunk.cursor > cursor
            assert sum(map(len, chunk.frames[:-1])) < max_bytes
            found += chunk.frames
            cursor = chunk.cursor
        assert found == [one.frame for one in self.kept if one.seq > since and wanted.wants(one)]
        assert cursor == self.last

    @rule(user=ids, query=queries, indexed=st.booleans())
    def erase(self, user: str, query: Query, indexed: bool) -> None:
        """Give a user a pseudonym; what is read at once, and later, is as if it had always been."""
        self.index(10**6 if indexed else 1)
        named = {one.seq: places_in(one.payload, user) for one in self.kept}
        groups = tuple(Places(places, (seq,)) for seq, places in named.items() if places)
        self.change(Erase(by="m", at="", pseudonym=PSEUDONYM, groups=groups))
        who = (user, PSEUDONYM)
        asked = [compile_query(ANYBODY, Filters(user_id=one)) for one in who]
        asked += [compile_query(principal(one), Filters()) for one in who]
        asked += [compile_query(ANYBODY, Filters(text=PSEUDONYM)), query]
        for one in asked:
            if indexed:
                wanted = NOTHING.with_types(dict.fromkeys(TYPES, one))
                expected = [each.frame for each in self.kept if wanted.wants(each)]
                assert self.window.after(self.evicted_upto, wanted, 10**6).frames == expected
            self.read(one, 5, 0)

    @rule(place=st.integers(0, 12), query=queries)
    def redact(self, place: int, query: Query) -> None:
        for one in self.kept[place : place + 1]:
            readers = Group(one.type, (one.seq,))
            self.change(Redact(by="m", at="", reason="spam", groups=(readers,)))
        self.read(query, 5, 0)

    def change(self, act: Act) -> None:
        changed = changes(act)
        self.window.change(changed, voids=isinstance(act, Redact))
        for place, one in enumerate(self.kept):
            if one.seq in changed:
                frame = frames.text(changed[one.seq](one.payload))
                self.kept[place] = indexing._record(one.seq, frame)

    @invariant()
    def agree(self) -> None:
        self.window._check()
        assert len(self.window) == len(self.kept)
        assert self.window.evicted_upto == self.evicted_upto
        assert self.window.newest == (self.kept[-1].seq if self.kept else self.evicted_upto)
        newest = {one.id: Known(one.seq, one.payload) for one in self.kept}
        for id in {"a", "b", "c", *newest}:
            assert self.window.lookup(id) == newest.get(id)


def seqs_of(matches: Matches) -> list[int]:
    return [json.loads(payload)["seq"] for payload in matches.payloads(0, 10_000)]


WindowAgainstAList.TestCase.settings = settings(stateful_step_count=30)
TestWindowAgainstAList = WindowAgainstAList.TestCase


def filled(count: int, kept: int = 10**9) -> Window:
    window = Window(kept, 10**9)
    for seq in range(1, count + 1):
        window.append(record({"type": "system", "event": "error", "id": f"s{seq}"}, seq))
        window.evict(seq)
    return window


def test_the_newest_message_stays_even_when_it_alone_is_too_big() -> None:
    window = Window(10, 1)
    for seq in (1, 2):
        window.append(record({"type": "system", "event": "error"}, seq))
        window.evict(seq)
        assert len(window) == 1
    assert window.evicted_upto == 1


def test_what_has_fallen_out_long_ago_is_not_kept_in_secret() -> None:
    window = filled(5000, kept=10)
    window._check()
    assert sum(map(len, window._frames._blocks)) < 10 + 32
    assert len(window._seqs) < 10 + 4096
    assert window.lookup("s4990") is None
    known = window.lookup("s4991")
    assert known is not None
    assert known.seq == 4991
    assert seqs_of(finish(window.find(EVERYTHING))) == list(range(5000, 4990, -1))


def test_what_watches_have_found_is_not_counted_as_it_was() -> None:
    window, known = Window(10, 10**9), Findings()
    window.append(record({"type": "user", "user_id": "u1", "username": "A", "content": ""}, 1))
    index_all(window)
    for field in ("author_id", "username"):
        assert finish(window.count(EVERYTHING, field, 0, 1, known)).total == 1
    places = Places(("/user_id", "/username"), (1,))
    act = Erase(by="m", at="", pseudonym=PSEUDONYM, groups=(places,))
    window.change(changes(act), voids=False)
    for field in ("author_id", "username"):
        counted = finish(window.count(EVERYTHING, field, 0, 1, known))
        assert (counted.total, counted.values) == (1, {PSEUDONYM: 1})


def test_an_index_that_is_replaced_is_freed_in_steps_once_no_search_reads_it() -> None:
    window = Window(1000, 10**9)
    for seq in range(1, 301):
        text = f"dragon {words(10, 10 * seq)}"
        user = {"type": "user", "user_id": f"u{seq}", "username": "A", "content": text}
        window.append(record(user, seq))
    index_all(window)
    search = window.find(compile_query(ANYBODY, Filters(text="dragon")))
    next(search)
    before = weakref.ref(window._index)
    act = Erase(by="m", at="", pseudonym=PSEUDONYM, groups=(Places(("/user_id",), (7,)),))
    window.change(changes(act), voids=False)
    index_all(window)
    assert before() is not None
    assert finish(search).total == 300
    del search
    assert before() is None
    sizes = []
    while window.has_work:
        sizes.append(sum(map(len, window._discarded)))
        window.work()
    assert sizes[0] > 3000
    assert max(map(sub, sizes, sizes[1:])) <= 128
    assert not window._discarded


def test_a_long_search_pauses_and_what_comes_and_goes_meanwhile_is_not_in_it() -> None:
    window = Window(2500, 10**9)
    for seq in range(1, 2501):
        window.append(
            record({"type": "system", "event": "error", "data": {"a": "red dragon"}}, seq)
        )
    while window.work():
        pass
    steps = window.find(compile_query(ANYBODY, Filters(text='"red dragon"')))
    pauses = come = 0
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            found: Matches = stop.value
            break
        pauses += 1
        if pauses % 25:
            continue
        come += 1
        seq = 2500 + come
        window.append(
            record({"type": "system", "event": "error", "data": {"a": "red dragon"}}, seq)
        )
        window.evict(seq)
    assert come >= 20
    assert seqs_of(found) == list(range(2500, come, -1))
    assert found.total == 2500 - come


def test_a_search_reads_what_is_not_in_the_index_yet_and_does_not_wait_for_it() -> None:
    window = filled(50)
    index_all(window)
    for seq in range(51, 101):
        window.append(record({"type": "system", "event": "error", "data": {"a": "blue"}}, seq))
    waiting = window.waiting_bytes
    assert waiting
    blue = compile_query(ANYBODY, Filters(text="blue"))
    assert seqs_of(finish(window.find(blue))) == list(range(100, 50, -1))
    steps = window.find(EVERYTHING)
    next(steps)
    window.append(record({"type": "system", "event": "error"}, 101))
    assert seqs_of(finish(steps)) == list(range(100, 0, -1))
    assert seqs_of(finish(window.find(EVERYTHING))) == list(range(101, 0, -1))
    assert window.waiting_bytes > waiting


def test_a_search_does_not_read_what_the_index_takes_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a burst the index is filled while searches wait their turn."""
    window = filled(500)
    decoded = list[int]()
    monkeypatch.setattr(indexing, "_record", lambda seq, frame: decoded.append(seq))
    steps = window.find(EVERYTHING)
    next(steps)
    index_all(window)
    assert seqs_of(finish(steps)) == list(range(500, 0, -1))
    assert not decoded


def test_a_search_does_not_hold_on_to_what_waited_for_the_index() -> None:
    window = Window(10, 10**9)
    records = [record({"type": "system", "event": "error"}, seq) for seq in range(1, 51)]
    for each in records:
        window.append(each)
    steps = window.find(EVERYTHING)
    next(steps)
    window.evict(50)
    index_all(window)
    # One for the list, one for its iteration, one for the argument.
    assert sum(sys.getrefcount(each) > 3 for each in records) <= 1
    assert seqs_of(finish(steps)) == list(range(50, 40, -1))


@pytest.mark.parametrize(("text", "last"), [(None, 3), ("red", 100)])
def test_a_chunk_ends_when_the_time_is_over_and_moves_on_without_a_match(
    text: str | None, last: int
) -> None:
    window = filled(2500)
    query = EVERYTHING if text is None else compile_query(ANYBODY, Filters(text=text))
    nothing_matches = NOTHING.with_types({"user" if text is None else "system": query})
    cursor, chunks, looks = 0, 0, 0

    def is_over() -> bool:
        nonlocal looks
        looks += 1
        return looks >= last

    while cursor < 2500:
        looks = 0
        chunk = window.after(cursor, nothing_matches, 10**6, is_over)
        assert chunk.frames == []
        assert chunk.cursor >= cursor
        cursor, chunks = chunk.cursor, chunks + 1
        window._check()
    assert chunks >= 25


def test_a_chunk_ends_before_what_is_evicted_while_it_is_read() -> None:
    """Its index takes more than the window may: that is known only once it is made."""
    window = Window(100, 60_000)
    for seq in range(1, 51):
        text = words(30, seq * 100)
        window.append(record({"type": "system", "event": "error", "data": {"a": text}}, seq))
        window.evict(seq)
    assert window.evicted_upto == 0
    chunk = window.after(0, ALL, 10**6)
    assert window.evicted_upto > 0
    assert chunk.cursor == len(chunk.frames)
    cursor, seqs = chunk.cursor, list[int]()
    while cursor < 50:
        lost = max(cursor, window.evicted_upto)
        chunk = window.after(lost, ALL, 10**6)
        seqs += range(lost + 1, chunk.cursor + 1)
        assert len(chunk.frames) == chunk.cursor - lost
        cursor = chunk.cursor
    assert seqs[-1] == 50


def index_all(window: Window) -> None:
    while window.work():
        pass


def words(count: int, start: int = 0) -> str:
    return " ".join(f"{number:05x}" for number in range(start, start + count))


def test_a_long_message_is_indexed_in_many_small_steps() -> None:
    window = Window(100, 10**9)
    window.append(record({"type": "system", "event": "error", "data": {"a": words(10_000)}}, 1))
    assert window.lookup("id_1") is not None
    steps = 0
    while window.work():
        steps += 1
    assert steps > 70
    many_keys = [
        {"user_id": f"u{n}", "username": f"n{n}", "role": "tank", "class": "x"} for n in range(1500)
    ]
    window.append(record({**raid(), "participants": many_keys}, 2))
    steps = 0
    while window.work():
        steps += 1
    assert steps > 10


def raid() -> Json:
    return {
        "type": "raid",
        "raid_id": "r",
        "raid_name": "n",
        "boss_name": "b",
        "status": "preparing",
        "difficulty": "mythic",
    }


def test_the_bound_in_bytes_covers_the_index_and_what_is_dropped_is_freed() -> None:
    """Distinct words take about five hundred bytes each, letters and n-grams included."""
    window = Window(10_000, 8 * 2**20)
    for seq in range(1, 101):
        text = words(1000, seq * 1000)
        window.append(record({"type": "system", "event": "error", "data": {"a": text}}, seq))
        window.evict(seq)
        while window.work():
            pass
        assert window.memory < 10 * 2**20
    assert 5 < len(window) < 30
    window._check()
    window.trim(99)
    while window.work():
        pass
    assert len(window._index.vocabulary()) < 1010
    assert window.memory < 2**20
    window._check()


def test_many_words_that_come_at_once_wait_until_what_they_evict_is_swept() -> None:
    """Also behind large messages of few words, which tell nothing of the words of others."""
    window = Window(10_000, 8 * 2**20)
    event = {"type": "system", "event": "error"}
    window.extend([record({**event, "data": {"a": "x" * 60_000}}, seq) for seq in range(1, 101)])
    window.evict(100)
    index_all(window)
    texts = [words(2000, seq * 2000) for seq in range(101, 161)]
    window.extend([record({**event, "data": {"a": a}}, seq) for seq, a in enumerate(texts, 101)])
    window.evict(160)
    most = 0
    while window.work():
        most = max(most, window.memory)
    assert most < 13 * 2**20
    assert 5 < len(window) < 15, "as many as fit"
    window._check()


def test_nothing_in_window_and_index_is_walked_by_the_garbage_collector() -> None:
    """Also with keys and numbers that no other message has, and after one from the future."""

    def walked() -> tuple[int, int]:
        """Return how many objects are tracked, and how many they refer to."""
        gc.collect()
        objects = gc.get_objects()
        return len(objects), sum(len(gc.get_referents(each)) for each in objects)

    window = Window(100_000, 10**9)

    def fill(first: int, count: int) -> None:
        for seq in range(first, first + count):
            data = {"a": words(20, seq * 7 % 9000), "user_id": f"u{seq}", "took": seq * 7919 % 9001}
            time = "2030-01-01T00:00:00Z" if seq == 1 else "2024-01-01T00:00:00Z"
            fields = {"data": data, "timestamp": time}
            window.append(record({"type": "system", "event": "error", **fields}, seq))
            while window.work():
                pass

    fill(1, 4200)  # more than keep their keys as they came, for live counts
    objects, visited = walked()
    fill(4201, 5000)
    assert len(window._index.vocabulary()) > 9000
    assert window._index.keys > 5000
    assert len(window._index.time_index.strays) > 5000
    more_objects, more_visited = walked()
    assert more_objects - objects < 100
    assert more_visited - visited < 5000 / 4


class Failing(Index):
    """An index that fails in the middle of some messages."""

    fails = 0

    def add_at_once(self, record: Record) -> bool:
        self._types[record.type].add(self.end)
        if Failing.fails:
            Failing.fails -= 1
            raise MemoryError
        return super().add_at_once(record)


@pytest.mark.parametrize("failures", [1, 2, 3])
def test_an_index_that_fails_is_made_anew(failures: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (kept, indexing):
        monkeypatch.setattr(module, "Index", Failing)
    window = filled(200, kept=150)
    while window.work():
        pass
    for seq in (201, 202):
        window.append(record({"type": "system", "event": "error", "id": f"s{seq}"}, seq))
    Failing.fails = failures
    told: list[Exception] = []
    window.on_failure = told.append
    while window.work():
        window._check()
    assert len(told) == failures
    assert seqs_of(finish(window.find(EVERYTHING))) == list(range(202, 52, -1))
    window._check()


@pytest.mark.parametrize("part", ["_frames", "_seqs", "_ids", "_waiting"])
def test_a_batch_that_cannot_be_added_leaves_nothing_behind(part: str) -> None:
    window = filled(10)
    fresh = [record({"type": "system", "event": "error", "id": f"x{n}"}, n) for n in (11, 12, 13)]
    whole = getattr(window, part)

    class Full:
        """Fails at the second message."""

        added = 0

        def add(self, one: object) -> None:
            self.added += 1
            if self.added == 2:
                raise MemoryError
            whole.add(one)

        def extend(self, several: list[Any]) -> None:
            whole.extend(several[:1])
            raise MemoryError

        def __getattr__(self, name: str) -> Any:
            return getattr(whole, name)

        def __len__(self) -> int:
            return len(whole)

        def __getitem__(self, place: Any) -> Any:
            return whole[place]

        def __delitem__(self, place: Any) -> None:
            del whole[place]

    setattr(window, part, Full())
    with pytest.raises(MemoryError):
        window.extend(fresh)
    setattr(window, part, whole)
    window._check()
    assert (len(window), window.newest) == (10, 10)
    assert window.lookup("x11") is None
    window.extend(fresh)
    window._check()
    assert window.lookup("x11") == Known(11, fresh[0].payload)


@given(st.integers(0, 2000))
def test_a_reader_at_the_head_or_beyond_gets_nothing_and_stays(beyond: int) -> None:
    chunk = HUNDRED.after(100 + beyond, ALL, 10**6)
    assert (chunk.frames, chunk.cursor) == ([], 100 + beyond)


HUNDRED = filled(100)


def test_dates_filter_on_the_timestamp_not_on_the_order() -> None:
    window = Window(10, 10**6)
    for seq, hour in enumerate([12, 9, 15, 10], start=1):
        at = f"2025-12-03T{hour:02}:00:00Z"
        window.append(record({"type": "system", "event": "error", "timestamp": at}, seq))
    until_noon = compile_query(ANYBODY, Filters(date_to="2025-12-03T12:00:00Z"))
    assert seqs_of(finish(window.find(until_noon))) == [4, 2, 1]
