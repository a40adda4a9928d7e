"""A handler for Python's `logging`: records become `system` messages with the event `error`.

The handler never blocks and never raises into the program: records go into a bounded queue, and a
thread publishes them in batches over HTTP, again and again while the server is away. What does not
fit is dropped, and counted; the count is published as soon as something can be.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import Any

import msgspec

from livelog.client.backoff import Backoff, Clock
from livelog.client.errors import Lost, ResponseRefusedError
from livelog.client.http import HttpPublisher, PartlyRefusedError
from livelog.wire.ids import uuid7
from livelog.wire.timestamps import timestamp

_BATCH = 200
"""Records that are published at once."""

_LONGEST = 16_000
"""Characters of a message, and of its traceback, that are kept."""

_CLOSING_SECONDS = 5.0
"""Seconds that the end of the program waits for what is queued."""

_SEVERITIES = (
    (logging.CRITICAL, "critical"),
    (logging.ERROR, "error"),
    (logging.WARNING, "warning"),
)
_encoder = msgspec.json.Encoder()


class LogHandler(logging.Handler):
    """Publishes log records, of WARNING and above unless told otherwise.

        logging.getLogger().addHandler(LogHandler("ws://localhost:8000/ws/live-log", token="lk_…"))

    `url` is that of `connect`; the token needs the scope `publish:system`. Of records that wait at
    most `capacity` are kept. `dropped` counts those that were not published.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        level: int | str = logging.WARNING,
        capacity: int = 10_000,
    ) -> None:
        super().__init__(level)
        self._url = url
        self._token = token
        self._capacity = capacity
        self._traceback = logging.Formatter()
        self.dropped = 0
        self._begin()

    def _begin(self) -> None:
        """Start the thread; in a forked process again, which has none."""
        self._process = os.getpid()
        self._queue = deque[bytes]()
        self._told = 0
        """Of `dropped`, those that have been published as a number."""
        self._news = threading.Condition()
        self._closing = False
        self._idle = True
        """Nothing is queued or on its way."""
        self._thread = threading.Thread(target=self._run, name="livelog-logging", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record."""
        if threading.current_thread() is self._thread:
            return  # of publishing itself: it would never end
        try:
            line = _encoder.encode(self._message(record))
        except Exception:
            self.handleError(record)
            return
        if self._process != os.getpid():
            self._begin()
        with self._news:
            if self._closing or len(self._queue) >= self._capacity:
                self.dropped += 1
                return
            self._queue.append(line)
            self._idle = False
            self._news.notify_all()

    def flush(self, timeout: float = _CLOSING_SECONDS) -> None:
        """Wait up to `timeout` seconds until what is queued has been published."""
        if self._process == os.getpid():
            with self._news:
                self._news.wait_for(lambda: self._idle, timeout)

    def close(self) -> None:
        """Publish what is queued, within some seconds, and stop."""
        if not self._closing:
            self.flush()
            with self._news:
                self._closing = True
                self.dropped += len(self._queue)
                self._news.notify_all()
        super().close()

    # A record becomes a message.

    def _message(self, record: logging.LogRecord) -> dict[str, Any]:
        text = self.format(record) if self.formatter else record.getMessage()
        data = {
            "message": _cut(text),
            "logger": record.name,
            "level": record.levelname,
            "file": record.pathname,
            "line": record.lineno,
            "function": record.funcName,
            "process": record.process,
            "thread": record.threadName,
        }
        if record.exc_info and not self.formatter:
            data["traceback"] = _cut(self._traceback.formatException(record.exc_info))
        return _system(data, record.created, _severity(record.levelno))

    # The thread.

    def _run(self) -> None:
        publisher: HttpPublisher | None = None
        backoff = Backoff(Clock())
        while lines := self._wait_for_lines():
            try:
                publisher = publisher or HttpPublisher(self._url, self._token)
                started = time.monotonic()
                self._post(publisher, lines)
                backoff = Backoff(Clock())
            except Lost as lost:
                with self._news:
                    self._queue.extendleft(reversed(lines))
                    wait = max(backoff.next(), lost.loss.wait or 0)
                    self._news.wait_for(lambda: self._closing, wait)
            except Exception:  # whatever it is, the program must not end for it
                self._drop(len(lines))
                backoff.lived(time.monotonic() - started)
        if publisher is not None:
            publisher.close()

    def _wait_for_lines(self) -> list[bytes]:
        """Return lines to publish; none at the end."""
        with self._news:
            if not self._queue:
                self._idle = True
                self._news.notify_all()
            self._news.wait_for(lambda: self._queue or self._closing)
            if self._closing:
                self._idle = True
                return []
            lines = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            lost = self.dropped - self._told
            if lost:
                self._told = self.dropped
                data = {"message": f"{lost} log records were dropped", "dropped": lost}
                lines.append(_encoder.encode(_system(data, time.time(), "warning")))
            return lines

    def _post(self, publisher: HttpPublisher, lines: list[bytes]) -> None:
        """Publish lines; those that are refused for good are dropped. Raises `Lost`."""
        while lines:
            try:
                publisher.post(lines)
                return
            except PartlyRefusedError as partly:
                self._drop(len(partly.final))
                lines[:] = [lines[at] for at in partly.for_now]
                if lines:
                    raise Lost(partly.loss) from None
            except ResponseRefusedError as refused:
                at = refused.details.get("line")
                if type(at) is not int or not 0 < at <= len(lines):
                    raise
                del lines[at - 1]
                self._drop(1)

    def _drop(self, count: int) -> None:
        with self._news:
            self.dropped += count


def _system(data: dict[str, Any], created: float, severity: str) -> dict[str, Any]:
    return {
        "type": "system",
        "id": f"sys_{uuid7(int(created * 1000))}",  # so that it may be sent again
        "timestamp": timestamp(created),
        "event": "error",
        "severity": severity,
        "data": data,
    }


def _severity(level: int) -> str:
    return next((name for least, name in _SEVERITIES if level >= least), "info")


def _cut(text: str) -> str:
    """Shorten a text, and replace what no UTF-8 has."""
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]}…"
