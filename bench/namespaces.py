"""Brokers and nodes in network namespaces: what is sent on a way that is cut, the kernel loses.

Each has two cables: to the others, and to the clients in this process. Who is cut off is plugged
into another switch; clients still reach it. It takes root, on Linux.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import count

EVERYWHERE = "0.0.0.0"


def missing() -> str:
    """Return why there can be no namespaces; empty if there can."""
    if os.geteuid():
        return "network namespaces take root"
    return "" if shutil.which("ip") else "network namespaces take the command ip, of iproute2"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Namespaces:
    """Ways between namespaces, each by the name of what runs there."""

    listens = EVERYWHERE

    def __init__(self) -> None:
        self._tag = f"ll{os.getpid() % 10_000}"
        self._net = f"10.{128 + os.getpid() % 64}"
        self._numbers: dict[str, int] = {}
        self._others, self._clients = f"{self._tag}o", f"{self._tag}c"
        self._cuts: list[str] = []
        self._count = count()
        for switch in (self._others, self._clients):
            self._add_switch(switch)
        _ip("addr", "add", f"{self._net}.1.1/24", "dev", self._clients)

    def way(self, source: str, target: str, port: int) -> str:
        """Return the address by which `source` reaches `target`, which listens on `port`."""
        return f"{self._net}.0.{self._number(target)}:{port}"

    def host(self, name: str) -> str:
        """Return the address at which clients reach it."""
        return f"{self._net}.1.{self._number(name)}"

    def within(self, name: str) -> list[str]:
        """Return the beginning of a command that runs there."""
        self._number(name)
        return ["ip", "netns", "exec", self._namespace(name)]

    async def open(self) -> None:
        """Do nothing: all ways are open."""

    def cut(self, *names: str) -> None:
        """Cut every way between one of `names` and anybody else."""
        switch = f"{self._tag}x{next(self._count)}"
        self._add_switch(switch)
        self._cuts.append(switch)
        self._plug(switch, *names)

    def heal(self) -> None:
        self._plug(self._others, *self._numbers)
        for switch in self._cuts:
            _ip("link", "del", switch)
        self._cuts.clear()

    async def close(self) -> None:
        for name in self._numbers:
            _ip("netns", "del", self._namespace(name))
        for switch in (self._others, self._clients, *self._cuts):
            _ip("link", "del", switch)

    def _namespace(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def _add_switch(self, name: str) -> None:
        _ip("link", "add", name, "type", "bridge")
        _ip("link", "set", name, "up")

    def _plug(self, switch: str, *names: str) -> None:
        for name in names:
            _ip("link", "set", f"{self._tag}e{self._number(name)}", "master", switch)

    def _number(self, name: str) -> int:
        """Return the number of a namespace, which is made when it is first asked for."""
        if name not in self._numbers:
            number = self._numbers[name] = len(self._numbers) + 2
            space = self._namespace(name)
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
            cables = ("e", self._others, 0), ("f", self._clients, 1)
            for letter, switch, net in cables:
                ours, theirs = f"{self._tag}{letter}{number}", f"eth{net}"
                _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", space)
                _ip("link", "set", ours, "master", switch, "up")
                address = f"{self._net}.{net}.{number}/24"
                _ip("-n", space, "addr", "add", address, "dev", theirs)
                _ip("-n", space, "link", "set", theirs, "up")
        return self._numbers[name]
