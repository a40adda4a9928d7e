"""Single mishaps with real brokers: each is survived, or named."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import nkeys  # type: ignore[import-untyped]  # ships no types
import pytest
from nats.aio.client import Client

from bench.brokers import Brokers
from livelog import Config, Server
from livelog.config.address import shared_log
from livelog.engine.base import MakeEngine
from livelog.engine.nats import extent, jetstream, settings
from livelog.engine.nats.engine import StreamEngine
from livelog.engine.nats.jetstream import JetStream
from livelog.errors import ConfigError, RefusedError
from tests.support.brokers import brokers, fresh_url
from tests.support.tls import make_certificate
from tests.support.wire import Http, Json, eventually, on_uvloop, serving, soon, until, user

ALONE = "there is a single broker"
UNUSABLE = "the broker cannot be used"


def on(url: str, **how: float) -> MakeEngine:
    """The engine of the log at `url`."""
    address = shared_log(url)
    return lambda clock: StreamEngine(JetStream(address.servers, address.name), **how)


def node(url: str, **more: Any) -> Server:
    return Server(Config(port=0, store="memory", engine=url, **more))


async def ids(server: Server) -> list[str | None]:
    """The ids of all that a server has, oldest first."""
    messages = (await server.history(limit=1000)).messages
    return [message.id or None for message in reversed(messages)]


@asynccontextmanager
async def operator(broker: Brokers) -> AsyncIterator[Client]:
    """A client of the broker that is no server's."""
    client = await nats.connect(f"nats://{broker.servers[0]}")
    try:
        yield client
    finally:
        await client.close()


async def delete(client: Client, name: str) -> None:
    """Delete the stream of a log."""
    answer = await client.request(f"$JS.API.STREAM.DELETE.{settings.stream_of(name)}", timeout=10)
    assert json.loads(answer.data)["success"]


@on_uvloop
async def test_two_logs_on_one_broker_know_nothing_of_each_other() -> None:
    async with node(fresh_url()) as one, node(fresh_url()) as other:
        await one.publish(user("of one", id="a"))
        await other.publish(user("of the other", user_id="u2", id="a"))
        await other.publish(user(id="b"))
        assert await ids(one) == ["a"]
        assert await ids(other) == ["a", "b"]
        [found] = (await one.history()).messages
        assert found.content == "of one"  # type: ignore[union-attr]  # it is a user's


async def health(server: Server) -> str:
    """Ask `/healthz`."""
    http = await Http.connect(("127.0.0.1", server.port))
    try:
        return json.dumps((await http.ask("GET", "/healthz")).json)
    finally:
        http.close()


async def named(server: Server, issue: str) -> None:
    """Wait until the health of a server tells an issue."""
    await eventually(lambda: health(server), lambda told: issue in told)


async def told(issue: str, url: str, **more: Any) -> None:
    """Start a server that cannot use its brokers: it ends with an issue, or its health has it."""
    said = ""
    try:
        async with node(url, **more) as server:
            await soon(named(server, issue))
            said = issue
    except ConfigError as error:
        said = str(error)
    assert issue in said


@on_uvloop
async def test_a_stream_that_is_deleted_and_made_anew_stops_the_nodes_of_the_old_one(
    tmp_path: Path,
) -> None:
    with brokers(tmp_path) as broker:
        url = broker.url("prod")
        async with node(url) as old:
            await old.publish(user(id="a"))
            async with operator(broker) as client:
                await delete(client, "prod")
            async with node(url) as new:
                await new.publish(user(id="b"))
                await soon(named(old, "has been deleted and made anew"))
                with pytest.raises(RefusedError, match="made anew"):
                    await old.publish(user(id="c"))
                assert await ids(old) == ["a"]
                assert await ids(new) == ["b"]


