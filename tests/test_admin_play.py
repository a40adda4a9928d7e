"""Moderators and users at play: by chance, against a model of what is in force.

Nobody without the scope does or sees any of it, blocks hold, text that was redacted is found by no
question at any door, and no message names a user who was erased.
"""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from livelog.net.admin.table import COMMANDS
from tests.support.identity import token
from tests.support.moderating import AUTH, entered, give
from tests.support.wire import Client, House, Json, on_uvloop, request, serving, soon, until, user

USERS = ["ann", "bob", "cat"]
NETWORKS = ["127.0.1.0/24", "127.0.2.0/24"]
SOURCES = {"ann": "127.0.1.1", "bob": "127.0.2.1", "cat": "127.0.3.1", "judge": "127.0.4.1"}
SCOPES = [
    *("read publish", "metrics", "publish:any replicate", "", "presence"),
    *["moderate", "moderate read", "admin"] * 3,
]
TRIED = [
    *("block", "block", "unblock", "disconnect", "connections", "audit", "announce"),
    *("unblock", "erase", "erase"),
    *["redact"] * 4,
]
ALLOWED = {
    "moderate": {"moderate"},
    "moderate read": {"moderate"},
    "admin": {"moderate", "admin"},
}
"""Scopes of a key → scopes of commands that it may give."""
ECHOED = {"where", "where_ast", "query"}
"""Fields of an answer that repeat the question."""


@dataclass
class Said:
    """A message as its author has published it."""

    id: str
    seq: int
    word: str
    """A word that no other message has."""
    author: str
    reader: str
    """The recipient of a direct message; empty for one to all."""
    redacted: bool = False

    def names(self, user: str) -> bool:
        """Whether a server still has the user's id in it."""
        return user in (self.author, self.reader) and not (self.redacted and not self.reader)


