"""One WebSocket to the server, from its handshake to its end: questions, answers and the stream.

Questions go out with a `request_id`; answers find their question by it. Everything else, in the
order it came, is what `items` yields. A channel never reconnects: when it ends, whoever waits on
it is told with `Lost`, and the line behind it opens another.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, cast

import msgspec
from msgspec import UNSET
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
)

from livelog.client import errors
from livelog.client.credentials import Proof
from livelog.client.decoding import Unreadable, decode
from livelog.client.errors import Loss, Lost
from livelog.client.url import EXAMPLE, shown, unix_socket
from livelog.errors import ABNORMAL_CLOSURE, MESSAGE_TOO_BIG, ConnectionEndedError, RefusedError
from livelog.wire.events import AnyEvent, Authenticated, Disconnected, Error
from livelog.wire.messages import Delivered, Message

_OURS = Loss("the client has closed the connection")
_OTHER_VERSION = "the server speaks another version of the protocol"
_PATIENCE = 10
"""Seconds for the answer to who we are."""
_LONGEST_ABSENCE = 300
"""Seconds for which a server may send us away."""
_MAX_BYTES = 128 * 2**20
"""Bound of one incoming message: a page of 1000 messages of 64 KiB, with some room."""

Command = Mapping[str, Any]


class _Question(NamedTuple):
    # An exception is a result here: whoever asked may have been cancelled, and then nobody looks.
    answer: asyncio.Future[AnyEvent | RefusedError | Lost]
    published: int
    """Size of the message that it carries, if it does."""
    arrived: Callable[[AnyEvent], None] | None


class Channel:
    """An open connection. Made by `open`; `items` must be iterated for anything to arrive."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._websocket = websocket
        self._questions: dict[int, _Question] = {}
        self._last_id = 0
        self.received = 0
        """How much has arrived: what rises is alive."""
        self._farewell: Disconnected | None = None
        self._loss: Loss | None = None

    async def ask(
        self, command: Command, arrived: Callable[[AnyEvent], None] | None = None
    ) -> AnyEvent:
        """Send a command and wait for its answer.

        `arrived` is called with the answer before anything that came after it is looked at. Raises
        `RefusedError` when the server does not grant it, `Lost` when the connection ends first:
        then the command may have been carried out or not.
        """
        if self._loss is not None:
            raise Lost(self._loss)
        self._last_id += 1
        request_id = self._last_id
        text = msgspec.json.encode({**command, "request_id": request_id})
        published = len(text) if command["action"] == "publish" else 0
        question = _Question(asyncio.get_running_loop().create_future(), published, arrived)
        self._questions[request_id] = question
        try:
            # A send that fails does so because the connection ended, and then that is the answer.
            with suppress(ConnectionClosed):
                await self._websocket.send(text, text=True)
            answer = await question.answer
        finally:
            del self._questions[request_id]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def introduce(self, proof: Proof) -> None:
        """Say who we are, before anything else. Raises `Lost` when that does not succeed."""
        token = await proof.text()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._websocket.send(
                    msgspec.json.encode({"action": "authenticate", "token": token}), text=True
                )
                while not isinstance(item := decode(await self._websocket.recv()), Authenticated):
                    if isinstance(item, Error):
                        refused = errors.refusal(item)
                        raise Lost(errors.of_close(refused.code, refused.issue))
        except TimeoutError:
            raise Lost(Loss("no answer")) from None
        except ConnectionClosed as closed:
            raise Lost(self._loss_of(closed)) from None
        except Unreadable as unreadable:
            raise Lost(_hopeless(f"{_OTHER_VERSION}: {unreadable}")) from None

    async def items(self) -> AsyncIterator[Delivered | AnyEvent]:
        """Messages, and events that answer no question, until the connection ends: see `loss`."""
        try:
            while True:
                item = decode(await self._websocket.recv())
                self.received += 1
                if item is None:
                    continue
                if isinstance(item, Message):
                    yield item
                elif item.request_id is not UNSET:
                    self._answered(item)
                elif isinstance(item, Disconnected):
                    self._farewell = item
                else:
                    yield item
        except ConnectionClosed as closed:
            loss = self._loss_of(closed)
            if loss.fatal is not None and loss.fatal.code == MESSAGE_TOO_BIG:
                loss = self._blamed(loss)
            self._end(loss)
        except Unreadable as unreadable:
            self._end(_hopeless(f"{_OTHER_VERSION}: {unreadable}"))
        finally:
            self._end(_OURS)

    @property
    def loss(self) -> Loss:
        """Why the connection has ended."""
        assert self._loss is not None
        return self._loss

    def abort(self, why: str) -> None:
        """Drop the connection, which is dead."""
        self._end(Loss(why))
        self._websocket.transport.abort()

    async def close(self) -> None:
        """Say goodbye, if the connection is still there."""
        self._end(_OURS)
        await self._websocket.close()

    def _answered(self, event: AnyEvent) -> None:
        question = self._questions.get(cast(int, event.request_id))
        if question is None or question.answer.done():
            return
        if isinstance(event, Error):
            question.answer.set_result(errors.refusal(event))
            return
        if question.arrived is not None:
            question.arrived(event)
        question.answer.set_result(event)

    def _loss_of(self, closed: ConnectionClosed) -> Loss:
        code, text = ABNORMAL_CLOSURE, ""
        if closed.rcvd is not None:
            code, text = closed.rcvd.code, closed.rcvd.reason
        reason, wait = "", None
        if self._farewell is not None:
            reason = self._farewell.reason
            if self._farewell.reconnect_after_ms is not UNSET:
                wait = min(max(0, self._farewell.reconnect_after_ms / 1000), _LONGEST_ABSENCE)
        return errors.of_close(code, text, reason, wait)

    def _blamed(self, loss: Loss) -> Loss:
        """A message that is too big ends the connection, but need not end more than itself."""
        questions = self._questions.values()
        culprit = max(questions, key=lambda question: question.published, default=None)
        if culprit is None or not culprit.published or culprit.answer.done():
            return loss
        issue = f"{culprit.published} bytes are more than the server takes"
        culprit.answer.set_result(RefusedError(MESSAGE_TOO_BIG, "message", issue))
        return loss._replace(fatal=None)

    def _end(self, loss: Loss) -> None:
        self._loss = self._loss or loss
        for question in self._questions.values():
            if not question.answer.done():
                question.answer.set_result(Lost(self._loss))


