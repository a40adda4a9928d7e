"""Announcements: nobody is told of somebody who is back at once, and nobody is told twice."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from livelog.net.announcer import MESSAGES, QUIET, SINGLY, TOGETHER, Announcer
from livelog.net.roster import Roster
from livelog.wire.messages import AnyMessage

NOW = 1_764_763_200.0


class Node:
    """A node with its roster and its announcer, some time after its start."""

    def __init__(self, now: float = NOW) -> None:
        self.roster = Roster()
        self.announcer = Announcer(now - 2 * QUIET)
        self.now = now

    def said(self, seconds: float = 0.0) -> list[tuple[str, str]]:
        """Announcements after so many seconds more."""
        self.now += seconds
        changes, self.roster.changes = self.roster.changes, {}
        found = self.announcer.take(changes, self.roster, self.now)
        return [(each.event, user) for each in found for user in each.users]

    def messages(self, seconds: float = 0.0) -> list[dict[str, Any]]:
        """The messages of these announcements."""
        self.now += seconds
        changes, self.roster.changes = self.roster.changes, {}
        found = self.announcer.take(changes, self.roster, self.now)
        return [each.message(len(self.roster)) for each in found]


def test_somebody_who_comes_is_announced_once_and_goes_after_ten_seconds() -> None:
    node = Node()
    node.roster.enter("ann", NOW)
    assert node.said() == [("user_joined", "ann")]
    node.roster.enter("ann", NOW)
    assert node.said(1) == []
    node.roster.leave("ann")
    node.roster.leave("ann")
    assert node.said(1) == []
    assert node.announcer.waits
    assert node.said(QUIET - 0.1) == []
    assert node.said(0.1) == [("user_left", "ann")]
    assert not node.announcer.waits
    assert node.said(60) == []


def test_a_reconnect_within_ten_seconds_makes_no_noise_however_often() -> None:
    node = Node()
    node.roster.enter("ann", NOW)
    assert node.said() == [("user_joined", "ann")]
    for _ in range(20):
        node.roster.leave("ann")
        assert node.said(1) == []
        node.roster.enter("ann", node.now + 8)
        assert node.said(8) == []
    node.roster.leave("ann")
    assert node.said(0) == []
    assert node.said(QUIET) == [("user_left", "ann")]
    node.roster.enter("ann", node.now)
    assert node.said() == [("user_joined", "ann")]


def test_who_is_on_line_before_a_node_began_is_no_news_but_goes_with_a_word() -> None:
    node = Node()
    node.announcer = Announcer(NOW)  # it begins now: clients come back from the server before it
    node.roster.enter("ann", NOW + 1)
    assert node.said(1) == []
    there = Roster()
    there.enter("bob", NOW - 500)
    for word in there.words("aa"):
        node.roster.hear(word)
    assert node.said(3 * QUIET) == []
    node.roster.leave("ann")
    node.roster.keep([])
    assert node.said() == []
    assert sorted(node.said(QUIET)) == [("user_left", "ann"), ("user_left", "bob")]


def test_a_clock_that_is_set_back_holds_nobody_up() -> None:
    node = Node()
    node.roster.enter("ann", NOW)
    assert node.said() == [("user_joined", "ann")]
    node.roster.leave("ann")
    assert node.said() == []
    assert node.said(-3600) == [("user_left", "ann")]


def test_two_nodes_make_the_same_id_and_each_time_on_line_another() -> None:
    nodes = Node(), Node()
    ids: list[str] = []
    for node in nodes:
        node.roster.enter("ann", NOW)
        [told] = node.announcer.take({"ann": True}, node.roster, NOW)
        ids.append(told.message(1)["id"])
    assert ids[0] == ids[1]
    again = Node(NOW + 100)
    again.roster.enter("ann", NOW + 100)
    [told] = again.announcer.take({"ann": True}, again.roster, NOW + 100)
    assert told.message(1)["id"] != ids[0]


@pytest.mark.parametrize("user", ["user_1", "ä" * 256, "\x00", "a b"])
def test_it_is_a_message_as_the_contract_has_it(user: str) -> None:
    node = Node()
    node.roster.enter(user, NOW)
    [told] = node.announcer.take({user: True}, node.roster, NOW)
    message = told.message(245)
    assert message["data"] == {"user_id": user, "username": user, "count_online": 245}
    assert (message["event"], message["severity"]) == ("user_joined", "info")
    msgspec.convert(message, AnyMessage)


# A network fails, and thousands go at once.


def test_thousands_who_go_and_come_at_once_make_few_messages_and_all_are_named() -> None:
    node, users = Node(), [f"user-{number:04}" for number in range(5000)]
    told = {"user_joined": list[str](), "user_left": list[str]()}
    for user in users:
        node.roster.enter(user, NOW)
    joined = [node.messages(1) for _ in range(4)]
    assert [len(each) for each in joined] == [20, 20, 10, 0]
    for user in users:
        node.roster.leave(user)
    assert node.messages() == []
    left = [node.messages(QUIET), *(node.messages(1) for _ in range(3))]
    assert [len(each) for each in left] == [20, 20, 10, 0]
    assert not node.announcer.waits
    for message in [message for messages in joined + left for message in messages]:
        told[message["event"]] += message["data"]["user_ids"]
        assert message["data"]["count"] == len(message["data"]["user_ids"]) == TOGETHER
        assert message["data"]["count_online"] == (5000 if message["event"] == "user_joined" else 0)
        msgspec.convert(message, AnyMessage)
    assert told == {"user_joined": users, "user_left": users}


def test_who_is_back_while_the_word_waits_has_never_been_away() -> None:
    node, users = Node(), [f"user-{number}" for number in range(3 * MESSAGES * TOGETHER)]
    for user in users:
        node.roster.enter(user, NOW)
    while node.announcer.waits or node.roster.changes:
        node.said(1)
    for user in users:
        node.roster.leave(user)
    node.said()
    gone = [user for _, user in node.said(QUIET)]
    assert gone == users[: MESSAGES * TOGETHER]
    for user in users:
        node.roster.enter(user, node.now)
    back = [node.said(1) for _ in range(3)]
    assert [each for told in back for each in told] == [("user_joined", user) for user in gone]
    for user in users:
        node.roster.leave(user)
    for user in users[:100]:
        node.roster.enter(user, node.now)
        node.roster.leave(user)
    node.said(1)
    assert len([each for _ in range(20) for each in node.said(1)]) == len(users)


def test_who_comes_and_goes_before_it_is_told_is_not_told_of() -> None:
    node, users = Node(), [f"user-{number}" for number in range(MESSAGES * TOGETHER + 50)]
    for user in users:
        node.roster.enter(user, NOW)
    assert len(node.said(1)) == MESSAGES * TOGETHER
    for user in users[-50:]:
        node.roster.leave(user)
    assert node.said(1) == []
    assert node.said(3 * QUIET) == []
    assert not node.announcer.waits


def test_few_have_a_message_each_and_long_ids_are_spread_over_several() -> None:
    node, users = Node(), [f"{'ä' * 250}{number:03}" for number in range(SINGLY + 30)]
    for user in users[:SINGLY]:
        node.roster.enter(user, NOW)
    assert [each["data"]["user_id"] for each in node.messages(1)] == users[:SINGLY]
    for user in users:
        node.roster.enter(f"{user}x", node.now)
    several = node.messages(1)
    assert sum(each["data"]["count"] for each in several) == len(users)
    assert all(len(msgspec.json.encode(each)) < 10_000 for each in several)


@pytest.mark.parametrize("seed", range(20))
def test_joins_and_leaves_alternate_and_are_ten_seconds_apart(seed: int) -> None:
    dice, node = random.Random(seed), Node()
    told: dict[str, list[tuple[float, str]]] = {}
    open_: list[str] = []
    for _ in range(500):
        if open_ and dice.random() < 0.5:
            node.roster.leave(open_.pop(dice.randrange(len(open_))))
        else:
            open_.append(f"user-{dice.randrange(3)}")
            node.roster.enter(open_[-1], node.now)
        for event, user in node.said(dice.choice([0.1, 1.0, 5.0])):
            told.setdefault(user, []).append((node.now, event))
    assert told
    for events in told.values():
        assert [event for _, event in events] == [
            ("user_joined", "user_left")[number % 2] for number in range(len(events))
        ]
        left = [time for time, event in events if event == "user_left"]
        assert all(later - earlier >= QUIET for earlier, later in pairwise(left))
