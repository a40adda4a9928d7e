"""A simulated game whose players chat, raid, form parties and fight guild wars.

The seed decides everything: there is no clock and no other source of chance. Every source of
messages is an endless generator of one kind of story; the world draws the source of the next
message. Messages are plain dicts with every field of their type except `id` and `timestamp`, which
the server adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import TypeVar

from livelog.cli.demo.cast import Guild, Message, Party, Player, system
from livelog.cli.demo.texts import (
    BADGES,
    GUILDS,
    ITEMS,
    KINDS,
    NAMES,
    PARTY_EVENTS,
    RAID_START,
    RAID_TEAM,
    RAIDS,
    ROLES,
    SERVERS,
    SMALL_TALK,
    TALK,
    TROUBLE,
    UPGRADES,
    VICTORY_CHANCE,
    WHISPERS,
    ZONES,
)

Card = TypeVar("Card")

MIN_ONLINE = 26
"""More players than all raids and parties can hold, so that a new one can always be formed."""
MIN_LEVEL, MAX_LEVEL = 30, 80
MAX_PARTY = 5


def deck(rng: Random, cards: Sequence[Card]) -> Iterator[Card]:
    """Deal the cards shuffled, over and over: random, but no card is missing for long."""
    while True:
        yield from rng.sample(cards, len(cards))


class World(Iterator[Message]):
    """The simulation; `next(world)` is its next message."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._rng = rng = Random(seed)
        self._numbers = count(1)
        self._guilds = [Guild(f"guild_{n:03}", name, 27 - n) for n, name in enumerate(GUILDS, 1)]
        self._owners = dict(zip(ZONES, deck(rng, self._guilds), strict=False))
        self._players = self._settle()
        self._lines = {topic: deck(rng, lines) for topic, (_, lines) in TALK.items()}
        self._remarks: dict[str, tuple[str, list[Player], str]] = {}
        """Subject → channel, possible speakers and text of a remark that is about to be made."""
        self._kinds = deck(rng, KINDS)
        exchanges = deck(rng, WHISPERS)
        self._stories = {
            "user": [self._chat()],
            "system": [self._news()],
            "dm": [self._whispers(exchanges), self._whispers(exchanges)],
            "raid": [self._raids(RAIDS[::2]), self._raids(RAIDS[1::2])],
            "party": [self._parties(), self._parties()],
            "guild": [self._annals(guild) for guild in self._guilds],
        }

    def __next__(self) -> Message:
        return next(self._rng.choice(self._stories[next(self._kinds)]))

    def _settle(self) -> list[Player]:
        rng = self._rng
        names = NAMES.split()
        ids = [f"user_{n}" for n in rng.sample(range(10_000, 100_000), len(names))]
        skills = deck(rng, list(ROLES)), deck(rng, range(MIN_LEVEL, MAX_LEVEL))
        guilds = deck(rng, [*self._guilds, *self._guilds, None])
        ties = deck(rng, SERVERS), deck(rng, BADGES), guilds, deck(rng, [True, True, True, False])
        return [Player(*traits) for traits in zip(ids, names, *skills, *ties, strict=False)]

    def _online(self) -> list[Player]:
        return [player for player in self._players if player.online]

    def _team(self, roles: Sequence[str]) -> list[Player]:
        """Pick idle players for `roles`, or others where a role is missing; mark them busy."""
        idle = [player for player in self._online() if not player.busy]
        self._rng.shuffle(idle)
        team = []
        for role in roles:
            team.append(next((one for one in idle if ROLES[one.calling] == role), idle[0]))
            idle.remove(team[-1])
            team[-1].busy = True
        return team

    def _release(self, team: list[Player]) -> None:
        for player in team:
            player.busy = False

    # Chat.

    def _chat(self) -> Iterator[Message]:
        lines = deck(self._rng, [(to, line) for to, lines in SMALL_TALK.items() for line in lines])
        while True:
            if self._remarks and self._rng.random() < 0.7:
                about = self._rng.choice(list(self._remarks))
                channel, speakers, text = self._remarks.pop(about)
            else:
                channel, line = next(lines)
                speakers = [one for one in self._players if one.guild or channel != "guild-chat"]
                text = self._fill(line, {})
            # A player does not mention their own name.
            able = [player for player in speakers if player.online and player.name not in text]
            if able:
                yield self._rng.choice(able).say(channel, text)

    def _note(self, about: str, topic: str, speakers: list[Player], words: Message) -> None:
        """Prepare a remark of one of `speakers`; it replaces an older one on the same subject."""
        text = self._fill(next(self._lines[topic]), words)
        self._remarks[about] = TALK[topic][0], speakers, text

    def _fill(self, line: str, words: Message) -> str:
        """Fill in `line` with `words`, and with random facts where `words` has none."""
        pick = self._rng.choice
        raid, boss = pick(RAIDS)
        things = {"zone": pick(ZONES), "item": pick(ITEMS), "friend": pick(self._online()).name}
        sums = {"price": 25 * self._rng.randint(2, 80), "number": self._rng.randint(3, 40)}
        return line.format_map({"raid_name": raid, "boss_name": boss, **things, **sums, **words})

    def _whispers(self, exchanges: Iterator[str]) -> Iterator[Message]:
        for exchange in exchanges:
            one, other = self._rng.sample(self._online(), 2)
            for place, text in enumerate(self._fill(exchange, {}).split(" | ")):
                if not (one.online and other.online):
                    break
                # A player who has just written has the window open and reads the answer at once.
                yield one.whisper(other, text, read=place > 0)
                one, other = other, one

    # System messages.

    def _news(self) -> Iterator[Message]:
        kinds = [self._come_or_go] * 30 + [self._level_up] * 7 + [self._trouble]
        for kind in deck(self._rng, kinds):
            yield kind()

    def _come_or_go(self) -> Message:
        few = len(self._online()) <= MIN_ONLINE
        free = [one for one in self._players if not (one.busy or (few and one.online))]
        player = self._rng.choice(free)
        player.online = not player.online
        if player.online:
            self._note("joined", "joined", self._players, {"name": player.name})
            if player.level == MAX_LEVEL:  # starts over, or all players would end up at the maximum
                player.level = MIN_LEVEL
        data = {**player.as_user(), "count_online": len(self._online())}
        return system("user_joined" if player.online else "user_left", data)

    def _level_up(self) -> Message:
        rising = [player for player in self._online() if player.level < MAX_LEVEL]
        if not rising:
            return self._come_or_go()
        player = self._rng.choice(rising)
        player.level += 1
        level = {"level": player.level}
        self._note("level", "level", self._players, {"name": player.name, **level})
        return system("user_leveled_up", {**player.as_user(), **level})

    def _trouble(self) -> Message:
        event, severity, text = self._rng.choice(TROUBLE)
        self._note("trouble", event, self._players, {})
        return system(event, {"message": text}, severity)

    # Raids. The state of a raid is kept in the form of its message.

    def _raids(self, places: Sequence[tuple[str, str]]) -> Iterator[Message]:
        for name, boss in deck(self._rng, places):
            difficulty = self._rng.choice(list(VICTORY_CHANCE))
            what = {"raid_id": f"raid_{next(self._numbers):03}", "raid_name": name}
            what |= {"boss_name": boss, "difficulty": difficulty}
            raid: Message = {"type": "raid", **what, "participants": [], **RAID_START}
            team = self._team(RAID_TEAM[: self._rng.randint(5, 7)])
            yield from self._gather(raid, team)
            yield system("raid_started", what)
            yield from self._fight(raid, team)
            while raid["status"] == "wipe" and self._rng.random() < 0.7:
                raid |= RAID_START
                yield self._scene(raid, team)
                yield from self._fight(raid, team)
            self._release(team)

    def _gather(self, raid: Message, team: list[Player]) -> Iterator[Message]:
        for here, player in enumerate(team, 1):
            skill = {"role": ROLES[player.calling], "class": player.calling}
            raid["participants"].append({**player.as_user(), **skill})
            if here in (2, 4, len(team)):
                yield self._scene(raid, team)

    def _fight(self, raid: Message, team: list[Player]) -> Iterator[Message]:
        won = self._rng.random() < VICTORY_CHANCE[raid["difficulty"]]
        last = 0 if won else self._rng.randint(3, 60)
        raid["status"] = "in_progress"
        while raid["health_percentage"] > last:
            yield self._scene(raid, team)
            health = raid["health_percentage"] - self._rng.randint(5, 15)
            raid["health_percentage"] = max(last, health)
            raid["duration_seconds"] += self._rng.randint(15, 45)
        raid["status"] = "victory" if won else "wipe"
        yield self._scene(raid, team)

    def _scene(self, raid: Message, team: list[Player]) -> Message:
        """Make the message of the raid's state, and prepare remarks on it."""
        present = team[: len(raid["participants"])]
        words = {**raid, "lead": team[0].name, "here": len(present), "size": len(team)}
        ready = present == team and raid["status"] == "preparing"
        if present != team:
            words["role"] = ROLES[team[len(present)].calling]
        self._note(raid["raid_id"], "ready" if ready else raid["status"], present, words)
        if raid["status"] == "victory":
            self._note("kill", "kill", self._players, words)
        return {**raid, "participants": raid["participants"].copy()}

    # Parties.

    def _parties(self) -> Iterator[Message]:
        while True:
            members = self._team(self._rng.choices(RAID_TEAM, k=2))
            party = Party(f"party_{next(self._numbers):03}", members)
            yield party.tell("member_joined", members[1].as_member())
            for _ in range(self._rng.randint(4, 12)):
                yield self._party_turn(party)
                if len(members) == 1:
                    break
            self._release(members)
            yield party.tell("disbanded", {})

    def _party_turn(self, party: Party) -> Message:
        members, event = party.members, self._rng.choice(PARTY_EVENTS)
        member = self._rng.choice(members[1:])
        match event:
            case "member_joined" if len(members) < MAX_PARTY:
                [member] = self._team(self._rng.choices(RAID_TEAM))
                members.append(member)
            case "member_left":
                members.remove(member)
                self._release([member])
                self._note("party", "party", members[:1], {})
            case "member_promoted":
                members.remove(member)
                members.insert(0, member)
            case _:
                return party.tell("level_bonus", {"bonus_percentage": 5 * len(members)})
        return party.tell(event, member.as_member())

    # Guilds.

    def _annals(self, guild: Guild) -> Iterator[Message]:
        kinds = [self._conquest] * 3 + [self._deposit] * 5 + [self._change_members] * 2
        for kind in deck(self._rng, kinds):
            yield from kind(guild)

    def _proclaim(self, guild: Guild, event: str, data: Message) -> Message:
        self._note(guild.id, event, self._members(guild), data)
        return guild.tell(event, data)

    def _members(self, guild: Guild | None) -> list[Player]:
        return [player for player in self._online() if player.guild is guild]

    def _conquest(self, guild: Guild) -> Iterator[Message]:
        foreign = [zone for zone, owner in self._owners.items() if owner is not guild]
        zone = self._rng.choice(foreign or ZONES)
        where, rival = {"territory": zone}, self._owners[zone]
        if rival is not guild:
            target = {"target_guild_id": rival.id, "target_guild_name": rival.name}
            yield self._proclaim(guild, "war_declared", {**target, **where})
        yield self._proclaim(guild, "conquest_started", where)
        yield from self._deposit(guild)
        before, self._owners[zone] = self._tier(guild), guild
        ranks = {"rank_change": f"{before} → {self._tier(guild)}"}
        points = {"points_earned": self._rng.randrange(1000, 8001, 500)}
        yield self._proclaim(guild, "conquest_complete", {**where, **points, **ranks})

    def _tier(self, guild: Guild) -> str:
        """Return the rank of a guild by its number of territories."""
        held = list(self._owners.values())
        above = [one for one in self._guilds if held.count(one) > held.count(guild)]
        return f"Tier {len(above) + 1}"

    def _deposit(self, guild: Guild) -> Iterator[Message]:
        members, cost = self._members(guild), 20 * guild.level**2
        if members:
            amount = self._rng.randrange(500, 5001, 50)
            guild.treasury += amount
            sums = {"amount": amount, "treasury": guild.treasury}
            yield guild.tell("treasury_deposit", {**self._rng.choice(members).as_member(), **sums})
        if guild.treasury >= cost:
            guild.treasury -= cost
            guild.level += 1
            upgrade = {"upgrade": self._rng.choice(UPGRADES), "cost": cost}
            yield self._proclaim(guild, "upgrade_complete", upgrade)

    def _change_members(self, guild: Guild) -> Iterator[Message]:
        members = self._members(guild)
        joins = len(members) < 7
        candidates = self._members(None) if joins else members
        if candidates:
            player = self._rng.choice(candidates)
            player.guild = guild if joins else None
            yield guild.tell("member_joined" if joins else "member_left", player.as_member())
