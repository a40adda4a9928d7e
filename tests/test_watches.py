"""Watches against a naive count: each message that a watcher may read is in one of its events."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator
from functools import partial
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from livelog.auth.principal import ANYBODY, Principal
from livelog.errors import RefusedError
from livelog.fanout.watcher import Watcher
from livelog.fanout.watches import MAX_WATCHES, Watches
from livelog.index.analysis.live import TOP, Count
from livelog.index.folding import normalized
from livelog.index.plan import finish
from livelog.index.query import Query, compile_query
from livelog.log.window import Window
from livelog.wire import frames
from livelog.wire.commands import Filters
from livelog.wire.events import Counts
from livelog.wire.record import Record
from tests.support.strategies import filters, ids, messages, record

Json = dict[str, Any]
ALL = Filters()
decoder = msgspec.json.Decoder(Counts)
SCOPES = ["read", "read:user", "read:dm", "read:user read:raid"]
FIELDS = ["type", "event", "status", "channel", "user_id", "username", "author_id", "severity"]


class Listener:
    """A party that keeps what it is told."""

    def __init__(self) -> None:
        self.blocked = False
        self.events: list[Counts] = []

    def tell(self, frame: bytes) -> None:
        assert not self.blocked
        self.events.append(decoder.decode(frames.payload(frame)))


def compiled(wanted: Filters, principal: Principal) -> Query:
    return compile_query(principal, wanted, now=0.0)


class Place:
    """A window as watches count in it, with messages."""

    def __init__(self, count: int = 1000, size: int = 10**6) -> None:
        self.window = Window(count, size)
        self.watches = Watches(self.window)
        self.head = 0
        self.now = 0.0

    def enter(
        self,
        party: Listener,
        id: str = "w",
        principal: Principal = ANYBODY,
        wanted: Filters = ALL,
        *,
        field: str = "type",
        interval: int = 1,
        seq: int | None = None,
    ) -> None:
        one = Watcher(party, id, partial(compiled, wanted), field, interval)
        self.watches.enter(one, principal, self.head, self.head if seq is None else seq, self.now)

    def append(self, *many: Json) -> list[Record]:
        found = []
        for message in many:
            self.head += 1
            found.append(record(message, self.head))
        self.window.extend(found)
        return found

    def index(self) -> None:
        while self.window.work():
            pass

    def tick(self, seconds: float = 1.0) -> None:
        """Let time pass, and carry out all that is to be done."""
        self.index()
        self.now += seconds
        self.watches.tick(self.now)
        finish(self.watches.counting())
        self.watches._check()


def user(content: str = "hello", **fields: Any) -> Json:
    return {"type": "user", "user_id": "u1", "username": "Ann", "content": content, **fields}


def dm(sender: str, to: str) -> Json:
    people = {"from_user_id": sender, "from_username": "A", "to_user_id": to}
    return {"type": "dm", "content": "psst", **people}


def test_each_interval_has_its_counts() -> None:
    place, party = Place(), Listener()
    place.append(user("before"))
    place.enter(party)
    place.append(user(), user(), dm("u1", "u2"))
    place.tick()
    place.tick()
    place.append(user())
    place.tick()
    told = [(event.from_seq, event.to_seq, event.counts) for event in party.events]
    assert told == [(1, 4, {"user": 2, "dm": 1}), (4, 4, {}), (4, 5, {"user": 1})]


def test_ticks_are_aligned_to_the_epoch() -> None:
    place, party = Place(), Listener()
    place.now = 100.5
    place.enter(party, "one", interval=1)
    place.enter(party, "seven", interval=7)
    assert place.watches.next_in(place.now) == 0.5
    place.tick(0.4)
    assert not party.events
    place.tick(0.2)
    assert [event.id for event in party.events] == ["one"]
    place.tick(4.0)  # to 105.1, where the first misses what is over
    assert [event.id for event in party.events] == ["one", "one", "seven"]


def test_a_clock_that_is_set_back_makes_no_watch_wait_for_it() -> None:
    place, party = Place(), Listener()
    place.now = 10_000.0
    place.enter(party)
    for _ in range(3):
        place.tick(-1000)
    assert len(party.events) == 3


def test_what_waits_for_the_index_comes_in_the_next_event() -> None:
    place, party = Place(), Listener()
    place.enter(party)
    place.append(user(), user())
    place.window.work()
    upto = place.window.indexed_upto
    place.watches.tick(1.0)
    finish(place.watches.counting())
    place.now = 1.0
    place.tick()
    assert [event.to_seq for event in party.events] == [upto, 2]
    assert sum(event.total_count for event in party.events) == 2


def test_a_watch_from_where_the_index_is_not_yet_loses_nothing() -> None:
    place, party = Place(), Listener()
    place.append(user(), user())
    place.enter(party)
    place.watches.tick(1.0)
    finish(place.watches.counting())
    place.now = 1.0
    place.append(user())
    place.tick()
    told = [(event.from_seq, event.to_seq, event.total_count) for event in party.events]
    assert told == [(2, 2, 0), (2, 3, 1)]


def test_a_blocked_watcher_gets_one_event_for_all_that_it_has_missed() -> None:
    place, party = Place(), Listener()
    place.enter(party, interval=60)
    party.blocked = True
    for _ in range(5):
        place.append(user())
        place.tick(60)
    assert not party.events
    party.blocked = False
    place.append(user())
    place.index()
    place.watches.resume(party)  # and not at the next full minute
    finish(place.watches.counting())
    [event] = party.events
    assert (event.from_seq, event.to_seq, event.counts) == (0, 6, {"user": 6})
    place.watches.resume(party)
    finish(place.watches.counting())
    assert len(party.events) == 1


def test_what_was_evicted_makes_an_event_incomplete() -> None:
    place, party = Place(count=3), Listener()
    place.enter(party)
    place.append(*[user() for _ in range(5)])
    place.index()
    place.window.evict(place.head)
    place.tick()
    place.append(user())
    place.tick()
    told = [(event.incomplete, event.from_seq, event.to_seq) for event in party.events]
    assert told == [(True, 0, 5), (False, 5, 6)]
    assert [event.total_count for event in party.events] == [3, 1]


def test_the_same_id_replaces_and_each_party_has_its_own() -> None:
    place, one, other = Place(), Listener(), Listener()
    place.enter(one, "w")
    place.enter(other, "w")
    place.append(user())
    place.enter(one, "w", field="user_id")
    place.append(user())
    place.tick()
    assert [event.counts for event in one.events] == [{"u1": 1}]
    assert [event.counts for event in other.events] == [{"user": 2}]


def test_an_invalid_watch_leaves_the_one_with_its_id() -> None:
    place, party = Place(), Listener()
    place.enter(party)
    with pytest.raises(RefusedError):
        place.enter(party, wanted=Filters(date_from="x"))
    place.tick()
    assert len(party.events) == 1


def test_a_party_has_so_many_watches_and_no_more() -> None:
    place, party = Place(), Listener()
    for number in range(MAX_WATCHES):
        place.enter(party, f"w{number}")
    with pytest.raises(RefusedError) as refused:
        place.enter(party, "one more")
    assert (refused.value.code, refused.value.field) == (1008, "id")
    place.enter(party, "w3")
    place.watches.end(party, "w4")
    place.enter(party, "one more")
    place.watches._check()


def test_an_unknown_watch_cannot_be_ended() -> None:
    place, party = Place(), Listener()
    place.enter(party, "w")
    for who, id in [(party, "x"), (Listener(), "w"), (party, "__proto__")]:
        with pytest.raises(RefusedError) as refused:
            place.watches.end(who, id)
        assert (refused.value.code, refused.value.field) == (1002, "id")


def test_nothing_is_left_of_who_has_gone() -> None:
    place, party = Place(), Listener()
    place.enter(party, "__proto__")
    place.enter(party, "two", interval=2)
    place.append(user())
    place.index()
    place.watches.tick(2.0)
    place.watches.leave(party)
    finish(place.watches.counting())
    place.watches._check()
    assert not len(place.watches)
    assert place.watches.next_in(0.0) is None
    assert not party.events


def test_only_so_many_values_are_named() -> None:
    place, party = Place(), Listener()
    place.enter(party, field="user_id")
    many = [user(user_id=f"u{number:03}") for number in range(TOP + 50)]
    place.append(*many, user(user_id="u149"), {"type": "system", "event": "error"})
    place.tick()
    [event] = party.events
    assert len(event.counts) == TOP
    assert list(event.counts)[:2] == ["u149", "u000"]
    assert event.others == 50
    assert event.missing == 1
    assert event.total_count == TOP + 52


def test_names_of_python_and_javascript_are_values_like_others() -> None:
    place, party = Place(), Listener()
    place.enter(party, "__proto__", field="user_id")
    place.append(user(user_id="__proto__"), user(user_id="__class__"), user(user_id="NaN"))
    place.tick()
    [event] = party.events
    assert event.id == "__proto__"
    assert event.counts == {"__proto__": 1, "__class__": 1, "NaN": 1}


def test_public_counts_are_made_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    parties = [Listener() for _ in range(20)]
    for number, party in enumerate(parties):
        principal = Principal(f"u{number}", frozenset(["read"]))
        place.enter(party, f"w{number}", principal)
    place.append(user(), dm("u1", "u2"))
    counted = []
    count = place.window.count

    def counting(query: Query, *args: Any) -> Any:
        counted.append(query)
        return count(query, *args)

    monkeypatch.setattr(place.window, "count", counting)
    place.tick()
    assert len(counted) == 3  # what is public, and the message of two
    for number, party in enumerate(parties):
        dms = {"dm": 1} if number in (1, 2) else {}
        assert party.events[0].counts == {"user": 1, **dms}
        assert party.events[0].to_seq == (2 if dms else 1)


def test_watchers_that_are_alike_are_told_the_very_same_bytes() -> None:
    """Also while somebody else gets a direct message, which only its two readers are told of."""
    place, told = Place(), dict[str, list[bytes]]()

    class Raw(Listener):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.frames = told.setdefault(name, [])

        def tell(self, frame: bytes) -> None:
            super().tell(frame)
            self.frames.append(frame)

    parties = {name: Raw(name) for name in ("u1", "u2", "u3", "u4")}
    for name, party in parties.items():
        place.enter(party, principal=Principal(name, frozenset(["read:user", "read:dm"])))
    for _ in range(2):
        place.append(user(), dm("u1", "u2"))
        place.tick()
    totals = {name: [one.total_count for one in each.events] for name, each in parties.items()}
    assert totals == {"u1": [2, 2], "u2": [2, 2], "u3": [1, 1], "u4": [1, 1]}
    for one, other in zip(told["u3"], told["u4"], strict=True):
        assert one is other


def test_a_watch_that_fails_is_no_matter_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    place, party = Place(), Listener()
    place.enter(party, "bad", field="status")
    place.enter(party, "good")
    place.append(user())
    count = place.window.count

    def failing(query: Query, field: str, *args: Any) -> Generator[None, None, Count]:
        if field == "status":
            raise MemoryError("none left")
        return (yield from count(query, field, *args))

    with monkeypatch.context() as patch:
        patch.setattr(place.window, "count", failing)
        with pytest.raises(MemoryError):
            place.tick()
    assert [event.id for event in party.events] == ["good"]
    place.tick()
    [late] = [event for event in party.events if event.id == "bad"]
    assert (late.from_seq, late.to_seq, late.missing) == (0, 1, 1)


def test_a_new_token_holds_from_then_on() -> None:
    place, party = Place(), Listener()
    ann = Principal("ann", frozenset(["read"]))
    place.enter(party, principal=ann)
    place.enter(party, "dms", ann, Filters(type="dm"))
    place.append(user(), dm("ann", "bob"), dm("eve", "bob"))
    place.index()
    less = Principal("ann", frozenset(["read:user"]))
    assert place.watches.renew(party, less, place.head) == ["dms"]
    assert place.watches.renew(party, less, place.head) == []
    place.append(user(), dm("ann", "bob"), dm("ann", "ann"))
    place.tick()
    [event] = party.events
    assert event.counts == {"user": 2, "dm": 1}
    assert (event.from_seq, event.to_seq) == (0, 4)
    place.append(dm("ann", "bob"), user())
    place.tick()
    assert [(one.to_seq, one.counts) for one in party.events[1:]] == [(8, {"user": 1})]


class Model:
    """A watcher, and what it is to be told of."""

    def __init__(self, wanted: Filters, field: str, principal: Principal, head: int) -> None:
        self.wanted = wanted
        self.field = field
        self.principal = principal
        self.query = compiled(wanted, principal)
        self.expected: list[tuple[int, set[str]]] = []
        """Seq of each message, and its values."""
        self.readable: set[int] = set()
        """Seqs of the messages that could be read."""
        self.seq = head
        """The end of the last event."""
        self.told = 0


class Told(Listener):
    """A party whose events are compared with the models of its watchers as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.models: dict[str, Model] = {}

    def tell(self, frame: bytes) -> None:
        super().tell(frame)
        event = self.events[-1]
        model = self.models[event.id]
        self.check_place(event, model)
        between = [values for seq, values in model.expected if event.from_seq < seq <= event.to_seq]
        counts = Counter(value for values in between for value in values)
        event.counts = {normalized(value): count for value, count in event.counts.items()}
        missing = sum(not values for values in between)
        if event.incomplete:
            assert not Counter(event.counts) - counts
            assert event.total_count <= len(between)
        else:
            assert event.counts == counts
            assert (event.missing, event.total_count) == (missing, len(between))
        model.told += len(between)

    def check_place(self, event: Counts, model: Model) -> None:
        """Each event begins where the one before has ended, at a message that may be read."""
        assert event.from_seq == model.seq
        if not model.principal.open:
            assert event.to_seq in model.readable | {event.from_seq}
        model.seq = event.to_seq