@on_uvloop
async def test_a_stream_that_comes_back_without_its_end_stops_publishing_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the only broker was restored; readers go on, and nothing is given a seq twice."""
    monkeypatch.setattr(extent, "_LOST_SECONDS", 0.5)
    with brokers(tmp_path) as broker:
        async with node(broker.url("prod")) as server:
            await server.publish(user(id="a"))
            broker.kill(0)
            shutil.copytree(tmp_path / "n0", tmp_path / "copy")
            await asyncio.to_thread(broker.start, 0)
            await server.publish(user(id="b"))
            broker.kill(0)
            shutil.rmtree(tmp_path / "n0")
            (tmp_path / "copy").rename(tmp_path / "n0")
            await asyncio.to_thread(broker.start, 0)
            await soon(named(server, "the brokers have lost what they had acknowledged"))
            with pytest.raises(RefusedError, match="have lost"):
                await server.publish(user(id="c"))
            assert await ids(server) == ["a", "b"]


@on_uvloop
async def test_a_lower_max_payload_is_named_and_the_node_goes_on_when_it_is_mended(
    tmp_path: Path,
) -> None:
    with brokers(tmp_path, more="max_payload: 1000000") as broker:
        make = on(broker.url("prod"), patience=0.5, silence=0.05)
        async with serving(engine=make, faults=[ALONE, UNUSABLE]) as house:
            await house.server.publish(user(id="a"))
            broker.kill(0)
            broker.edit(0, "max_payload: 1000000", "max_payload: 100000")
            await asyncio.to_thread(broker.start, 0)
            with pytest.raises(RefusedError, match="not acknowledged"):
                await house.server.publish(user(id="b"))
            engine = house.context.log  # the log itself goes on to be read
            assert engine.lookup("a") is not None
            broker.kill(0)
            broker.edit(0, "max_payload: 100000", "max_payload: 1000000")
            await asyncio.to_thread(broker.start, 0)
            receipt = None
            while receipt is None:
                try:
                    receipt = await soon(house.server.publish(user(id="b")))
                except RefusedError:
                    await asyncio.sleep(0.02)
            assert await ids(house.server) == ["a", "b"]


README = Path(jetstream.__file__).with_name("README.md").read_text(encoding="utf-8")
PUBLISHED, SUBSCRIBED = (
    re.findall(r"[$A-Za-z][\w.]+\.[\w>]+", found)
    for found in re.findall(r"    publish:(.*?)    subscribe:(.*?)\n\n", README, re.DOTALL)[0]
)
"""The subjects that the README has allowed."""


def key_of(folder: Path, number: int) -> tuple[str, str]:
    """The key of a user: its public half, and the file with its seed."""
    seed = nkeys.encode_seed(bytes([number]) * 32, nkeys.PREFIX_BYTE_USER)
    file = folder / f"user{number}.nk"
    file.write_bytes(bytes(seed) + b"\n")
    return nkeys.from_seed(bytearray(seed)).public_key.decode(), str(file)


def user_without(key: str, missing: str) -> str:
    """The configuration of a user with all permissions of the README but one."""
    publish, subscribe = (
        json.dumps([subject for subject in subjects if subject != missing])
        for subjects in (PUBLISHED, SUBSCRIBED)
    )
    return f"{{ nkey: {key}, permissions: {{ publish: {publish}, subscribe: {subscribe} }} }}"


@on_uvloop
async def test_each_permission_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jetstream, "START_SECONDS", 3.0)
    # The stream must not be there yet for the one that may not make it.
    missing = sorted({*PUBLISHED, *SUBSCRIBED}, key=lambda subject: "CREATE" not in subject)
    keys = {subject: key_of(tmp_path, number) for number, subject in enumerate(["", *missing])}
    users = "\n".join(user_without(key, subject) for subject, (key, _) in keys.items())
    with brokers(tmp_path, more=f"authorization {{ users: [\n{users}\n] }}") as broker:
        url = broker.url("prod")

        async def publish(creds: str, id: str) -> None:
            async with node(url, engine_creds=creds) as server:
                await server.publish(user(id=id))

        for subject in [missing[0], "", *missing[1:]]:
            caplog.clear()
            publishing = asyncio.create_task(publish(keys[subject][1], subject or "a"))
            if not subject:
                await soon(publishing)
                continue
            named = subject.lower().removesuffix(">")
            await until(lambda: named in caplog.text.lower() or publishing.done(), subject)  # noqa: B023 - at once
            publishing.cancel()
            [outcome] = await asyncio.gather(publishing, return_exceptions=True)
            assert named in f"{caplog.text} {outcome}".lower()


# TLS, and the credentials of an operator's accounts.


def token(claims: Json, issuer: Any) -> str:
    """A JWT of NATS, signed by `issuer`."""

    def part(content: bytes) -> str:
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    whole = {"jti": "test", "iat": 1, "iss": issuer.public_key.decode(), **claims}
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    signed = ".".join(part(json.dumps(each).encode()) for each in (head, whole))
    return f"{signed}.{part(issuer.sign(signed.encode()))}"


def pair_of(prefix: int, number: int) -> tuple[Any, str]:
    """A pair of keys, and its seed."""
    seed = nkeys.encode_seed(bytes([number]) * 32, prefix)
    return nkeys.from_seed(bytearray(seed)), bytes(seed).decode()


def claims(kind: str, subject: Any, **more: object) -> Json:
    return {
        "sub": subject.public_key.decode(),
        "name": kind,
        "nats": {"type": kind, "version": 2, **more},
    }


UNLIMITED = {"subs": -1, "data": -1, "payload": -1, "conn": -1, "leaf": -1, "imports": -1}
UNLIMITED |= {"exports": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}


def accounts(folder: Path) -> tuple[str, str]:
    """An operator with an account and a user: the broker's configuration, and the .creds file."""
    operator, _ = pair_of(nkeys.PREFIX_BYTE_OPERATOR, 1)
    account, _ = pair_of(nkeys.PREFIX_BYTE_ACCOUNT, 2)
    system, _ = pair_of(nkeys.PREFIX_BYTE_ACCOUNT, 4)
    person, seed = pair_of(nkeys.PREFIX_BYTE_USER, 3)
    permissions = {
        "pub": {"allow": PUBLISHED},
        "sub": {"allow": SUBSCRIBED},
    }
    of_operator = token(claims("operator", operator), operator)
    of_account = token(claims("account", account, limits=UNLIMITED), operator)
    of_system = token(claims("account", system), operator)
    of_user = token(claims("user", person, subs=-1, data=-1, payload=-1, **permissions), account)
    creds = folder / "livelog.creds"
    creds.write_text(
        f"-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
    name, system_name = (each.public_key.decode() for each in (account, system))
    configuration = f"""
        operator: {of_operator}
        system_account: {system_name}
        resolver: MEMORY
        resolver_preload: {{ {name}: {of_account}, {system_name}: {of_system} }}
    """
    return configuration, str(creds)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")
@on_uvloop
async def test_brokers_with_tls_and_accounts_are_used_and_others_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "START_SECONDS", 3.0)
    files, (operator_of, creds) = make_certificate(tmp_path), accounts(tmp_path)
    tls = f'tls {{ cert_file: "{files.cert}", key_file: "{files.key}" }}\n'
    with brokers(tmp_path, more=tls + operator_of) as broker:
        port = broker.servers[0].split(":")[1]
        url, secret = f"tls://localhost:{port}/prod", {"engine_ca": str(files.cert)}
        how = {"engine_creds": creds, **secret}
        async with node(url, **how) as one, node(url, **how) as other:
            await one.publish(user(id="a"))
            await other.publish(user(id="b"))
            assert await ids(other) == ["a", "b"]
        for more, issue in (
            ({"engine_creds": creds}, "CERTIFICATE_VERIFY_FAILED"),
            ({**secret}, "the broker refuses the credentials"),
            ({"engine_ca": creds}, f"--engine-ca {creds}"),
        ):
            await told(issue, url, **more)


@on_uvloop
async def test_a_broker_without_tls_is_not_talked_to_when_tls_is_asked_for() -> None:
    """The library would go on in plain text."""
    await told("the broker does not ask for TLS", fresh_url().replace("nats:", "tls:"))
