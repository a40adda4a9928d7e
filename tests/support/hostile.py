"""A server that plays cases of `tests/client-cases.json`: broken, hostile, or from the future.

Every client of livelog runs the same cases. A case names what the server sends instead of, or
after, its ordinary answer to one command, and what the client must do. In every case but those
that stop the client or send it away for long, the client must deliver the probe afterwards: a
known message, sent on the same connection, or on the next one if the server closes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Json = dict[str, Any]

CASES = Path(__file__).parent.parent / "client-cases.json"
_PAGES = ("get_history", "search")
PROBE = "probe"
"""The id of the message that ends a case."""
ID = "$id"
"""In a frame: the request id of the command that it answers."""


class Frame(msgspec.Struct, forbid_unknown_fields=True):
    """One frame; it has one of these fields."""

    json: Any = msgspec.UNSET
    """A value, sent as JSON text."""
    text: str | None = None
    """Text, sent as it is."""
    hex: str | None = None
    """The bytes of a binary frame."""
    letters: int | None = None
    """A `user` message with so many letters as its content, with the id `big` and the seq 500."""
    fragments: list[str] | None = None
    """Text in so many fragments."""
    raw: str | None = None
    """Bytes in hex, put on the wire as they are: a whole frame with its header, or none."""
    times: int = 1
    """How often it is sent."""

    async def send(self, client: ServerConnection, request_id: object) -> None:
        """Put it on the wire."""
        for _ in range(self.times):
            if self.raw is not None:
                client.transport.write(bytes.fromhex(self.raw))
            else:
                await client.send(self.fragments or self._data(request_id))

    def _data(self, request_id: object) -> str | bytes:
        if self.hex is not None:
            return bytes.fromhex(self.hex)
        if self.text is not None:
            return self.text.replace(f'"{ID}"', json.dumps(request_id))
        if self.letters is not None:
            return json.dumps(_user("big", 500, "x" * self.letters))
        return json.dumps(self.json).replace(f'"{ID}"', json.dumps(request_id))


class Close(msgspec.Struct, forbid_unknown_fields=True):
    """The end of the connection after the frames."""

    code: int
    reason: str = ""


class Wait(msgspec.Struct, forbid_unknown_fields=True):
    """The time that a client stays away, in milliseconds."""

    at_least_ms: float = 0
    at_most_ms: float = 3_600_000


class Expected(msgspec.Struct, forbid_unknown_fields=True):
    """Behaviour of the client; the probe comes in addition."""

    delivered: list[str] = []
    """Ids of the messages among the frames that reach the application, in this order."""
    gaps: int = 0
    """Number of gaps that are reported."""
    refused: int | None = None
    """Code with which the client's own `publish`, `get_history` or `search` is rejected."""
    answered: bool = True
    """Whether that call is answered or rejected at last."""
    waits: Wait | None = None
    """After a close, or in answer to a rate limit."""
    unsubscribed: int | None = None
    """Code with which the subscription is refused, and no probe delivered."""
    stops: int | None = None
    """The client ends for good with this code, and delivers no probe."""
    sent_at_most: int = 1
    """How often the client sends its own call, over all connections."""
    connections_at_most: int = 2
    """How often it connects."""


class Case(msgspec.Struct, forbid_unknown_fields=True):
    """One case."""

    name: str
    expect: Expected
    frames: list[Frame] = []
    instead: str = ""
    """The action of the command that the frames answer; `connect` for the first event."""
    after: str = ""
    """The same, but the ordinary answer comes first. By default it is `subscribe`."""
    close: Close | None = None
    plays: int = 1
    """How often it happens, on one connection or several; afterwards all answers are ordinary."""
    bound: int | None = None
    """`max_message_bytes` in `connected`; left out by default, as older servers do."""
    publish: int = 0
    """Size in characters of the content that the client is to publish."""

    @property
    def asks(self) -> str:
        """The action of the client's own call; empty if there is none."""
        return "publish" if self.publish else self.trigger if self.trigger in _PAGES else ""

    @property
    def trigger(self) -> str:
        """The action that the frames follow."""
        return self.instead or self.after or "subscribe"

    @property
    def returns(self) -> bool:
        """Whether the probe can be waited for."""
        away = self.expect.waits is not None and self.expect.waits.at_least_ms > 3000
        return self.expect.stops is None and not away


