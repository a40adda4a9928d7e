"""A real Firefox, driven by WebDriver BiDi (https://w3c.github.io/webdriver-bidi), which it speaks
by itself on a WebSocket: no driver stands between.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.support.wire import PATIENCE, Json

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")


class Firefox:
    """One window, and what its reader sees and does."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = count(1)
        self.faults: list[str] = []
        """Errors of scripts."""
        self.ask("session.new", capabilities={})
        self.ask("session.subscribe", events=["log.entryAdded"])
        self._window = self.ask("browsingContext.getTree")["contexts"][0]["context"]

    def ask(self, method: str, **params: Any) -> Json:
        """Give a command, and return its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (told := json.loads(self._socket.recv(PATIENCE))).get("id") != number:
            self._note(told)
        assert told["type"] == "success", told
        found: Json = told["result"]
        return found

    def _note(self, event: Json) -> None:
        entry = event.get("params", {})
        # A browser complains about every connection that is refused; the page tells it better.
        if entry.get("level") == "error" and "/ws/live-log" not in entry["text"]:
            self.faults.append(entry["text"])

    def open(self, url: str) -> None:
        """Open a page, and wait until it is loaded."""
        self.ask("browsingContext.navigate", context=self._window, url=url, wait="complete")

    def back(self) -> None:
        """Go back by one entry of the history."""
        self.ask("browsingContext.traverseHistory", context=self._window, delta=-1)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression: a text, a number or a truth value."""
        target = {"context": self._window}
        told = self.ask("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert told["type"] == "success", told
        return told["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression is true."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(f"!!({condition})"):
            assert time.monotonic() < deadline, f"still not: {condition}"
            time.sleep(0.05)

    def type(self, keys: str) -> None:
        """Press keys, one for each character."""
        steps = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": steps}]
        self.ask("input.performActions", context=self._window, actions=actions)


@contextmanager
def firefox(profile: Path) -> Iterator[Firefox]:
    """A Firefox without a window, with this folder as its profile; the test is skipped if there is
    none.
    """
    if FIREFOX is None:
        pytest.skip("Firefox is not installed")
    profile.mkdir()
    arguments = ("--headless", "--no-remote", "--profile", str(profile))
    process = subprocess.Popen([FIREFOX, *arguments, "--remote-debugging-port=0"])
    try:
        url = f"ws://127.0.0.1:{_port(profile / 'WebDriverBiDiServer.json')}/session"
        with connect(url, max_size=None, open_timeout=PATIENCE) as socket:
            yield Firefox(socket)
    finally:
        process.terminate()
        process.wait()


def _port(file: Path) -> int:
    """Return the port that Firefox writes into this file once it listens."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(OSError, ValueError):
            return int(json.loads(file.read_text())["ws_port"])
        assert time.monotonic() < deadline, "Firefox does not listen"
        time.sleep(0.05)
