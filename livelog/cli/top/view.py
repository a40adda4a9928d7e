"""The state of the view: the last two looks, the order, the client that is chosen. Pure."""

from __future__ import annotations

from enum import Enum

from livelog.cli.top.figures import Figures, Look

ORDERS = ("behind", "bytes_sent", "since")


class Act(Enum):
    """A wish that a key stands for, beyond the view itself."""

    NOTHING = "nothing"
    QUIT = "quit"
    LOOK = "look"
    DISCONNECT = "disconnect"


class View:
    """All that a frame shows, and the keys that change it."""

    def __init__(self, server: str, sort: str) -> None:
        self.server = server
        self.sort = sort
        self.note = ""
        """A line for the user."""
        self.asking = False
        """The user has to say yes to a disconnect."""
        self._before: Look | None = None
        self._now: Look | None = None
        self._chosen = 0

    @property
    def look(self) -> Look:
        """The last look."""
        assert self._now is not None
        return self._now

    @property
    def figures(self) -> Figures:
        """The figures between the last two looks."""
        return Figures(self._before, self.look)

    @property
    def place(self) -> int:
        """Place of the row that is chosen."""
        return max(0, min(self._chosen, len(self.look.rows) - 1))

    @property
    def chosen(self) -> str:
        """Id of the client that is chosen; empty without any."""
        return str(self.look.rows[self.place]["id"]) if self.look.rows else ""

    def add(self, look: Look) -> None:
        """Take a look; the same client stays chosen, as long as it is there."""
        chosen = self.chosen if self._now is not None else ""
        self._before, self._now = self._now, look
        places = [place for place, row in enumerate(look.rows) if row["id"] == chosen]
        if places:
            self._chosen = places[0]
        elif self.asking:  # another client must not be hit in its place
            self.asking, self.note = False, "the client has gone"

    def press(self, key: str) -> Act:
        """Act on a key; empty stands for none."""
        if self.asking and key:
            self.asking, self.note = False, ""
            return Act.DISCONNECT if key == "y" else Act.NOTHING
        if key == "q":
            return Act.QUIT
        if key == "s":
            self.sort = ORDERS[(ORDERS.index(self.sort) + 1) % len(ORDERS)]
            return Act.LOOK
        if key in _MOVES:
            self._chosen = max(0, min(self.place + _MOVES[key], len(self.look.rows) - 1))
        elif key == "d" and self.chosen:
            self.asking, self.note = True, f"disconnect {self.chosen}? y/n"
        return Act.NOTHING


_MOVES = {"up": -1, "k": -1, "down": 1, "j": 1}