class Play:
    """A game with a model of what is in force."""

    def __init__(self, house: House, dice: random.Random) -> None:
        self.house = house
        self.dice = dice
        self.blocked: set[str] = set()
        self.acts = 0
        self.clients: dict[str, Client] = {}
        self.said: list[Said] = []
        self.acted: set[str] = set()
        """Users whom acts name."""
        self.done: set[str] = set()
        """Commands that were carried out."""

    async def step(self) -> None:
        """Let somebody give a command, or let a user come or speak."""
        throw = self.dice.random()
        if throw < 0.25:
            await self._come(self.dice.choice(USERS))
        elif throw < 0.5:
            await self._speak(self.dice.choice(USERS))
        else:
            await self._command()
        await self._check()

    def out(self, user: str) -> bool:
        """Whether a user is kept out, by name or by network."""
        return user in self.blocked or self._network(user) in self.blocked

    # Users.

    async def _come(self, user: str) -> None:
        if user in self.clients:
            return
        if self.out(user):
            http = await self.house.http(source=SOURCES[user])
            bearer = f"Bearer {token(user)}"
            assert (await http.ask("GET", "/api/history", Authorization=bearer)).status == 403
            http.close()
        else:
            self.clients[user] = await entered(self.house, user, source=SOURCES[user])

    async def _speak(self, who: str) -> None:
        if who not in self.clients:
            return
        number = len(self.said)
        word, to = f"xyzzy{number}z", self.dice.choice(["", "", *USERS])
        message = user(f"hi {word}", user_id=who, username=f"name {who}", metadata={"word": word})
        if to:
            names = {"from_user_id": who, "from_username": f"name {who}", "to_user_id": to}
            message = {"type": "dm", "content": f"psst {word}", **names}
        answer = await self.clients[who].ask("publish", message={**message, "id": f"m{number}"})
        self.said.append(Said(f"m{number}", answer["seq"], word, who, to))

    # Commands.

    async def _command(self) -> None:
        command = self.dice.choice(TRIED)
        scope = self.dice.choice([self.dice.choice(SCOPES), "moderate", "admin"])
        door = self.dice.choice(["http", "websocket"])
        if command == "redact":
            await self._redact(scope, door)
            return
        named = self._target(command)
        answer = await give(self.house, door, command, scope, **self._fields(command, named))
        if self._may(command, scope, answer):
            await self._note(command, named, answer)

    def _target(self, command: str) -> str:
        likely = {"erase": USERS, "unblock": sorted(self.blocked)}.get(command)
        return self.dice.choice(likely or [*USERS, *NETWORKS])

    def _fields(self, command: str, named: str) -> Json:
        if command == "announce":
            return {"text": "maintenance"}
        if command in ("connections", "audit"):
            return {}
        fields: Json = {"address" if "/" in named else "user_id": named}
        if command in ("block", "disconnect"):
            fields["force"] = "/" in named
        return fields

    def _may(self, command: str, scope: str, answer: Json) -> bool:
        """Whether a scope allows a command; the answer says the same."""
        if COMMANDS[command].scope in ALLOWED.get(scope, ()):
            return True
        assert answer["error_code"] == 1008, (scope, command, answer)
        assert "result" not in answer
        return False

    async def _note(self, command: str, named: str, answer: Json) -> None:
        """Change the model as the command has changed the server."""
        hit = [user for user in self.clients if named in (user, self._network(user))]
        known = {
            "unblock": named in self.blocked,
            "disconnect": bool(hit),
            "erase": named not in self.blocked and self._is_named(named),
        }.get(command, True)
        assert (answer["action"] == "admin_result") == known, (command, named, answer)
        if command in ("connections", "audit") or not known:
            return
        self.done.add(command)
        if command == "erase":
            await self._erased(named, answer["result"]["pseudonym"])
            return
        self.acts += 1
        if command == "announce":
            return
        self.acted |= {named} & {*USERS}
        if command == "unblock":
            self.blocked.discard(named)
            return
        if command == "block":
            self.blocked.add(named)
        for who in hit:
            client = self.clients.pop(who)
            await client.reply("disconnected")
            assert await client.close_code() == 1008
            client.close()

    def _is_named(self, user: str) -> bool:
        return user in self.acted or any(said.names(user) for said in self.said)

    async def _erased(self, user: str, pseudonym: str) -> None:
        acts = len(await self._audited())
        assert acts > self.acts
        self.acts = acts
        self.acted.discard(user)
        for said in self.said:
            if said.author == user:
                said.author = pseudonym
            if said.reader == user:
                said.reader = pseudonym

    async def _redact(self, scope: str, door: str) -> None:
        if not self.said:
            return
        said = self.dice.choice(self.said)
        ways: Json = {"id": said.id, "seq": said.seq, "where": said.word}
        way = self.dice.choice([*ways] if scope != "moderate" else ["id", "seq"])
        fields: Json = {way: ways[way]}
        known = not said.redacted
        if way == "where":
            answer = await give(self.house, door, "redact", scope, **fields, dry_run=True)
            if not self._may("redact", scope, answer):
                return
            known = known and not said.reader  # of others' direct messages it finds none
            assert answer["result"]["count"] == known
            fields |= {name: answer["result"][name] for name in ("count", "upto_seq")}
        answer = await give(self.house, door, "redact", scope, **fields)
        if not self._may("redact", scope, answer):
            return
        if way == "where":
            assert answer["result"].get("redacted", 0) == known
        else:
            assert (answer["action"] == "admin_result") == known, (said, answer)
        if known:
            self.done.add("redact")
            self.acts += 1
            said.redacted = True
            await self.check_is_gone(said)

    # What holds.

    async def _audited(self) -> list[Json]:
        acts: list[Json] = (await self.house.server.admin("audit", limit=1000)).result["acts"]
        return acts

    async def _check(self) -> None:
        assert len(await self._audited()) == self.acts
        blocks = (await self.house.server.admin("blocks")).result["blocks"]
        assert {row["user_id"] or row["address"] for row in blocks} == self.blocked
        await until(self._as_the_model, "the clients of the model are connected")
        await self._check_presence(self.dice.choice(SCOPES))

    def _as_the_model(self) -> bool:
        peers: Any = self.house.context.limiter.connections.websockets
        return {peer.principal.id for peer in peers} == self.clients.keys()

    async def _check_presence(self, scope: str) -> None:
        http = await self.house.http()
        answer = await http.ask("GET", "/api/presence", **bearing("mod", scope))
        http.close()
        sees = scope in ("presence", "admin")
        reads = sees or "read" in scope.split()
        assert answer.status == (200 if reads else 403), (scope, answer)
        assert ("users" in answer.json) == sees
        if sees:
            assert {one["id"] for one in answer.json["users"]} == self.clients.keys()

    def _network(self, user: str) -> str:
        return SOURCES[user].rpartition(".")[0] + ".0/24"

    async def check_is_gone(self, said: Said) -> None:
        """Ask everything there is about a message that was redacted."""
        readers = [name for name in (said.author, said.reader) if name in USERS]
        for who in ["judge", *(name for name in readers if not self.out(name))]:
            async for where, answer in answers(self.house, said.word, who):
                assert said.word not in plain(answer), (who, where)
        async for where, answer in answers_in_process(self.house, said.word):
            assert said.word not in answer, where

    async def check_the_rest(self) -> None:
        """Check that all else is as it was, but for names, and is found."""
        page = await self.house.server.history(limit=1000)
        shown = {message.id: message for message in page.messages}
        for said in self.said:
            message: Any = shown[said.id]
            if said.redacted:
                assert message.redacted
                continue
            assert said.word in message.content
            assert (await self.house.server.search(said.word)).total == 1
            author = message.from_user_id if said.reader else message.user_id
            name = message.from_username if said.reader else message.username
            assert author == said.author
            assert name == (f"name {author}" if author in USERS else author)
            assert getattr(message, "to_user_id", "") == said.reader


