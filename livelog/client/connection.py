"""One WebSocket to the server, from its first event to its end: requests, answers and the stream.

A request is sent with a `request_id`, and its answer repeats it. Everything else is yielded by
`items`, in the order of arrival. A connection never reconnects: when it ends, all that wait on it
get `Lost`, and the link above it opens another. A message too large for the server or an answer too
large for the client ends the connection; the command to blame is refused and not repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import NamedTuple, cast

from msgspec import UNSET
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from livelog.client import errors
from livelog.client.commands import Encoded, encoded
from livelog.client.credentials import Credentials
from livelog.client.decoding import decode, decode_frame
from livelog.client.errors import Loss, Lost
from livelog.client.waits import LONGEST, PAUSE, held
from livelog.errors import (
    ABNORMAL_CLOSURE,
    MESSAGE_TOO_BIG,
    PROTOCOL_ERROR,
    RATE_LIMIT_EXCEEDED,
    SERVER_ERROR,
    RefusedError,
)
from livelog.wire.events import (
    Analysis,
    AnyEvent,
    Authenticated,
    Connected,
    Disconnected,
    Error,
    History,
    Online,
    Pong,
    Published,
    SearchResults,
    Subscribed,
    Unsubscribed,
    Unwatched,
    Watching,
)
from livelog.wire.messages import Message
from livelog.wire.stubs import Received

_CLOSED = Loss("the client has closed the connection")
_AUTHENTICATION_SECONDS = 10
"""Seconds the server has to answer the first `authenticate`."""
ANSWER_SECONDS = 60.0
"""Seconds the server has to answer a command; it gives up on a question after a sixth of that."""
MAX_BYTES = 128 * 2**20
"""Largest incoming message: a page of 1000 messages of 64 KiB, with some room."""


_ANSWERS: dict[str, type[AnyEvent]] = {
    "authenticate": Authenticated,
    "get_history": History,
    "ping": Pong,
    "presence": Online,
    "publish": Published,
    "search": SearchResults,
    "analyze": Analysis,
    "subscribe": Subscribed,
    "unsubscribe": Unsubscribed,
    "unwatch": Unwatched,
    "watch": Watching,
}
"""Action of a command → its answer, if it is not an error."""
_REPLIES = (Error, *_ANSWERS.values())
"""Events that answer a command; others tell of the connection, even with a `request_id`."""
_TAKEN_BY_ALL = 1024
"""Bytes of a command that is no reason to end a connection."""
_PAGES = ("get_history", "search")
"""Actions that are answered with a page of messages."""


class _Request(NamedTuple):
    # An exception is a result here: the caller may have been cancelled, and asyncio complains about
    # an exception that is never retrieved.
    answer: asyncio.Future[AnyEvent | RefusedError | Lost]
    action: str
    size: int
    """Bytes of the command."""
    arrived: Callable[[AnyEvent], None] | None


class Connection:
    """An open connection, made by `open_connection`. Answers arrive while `items` is iterated."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._requests: dict[int, _Request] = {}
        self._last_id = 0
        self.received = 0
        """Number of frames that have arrived; as long as it rises the server is alive."""
        self.has_answered = False
        """A command has been answered or refused."""
        self._max_bytes: int | None = None
        """Largest message that the server takes, once it has said so."""
        self._disconnected: Disconnected | None = None
        self._free_at = 0.0  # when the last rate limit ends, by the loop's clock
        self._loss: Loss | None = None

    async def ask(
        self, command: Encoded, arrived: Callable[[AnyEvent], None] | None = None
    ) -> AnyEvent:
        """Send a command and wait for its answer.

        `arrived` is called with the answer before anything that came after it is handled. Raises
        `RefusedError` when the server refuses it, does not answer in time, or takes no command as
        large, and `Lost` when the connection ends first. Without an answer the command may have
        been carried out or not.
        """
        if self._loss is not None:
            raise Lost(self._loss, sent=False)
        self._last_id += 1
        request_id = self._last_id
        text = command.numbered(request_id)
        if self._max_bytes is not None and len(text) > self._max_bytes:
            raise _too_big(command.action, len(text), self._max_bytes)
        answered = asyncio.get_running_loop().create_future()
        request = _Request(answered, command.action, len(text), arrived)
        self._requests[request_id] = request
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                # A send fails only because the connection ended, and then the answer says so.
                with suppress(ConnectionClosed):
                    await self._websocket.send(text, text=True)
                answer = await request.answer
        except TimeoutError:
            raise _unanswered(command.action) from None
        finally:
            del self._requests[request_id]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def authenticate(self, credentials: Credentials) -> None:
        """Authenticate, before anything else is sent. Raises `Lost` when that fails."""
        token = await credentials.text()
        try:
            async with asyncio.timeout(_AUTHENTICATION_SECONDS):
                command = encoded({"action": "authenticate", "token": token})
                await self._websocket.send(command.text, text=True)
                while not isinstance(item := decode(await self._websocket.recv()), Authenticated):
                    if isinstance(item, Connected):
                        self._connected(item)
                    elif isinstance(item, Error):
                        refused = errors.refusal(item)
                        raise Lost(errors.of_close(refused.code, refused.issue))
        except TimeoutError:
            raise Lost(Loss("no answer")) from None
        except ConnectionClosed as closed:
            raise Lost(self._loss_of(closed)) from None
        except RefusedError as refused:  # the token cannot be written as JSON
            raise Lost(errors.final(str(refused))) from None

    async def items(self) -> AsyncIterator[Received | AnyEvent]:
        """Yield messages, and events that answer no request, until the connection ends.

        What this version does not know is passed over: a newer server may send it.
        """
        try:
            while True:
                found = decode_frame(await self._websocket.recv())
                self.received += 1
                for item in found:
                    if isinstance(item, Message) or not self._keeps(item):
                        yield item
        except ConnectionClosed as closed:
            loss = self._loss_of(closed)
            if loss.fatal is not None and loss.fatal.code == MESSAGE_TOO_BIG:
                loss = self._charged(loss)
            elif closed.rcvd is None and closed.sent and closed.sent.code == MESSAGE_TOO_BIG:
                self._refuse_pages()
            self._end(loss)
        finally:
            self._end(_CLOSED)

    def _keeps(self, event: AnyEvent) -> bool:
        """Take an event that answers a request or is about the connection; False for others."""
        if isinstance(event, Error):
            self._note_limit(errors.refusal(event))
        if isinstance(event, _REPLIES) and event.request_id is not UNSET:
            self._answered(event)
        elif isinstance(event, Disconnected):
            self._disconnected = event
        elif isinstance(event, Connected):
            self._connected(event)
        else:
            return False
        return True

    @property
    def loss(self) -> Loss:
        """Reason why the connection has ended."""
        assert self._loss is not None
        return self._loss

    def abort(self, why: str) -> None:
        """Drop the connection without a close handshake."""
        self._end(Loss(why))
        self._websocket.transport.abort()

    async def close(self) -> None:
        """Close the connection, unless it has ended."""
        self._end(_CLOSED)
        await self._websocket.close()

    def _connected(self, event: Connected) -> None:
        if event.max_message_bytes is not UNSET:
            self._max_bytes = max(event.max_message_bytes, _TAKEN_BY_ALL)

    def _answered(self, event: AnyEvent) -> None:
        request = self._requests.get(cast(int, event.request_id))
        if request is None or request.answer.done():
            return
        self.has_answered = True
        if isinstance(event, Error):
            request.answer.set_result(errors.refusal(event))
        elif type(event) is not _ANSWERS[request.action]:
            issue = f"{request.action} was answered with {event.__struct_config__.tag}"
            request.answer.set_result(RefusedError(PROTOCOL_ERROR, "", issue))
        else:
            if request.arrived is not None:
                request.arrived(event)
            request.answer.set_result(event)

    def _note_limit(self, refused: RefusedError) -> None:
        if refused.code == RATE_LIMIT_EXCEEDED:
            ends = _now() + held(refused.retry_after, PAUSE)
            self._free_at = max(self._free_at, ends)

    def _loss_of(self, closed: ConnectionClosed) -> Loss:
        code, text = ABNORMAL_CLOSURE, ""
        if closed.rcvd is not None:
            code, text = closed.rcvd.code, closed.rcvd.reason
        wait = self._requested_absence()
        if code == RATE_LIMIT_EXCEEDED:  # the next connection is under the same limit
            wait = max(wait or 0, held(self._free_at - _now(), 0))
        if self._disconnected is not None and self._disconnected.reconnect is False:
            return errors.for_good(code, text)
        return errors.of_close(code, text, wait)

    def _requested_absence(self) -> float | None:
        """Return the seconds after which `disconnected` asks for the next connection."""
        asked = None if self._disconnected is None else self._disconnected.reconnect_after_ms
        if not isinstance(asked, (int, float)):
            return None
        return held(min(asked, 1000 * LONGEST) / 1000, 0)  # an integer may be too large to divide

    def _charged(self, loss: Loss) -> Loss:
        """Charge the largest command under way with a close for its size.

        Such a command ends the connection; the next connection works without it.
        """
        waiting = [request for request in self._requests.values() if not request.answer.done()]
        largest = max(waiting, key=lambda request: request.size, default=None)
        if largest is None or largest.size <= _TAKEN_BY_ALL:
            return loss
        largest.answer.set_result(_too_big(largest.action, largest.size))
        return loss._replace(fatal=None)

    def _refuse_pages(self) -> None:
        """Refuse what asks for pages: one was too large, and would be so again."""
        issue = f"the answer is larger than {MAX_BYTES} bytes; ask for fewer messages"
        for request in self._requests.values():
            if request.action in _PAGES and not request.answer.done():
                request.answer.set_result(RefusedError(MESSAGE_TOO_BIG, "limit", issue))

    def _end(self, loss: Loss) -> None:
        self._loss = self._loss or loss
        for request in self._requests.values():
            if not request.answer.done():
                request.answer.set_result(Lost(self._loss))


def _now() -> float:
    return asyncio.get_running_loop().time()


def _unanswered(action: str) -> RefusedError:
    issue = f"{action} was not answered within {ANSWER_SECONDS:g} s; it may have been carried out"
    return RefusedError(SERVER_ERROR, "", issue)


def _too_big(action: str, size: int, bound: int | None = None) -> RefusedError:
    field = "message" if action == "publish" else ""
    allowed = "" if bound is None else f", at most {bound} are allowed"
    return RefusedError(
        MESSAGE_TOO_BIG, field, f"{size} bytes are too many for the server{allowed}"
    )
