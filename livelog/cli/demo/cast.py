"""Guilds, players and parties of the simulated game, and the messages each of them can be in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]


def system(event: str, data: Message, severity: str = "info") -> Message:
    return {"type": "system", "event": event, "data": data, "severity": severity}


@dataclass(eq=False, slots=True)
class Guild:
    id: str
    name: str
    level: int
    treasury: int = 0

    def tell(self, event: str, data: Message) -> Message:
        me = {"guild_id": self.id, "guild_name": self.name, "guild_level": self.level}
        return {"type": "guild", **me, "event": event, "event_data": data}


@dataclass(eq=False, slots=True)
class Player:
    id: str
    name: str
    calling: str
    level: int
    server: str
    badge: str | None
    guild: Guild | None
    online: bool
    busy: bool = False
    """True while in a raid or a party: the player joins no other and does not log out."""

    def as_user(self) -> Message:
        return {"user_id": self.id, "username": self.name}

    def as_member(self) -> Message:
        return {"member_id": self.id, "member_name": self.name}

    def say(self, channel: str, text: str) -> Message:
        avatar = f"https://api.example.com/avatars/{self.id}.png"
        me = {**self.as_user(), "user_avatar": avatar, "user_badge": self.badge}
        where = {"server": self.server, "channel": channel, "level": self.level}
        return {"type": "user", **me, "content": text, "metadata": where}

    def whisper(self, other: Player, text: str, read: bool) -> Message:
        ends = {"from_user_id": self.id, "from_username": self.name, "to_user_id": other.id}
        return {"type": "dm", **ends, "content": text, "read": read}


@dataclass(eq=False, slots=True)
class Party:
    id: str
    members: list[Player]
    """The players; the first is the leader."""

    def tell(self, event: str, data: Message) -> Message:
        leader = {"leader_id": self.members[0].id, "leader_name": self.members[0].name}
        size = 0 if event == "disbanded" else len(self.members)
        me = {"party_id": self.id, **leader, "member_count": size}
        return {"type": "party", **me, "event": event, "event_data": data}
