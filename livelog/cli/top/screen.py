"""A frame of `livelog top`, drawn with rich."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from livelog.cli.format import counted
from livelog.cli.sanitize import sanitized
from livelog.cli.top.figures import Figures
from livelog.cli.top.view import View

_HEAD_LINES = 14
"""Lines above the rows of clients, about."""


def frame(view: View, *, height: int | None) -> RenderableType:
    """Return what is drawn in a terminal of this height; all rows without one."""
    look, figures = view.look, view.figures
    head = Text(f"livelog top  {sanitized(view.server)}", style="bold")
    if version := figures.values("info", "version"):
        head.append(f"  {sanitized(next(iter(version)))}")
    head.append(f"  {counted(look.total, 'client')}")
    if look.samples and not figures.value("state", state="ready"):
        head.append("  not ready", style="red")
    parts: list[RenderableType] = [head]
    if look.health:
        parts.append(Text(sanitized(look.health), style="bold red"))
    parts += [Text(sanitized(issue), style="yellow") for issue in look.issues]
    if look.samples:
        parts.append(_summary(figures))
    parts.append(_clients(view, height))
    if view.note:
        parts.append(Text(sanitized(view.note), style="bold yellow"))
    return Group(*parts)


def _summary(figures: Figures) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan")
    table.add_column()
    for name, text in _lines(figures):
        table.add_row(name, text)
    return table


def _lines(figures: Figures) -> Iterator[tuple[str, str]]:
    rates = figures.rates("messages_total", "type")
    each = "  ".join(f"{kind} {_number(rate)}" for kind, rate in rates.items() if rate)
    yield "messages/s", f"{_number(sum(rates.values()))}  {each}".rstrip()
    sent = figures.rate("delivered_bytes_total") + figures.rate("caught_up_bytes_total")
    delivered = figures.rate("delivered_messages_total")
    yield "deliveries/s", f"{_number(delivered)}  {_bytes(sent)}/s"
    yield (
        "latency",
        "  ".join(
            f"{name} p95 {_duration(figures.quantile(metric, 0.95))}" for name, metric in _LATENCIES
        ),
    )
    yield "searches/s", "  ".join(_searches(figures)) or "none"
    behind, blocked = figures.value("readers_behind"), figures.value("readers_blocked")
    yield "slow", f"{behind:g} behind  {blocked:g} blocked"
    refused, hit = figures.rate("refusals_total"), figures.rate("limits_hit_total")
    yield "refusals/s", f"{_number(refused)}  limits {_number(hit)}"
    memory = figures.values("memory_bytes", "part")
    limit = memory.pop("limit", 0.0)
    yield "memory", f"{_bytes(sum(memory.values()))} of {_bytes(limit)}"
    disk = figures.values("store_bytes", "file")
    yield "disk", "  ".join(f"{name} {_bytes(size)}" for name, size in disk.items()) or "none"


def _searches(figures: Figures) -> Iterator[str]:
    for kind, rate in figures.rates("read_seconds_count", "query").items():
        took = _duration(figures.quantile("read_seconds", 0.95, query=kind))
        yield f"{kind} {_number(rate)} p95 {took}"


_LATENCIES = (
    ("delivery", "delivery_seconds"),
    ("acknowledgement", "acknowledgement_seconds"),
    ("loop", "loop_lag_seconds"),
)


def _clients(view: View, height: int | None) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, key, _ in _COLUMNS:
        table.add_column(f"{name}*" if key == view.sort else name, no_wrap=True)
    rows = view.look.rows
    room = len(rows) if height is None else max(1, height - _HEAD_LINES)
    first = max(0, min(view.place - room + 1, len(rows) - room))
    for place, row in enumerate(rows[first : first + room], first):
        chosen = height is not None and place == view.place
        cells = [Text(sanitized(show(row.get(key)))) for _, key, show in _COLUMNS]
        table.add_row(*cells, style="reverse" if chosen else None)
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"


def _bytes(value: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return "> 10 s" if math.isinf(seconds) else f"≤ {1000 * seconds:g} ms"


def _text(value: Any) -> str:
    return "-" if value in (None, "") else str(value)


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "-"


def _size(value: Any) -> str:
    return _bytes(value) if isinstance(value, int) else "-"


def _age(value: Any) -> str:
    try:
        since = datetime.fromisoformat(str(value))
    except ValueError:
        return "-"
    seconds = max(0, int((datetime.now(UTC) - since).total_seconds()))
    hours, rest = divmod(seconds, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def _names(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else "-"


_COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("USER", "user_id", _text),
    ("ADDRESS", "address", _text),
    ("BEHIND", "behind", _count),
    ("UNSENT", "unsent_bytes", _size),
    ("SENT", "bytes_sent", _size),
    ("RTT ms", "round_trip_ms", _text),
    ("OPEN", "since", _age),
    ("TYPES", "message_types", _names),
    ("ID", "id", _text),
    ("CLIENT", "client", _text),
)
"""Heading, field of a row, and how it is shown."""
