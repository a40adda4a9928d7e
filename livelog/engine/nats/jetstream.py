"""The stream on NATS JetStream, by way of nats-py.

No consumers: live entries come by the stream's `republish` as plain messages, and everything else
is read by batched direct gets, which any replica answers, also without a majority. A connection
that ends is replaced, and the file with the credentials is read again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from livelog.engine.nats import batch, settings
from livelog.engine.nats.stream import AwayError, Bounds, Entry, StoppedError
from livelog.errors import SERVER_ERROR, ConfigError, RefusedError
from livelog.wire.timestamps import parse_moment

_log = logging.getLogger(__name__)

START_SECONDS = 30.0
"""Seconds in which the brokers have to be reached, and the stream be there, at the start."""

_ANSWER_SECONDS = 2.0
"""Seconds that the broker has for an answer."""

_ACKNOWLEDGE_SECONDS = 1.0
"""Seconds after which a batch is sent again."""

_PAUSE_SECONDS = 0.25
"""Seconds between two attempts to connect, or to find or make the stream."""

_PING_SECONDS = 2
"""Seconds between two signs of life; the third that is missing ends a connection."""

_READ_ENTRIES = 200
_READ_BYTES = 4 * 2**20
"""Bounds of what is read at once."""

_REPLICAS = 3
_VERSION = (2, 12)
"""First nats-server with all that is used here."""

_ID, _EXPECTED = "Nats-Msg-Id", "Nats-Expected-Stream"
_FORMAT, _BASE = "Livelog-Format", "Livelog-Base"
_NUMBER, _PREVIOUS, _TIME = "Nats-Sequence", "Nats-Last-Sequence", "Nats-Time-Stamp"
_STATUS, _PENDING = "Status", "Nats-Num-Pending"

# Codes of JetStream's errors.
_NOT_FOUND, _TAKEN, _ALONE, _DISABLED = 10059, 10058, 10074, (10039, 10076)
_IN_PROCESS = 10158
"""An entry that is sent again while the brokers have yet to agree on it; it may still be lost."""

_BEGAN = datetime(1970, 1, 1, tzinfo=UTC)


class JetStream:
    """One node's view of the stream of the log called `name`.

    `servers` are URLs, `credentials` is the path of a file, "" without, as is `authorities`, with
    the certificates to be trusted. `least_bytes` is the size of the largest message that this node
    may publish.
    """

    def __init__(
        self,
        servers: Sequence[str],
        name: str,
        credentials: str = "",
        least_bytes: int = 0,
        clock: Callable[[], float] = time.time,
        authorities: str = "",
    ) -> None:
        # Given once, and kept.
        self._servers = list(servers)
        self._name = name
        self._stream = settings.stream_of(name)
        self._credentials = credentials
        self._authorities = authorities
        self._least_bytes = max(least_bytes, batch.MAX_BYTES) + settings.HEAD_BYTES
        self._clock = clock
        # The connection.
        self._client: Client | None = None
        self._inbox = ""
        """Prefix of the subjects on which reads are answered."""
        self._reads = 0
        self._answers: dict[str, asyncio.Queue[Msg]] = {}
        """Subject → the answers of the read under way there."""
        self._failure = ""
        """The last error that the client library has told of."""
        self._renewing: asyncio.Task[None] | None = None
        """Replaces a client whose connection has ended."""
        self._closed = False
        # The stream.
        self._opened: Bounds | None = None
        self._came: Callable[[Entry], None] = _ignore
        self._doubt: Callable[[], None] = _nothing

    # Opening and closing.

    async def open(self) -> Bounds:
        """Connect, and make the stream or check that it fits. Raises `ConfigError`."""
        if self._opened is None:
            try:
                async with asyncio.timeout(START_SECONDS):
                    await self._connect()
                    self._opened = await self._found()
            except TimeoutError:
                raise self._wrong(self._failure or "there is no answer") from None
        return self._opened

    def listen(self, came: Callable[[Entry], None], doubt: Callable[[], None]) -> None:
        """Call `came` with live entries, and `doubt` when some may be missing."""
        self._came, self._doubt = came, doubt

    async def close(self) -> None:
        """Disconnect."""
        self._closed = True
        if self._renewing is not None:
            await _ended(self._renewing)
        if self._client is not None:
            await self._client.close()

    def _wrong(self, issue: str) -> ConfigError:
        return ConfigError(f"--engine {','.join(self._servers)}/{self._name}: {issue}")

    # The connection.

    async def _connect(self) -> None:
        """Connect and subscribe. Raises `ConfigError` for what waiting does not mend."""
        client = await self._dialled()
        try:
            self._check(client)
            self._inbox = client.new_inbox()
            live = settings.live_of(self._name)
            for subject, take in ((f"{self._inbox}.*", self._on_answer), (live, self._on_live)):
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
        credentials = _credentials(self._credentials) | _trust(self._authorities)
        while True:
            client = Client()
            dialling = asyncio.create_task(self._dial(client, credentials))
            try:
                await asyncio.wait([dialling])
                dialling.result()
            except (OSError, nats.errors.Error) as error:
                await client.close()
                self._failure = _named(error)
                if "authorization" in self._failure.lower():
                    issue = f"the broker refuses the credentials: {self._failure}"
                    raise self._wrong(issue) from None
            except BaseException:
                await _ended(dialling)
                await client.close()
                raise
            else:
                return client
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _dial(self, client: Client, credentials: dict[str, Any]) -> None:
        await client.connect(
            self._servers,
            name=f"livelog {self._name}",
            inbox_prefix=settings.inbox_of(self._name),
            error_cb=self._on_error,
            closed_cb=self._on_closed,
            allow_reconnect=False,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_PAUSE_SECONDS,  # type: ignore[arg-type]  # any number will do
            connect_timeout=_ANSWER_SECONDS,  # type: ignore[arg-type]  # see above
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
            raise self._wrong(f"needs nats-server {needed}, not {version}")
        if client.max_payload < self._least_bytes:
            issue = f"max_payload of the broker is {client.max_payload}"
            raise self._wrong(f"{issue}, at least {self._least_bytes} are needed")
        # The library goes on in plain text when the broker does not ask for TLS.
        secret = self._servers[0].startswith("tls:")
        if secret and not client._server_info.get("tls_required"):
            raise self._wrong("the broker does not ask for TLS")

    async def _on_error(self, error: Exception) -> None:
        failure = _named(error)
        if "permissions violation" in failure.lower() and failure != self._failure:
            _log.warning("the broker: %s", failure)
        self._failure = failure

    async def _on_closed(self) -> None:
        """Connect again, with what the file with the credentials has by then."""
        if not self._closed and self._opened is not None and self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        while True:
            try:
                self._failure = ""
                await self._connect()
                break
            except (ConfigError, AwayError, nats.errors.Error, OSError) as error:
                _log.warning("the broker cannot be used: %s", error)
                self._failure = str(error)
                await asyncio.sleep(_PAUSE_SECONDS)
        self._renewing = None
        self._doubt()

    @property
    def max_bytes(self) -> int:
        """Largest body that the broker takes."""
        size = batch.MAX_BYTES if self._client is None else self._client.max_payload
        return size - settings.HEAD_BYTES

    def _connected(self) -> Client:
        if self._client is None or not self._client.is_connected:
            raise AwayError(f"no broker is reached: {self._failure}")
        return self._client

    async def _request(
        self, subject: str, body: bytes, seconds: float, headers: dict[str, str] | None = None
    ) -> Any:
        """Return the JSON that `subject` answers. Raises `AwayError`."""
        try:
            answer = await self._connected().request(subject, body, seconds, headers=headers)
            return json.loads(answer.data)
        except nats.errors.MaxPayloadError:
            raise RefusedError(SERVER_ERROR, "", "is larger than the broker allows") from None
        except nats.errors.NoRespondersError:
            raise AwayError("the brokers have no leader, or no such stream") from None
        except (nats.errors.Error, OSError, ValueError) as error:
            raise AwayError(f"the broker does not answer: {self._failure or error}") from None

    # The stream.

    async def _found(self) -> Bounds:
        """Find or make the stream. Raises `ConfigError`."""
        while True:
            with suppress(AwayError):
                answer = await self._asked("INFO")
                code = _code(answer)
                if not code:
                    bounds = self._read_bounds(answer)
                    return bounds._replace(certain=await self._certain(answer, bounds))
                if code in _DISABLED:
                    raise self._wrong("the broker has no JetStream")
                if code == _NOT_FOUND:
                    await self._make(_REPLICAS)
                    continue
                self._failure = _issue(answer)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _make(self, replicas: int) -> None:
        """Make the stream. Another node may do so at the same moment; one wins."""
        config = settings.wanted(self._name, self._clock(), replicas)
        answer = await self._asked("CREATE", config)
        code = _code(answer)
        if code == _ALONE:
            _log.warning("there is a single broker: what it loses is lost")
            await self._make(1)
        elif code and code != _TAKEN:
            self._failure = _issue(answer)
            if answer["error"].get("code", 500) < 500:
                raise self._wrong(f"the stream {self._stream} cannot be made: {self._failure}")
            await asyncio.sleep(_PAUSE_SECONDS)
        elif not code:
            _log.info("made the stream %s with %d replicas", self._stream, replicas)

    async def _asked(self, what: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask for something about the stream. Raises `AwayError`."""
        data = b"" if body is None else json.dumps(body).encode()
        subject = f"$JS.API.STREAM.{what}.{self._stream}"
        return await self._request(subject, data, _ANSWER_SECONDS)

    def _read_bounds(self, answer: Any) -> Bounds:
        """Return what the broker says of the stream. Raises `ConfigError` if it does not fit."""
        if issue := settings.unfit(self._name, answer["config"]):
            raise self._wrong(f"the stream {self._stream} is not one of livelog's: {issue}")
        base, span = settings.base_and_span(answer["config"])
        state = answer["state"]
        first = max(1, state["first_seq"])
        return Bounds(base, span, first, max(state["last_seq"], first - 1), first)

    async def _certain(self, answer: Any, bounds: Bounds) -> int:
        """Return the number of the first entry a span behind the oldest, if some have gone."""
        if bounds.first <= 1 or bounds.first > bounds.last:
            return bounds.first
        oldest = parse_moment(answer["state"]["first_ts"], "")
        return await self.number_at(oldest + bounds.span)

    async def bounds(self) -> Bounds:
        """Ask the leader what is in the stream."""
        answer = await self._asked("INFO")
        if _code(answer):
            raise AwayError(f"the stream: {_issue(answer)}")
        try:
            return self._read_bounds(answer)
        except ConfigError as error:
            raise StoppedError(str(error)) from None

    async def append(self, id: str, format: str, body: bytes) -> int:
        """Publish an entry, and wait for the acknowledgement."""
        base = "" if self._opened is None else str(self._opened.base)
        headers = {_ID: id, _BASE: base, _FORMAT: format, _EXPECTED: self._stream}
        subject = settings.subject_of(self._name)
        answer = await self._request(subject, body, _ACKNOWLEDGE_SECONDS, headers)
        if not _code(answer):
            return int(answer["seq"])
        issue = f"the broker refuses it: {_issue(answer)}"
        if answer["error"].get("code", 500) < 500 and _code(answer) != _IN_PROCESS:
            raise RefusedError(SERVER_ERROR, "", issue)
        raise AwayError(issue)

    async def read(self, after: int) -> tuple[Sequence[Entry], bool]:
        """Read the next entries, from any replica."""
        return await self._get({"seq": after + 1, "batch": _READ_ENTRIES, "max_bytes": _READ_BYTES})

    async def number_at(self, time: int) -> int:
        """Look for the first entry at a time or later."""
        moment = (_BEGAN + timedelta(microseconds=time)).isoformat().replace("+00:00", "Z")
        entries, _ = await self._get({"batch": 1, "start_time": moment})
        return entries[0].number if entries else (await self.bounds()).last + 1

    async def _get(self, wanted: Mapping[str, Any]) -> tuple[list[Entry], bool]:
        """Get entries. Raises `AwayError`, also for an answer that has lost a part on its way."""
        client = self._connected()
        self._reads += 1
        inbox = f"{self._inbox}.{self._reads}"
        answers = self._answers[inbox] = asyncio.Queue()
        subject = f"$JS.API.DIRECT.GET.{self._stream}"
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await client.publish(subject, json.dumps(wanted).encode(), reply=inbox)
                return await _collected(answers)
        except (TimeoutError, nats.errors.Error, OSError) as error:
            raise AwayError(f"the broker does not answer: {self._failure or error}") from None
        finally:
            del self._answers[inbox]

    async def _on_answer(self, message: Msg) -> None:
        answers = self._answers.get(message.subject)
        if answers is not None:
            answers.put_nowait(message)

    async def _on_live(self, message: Msg) -> None:
        self._came(_entry(message, int((message.headers or {})[_PREVIOUS])))


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task, again if need be: the library may swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_PAUSE_SECONDS)
    if not task.cancelled():
        task.exception()  # which is of no interest any more


