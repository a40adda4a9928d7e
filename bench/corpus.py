"""Messages that read like speech, to measure searches on.

They are the same every time, and natural where an index would notice. Words are made by a chain of
letters learnt from English, so that parts of words are as common as in speech; how often each
occurs follows Zipf's law, so that the most common ones are in most messages and most are rare.
Every message is delivered in `SIZE` bytes.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import msgspec

from bench.websocket import Json
from livelog.log.ingest import decode
from livelog.wire.messages import encoder
from livelog.wire.timestamps import timestamp

SIZE = 350
VOCABULARY = 65_000
USERS = 20_000
SEQ_BYTES = len(',"seq":1700000000000000')

# Enough of English to learn from which letters follow each other.
_ENGLISH = """
    the of and to in that was his he it with is for as had you not be her on at by which have or
    from this him but all she they were my are me one their so an said them we who would been will
    no when there if more out up into do any your what has man could other than our some very time
    upon about may its only now like little then can made should did us such great before must two
    these see know over much down after first mister good men own never most old shall day where
    those came come himself way work life without go make well through being long say might how am
    too under again house part dragon sword tower guild master battle ancient forest mountain shield
    armour healer archer warrior treasure castle dungeon portal crystal shadow thunder winter summer
    market captain kingdom village journey weapon potion scroll merchant ranger wizard hunter scribe
    attention necessary question something everything government interest possible probably another
    against nothing however themselves condition according character beautiful important understand
    experience different generation population direction situation education development information
    strength knowledge neighbour happiness movement agreement business company president religious
    terrible wonderful successful remember together certainly suddenly afternoon yesterday tomorrow
    quickly jumping fixing lazy zebra quiet quarrel exact executive juice injury object subject
    following beginning watching fighting running building opening meeting reading trading crafting
"""
_SURPRISE = 0.15
"""Share of letters that follow no rule: so little English has too few endings."""

_SHARES = {"user": 70, "system": 9, "dm": 8, "raid": 5, "party": 4, "guild": 4}
CHANNELS = ("general", "trade", "help", "off-topic", "guild-search", "events")
_SERVERS = ("main", "eu-1", "us-1")
_SEVERITIES = ("info", "info", "info", "warning", "error")
BEGIN, STEP = 1_764_000_000_000, 500  # milliseconds


def vocabulary(dice: random.Random, size: int) -> list[str]:
    """Return words, most of them made up, the most common ones first."""
    known = _ENGLISH.split()
    letters = [*"".join(known), *"$" * len(known)]
    follows = defaultdict[str, list[str]](lambda: letters)
    for word in (word for word in known if len(word) > 4):  # the short ones are all alike
        spelt = f"^^{word}$"
        for at in range(len(spelt) - 2):
            follows.setdefault(spelt[at : at + 2], []).append(spelt[at + 2])
    made = dict.fromkeys(known)
    while len(made) < size:
        word = _made_up(dice, follows, letters)
        if 3 <= len(word) <= 14:
            made[word] = None
    return list(made)


def _made_up(dice: random.Random, follows: dict[str, list[str]], letters: list[str]) -> str:
    spelt = "^^"
    while not spelt.endswith("$") and len(spelt) < 18:
        usual = follows[spelt[-2:]]
        spelt += dice.choice(letters if dice.random() < _SURPRISE else usual)
    return spelt[2:-1]


def user_id(number: int) -> str:
    return f"user_{number:05}"


def name(words: Sequence[str], user: int) -> str:
    return f"{words[user * 3 % len(words)].capitalize()}{user % 100}"


class Corpus:
    """`count` messages in their order, half a second apart."""

    def __init__(self, count: int, vocabulary_size: int = VOCABULARY) -> None:
        self.count = count
        dice = random.Random(count)
        self.words = vocabulary(dice, vocabulary_size)
        # Zipf's law with Mandelbrot's offset, so that one common word is in half of all messages.
        self.weights = list(accumulate(1 / (rank + 1.7) for rank in range(len(self.words))))
        self._added = {kind: _added(_message(kind, 0, 0, "", random.Random(0))) for kind in _SHARES}

    def messages(self) -> Iterator[Json]:
        """Yield all messages, the same each time."""
        dice = random.Random(self.count)
        kinds = dice.choices(list(_SHARES), list(_SHARES.values()), k=self.count)
        for number, kind in enumerate(kinds):
            user = dice.randrange(USERS)
            message, place, field = _message(kind, number, user, name(self.words, user), dice)
            room = SIZE - SEQ_BYTES - self._added[kind] - len(msgspec.json.encode(message))
            text = " ".join(dice.choices(self.words, cum_weights=self.weights, k=room // 4))
            place[field] = text[: room + 1].rpartition(" ")[0].ljust(room)  # whole words
            yield message


Draft = tuple[Json, Json, str]
"""Message without its text, the object in it that takes the text, and the field."""


def _message(kind: str, number: int, user: int, name: str, dice: random.Random) -> Draft:
    message: Json = {
        "type": kind,
        "id": f"{kind}_{number:09}",
        "timestamp": timestamp((BEGIN + number * STEP) / 1000),
    }
    own, place, field = _KINDS[kind](user_id(user), name, dice)
    message |= own
    return message, message if place is None else own[place], field


Kind = tuple[Json, str | None, str]


def _user(id: str, name: str, dice: random.Random) -> Kind:
    metadata = {"server": dice.choice(_SERVERS), "channel": dice.choice(CHANNELS)}
    own = {"user_id": id, "username": name, "content": "", "metadata": metadata}
    return own, None, "content"


def _system(id: str, name: str, dice: random.Random) -> Kind:
    data = {"user_id": id, "username": name, "note": ""}
    own = {"event": "user_joined", "data": data, "severity": dice.choice(_SEVERITIES)}
    return own, "data", "note"


def _dm(id: str, name: str, dice: random.Random) -> Kind:
    other = user_id(dice.randrange(USERS))
    own = {"from_user_id": id, "from_username": name, "to_user_id": other, "content": ""}
    return own, None, "content"


def _raid(id: str, name: str, dice: random.Random) -> Kind:
    own = {
        "raid_id": f"raid_{dice.randrange(200):03}",
        "raid_name": "",
        "boss_name": "Onyx",
        "difficulty": "hard",
        "participants": [{"user_id": id, "username": name}],
        "status": dice.choice(("preparing", "in_progress", "victory")),
    }
    return own, None, "raid_name"


def _party(id: str, name: str, dice: random.Random) -> Kind:
    own = {
        "party_id": f"party_{dice.randrange(5000):04}",
        "leader_id": id,
        "leader_name": name,
        "member_count": 4,
        "event": "level_bonus",
        "event_data": {"note": ""},
    }
    return own, "event_data", "note"


def _guild(id: str, name: str, dice: random.Random) -> Kind:
    own = {
        "guild_id": f"guild_{dice.randrange(500):03}",
        "guild_name": "The Dragonslayers",
        "guild_level": 25,
        "event": "treasury_deposit",
        "event_data": {"member_id": id, "note": ""},
    }
    return own, "event_data", "note"


_KINDS: dict[str, Callable[[str, str, random.Random], Kind]] = {
    "user": _user,
    "system": _system,
    "dm": _dm,
    "raid": _raid,
    "party": _party,
    "guild": _guild,
}


def _added(draft: Draft) -> int:
    """Bytes that livelog adds to such a message, for fields that it leaves out."""
    written = msgspec.json.encode(draft[0])
    return len(encoder.encode(decode(written))) - len(written)
