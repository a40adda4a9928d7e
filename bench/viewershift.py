"""Eight hours of the viewer's page, sped up: what it holds when it is full, and at the end.

The messages are those of a night, from eight in the evening to four in the morning by their
timestamps, and published 240 times as fast. In each hour the reader does what readers do: opens a
message, looks at the histogram, scrolls up and comes back, and in some of them searches. After two
hours, and again after the last three, the page has as many rows as it keeps.
"""

from __future__ import annotations

import threading
import time

import msgspec

from bench.corpus import Corpus
from bench.http import Http, publication
from bench.report import Figures
from bench.server import Launch
from bench.viewer import ViewerPage, frame_figures, opened
from livelog.wire.timestamps import timestamp

HOURS, RATE = 8, 5
"""Hours of messages, and messages a second."""
HOUR_SECONDS = 15.0
"""Seconds in which the messages of an hour are published."""
FULL_AFTER = 2
SEARCHING = (2, 3, 4)
"""Hours in which the reader searches; the page begins anew with another view."""
BEGIN = 1_764_705_600.0
"""2025-12-02T20:00:00Z."""
MIDNIGHT = "2025-12-03T00:00:00"
BODY = 60
"""Messages that are published together."""


def night(hours: int, rate: int) -> list[list[bytes]]:
    """Return the requests that publish each hour."""
    texts = [*Corpus(3600 * rate).messages()]
    return [
        [
            publication([_moved(texts[place], hour, place, rate) for place in range(at, at + BODY)])
            for at in range(0, len(texts), BODY)
        ]
        for hour in range(hours)
    ]


def _moved(message: dict[str, object], hour: int, place: int, rate: int) -> bytes:
    """Return the message of another hour, with an id of its own."""
    moment = timestamp(BEGIN + hour * 3600 + place / rate)
    return msgspec.json.encode(message | {"id": f"{hour}_{place}", "timestamp": moment})


def publish(http: Http, bodies: list[bytes], seconds: float) -> None:
    """Publish evenly over the seconds."""
    begin = time.monotonic()
    for place, body in enumerate(bodies):
        time.sleep(max(0.0, begin + place * seconds / len(bodies) - time.monotonic()))
        http.send(body)


def shift(launch: Launch, hours: int = HOURS, hour_seconds: float = HOUR_SECONDS) -> Figures:
    """Measure the page over `hours` hours, each of which lasts `hour_seconds`."""
    bodies = night(hours, RATE)
    with launch.server() as server, opened(server, "UTC") as page:
        http = Http(server.url)
        times, full = list[float](), page.held()
        for hour, posts in enumerate(bodies):
            beside = threading.Thread(target=publish, args=(http, posts, hour_seconds), daemon=True)
            beside.start()
            page.frame_times()
            read(page, searches=hour in SEARCHING)
            while beside.is_alive():
                page.wait(0.1)
            times += page.frame_times()
            if hour + 1 == FULL_AFTER:
                full = page.held()
        behind = page.seconds_until(hours * 3600 * RATE)
        more = {"behind s": behind, "day rows": float(days(page))}
        return frame_figures(times) | grown(full, page.held()) | more


def read(page: ViewerPage, *, searches: bool) -> None:
    """Do what a reader does in an hour."""
    press = page.page.keyboard.press
    for keys in (("k", "Escape"), ("h", "h"), ("PageUp", "PageUp", "End")):
        for key in keys:
            press(key)
            page.wait(0.5)
    if searches:
        press("/")
        page.page.keyboard.type("dragon")
        page.wait(1)
        page.page.locator("#clear").click()
        page.page.locator("#rows").focus()


def days(page: ViewerPage) -> int:
    """Go to midnight, and return the number of rows in sight that name a day."""
    press = page.page.keyboard.press
    press("f")
    page.page.locator("#goto").fill(MIDNIGHT)
    page.page.locator("#go").click()
    page.page.locator(".day").first.wait_for()
    return page.page.locator(".day").count()


def grown(full: Figures, end: Figures) -> Figures:
    """Name the figures of the full page and of the last one, and their differences."""
    found: Figures = {}
    for name, value in end.items():
        found |= {f"{name}, full": full[name], name: value, f"{name} grown": value - full[name]}
    return found