def cases() -> list[Case]:
    """Read all cases."""
    return msgspec.json.decode(CASES.read_bytes(), type=list[Case])


class Hostile:
    """The server of one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.url = ""
        self.commands: list[Json] = []
        """All that clients have sent, over all connections."""
        self.connections = 0
        """Number of connections so far."""
        self.waited_ms: float | None = None
        """Milliseconds between the frames and the next connection, or the same command again."""
        self._played: float | None = None
        self._plays = 0

    def sent(self, action: str) -> int:
        """Count the commands with this action."""
        return sum(command.get("action") == action for command in self.commands)

    async def handle(self, client: ServerConnection) -> None:
        """Serve one connection."""
        self.connections += 1
        if self.case.close is not None:
            self._note_wait()
        try:
            await self._answer(client, {"action": "connect"})
            async for text in client:
                command = json.loads(text)
                self.commands.append(command)
                await self._answer(client, command)
        except ConnectionClosed:
            pass

    async def _answer(self, client: ServerConnection, command: Json) -> None:
        case, action = self.case, command["action"]
        if action == case.trigger and case.close is None:
            self._note_wait()
        here = action == case.trigger and self._plays < case.plays
        if not (here and case.instead):
            await client.send(json.dumps(self._ordinary(command)))
        if here:
            for frame in case.frames:
                await frame.send(client, command.get("request_id"))
            self._plays += 1
            self._played = asyncio.get_running_loop().time()
            if case.close is not None:
                await client.close(case.close.code, case.close.reason)
        if case.returns and self._is_last(action) and (case.close is None or not here):
            await client.send(json.dumps(_user(PROBE, 1000, "still here")))

    def _note_wait(self) -> None:
        if self._played is not None and self.waited_ms is None:
            self.waited_ms = 1000 * (asyncio.get_running_loop().time() - self._played)

    def _is_last(self, action: str) -> bool:
        """Whether the probe follows the answer to this command."""
        return action == ("subscribe" if self.case.trigger == "connect" else self.case.trigger) or (
            action == "subscribe" and self.connections > 1
        )

    def _ordinary(self, command: Json) -> Json:
        answer = dict(_ANSWERS[command["action"]])
        if "request_id" in command:
            answer["request_id"] = command["request_id"]
        if answer["action"] == "connected" and self.case.bound is not None:
            answer["max_message_bytes"] = self.case.bound
        if answer["action"] == "subscribed":
            answer["message_types"] = command["message_types"]
            answer["seq"] = command.get("since", 0)
        return answer


_ANSWERS: dict[str, Json] = {
    "connect": {"action": "connected", "connection_id": "c", "message": "hello"},
    "authenticate": {"action": "authenticated", "id": "u1", "scopes": []},
    "subscribe": {"action": "subscribed"},
    "unsubscribe": {"action": "unsubscribed", "message_types": [], "seq": 0},
    "ping": {"action": "pong", "timestamp": "2025-12-03T10:00:00Z", "seq": 0},
    "publish": {"action": "published", "id": "m1", "seq": 900},
    "get_history": {
        "action": "history",
        "messages": [],
        "total_count": 0,
        "limit": 50,
        "offset": 0,
    },
    "search": {
        "action": "search_results",
        "query": "x",
        "results": [],
        "count": 0,
        "limit": 50,
        "offset": 0,
    },
}


def _user(name: str, seq: int, content: str) -> Json:
    return {
        "type": "user",
        "id": name,
        "timestamp": "2025-12-03T10:00:00Z",
        "user_id": "u1",
        "username": "Ann",
        "user_avatar": None,
        "user_badge": None,
        "content": content,
        "metadata": {},
        "seq": seq,
    }


@asynccontextmanager
async def playing(case: Case) -> AsyncIterator[Hostile]:
    """Serve a case on a free port of this machine."""
    hostile = Hostile(case)
    async with serve(hostile.handle, "127.0.0.1", 0, max_size=None, compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        hostile.url = f"ws://127.0.0.1:{port}/ws/live-log"
        yield hostile
