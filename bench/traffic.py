"""Messages of a load, all of one delivered size, each stamped with the time it was due.

Every message is delivered as a frame of exactly the same length, so that completeness is
a matter of counting bytes. Texts differ from message to message, drawn from a vocabulary in which,
as in speech, few words are common and most are rare; one text for all would flatter an index.
"""

from __future__ import annotations

import json
import random
from itertools import accumulate

from bench.websocket import Client, Json, frame

STAMP = b'"due":"'
STAMP_DIGITS = 19  # any clock of 64 bits, in nanoseconds
MARKER_DUE = 0
TEXTS = 1024
USERS = 64
SYLLABLES = ("an", "bar", "cor", "dra", "el", "fen", "gor", "hal", "is", "jor", "ka", "lo", "mor")
KNOWN = ["the", "of", "dragon", "raid", "guild", "sword", "tower", "gold", "healer", "quest"]
TRIAL_TEXT = 32  # characters of the message from which the size of an envelope is learnt


def vocabulary(dice: random.Random, size: int = 3000) -> list[str]:
    made = {"".join(dice.choices(SYLLABLES, k=dice.randint(2, 4))) for _ in range(size)}
    return KNOWN + sorted(made)


def texts(length: int, count: int) -> list[str]:
    """Return `count` texts of exactly `length` characters, the same ones each time."""
    dice = random.Random(20251203)
    words = vocabulary(dice)
    zipf = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    return [
        " ".join(dice.choices(words, cum_weights=zipf, k=length // 4 + 1))[:length].ljust(length)
        for _ in range(count)
    ]


def publication(number: int, text: str) -> Json:
    user = number % USERS
    message = {
        "type": "user",
        "user_id": f"user_{user:04}",
        "username": f"Dragon{user:04}",
        "content": text,
        "metadata": {"channel": "general", "due": "0" * STAMP_DIGITS},
    }
    return {"action": "publish", "message": message}


class Traffic:
    """Frames that lack only the stamp."""

    def __init__(self, text_length: int, count: int = TEXTS) -> None:
        self._parts = [
            self._around_stamp(publication(number, text))
            for number, text in enumerate(texts(text_length, count))
        ]

    @staticmethod
    def _around_stamp(content: Json) -> tuple[bytes, bytes]:
        whole = frame(json.dumps(content, separators=(",", ":")).encode())
        before, stamp, after = whole.partition(STAMP)
        return before + stamp, after[STAMP_DIGITS:]

    def frame(self, number: int, due: int) -> bytes:
        before, after = self._parts[number % len(self._parts)]
        return b"%b%019d%b" % (before, due, after)


def calibrated(publisher: Client, listener: Client, size: int) -> Traffic:
    """Return traffic whose messages are delivered in `size` bytes, whatever the server adds."""
    publisher.sock.sendall(Traffic(TRIAL_TEXT, 1).frame(0, MARKER_DUE))
    envelope = len(listener.read_until(STAMP)) - TRIAL_TEXT
    publisher.read_until(b'"published"')
    if size <= envelope:
        raise SystemExit(f"--size {size}: the message without its text takes {envelope} bytes")
    return Traffic(size - envelope)
