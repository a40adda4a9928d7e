"""Reading for the doors: commands and URLs become the queries of a subscription, or a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from functools import lru_cache, partial
from itertools import islice
from time import perf_counter
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from livelog.auth.principal import Principal
from livelog.budget.memory import PAGE_BYTES, SMALL_BYTES
from livelog.budget.owner import Owner
from livelog.budget.slices import interleaved, long_step
from livelog.errors import PROTOCOL_ERROR, RefusedError
from livelog.fanout.watcher import Party, Watcher
from livelog.index.analysis.answer import Answer, Stretch
from livelog.index.analysis.calendar import SECOND, buckets
from livelog.index.analysis.question import Question
from livelog.index.analysis.values import field_named
from livelog.index.paging import Anchor, Page, Span
from livelog.index.query import Query, compile_query
from livelog.index.where.document import to_json
from livelog.log.log import Log
from livelog.net.addresses import limited_as
from livelog.wire import validation
from livelog.wire.commands import Analyze, Command, Filters, GetHistory, Search, Subscribe, Watch
from livelog.wire.events import Analysis, Bucket, Group, History, SearchResults
from livelog.wire.messages import MessageType
from livelog.wire.timestamps import FIRST_MOMENT, format_moment

_ANCHORS: tuple[Anchor, ...] = ("before", "after", "around")

_BUCKETS = 64
"""Buckets of an answer that are made in one step."""

_CELL_BYTES = 24
"""Bytes of a count in an analysis, besides the value."""

Found = TypeVar("Found")
Asked = TypeVar("Asked", bound=Command)

Reading = History | SearchResults | Analysis
Read = Callable[[Log, Principal, Owner, Any, float, int], Awaitable[Reading]]
"""`history`, `search` or `analyze`."""


def subscription(
    log: Log, principal: Principal, command: Subscribe, now: float
) -> dict[MessageType, Query]:
    """Return the query of each type that `principal` subscribes to at `now`, in Unix seconds.

    Raises `RefusedError` for an invalid query, a type that it may not read, or a `since` above the
    head.
    """
    if command.filters.type is not UNSET:
        raise RefusedError(PROTOCOL_ERROR, "filters.type", "name the types in message_types")
    types = command.message_types
    query = compile_query(principal, command.filters, message_types=types, now=now)
    if command.since is not UNSET and command.since > log.head:
        issue = f"is in the future, the log is at {log.head}"
        raise RefusedError(PROTOCOL_ERROR, "since", issue)
    return dict.fromkeys(types, query)


def watcher(party: Party, command: Watch, now: float) -> Watcher:
    """Return the watcher that a party asks for at `now`, in Unix seconds.

    Raises `RefusedError` for a field that is not counted by.
    """
    compile = partial(_compiled, command.filters, now)
    field = field_named(command.group_by, "group_by")
    return Watcher(party, command.id, compile, field, command.interval_seconds)


def _compiled(filters: Filters, now: float, principal: Principal) -> Query:
    return compile_query(principal, filters, now=now)


def owner(principal: Principal, address: str) -> Owner:
    """Return the user and the address by which time and memory are shared out."""
    return Owner(principal.id, limited_as(address))


async def history(
    log: Log,
    principal: Principal,
    owner: Owner,
    command: GetHistory,
    now: float,
    max_bytes: int = PAGE_BYTES,
) -> History:
    """Read a page of what `principal` may read, of at most `max_bytes`, in the turns of `owner`.

    The command arrived at `now`, in Unix seconds.
    Raises `RefusedError` for an invalid query or place, or a type that it may not read.
    """
    query = compile_query(principal, command.filters, now=now)
    page = await _timed(log, "history", log.read(query, _span(command, max_bytes), owner))
    return History(
        messages=[Raw(payload) for payload in page.payloads],
        total_count=page.total,
        limit=command.limit,
        offset=page.offset,
        truncated=page.truncated,
        next_offset=_next_offset(page),
        incomplete=page.incomplete or UNSET,
        **_where(query),
    )


async def search(
    log: Log,
    principal: Principal,
    owner: Owner,
    command: Search,
    now: float,
    max_bytes: int = PAGE_BYTES,
) -> SearchResults:
    """Read a page of what `principal` may read and in which the words of the query occur, of at
    most `max_bytes`, in the turns of `owner`.

    The command arrived at `now`, in Unix seconds. Raises `RefusedError` for an invalid query, for
    none where there is no `where` either, or a type that `principal` may not read.
    """
    if command.query is UNSET and command.filters.where is UNSET:
        issue = "required field is missing, as there is no filters.where"
        raise RefusedError(PROTOCOL_ERROR, "query", issue)
    query = compile_query(principal, command.filters, command.query, now=now)
    span = Span(command.limit, command.offset, max_bytes=max_bytes)
    page = await _timed(log, "search", log.read(query, span, owner))
    return SearchResults(
        query=command.query,
        results=[Raw(payload) for payload in page.payloads],
        count=page.total,
        limit=command.limit,
        offset=page.offset,
        truncated=page.truncated,
        next_offset=_next_offset(page),
        incomplete=page.incomplete or UNSET,
        **_where(query),
    )


async def analyze(
    log: Log,
    principal: Principal,
    owner: Owner,
    command: Analyze,
    now: float,
    max_bytes: int = PAGE_BYTES,
) -> Analysis:
    """Count what `principal` may read, for an answer of at most `max_bytes`, in the turns of
    `owner`.

    The command arrived at `now`, in Unix seconds. Raises `RefusedError` for an invalid query, for
    an unknown field or time zone, for a type that `principal` may not read, and where there would
    be too much to tell.
    """
    question = _question(command)
    query = compile_query(principal, command.filters, now=now)
    found = await _timed(log, "analyze", log.analyze(query, question, owner, max_bytes))
    return await interleaved(_analysis(question, query, found))


async def _timed(log: Log, kind: str, reading: Awaitable[Found]) -> Found:
    started = perf_counter()
    try:
        return await reading
    finally:
        log.reads[kind].add(perf_counter() - started)


def _question(command: Analyze) -> Question:
    fields = {
        name: field_named(given, name)
        for name in ("group_by", "distinct")
        if (given := getattr(command, name)) is not UNSET
    }
    interval = 0 if command.interval_seconds is UNSET else command.interval_seconds * SECOND
    zone = "" if command.timezone is UNSET else command.timezone
    buckets(interval or SECOND, zone)
    return Question(interval=interval, zone=zone, limit=command.limit, **fields)


def _analysis(question: Question, query: Query, found: Answer) -> Generator[None, None, Analysis]:
    """Make the event in steps, since it may have twenty thousand counts."""
    shown = {value: found.spelled.get(value, value) for value, _ in found.groups}
    event = Analysis(total_count=found.total, incomplete=found.incomplete or UNSET, **_where(query))
    if question.group_by:
        event.groups = [Group(value=shown[value], count=count) for value, count in found.groups]
        event.others, event.missing = found.others, found.missing
    if question.distinct:
        event.distinct = found.distinct
    if question.interval:
        event.buckets = []
        remaining = iter(found.stretches)
        while some := list(islice(remaining, _BUCKETS)):
            event.buckets += [_bucket(question, stretch, shown) for stretch in some]
            yield
    return event


def _bucket(question: Question, stretch: Stretch, shown: dict[str, str]) -> Bucket:
    start, total, groups, distinct = stretch
    if question.spells:
        groups = {shown[value]: count for value, count in groups.items()}
    return Bucket(
        start=_start(start),
        count=total,
        groups=groups if question.group_by else UNSET,
        distinct=distinct if question.distinct else UNSET,
    )


@lru_cache(maxsize=4096)
def _start(moment: int) -> str:
    """Return the start of a bucket; they are the same in many answers."""
    return format_moment(max(moment, FIRST_MOMENT))


def _where(query: Query) -> dict[str, Any]:
    """Return the expression that is in force, as text and in JSON, if one was given."""
    given = query.filters.where
    return {} if given is UNSET else {"where": given, "where_ast": to_json(query.where)}


async def pause(event: Reading) -> int:
    """Return the bytes of the messages on a page; a large one is encoded in a turn of its own.

    A page of 4 MiB takes some milliseconds to put together, and as many to encode and to send.
    """
    size = _size(event)
    if size > SMALL_BYTES:
        await long_step()
    return size


def _size(event: Reading) -> int:
    """Return the bytes of an answer, about."""
    if isinstance(event, Analysis):
        groups, buckets = event.groups or [], event.buckets or []
        cells = [one.groups for one in buckets if one.groups]
        count = len(groups) + len(buckets) + sum(map(len, cells))
        size = sum(len(one.value) for one in groups) + sum(len("".join(one)) for one in cells)
        return _CELL_BYTES * count + size
    return sum(map(len, event.messages if isinstance(event, History) else event.results))


def _next_offset(page: Page) -> int | UnsetType:
    return page.offset + len(page.payloads) if page.truncated else UNSET


def parameters_of(shape: type[Command]) -> tuple[list[str], list[str]]:
    """Return the parameters of a URL that stands for a command: its own fields, and filters."""
    fields = shape.__struct_fields__
    own = sorted({*fields} - {"filters", "request_id", "follow"})
    return own, [*Filters.__struct_fields__] if "filters" in fields else []


def command_of(shape: type[Asked], parameters: list[tuple[str, str]]) -> Asked:
    """Make the command that the parameters of a URL stand for.

    Parameters that are not fields of the command are filters, where it has some; `type` may be
    repeated or list several. Raises `RefusedError`.
    """
    own, known = parameters_of(shape)
    fields: dict[str, Any] = {"action": shape.__struct_config__.tag}
    filters: dict[str, Any] = {}
    for name, value in parameters:
        if name not in own and name not in known:
            allowed = [*own, *known]
            raise RefusedError(PROTOCOL_ERROR, name, "unknown parameter", allowed=allowed)
        place = fields if name in own else filters
        if name == "type":
            place[name] = place.get(name, []) + value.split(",")
        elif name in place:
            raise RefusedError(PROTOCOL_ERROR, name, "is given more than once")
        else:
            place[name] = value
    data = {**fields, "filters": filters} if known else fields
    try:
        return msgspec.convert(data, shape, strict=False)
    except ValueError as error:
        raise validation.refusal_of_parameters(error, shape, data) from None


def _span(command: GetHistory, max_bytes: int) -> Span:
    """Return the place of the page that is asked for. Raises `RefusedError` when several are."""
    places = [(anchor, getattr(command, anchor)) for anchor in _ANCHORS]
    given = [(anchor, seq) for anchor, seq in places if seq is not UNSET]
    if not given:
        return Span(command.limit, command.offset, max_bytes=max_bytes)
    if len(given) > 1 or command.offset:
        other = given[1][0] if len(given) > 1 else "offset"
        issue = f"cannot be combined with {given[0][0]}"
        raise RefusedError(
            PROTOCOL_ERROR, other, issue, allowed="one of offset, before, after, around"
        )
    anchor, seq = given[0]
    return Span(command.limit, anchor=anchor, seq=seq, max_bytes=max_bytes)