async def _collected(answers: asyncio.Queue[Msg]) -> tuple[list[Entry], bool]:
    """Return the entries of an answer, and whether there are more. Raises `AwayError`."""
    entries: list[Entry] = []
    previous = 0  # the broker begins each answer anew
    while True:
        message = await answers.get()
        headers = message.headers or {}
        status = headers.get(_STATUS)
        if status == "404":
            return entries, False
        if int(headers.get(_PREVIOUS, -1)) != previous:
            raise AwayError(f"the broker's answer has a hole (status {status})")
        if status == "204":
            return entries, int(headers.get(_PENDING, 0)) > 0
        entry = _entry(message, 0)
        entries.append(entry._replace(previous=entry.number - 1))
        previous = entry.number


def _entry(message: Msg, previous: int) -> Entry:
    headers = message.headers or {}
    return Entry(
        number=int(headers[_NUMBER]),
        previous=previous,
        time=parse_moment(headers[_TIME], _TIME),
        id=headers.get(_ID, ""),
        base=int(base) if (base := headers.get(_BASE, "")).isdecimal() else 0,
        format=headers.get(_FORMAT, ""),
        body=message.data,
    )


def _named(error: Exception) -> str:
    return str(error) or type(error).__name__


def _code(answer: Any) -> int:
    """Return the code of the error in an answer, 0 without."""
    error = answer.get("error") or {}
    return int(error.get("err_code") or error.get("code") or 0)


def _issue(answer: Any) -> str:
    return str(answer["error"].get("description", "unknown error"))


def _credentials(path: str) -> dict[str, Any]:
    """Return the arguments by which the client uses the credentials in a file."""
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            content = file.read()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"--engine-creds {path}: {why}") from None
    if "BEGIN NATS USER JWT" in content:
        return {"user_credentials": path}
    if content.strip().startswith("SU"):
        return {"nkeys_seed": path}
    raise ConfigError(f"--engine-creds {path}: has neither a user's JWT nor the seed of an nkey")


def _trust(authorities: str) -> dict[str, Any]:
    """Return the arguments by which the client trusts the certificates in a file."""
    if not authorities:
        return {}
    try:
        return {"tls": ssl.create_default_context(cafile=authorities)}
    except OSError as error:  # also for what is no certificate
        raise ConfigError(f"--engine-ca {authorities}: {error.strerror or error}") from None


def _ignore(entry: Entry) -> None:
    """Do nothing: the callback until somebody listens."""


def _nothing() -> None:
    """Do nothing: the callback until somebody listens."""
