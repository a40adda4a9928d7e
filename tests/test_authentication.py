"""Authentication: every kind of credential, at both doors, and every way in which it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from livelog.auth import keyfile
from livelog.auth.principal import NOBODY
from livelog.net.context import Context
from livelog.net.http.message import Request, Response
from livelog.net.http.routes import ROUTES, Route
from livelog.wire.admin import ADMIN
from tests.support.identity import RSA_KEY, SECRET, api_key, handmade, pem, token
from tests.support.wire import (
    Client,
    House,
    Json,
    command,
    on_each_loop,
    on_uvloop,
    serving,
    upgrade,
    user,
)

AUTH: dict[str, Any] = {"jwt_secret": SECRET}


async def entered(house: House, who: str = "u1", scope: str = "read publish") -> Client:
    """A client that has authenticated."""
    client = await house.client()
    answer = await client.ask("authenticate", token=token(who, scope))
    assert answer["action"] == "authenticated", answer
    return client


async def refused(client: Client) -> tuple[int, str]:
    """The code and the issue with which a client is told off, and closed."""
    event = await client.reply("error")
    assert (await client.closed()) == ("protocol_error", event["error_code"])
    return event["error_code"], event["details"]["issue"]


# In band.


@on_each_loop
async def test_a_token_in_band_opens_the_connection() -> None:
    async with serving(**AUTH) as house:
        client = await house.client()
        text = token("user_1", "publish read openid", exp=4_000_000_000)
        assert await client.ask("authenticate", token=text, request_id=1) == {
            "action": "authenticated",
            "id": "user_1",
            "scopes": ["publish", "read"],
            "expires": "2096-10-02T07:07:10.000Z",
            "request_id": 1,
        }
        assert (await client.ask("subscribe", message_types=["user"]))["action"] == "subscribed"
        house.publish("hello")
        assert await client.contents(1) == ["hello"]


@on_uvloop
async def test_what_is_sent_right_behind_the_token_waits_for_it() -> None:
    async with serving(**AUTH) as house:
        client = await house.client()
        await client.send(
            command("authenticate", token=token()),
            command("subscribe", message_types=["user"]),
            command("ping"),
        )
        actions = [(await client.event())["action"] for _ in range(3)]
        assert actions == ["authenticated", "subscribed", "pong"]


COMMANDS: list[Json] = [
    {"action": "subscribe", "message_types": ["user"]},
    {"action": "unsubscribe", "message_types": ["user"]},
    {"action": "get_history"},
    {"action": "search", "query": "x"},
    {"action": "publish", "message": user()},
]


@pytest.mark.parametrize("asked", COMMANDS, ids=lambda asked: str(asked["action"]))
@on_uvloop
async def test_nobody_gets_anything_before_it_is_known_who_they_are(asked: Json) -> None:
    async with serving(**AUTH) as house:
        client, head = await house.client(), house.context.log.head
        assert (await client.ask("ping"))["action"] == "pong"
        await client.tell(**asked)
        assert await refused(client) == (4000, "authenticate first")
        assert house.context.log.head == head


@on_uvloop
async def test_who_says_nothing_is_sent_away() -> None:
    async with serving(**AUTH, auth_timeout=1) as house:
        stays = await entered(house)
        client = await house.client()
        assert await refused(client) == (4000, "did not authenticate in time")
        assert await stays.everything() == []


@pytest.mark.parametrize(
    ("proof", "code"),
    [
        ({}, 4000),
        ({"token": "nonsense"}, 4001),
        ({"token": token(key="x" * 40)}, 4001),
        ({"token": handmade({"alg": "none"}, {"sub": "u1", "exp": 4e9})}, 4001),
        ({"token": token(lasts=-100)}, 4002),
        ({"token": "ey" + "x" * 9000}, 4001),
        ({"api_key": "lk_00000000_00"}, 4001),
        ({"api_key": token()}, 4001),
    ],
    ids=lambda value: str(value)[:30],
)
@on_uvloop
async def test_who_fails_is_told_and_closed(proof: Json, code: int) -> None:
    async with serving(**AUTH) as house:
        client = await house.client()
        await client.tell("authenticate", **proof)
        assert (await refused(client))[0] == code


@on_uvloop
async def test_two_proofs_at_once_are_refused() -> None:
    async with serving(**AUTH) as house:
        client = await house.client()
        await client.tell("authenticate", token=token(), api_key="lk_")
        assert (await refused(client))[0] == 1002


# With the request.


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("?token={token}", {}),
        ("?api_key={api_key}", {}),
        ("?token={api_key}", {}),
        ("", {"Authorization": "Bearer {token}"}),
        ("", {"Authorization": "bearer {api_key}"}),
        ("", {"X_API_Key": "{api_key}"}),
        ("?token=bad", {"Authorization": "Bearer {token}"}),
    ],
    ids=str,
)
@on_uvloop
async def test_the_request_may_say_who_it_is(
    query: str, headers: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    given = {"token": token("bot"), "api_key": api_key(file)}
    async with serving(**AUTH, api_keys=str(file)) as house:
        client = await Client.connect(house.address)
        filled = {name: value.format(**given) for name, value in headers.items()}
        await client.send(upgrade(f"/ws/live-log{query.format(**given)}", **filled))
        await client.upto(b"\r\n\r\n")
        assert (await client.event())["action"] == "connected"
        answer = await client.event()
        assert (answer["action"], answer["id"]) == ("authenticated", "bot")
        client.close()


@on_uvloop
async def test_the_url_may_subscribe_too_and_waits_until_it_is_known_who_asks() -> None:
    async with serving(**AUTH) as house:
        at_once = await house.client(f"?token={token()}&message_types=user")
        assert [(await at_once.event())["action"] for _ in range(2)] == [
            "authenticated",
            "subscribed",
        ]
        later = await house.client("?message_types=user,raid")
        assert await later.everything() == []
        await later.tell("authenticate", token=token(scope="read:user"))
        assert (await later.event())["action"] == "authenticated"
        error = await later.event()
        assert (error["error_code"], error["details"]["scope"]) == (1008, "read:raid")
        assert (await later.ask("subscribe", message_types=["user"]))["action"] == "subscribed"


@on_uvloop
async def test_a_wrong_token_in_the_url_is_told_in_the_protocol() -> None:
    async with serving(**AUTH) as house:
        client = await house.client("?token=wrong&message_types=user")
        assert (await refused(client))[0] == 4001


@on_uvloop
async def test_an_open_server_takes_any_token_unread() -> None:
    async with serving() as house:
        client = await house.client("?token=YOUR_TOKEN&message_types=user")
        assert (await client.event())["action"] == "subscribed"
        everything = {"action": "authenticated", "id": "", "scopes": ["admin"]}
        assert await client.ask("authenticate", token="YOUR_TOKEN") == everything
        assert await client.ask("authenticate", api_key="YOUR_KEY") == everything
        http = await house.http()
        assert (await http.ask("GET", "/api/history?token=x&api_key=y")).status == 200


# HTTP.


@on_uvloop
async def test_http_asks_who_it_is_where_it_matters(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    secret = api_key(file)
    async with serving(**AUTH, api_keys=str(file)) as house:
        http = await house.http()
        for path in ("/healthz", "/", "/asyncapi.json", "/livelog.js"):
            assert (await http.ask("GET", path)).status == 200
        for path in ("/api/history", "/api/search?query=x", "/api/history?token="):
            answer = await http.ask("GET", path)
            assert (answer.status, answer.json["error_code"]) == (401, 4000)
            assert answer.headers["www-authenticate"] == 'bearer realm="livelog"'
        for headers in ({"Authorization": f"Bearer {token()}"}, {"X_API_Key": secret}):
            assert (await http.ask("GET", "/api/history", **headers)).status == 200
            assert (await http.ask("GET", "/api/search?query=x", **headers)).status == 200
        for query in (f"token={token()}", f"api_key={secret}"):
            assert (await http.ask("GET", f"/api/history?limit=1&{query}")).status == 200


@on_uvloop
async def test_http_says_what_is_wrong_with_a_token() -> None:
    async with serving(**AUTH) as house:
        http, head = await house.http(), house.context.log.head
        for text, code in ((token(lasts=-100), 4002), ("x.y.z", 4001)):
            answer = await http.ask("POST", f"/api/messages?token={text}", b'{"type":"user"}')
            assert (answer.status, answer.json["error_code"]) == (401, code)
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert house.context.log.head == head
        # Where there is nothing, or nothing of the kind, that is said first.
        assert (await http.ask("GET", "/api/nothing")).status == 404
        assert (await http.ask("GET", "/api/messages")).status == 405


async def _greet(context: Context, request: Request) -> Response:
    return Response(request.principal.id.encode())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@on_uvloop
async def test_a_route_of_which_nothing_else_is_said_takes_a_token(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setitem(ROUTES, "/api/new", {"GET": Route(_greet)})
    async with serving(**AUTH) as house:
        http = await house.http()
        assert (await http.ask(method, "/api/new")).status == 401
        assert (await http.ask(method, "/api/new?token=wrong")).status == 401
        answer = await http.ask("GET", f"/api/new?token={token('ann')}")
        assert (answer.status, answer.body) == (200, b"ann")
    async with serving() as house:
        http = await house.http()
        assert (await http.ask(method, "/api/new")).status == 200


def test_a_request_is_nobodys_until_its_principal_is_known() -> None:
    assert Request().principal is NOBODY


def test_the_routes_that_are_open_to_anybody_tell_nothing_of_the_log() -> None:
    closed = {
        path
        for path, methods in ROUTES.items()
        if not all(route.anybody for route in methods.values())
    }
    api = ("messages", "history", "search", "analytics", "log", "log/acts", "presence", "stream")
    admin = (f"admin/{name}" for name in ADMIN)
    assert closed == {"/metrics", *(f"/api/{name}" for name in (*api, *admin))}


# The end of a token.


class Time:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@on_each_loop
async def test_a_token_that_expires_is_warned_of_and_ends_the_connection() -> None:
    clock = Time()
    async with serving(**AUTH, clock=clock, jwt_leeway=0) as house:
        client = await house.client()
        await client.tell("authenticate", token=token(lasts=60.2))
        assert (await client.event())["action"] == "authenticated"
        clock.now += 5  # the clock may have been read long before the token was made
        warning = await client.event()
        assert warning["action"] == "token_expiring"
        assert 50 < warning["expires_in_seconds"] < 60
        clock.now += 60
        house.inside.review_sessions()
        assert await refused(client) == (4002, "the token has expired")


@on_uvloop
async def test_a_new_token_renews_the_connection() -> None:
    clock = Time()
    async with serving(**AUTH, clock=clock, jwt_leeway=0) as house:
        client = await house.client()
        await client.tell("authenticate", token=token(lasts=30))
        assert (await client.event())["action"] == "authenticated"
        assert (await client.event())["action"] == "token_expiring"
        assert (await client.ask("authenticate", token=token(lasts=500)))["action"] == (
            "authenticated"
        )
        clock.now += 100
        house.inside.review_sessions()
        assert await client.everything() == []
        clock.now += 350
        house.inside.review_sessions()
        assert (await client.event())["action"] == "token_expiring"


@on_uvloop
async def test_a_failed_renewal_leaves_everything_as_it_was() -> None:
    async with serving(**AUTH) as house:
        client = await entered(house, "u1")
        for text in (token("u2"), "nonsense", token("u1", lasts=-100)):
            error = await client.ask("authenticate", token=text)
            assert error["error_code"] in (4001, 4002)
        assert (await client.ask("subscribe", message_types=["user"]))["action"] == "subscribed"


@on_each_loop
async def test_what_a_new_token_does_not_allow_ends() -> None:
    async with serving(**AUTH) as house:
        client = await entered(house)
        await client.ask("subscribe", message_types=["user", "raid"])
        house.publish("before")
        assert await client.contents(1) == ["before"]
        await client.tell("authenticate", token=token(scope="read:raid"))
        ended = await client.event()
        assert (ended["action"], ended["message_types"]) == ("unsubscribed", ["raid"])
        assert (await client.event())["action"] == "authenticated"
        house.publish("after")
        assert await client.everything() == []
        error = await client.ask("subscribe", message_types=["user"])
        assert error["error_code"] == 1008


# API keys.


@on_uvloop
async def test_a_key_that_is_revoked_is_refused_from_then_on(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys.json", Time()
    secret, other = api_key(file, "bot"), api_key(file, "other")
    async with serving(clock=clock, api_keys=str(file)) as house:
        client = await house.client()
        assert (await client.ask("authenticate", api_key=secret))["id"] == "bot"
        stays = await house.client()
        assert (await stays.ask("authenticate", api_key=other))["id"] == "other"
        with keyfile.changing(str(file)) as keys:
            del keys[secret.split("_")[1]]
        clock.now += 2
        late = await house.client()
        await late.tell("authenticate", api_key=secret)
        assert await refused(late) == (4001, "not a valid API key")
        house.inside.deadlines_are_due()
        assert await refused(client) == (4001, "the API key was revoked")
        assert await stays.everything() == []


@on_uvloop
async def test_a_key_has_an_end_and_only_the_whole_key_is_one(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    over = api_key(file, expires=time.time() - 1)
    good = api_key(file)
    async with serving(api_keys=str(file)) as house:
        for text, code in ((over, 4002), (good[:-1], 4001), (good + "0", 4001), ("lk_", 4001)):
            client = await house.client()
            await client.tell("authenticate", api_key=text)
            assert (await refused(client))[0] == code


@on_uvloop
async def test_a_file_that_breaks_later_leaves_the_keys_as_they_were(tmp_path: Path) -> None:
    file, clock = tmp_path / "keys.json", Time()
    secret = api_key(file)
    async with serving(
        clock=clock, api_keys=str(file), faults=["keeping the old API keys"]
    ) as house:
        file.write_text("[{]")
        for _ in range(3):
            clock.now += 2
            client = await house.client()
            assert (await client.ask("authenticate", api_key=secret))["id"] == "bot"
        file.write_text("[]")
        clock.now += 2
        client = await house.client()
        await client.tell("authenticate", api_key=secret)
        assert (await refused(client))[0] == 4001


@on_uvloop
async def test_a_public_key_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_bytes(pem(RSA_KEY))
    async with serving(jwt_public_key=str(file), **AUTH) as house:
        for algorithm in ("RS256", "HS256"):
            client = await house.client()
            answer = await client.ask("authenticate", token=token(algorithm=algorithm))
            assert answer["id"] == "u1"
        client = await house.client()
        await client.tell("authenticate", token=token(algorithm="ES256"))
        assert (await refused(client))[0] == 4001


@on_uvloop
async def test_an_open_server_that_others_can_reach_warns() -> None:
    async with serving(host="0.0.0.0", faults=["open: all clients that reach 0.0.0.0"]):
        pass
    async with serving(host="0.0.0.0", **AUTH) as house:
        assert house.server.trust == "authenticated: JWT"
    async with serving() as house:
        assert house.server.trust == "open: no authentication"


# Secrets.


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that is logged, however little it matters."""
    with caplog.at_level(logging.DEBUG):
        yield caplog


def test_no_credential_is_ever_logged(logged: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    good, bad, key = token(), token(key="y" * 40), api_key(tmp_path / "keys.json")

    @on_uvloop
    async def use_them() -> None:
        async with serving(**AUTH, api_keys=str(tmp_path / "keys.json")) as house:
            for text in (good, bad, key):
                client = await house.client(f"?token={text}")
                await client.event()
                client = await house.client()
                await client.tell("authenticate", token=text, colour="red")
                assert text not in str(await client.event())
                http = await house.http()
                for target in (f"/api/history?token={text}", f"/nowhere?api_key={text}"):
                    answer = await http.ask("GET", target, Authorization=f"Bearer {text}")
                    assert text.encode() not in answer.body
                broken = await house.http()
                await broken.send(f"GET /ws/live-log?token={text} HTTP/1.1\r\nUpgrade\r\n".encode())
                await broken.rest()

    use_them()
    assert not [text for text in (good, bad, key, SECRET) if text in logged.text]
