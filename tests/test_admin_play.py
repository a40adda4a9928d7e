"""Moderators and users at play: by chance, against a model of who is blocked."""

from __future__ import annotations

import random
from typing import Any

import pytest

from livelog.net.admin.table import COMMANDS
from tests.support.identity import token
from tests.support.moderating import AUTH, entered, give
from tests.support.wire import Client, House, Json, on_uvloop, serving, until

USERS = ["ann", "bob", "cat"]
NETWORKS = ["127.0.1.0/24", "127.0.2.0/24"]
SOURCES = {"ann": "127.0.1.1", "bob": "127.0.2.1", "cat": "127.0.3.1"}
SCOPES = ["read publish", "metrics", "publish:any replicate", "", *["moderate", "admin"] * 3]
TRIED = ["block", "block", "unblock", "disconnect", "connections", "audit"]
ALLOWED = {"moderate": {"moderate"}, "admin": {"moderate", "admin"}}
"""Scope of a key → scopes of commands that it may give."""


class Play:
    """A game with a model of what is in force."""

    def __init__(self, house: House, dice: random.Random) -> None:
        self.house = house
        self.dice = dice
        self.blocked: set[str] = set()
        self.acts = 0
        self.clients: dict[str, Client] = {}

    async def step(self) -> None:
        """Let somebody give a command, or let a user come."""
        if self.dice.random() < 0.4:
            await self._come(self.dice.choice(USERS))
        else:
            await self._command()
        await self._check()

    def out(self, user: str) -> bool:
        """Whether a user is kept out, by name or by network."""
        at = SOURCES[user].rpartition(".")[0] + ".0/24"
        return user in self.blocked or at in self.blocked

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

    async def _command(self) -> None:
        scope = self.dice.choice(SCOPES)
        command = self.dice.choice(TRIED)
        named = self._target()
        fields: Json = {}
        if command in ("block", "unblock", "disconnect"):
            fields = {"address" if "/" in named else "user_id": named}
        if command in ("block", "disconnect"):
            fields["force"] = "/" in named
        answer = await give(self.house, "http", command, scope, **fields)
        if COMMANDS[command].scope not in ALLOWED.get(scope, ()):
            assert answer["error_code"] == 1008, (scope, command, answer)
            assert "result" not in answer
            return
        await self._note(command, named, answer)

    async def _note(self, command: str, named: str, answer: Json) -> None:
        """Change the model as the command has changed the server."""
        hit = [user for user in self.clients if named in (user, self._network(user))]
        known = {"unblock": named in self.blocked, "disconnect": bool(hit)}.get(command, True)
        assert answer["status"] == (200 if known else 404), (command, named, answer)
        if command in ("connections", "audit") or not known:
            return
        self.acts += 1
        if command == "unblock":
            self.blocked.discard(named)
            return
        if command == "block":
            self.blocked.add(named)
        for user in hit:
            client = self.clients.pop(user)
            await client.reply("disconnected")
            assert await client.close_code() == 1008
            client.close()

    async def _check(self) -> None:
        acts = (await self.house.server.admin("audit", limit=1000)).result["acts"]
        assert len(acts) == self.acts
        blocks = (await self.house.server.admin("blocks")).result["blocks"]
        assert {row["user_id"] or row["address"] for row in blocks} == self.blocked
        await until(self._as_the_model, "the clients of the model are connected")

    def _as_the_model(self) -> bool:
        peers: Any = self.house.context.limiter.connections.websockets
        return {peer.principal.id for peer in peers} == self.clients.keys()

    def _target(self) -> str:
        return self.dice.choice([*USERS, *NETWORKS])

    def _network(self, user: str) -> str:
        return SOURCES[user].rpartition(".")[0] + ".0/24"


@pytest.mark.parametrize("seed", range(3))
@on_uvloop
async def test_nobody_does_or_sees_what_its_scope_does_not_allow_and_blocks_hold(seed: int) -> None:
    async with serving(**AUTH, block_after=1000) as house:
        play = Play(house, random.Random(seed))
        for _ in range(90):
            await play.step()
        assert play.acts > 3
        for client in play.clients.values():
            assert await client.everything() == []
