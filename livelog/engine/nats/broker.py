"""The connection to the brokers, by way of nats-py: one at a time, replaced when it ends.

The file with the credentials is read again for each.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from livelog.engine.nats import settings
from livelog.engine.nats.credentials import credentials
from livelog.engine.nats.stream import AwayError
from livelog.errors import SERVER_ERROR, ConfigError, RefusedError

_log = logging.getLogger(__name__)

ANSWER_SECONDS = 2.0
"""Seconds that the broker has for an answer."""

_PAUSES = (0.1, 2.0)
"""Bounds of the seconds between two attempts to connect; they double."""

_CANCEL_SECONDS = 0.25

_PING_SECONDS = 2
"""Seconds between two signs of life; the third that is missing ends a connection."""

_VERSION = (2, 12)
"""First nats-server with all that is used here."""

Take = Callable[[Msg], Awaitable[None]]


class Broker:
    """The broker that is connected, for the log called `name`.

    `servers` are URLs, `creds` is the path of a file, "" without. `least_bytes` is the size that
    messages may need to have. Once `keep` was called, a connection that ends is replaced.
    """

    def __init__(
        self, servers: Sequence[str], name: str, creds: str = "", least_bytes: int = 0
    ) -> None:
        # Given once, and kept.
        self._servers = list(servers)
        self._name = name
        self._creds = creds
        self._least_bytes = least_bytes
        self._takes: dict[str, Take] = {}
        """Subject → what takes its messages."""
        # The connection.
        self._client: Client | None = None
        self.inbox = ""
        """Prefix of the subjects on which this node is answered; another for each connection."""
        self._take_answer: Take = _pass_over
        self.failure = ""
        """The last error that the client library has told of."""
        self._renewed: Callable[[], None] | None = None
        """Called when the connection has been replaced; None while it is not to be."""
        self._renewing: asyncio.Task[None] | None = None
        self._closed = False

    def subscribe(self, subject: str, take: Take) -> None:
        """Have the messages on a subject taken, from the next connection on."""
        self._takes[subject] = take

    def answered(self, take: Take) -> None:
        """Have what comes below the inbox taken, from the next connection on."""
        self._take_answer = take

    def keep(self, renewed: Callable[[], None]) -> None:
        """Replace the connection whenever it ends; `renewed` is called afterwards."""
        self._renewed = renewed

    def wrong(self, issue: str) -> ConfigError:
        """Return the error that names `--engine` and what is wrong with it."""
        return ConfigError(f"--engine {','.join(self._servers)}/{self._name}: {issue}")

    @property
    def is_connected(self) -> bool:
        """True while a broker is connected."""
        return self._client is not None and self._client.is_connected

    @property
    def max_payload(self) -> int | None:
        """Bytes of the largest message that the broker takes; None before the first connection."""
        return None if self._client is None else self._client.max_payload

    async def connect(self) -> None:
        """Connect and subscribe, unless that is so.

        Raises `ConfigError` for what waiting does not mend, `OSError` and `nats.errors.Error`.
        """
        if self.is_connected:
            return
        client = await self._dialled()
        try:
            self._check(client)
            self.inbox = client.new_inbox()
            takes = {f"{self.inbox}.*": self._take_answer, **self._takes}
            for subject, take in takes.items():
                # Without bounds, behind which the library would drop what comes.
                await client.subscribe(
                    subject, cb=take, pending_msgs_limit=-1, pending_bytes_limit=-1
                )
            await client.flush()
        except BaseException:
            await client.close()
            raise
        self._client = client

    async def _dialled(self) -> Client:
        """Return a client that is connected. Raises `ConfigError` when the broker refuses it.

        Each attempt has a client of its own: the library, left to connect again by itself, leaks
        connections that are refused, and insists on the credentials that it has read first.
        """
        for pause in pauses():
            client = Client()
            dialling = asyncio.create_task(self._dial(client, credentials(self._creds)))
            try:
                await asyncio.wait([dialling])
                dialling.result()
            except (OSError, nats.errors.Error) as error:
                await client.close()
                self.failure = named(error)
                if "authorization" in self.failure.lower():
                    issue = f"the broker refuses the credentials: {self.failure}"
                    raise self.wrong(issue) from None
            except BaseException:
                await _ended(dialling)
                await client.close()
                raise
            else:
                return client
            await asyncio.sleep(pause)
        raise AssertionError  # the pauses have no end

    async def _dial(self, client: Client, credentials: dict[str, Any]) -> None:
        await client.connect(
            self._servers,
            name=f"livelog {self._name}",
            inbox_prefix=settings.inbox_of(self._name),
            error_cb=self._on_error,
            closed_cb=self._on_closed,
            allow_reconnect=False,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_PAUSES[0],  # type: ignore[arg-type]  # any number will do
            connect_timeout=ANSWER_SECONDS,  # type: ignore[arg-type]  # see above
            ping_interval=_PING_SECONDS,
            max_outstanding_pings=2,
            pending_size=0,  # nothing waits for a connection: what is late is given up
            **credentials,
        )

    def _check(self, client: Client) -> None:
        """Raise `ConfigError` for a broker that cannot do what is needed."""
        version = client.connected_server_version
        if (version.major, version.minor) < _VERSION:
            needed = ".".join(map(str, _VERSION))
            raise self.wrong(f"needs nats-server {needed}, not {version}")
        if client.max_payload < self._least_bytes:
            issue = f"max_payload of the broker is {client.max_payload}"
            raise self.wrong(f"{issue}, at least {self._least_bytes} are needed")

    async def _on_error(self, error: Exception) -> None:
        failure = named(error)
        if _forbidden(failure) and failure != self.failure:
            _log.warning("the broker: %s", failure)
        self.failure = failure

    @property
    def forbids(self) -> bool:
        """True when the broker's last word was that this user may not ask for the stream."""
        return _forbidden(self.failure) and "$JS.API" in self.failure.upper()

    async def _on_closed(self) -> None:
        """Connect again, with what the file with the credentials has by then."""
        if not self._closed and self._renewed is not None and self._renewing is None:
            self._renewing = asyncio.create_task(self._renew(self._renewed))

    async def _renew(self, renewed: Callable[[], None]) -> None:
        told = ""
        for pause in pauses():
            try:
                self.failure = ""
                await self.connect()
                break
            except (ConfigError, nats.errors.Error, OSError) as error:
                if str(error) != told:
                    _log.warning("the broker cannot be used: %s", error)
                told = self.failure = str(error)
                await asyncio.sleep(pause)
        self._renewing = None
        renewed()

    async def close(self) -> None:
        """Disconnect."""
        self._closed = True
        if self._renewing is not None:
            await _ended(self._renewing)
        if self._client is not None:
            await self._client.close()

    # Asking.

    def connected(self) -> Client:
        """Return the client. Raises `AwayError` while there is none."""
        if self._client is None or not self._client.is_connected:
            raise AwayError(f"no broker is reached: {self.failure or 'there is no answer'}")
        return self._client

    async def publish(self, subject: str, body: bytes, reply: str = "") -> None:
        """Publish a plain message. Raises `AwayError`."""
        try:
            await self.connected().publish(subject, body, reply=reply)
        except (nats.errors.Error, OSError) as error:
            raise self.unanswered(error) from None

    async def request(
        self,
        subject: str,
        body: bytes = b"",
        seconds: float = ANSWER_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Return the JSON that `subject` answers. Raises `AwayError`."""
        head = None if headers is None else dict(headers)
        try:
            answer = await self.connected().request(subject, body, seconds, headers=head)
            return json.loads(answer.data)
        except nats.errors.MaxPayloadError:
            raise RefusedError(SERVER_ERROR, "", "is larger than the broker allows") from None
        except nats.errors.NoRespondersError:
            raise AwayError("the brokers have no leader, or no such stream") from None
        except (nats.errors.Error, OSError, ValueError) as error:
            raise self.unanswered(error) from None

    def unanswered(self, error: Exception) -> AwayError:
        """Return the error of a request that has had no answer."""
        return AwayError(f"the broker does not answer: {self.failure or named(error)}")


def pauses() -> Iterator[float]:
    """Yield the seconds before each next attempt, without an end: they double, and vary."""
    pause, longest = _PAUSES
    while True:
        yield pause * random.uniform(0.5, 1)
        pause = min(2 * pause, longest)


def _forbidden(failure: str) -> bool:
    return "permissions violation" in failure.lower()


def named(error: Exception) -> str:
    """Return what an error says, or its name if it says nothing."""
    return str(error) or type(error).__name__


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task, again if need be: the library may swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_SECONDS)
    if not task.cancelled():
        task.exception()  # which is of no interest any more


async def _pass_over(message: Msg) -> None:
    """Do nothing: the callback until somebody sets one."""
