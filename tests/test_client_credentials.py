"""Tokens of the Python client and the command line, against real servers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from livelog import ConnectionEndedError, RefusedError, UnreachableError, connect
from tests.support.following import IMPATIENT, contents, take
from tests.support.identity import SECRET, api_key, token
from tests.support.process import STOPPED, Start, ended, ready
from tests.support.wire import House, on_uvloop, serving, soon, until, user
from tests.test_authentication import AUTH, Time


@on_uvloop
async def test_a_token_or_an_api_key_lets_the_client_in(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key = api_key(file, "u1")
    async with serving(**AUTH, api_keys=str(file)) as house:
        for proof in (token(), key):
            async with connect(house.server.url, token=proof) as log:
                await log.publish(user("mine"))
                with pytest.raises(RefusedError, match="publish:any"):
                    await log.publish(user("not mine", user_id="u2"))
                assert contents((await log.history(limit=1)).messages) == ["mine"]


@pytest.mark.parametrize(
    ("proof", "code"), [("nonsense", 4001), (token(lasts=-100), 4002), ("", 1002)]
)
def test_a_wrong_token_ends_the_client_at_once(proof: str, code: int) -> None:
    @on_uvloop
    async def check() -> None:
        async with serving(**AUTH) as house:
            with pytest.raises(ConnectionEndedError) as caught:
                await connect(house.server.url, token=proof).__aenter__()
            assert caught.value.code == code

    check()


@on_uvloop
async def test_without_a_token_it_is_told() -> None:
    async with serving(**AUTH) as house, connect(house.server.url) as log:
        with pytest.raises(RefusedError, match="authenticate first"):
            await soon(log.history())
        with pytest.raises(ConnectionEndedError):
            await soon(log.history())


@on_uvloop
async def test_an_open_server_takes_any_token() -> None:
    async with serving() as house, connect(house.server.url, token="any") as log:
        assert (await log.history()).total == 0


@on_uvloop
async def test_a_function_is_asked_for_every_connection_and_before_a_token_expires() -> None:
    asked: list[float] = []

    async def fresh() -> str:
        asked.append(time.time())
        return token(lasts=20 if len(asked) == 1 else 500)

    clock = Time()
    async with (
        serving(**AUTH, clock=clock, jwt_leeway=0) as house,
        connect(house.server.url, token=fresh, clock=IMPATIENT) as log,
        log.subscribe(["user"]) as messages,
    ):
        await until(lambda: len(asked) == 2, "a renewal")
        await until(lambda: expires(house) > clock.now + 100, "a new token")
        clock.now += 100
        house.inside.review_sessions()
        [seq] = house.publish("still here")
        assert [item.seq for item in await take(aiter(messages), 1)] == [seq]  # type: ignore[union-attr]  # no gap
        assert len(asked) == 2


def expires(house: House) -> float:
    """Until when the only client is believed."""
    return min((peer.principal.expires or 0.0) for peer in house.inside.connections)


@on_uvloop
async def test_a_connection_whose_token_has_expired_comes_back_with_another() -> None:
    given: list[str] = [token(lasts=0.7), token(lasts=0.8), token(lasts=500)]

    async with (
        serving(**AUTH, jwt_leeway=0) as house,
        connect(house.server.url, token=lambda: given.pop(0), clock=IMPATIENT) as log,
        log.subscribe(["user"]) as messages,
    ):
        await until(lambda: not given, "all three tokens")
        await until(
            lambda: house.inside.websockets and expires(house) > time.time() + 100, "the last"
        )
        await log.history()
        house.publish("still here")
        assert contents(await take(aiter(messages), 1)) == ["still here"]


@on_uvloop
async def test_a_function_that_fails_is_asked_again() -> None:
    answers: list[Any] = [token(), OSError("the provider is away"), token()]

    def next_one() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    async with serving(**AUTH) as house:
        async with connect(house.server.url, token=next_one, clock=IMPATIENT) as log:
            for peer in house.inside.connections:
                peer.abort()
            await until(lambda: not answers, "all answers")
            await soon(log.history())
        answers.append(OSError("the provider is away"))
        with pytest.raises(UnreachableError, match="no token: the provider is away"):
            await connect(house.server.url, token=next_one).__aenter__()


@on_uvloop
async def test_an_address_is_shown_without_its_token() -> None:
    with pytest.raises(UnreachableError) as caught:
        await connect("ws://127.0.0.1:1/ws/live-log?token=hunter2").__aenter__()
    assert "hunter2" not in str(caught.value)


# The command line.


def test_the_command_line_shows_its_token(start: Start, tmp_path: Path) -> None:
    file = str(tmp_path / "keys.json")
    made = start("keys", "create", "--owner", "u1", "--scopes", "read publish", "--api-keys", file)
    code, out, err = ended(made)
    key = out.strip()
    assert (code, err.count("\n")) == (0, 1)
    assert key not in err
    url = ready(start("--port", "0", "--api-keys", file, LIVELOG_JWT_SECRET=SECRET))
    line = '{"type":"user","user_id":"u1","username":"Ann","content":"hello"}\n'
    assert ended(start("publish", "--url", url, LIVELOG_TOKEN=key), line)[0] == 0
    code, out, _ = ended(start("history", "--url", url, "--token", token(), "--json"))
    assert (code, '"content":"hello"' in out) == (0, True)
    for arguments in (["publish"], ["history"], ["publish", "--token", "nonsense"]):
        code, _, err = ended(start(*arguments, "--url", url), line)
        assert (code, err.count("\n")) == (1, 1)
        assert "authenticate" in err or "of this kind" in err
    tail = start("tail", "--url", url, "--since", "0", LIVELOG_TOKEN=key)
    assert tail.stdout is not None
    assert "hello" in tail.stdout.readline()
    name = key.split("_")[1]
    listed = ended(start("keys", "list", LIVELOG_API_KEYS=file))[1]
    assert name in listed
    assert "u1: read publish" in listed
    assert key not in listed
    assert ended(start("keys", "revoke", name, "--api-keys", file))[0] == 0
    deadline = time.monotonic() + 20
    while ended(start("history", "--url", url, LIVELOG_TOKEN=key))[0] == 0:
        assert time.monotonic() < deadline
    code, _, err = ended(start("keys", "revoke", name, "--api-keys", file))
    assert (code, err.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "--owner", "u1", "--scopes", "reed"], "unknown scope 'reed'"),
        (["create", "--owner", "u1", "--scopes", ""], "a key needs a scope"),
        (["create", "--owner", "", "--scopes", "read"], "the owner must have"),
        (["create", "--owner", "a\nb", "--scopes", "read"], "the owner must have"),
    ],
    ids=str,
)
def test_a_key_that_cannot_be_is_refused(
    start: Start, tmp_path: Path, arguments: list[str], said: str
) -> None:
    file = tmp_path / "keys.json"
    code, out, err = ended(start("keys", *arguments, "--api-keys", str(file)))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert said in err
    assert not file.exists()


def test_a_file_that_is_something_else_is_left_alone(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("data")
    create = ["create", "--owner", "u", "--scopes", "read"]
    for arguments in (create, ["list"], ["revoke", "x"]):
        code, _, err = ended(start("keys", *arguments, "--api-keys", str(file)))
        assert (code, err.count("\n")) == (1, 1)
        assert str(file) in err
    assert file.read_text() == "data"


@pytest.mark.parametrize("arguments", [["list"], ["revoke", "x"]])
def test_a_file_of_keys_that_is_not_there_is_said(start: Start, arguments: list[str]) -> None:
    code, out, err = ended(start("keys", *arguments, "--api-keys", "mistyped.json"))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "mistyped.json: there is no such file" in err


def test_a_token_comes_from_its_variable_or_a_file(start: Start, tmp_path: Path) -> None:
    server = start("--port", "0", LIVELOG_JWT_SECRET=SECRET)
    url, good = ready(server), token()
    file = tmp_path / "token"
    file.write_text(f"{good}\n")
    for variables in ({"LIVELOG_TOKEN": f"{good}\r\n"}, {"LIVELOG_TOKEN_FILE": str(file)}):
        code, _, err = ended(start("history", "--url", url, **variables))
        assert (code, "Traceback" in err) == (0, False), err
    both = {"LIVELOG_TOKEN": good, "LIVELOG_TOKEN_FILE": str(file)}
    code, _, err = ended(start("history", "--url", url, **both))
    assert (code, err.count("\n")) == (2, 1)
    assert "LIVELOG_TOKEN and LIVELOG_TOKEN_FILE are both set" in err
    assert ended(start("history", "--url", url, "--token", good, **both))[0] == 0
    code, _, err = ended(start("history", "--url", url, LIVELOG_TOKEN="hun ter2"))
    assert (code, "LIVELOG_TOKEN" in err, "hun" in err) == (2, True, False)
    assert ended(start("history", "--help", **both))[0] == 0


def test_a_token_that_cannot_be_is_not_repeated(start: Start) -> None:
    code, _, err = ended(start("history", "--token", "hun ter2"))
    assert code == 2
    assert "hun" not in err


def test_the_server_says_what_it_asks_for_and_never_its_secrets(start: Start) -> None:
    process = start("--port", "0", LIVELOG_JWT_SECRET=SECRET)
    assert process.stdout is not None
    assert process.stdout.readline().endswith("/ws/live-log (authenticated: JWT)\n")
    process.terminate()
    assert ended(process) == (0, STOPPED, "")
    for arguments, environment in (
        (["--jwt-secret", "hunter2"], {}),
        (["serve", "--help"], {"LIVELOG_JWT_SECRET": "hunter2"}),
        ([], {"LIVELOG_JWT_SECRET": "hunter2"}),
    ):
        code, out, err = ended(start(*arguments, **environment))
        assert code == (0 if out else 2)
        assert "hunter2" not in out + err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--jwt-secret", ""], "--jwt-secret: is empty"),
        (["--jwt-public-key", "/nowhere/key.pem"], "/nowhere/key.pem"),
        (["--jwt-public-key", __file__], "is not a public key"),
        (["--jwks-url", "http://127.0.0.1:1/keys"], "http://127.0.0.1:1/keys"),
        (["--oauth-issuer", "http://127.0.0.1:1"], "--oauth-issuer: http://127.0.0.1:1"),
        (["--api-keys", "/nowhere/keys.json"], "--api-keys: /nowhere/keys.json"),
        (["--api-keys", __file__], "is not a file of API keys"),
        (["--jwt-audience", "x"], "--jwt-audience: has an effect only with"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_a_wrong_setting_is_named_in_one_line(
    start: Start, arguments: list[str], said: str
) -> None:
    code, out, err = ended(start("--port", "0", *arguments))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err