async def open_channel(url: str, proof: Proof | None = None) -> Channel:
    """Connect, shake hands and say who we are. Raises `Lost` with the reason when that fails."""
    channel = await _connected(url)
    if proof is not None:
        try:
            await channel.introduce(proof)
        except BaseException:
            await channel.close()
            raise
    return channel


async def _connected(url: str) -> Channel:
    try:
        return Channel(await _websocket(url))
    except InvalidURI:
        raise Lost(
            _hopeless(f"{shown(url)} is not a WebSocket address such as {EXAMPLE}")
        ) from None
    except InvalidStatus as refused:
        response = refused.response
        loss = errors.of_handshake(response.status_code, response.headers.get("Retry-After", ""))
        raise Lost(loss) from None
    except InvalidMessage:
        raise Lost(Loss("what answers there does not speak HTTP")) from None
    except InvalidHandshake as refused:
        raise Lost(_hopeless(f"what answers there is no WebSocket server: {refused}")) from None
    except ssl.SSLError as error:
        raise Lost(_hopeless(f"TLS failed: {error}")) from None
    except OSError as error:
        raise Lost(Loss(_plain(error))) from None


async def _websocket(url: str) -> ClientConnection:
    # Compression would cost both sides more than it saves; frames that keep the connection alive
    # are ours (`ping`), since those of the protocol count against the server's limits too.
    options: dict[str, Any] = {
        "compression": None,
        "ping_interval": None,
        "max_size": _MAX_BYTES,
        "close_timeout": 1,
    }
    if found := unix_socket(url):
        socket_path, path = found
        return await unix_connect(socket_path, f"ws://localhost{path}", **options)
    return await connect(url, **options)


def _hopeless(why: str) -> Loss:
    return Loss(why, fatal=ConnectionEndedError(ABNORMAL_CLOSURE, why))


def _plain(error: OSError) -> str:
    """What happened, without the addresses that asyncio wraps around it."""
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, socket.gaierror):
        return (error.strerror or "the name is not known").lower()
    # Where a name has several addresses, asyncio's text is all that is left of their errors.
    found = _ERRNO.search(str(error))
    return os.strerror(int(found[1])).lower() if found else str(error)


_ERRNO = re.compile(r"\[Errno (\d+)\]")
