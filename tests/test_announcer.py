"""Announcements: nobody is told of somebody who is back at once, and nobody is told twice."""

from __future__ import annotations

import random
from itertools import pairwise

import msgspec
import pytest

from livelog.net.announcer import QUIET, Announcer
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
        return [(a.event, a.user) for a in self.announcer.take(changes, self.roster, self.now)]


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