def bearing(who: str, scope: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(who, scope)}"}


def plain(answer: Any) -> str:
    """An answer as text, without the question in it."""
    if isinstance(answer, dict):
        answer = {name: value for name, value in answer.items() if name not in ECHOED}
    return json.dumps(answer)


async def answers(house: House, word: str, who: str) -> AsyncIterator[tuple[str, Any]]:
    """All that a reader can ask about a word over the network, and what comes."""
    key, about = bearing(who, "read replicate"), quote(word)
    http = await house.http(source=SOURCES[who])
    for path in (
        *("/api/history?limit=1000", f"/api/history?where={about}", f"/api/search?query={about}"),
        *(f"/api/search?where={about}*", f"/api/analytics?where={about}&group_by=user_id"),
        *("/api/analytics?group_by=metadata.word&distinct=metadata.word&limit=1000",),
        *(("/api/log?after=0&limit=1000",) if house.context.log.extent else ()),
        "/api/log/acts?before=9007199254740991",
    ):
        answer = await http.ask("GET", path, **key)
        assert answer.status == 200, (path, answer)
        yield path, json.loads(answer.body)
    end = house.server.publish_nowait(user("end of it", user_id="judge"))
    await http.send(request("GET", "/api/stream?since=0", **key))
    yield "stream", (await http.upto(end.encode())).decode()
    http.close()
    client = await entered(house, who, "read", source=SOURCES[who])
    for action, fields in (
        ("get_history", {"limit": 1000}),
        ("get_history", {"filters": {"where": f"metadata.word:{word}"}}),
        ("search", {"query": word}),
        ("analyze", {"group_by": "metadata.word", "limit": 1000}),
    ):
        yield action, await client.ask(action, **fields)
    await client.tell("subscribe", message_types=["user", "dm", "system"], since=0)
    events: list[Json] = []
    while not events or events[-1].get("id") != end:
        events.append(await client.event())
    yield "resume", events
    client.close()


async def answers_in_process(house: House, word: str) -> AsyncIterator[tuple[str, str]]:
    """The same of the program that embeds the server."""
    server = house.server
    yield "history", repr((await server.history(limit=1000)).messages)
    yield "where", repr((await server.history(filters={"where": word})).messages)
    yield "search", repr((await server.search(word)).messages)
    yield "analyze", repr((await server.analyze(group_by="metadata.word", limit=1000)).groups)
    end = server.publish_nowait(user("end of it", user_id="judge"))
    found: list[Any] = []
    async for message in server.subscribe(since=0):
        found.append(message)
        if getattr(message, "id", "") == end:
            break
    yield "subscribe", repr(found)


@pytest.mark.parametrize("seed", range(4))
@on_uvloop
async def test_nobody_does_or_sees_what_its_scope_does_not_allow_and_blocks_hold(
    tmp_path: Path, seed: int
) -> None:
    on_disk: Json = {"store": str(tmp_path / "live.db"), "window_messages": 15}
    async with serving(**AUTH, limits=False, **(on_disk if seed % 2 else {})) as house:
        play = Play(house, random.Random(seed))
        for _ in range(120):
            await play.step()
        assert play.done >= {"block", "unblock", "redact", "erase"}
        await play.check_the_rest()
        for said in play.said:
            if said.redacted:
                await play.check_is_gone(said)
        for client in play.clients.values():
            assert await client.everything() == []


@on_uvloop
async def test_a_watch_counts_nothing_of_what_was_redacted_before_its_moment() -> None:
    async with serving(**AUTH, limits=False) as house:
        client = await entered(house, "ann", "read")
        await client.ask("watch", id="w", group_by="metadata.word", interval_seconds=1)
        for number in range(100):
            await soon(client.reply("counts"))
            word = f"xyzzy{number}"
            [seq] = house.publish("hi", metadata={"word": word})
            await house.server.admin("redact", seq=seq)
            if "counts" in [event.get("action") for event in await client.everything()]:
                continue  # the moment came in between
            counts = await client.reply("counts")
            assert word not in json.dumps(counts)
            break
        else:
            raise AssertionError("no moment came behind a redaction")