class WatchesAgainstASum(RuleBasedStateMachine):
    @initialize(count=st.sampled_from([3, 10, 1000]))
    def open(self, count: int) -> None:
        self.place = Place(count)
        self.records: list[Record] = []
        self.parties = [Told() for _ in range(3)]
        self.running: list[Generator[None, None, None]] = []
        watches = self.place.watches
        watches.on_work = lambda: self.running.append(watches.counting())

    parties_ = st.integers(0, 2)
    watch_ids = st.sampled_from(["w", "__proto__", ""])

    @rule(
        who=parties_,
        id=watch_ids,
        asker=st.none() | ids,
        scope=st.sampled_from(SCOPES),
        wanted=filters,
        where=st.sampled_from([None, "dragon", "-type:user", "NOT channel:general", "user_id:u1"]),
        field=st.sampled_from(FIELDS),
        interval=st.sampled_from([1, 2, 3]),
    )
    def watch(
        self,
        who: int,
        id: str,
        asker: str | None,
        scope: str,
        wanted: Filters,
        where: str | None,
        field: str,
        interval: int,
    ) -> None:
        party = self.parties[who]
        if where is not None:
            wanted = msgspec.structs.replace(wanted, where=where)
        principal = ANYBODY if asker is None else Principal(asker, frozenset(scope.split()))
        try:
            model = Model(wanted, field, principal, self.newest(principal))
        except RefusedError:
            return  # a type that may not be read
        party.models[id] = model
        self.place.enter(
            party, id, principal, wanted, field=field, interval=interval, seq=model.seq
        )

    def newest(self, principal: Principal) -> int:
        if principal.open:
            return self.place.head
        query = compiled(Filters(), principal)
        return max((one.seq for one in self.records if query.matches(one)), default=0)

    @rule(who=parties_, id=watch_ids)
    def unwatch(self, who: int, id: str) -> None:
        party = self.parties[who]
        if id in party.models:
            self.place.watches.end(party, id)
            del party.models[id]
        else:
            with pytest.raises(RefusedError):
                self.place.watches.end(party, id)

    @rule(who=parties_, scope=st.sampled_from(SCOPES))
    def renew(self, who: int, scope: str) -> None:
        party = self.parties[who]
        principals = {model.principal.id for model in party.models.values()}
        if len(principals) != 1 or principals == {""}:
            return  # on a connection there is one
        principal = Principal(principals.pop(), frozenset(scope.split()))
        ended = self.place.watches.renew(party, principal, self.place.head)
        for id, model in list(party.models.items()):
            try:
                model.query = compiled(model.wanted, principal)
            except RefusedError:
                ended.remove(id)
                del party.models[id]
            model.principal = principal
        assert not ended

    @rule(some=st.lists(messages, max_size=4))
    def append(self, some: list[Json]) -> None:
        some = [{**message, "id": f"m{self.place.head}-{n}"} for n, message in enumerate(some)]
        for new in self.place.append(*some):
            self.records.append(new)
            for party in self.parties:
                for model in party.models.values():
                    if model.query.matches(new):
                        model.expected.append((new.seq, values(new, model.field)))
                    if compiled(ALL, model.principal).matches(new):
                        model.readable.add(new.seq)

    @rule(steps=st.integers(1, 20))
    def index(self, steps: int) -> None:
        for _ in range(steps):
            self.place.window.work()

    @rule(unsafe=st.integers(0, 4))
    def evict(self, unsafe: int) -> None:
        self.place.window.evict(self.place.head - unsafe)

    @rule(who=parties_)
    def block(self, who: int) -> None:
        self.parties[who].blocked = True

    @rule(who=parties_)
    def resume(self, who: int) -> None:
        self.parties[who].blocked = False
        self.place.watches.resume(self.parties[who])

    @rule(seconds=st.sampled_from([0.3, 1.0, 2.5, -4.0]))
    def tick(self, seconds: float) -> None:
        self.place.now += seconds
        self.place.watches.tick(self.place.now)

    @rule(steps=st.integers(1, 15))
    def count(self, steps: int) -> None:
        while steps and self.running:
            steps -= 1
            if next(self.running[0], self) is self:
                self.running.pop()

    @invariant()
    def they_are_in_order(self) -> None:
        if hasattr(self, "place"):
            self.place.watches._check()
            assert len(self.running) <= 1

    def teardown(self) -> None:
        """In the end each watcher has been told of all, once."""
        if not hasattr(self, "place"):
            return
        for who in range(3):
            self.resume(who)
        self.count(10**9)
        self.place.index()
        self.tick(6.0)
        self.count(10**9)
        for party in self.parties:
            for model in party.models.values():
                left = [seq for seq, _ in model.expected if seq > model.seq]
                assert all(seq <= self.place.window.evicted_upto for seq in left)
                assert model.told == len(model.expected) - len(left)


def values(record: Record, field: str) -> set[str]:
    """The values of a field, told in another way than the index does."""
    message = json.loads(frames.payload(record.frame))
    if field == "type":
        return {message["type"]}
    if field == "author_id":
        names = ("user_id", "from_user_id") if message["type"] in ("user", "dm") else ()
        return {message[name] for name in names if name in message}
    return {term.partition("=")[2] for term in record.keys if term.startswith(f"{field}=")}


TestWatchesAgainstASum = WatchesAgainstASum.TestCase
TestWatchesAgainstASum.settings = settings(max_examples=60, stateful_step_count=40)
