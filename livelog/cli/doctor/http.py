"""The steps over plain HTTP: the health, the stream, and the metrics."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from http.client import HTTPException

from livelog.cli.doctor.finding import TOLD, Finding, Hopeless, issue_in, ms, plain
from livelog.cli.doctor.target import Target

WRONG_NAME = "livelog does not answer for this name: add it to --allowed-hosts"

_FULL = 0.8
"""Part of the open files from which on it is worth a word."""

_FILES = re.compile(r"^process_(open|max)_fds ([0-9.e+]+)$", re.MULTILINE)


def health(target: Target) -> Iterator[Finding]:
    """Ask for the health: is it livelog that answers, and is it well?"""
    try:
        with target.get("/healthz") as response:
            body = response.read(1 << 20)
        found = json.loads(body)
        if response.status in TOLD and (issue := issue_in(body, "")):
            raise Hopeless(f"HTTP: status {response.status}: {issue}")
        status = found["status"]
    except (OSError, HTTPException) as error:
        raise Hopeless(f"HTTP: no answer from /healthz: {plain(error)}") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        if response.status == 421:
            raise Hopeless(f"HTTP: {WRONG_NAME}") from None
        raise Hopeless(
            f"HTTP: {target.prefix}/healthz is answered with status {response.status} by something"
            " that is not livelog: a proxy with another path, or another program"
        ) from None
    why = f": {found['issue']}" if "issue" in found else ""
    text = f"health: {status}{why} (livelog {found.get('version')})"
    yield Finding(status == "ok", text)


def stream(target: Target) -> Iterator[Finding]:
    """Wait for live counts, which come each second: a proxy that buffers keeps them."""
    try:
        with target.get("/api/stream?watch=type&interval=1") as response:
            started = time.monotonic()
            line = response.readline(1 << 16)
            took = time.monotonic() - started
    except (OSError, HTTPException) as error:
        why = "a proxy buffers" if isinstance(error, TimeoutError) else plain(error)
        yield Finding(False, f"HTTP stream: nothing came: {why}; see proxy_buffering of nginx")
        return
    if response.status == 200 and not line.endswith(b"\n"):
        yield Finding(False, "HTTP stream: it ended before the first counts; does a proxy cut it?")
    elif response.status == 200:
        yield Finding(True, f"HTTP stream: the first counts came after {ms(took)}")
    else:
        yield Finding(False, f"HTTP stream: status {response.status}: {issue_in(line)}")


def metrics(target: Target) -> Iterator[Finding]:
    """Compare open files with their limit, where the figures may be seen."""
    try:
        with target.get("/metrics") as response:
            text = response.read(4 << 20).decode()
    except (OSError, HTTPException, ValueError):
        return
    found = dict(_FILES.findall(text))
    if response.status != 200 or len(found) < 2:
        return  # most may not, and need not
    used, most = float(found["open"]), float(found["max"])
    yield Finding(used < _FULL * most, f"open files: {used:.0f} of {most:.0f}")
