"""Processes of `python -m livelog` without the time in which Python reads its modules.

A process that has read them waits for commands and forks for each. Such a command is a process
like any other, with an environment, pipes, signals, an exit code and an end of the interpreter of
its own, and a child of the process that asked for it.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

ROOT = Path(__file__).parents[2]
_READ_AT_START = ("PYTHON", "LC_", "LANG", "MALLOC_", "LD_")
"""How the names of variables begin that matter before a program does."""
_SUBREAPER = 36
"""Of `prctl`: become the parent of the orphans among one's descendants."""
_MOST_BYTES = 1 << 17
"""Size of a request."""


def livelog(
    *arguments: str, env: Mapping[str, str], anew: bool = False, **pipes: Any
) -> subprocess.Popen[Any]:
    """Start the command; `anew` if the start of Python is what matters."""
    fork = not anew and sys.platform == "linux" and _early(env) == _early(os.environ)
    start = _Fork if fork else subprocess.Popen
    process: subprocess.Popen[Any] = start(
        [sys.executable, "-m", "livelog", *arguments], cwd=ROOT, env=env, **pipes
    )
    return process


def _early(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith(_READ_AT_START)}


class _Fork(subprocess.Popen[Any]):
    """A fork of the waiting process instead of a program that is executed."""

    def _execute_child(self, args: Sequence[str], *rest: Any) -> None:
        env, pipes = rest[5], rest[9:15]
        self.pid = _waiting().fork(args[3:], env, (pipes[0], pipes[3], pipes[5]))
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]  # typeshed does not list it


@cache
def _waiting() -> _Waiting:
    return _Waiting()


class _Waiting:
    """The process that forks, as seen by the tests; it ends with them."""

    def __init__(self) -> None:
        self._link, there = socket.socketpair()
        self._lock = Lock()
        self._adopt = ctypes.CDLL(None).prctl
        program = [sys.executable, "-m", "tests.support.forks", str(there.fileno())]
        self._process = subprocess.Popen(program, cwd=ROOT, pass_fds=[there.fileno()])
        there.close()
        atexit.register(self._end)

    def _end(self) -> None:
        self._link.close()
        self._process.wait()

    def fork(self, arguments: Sequence[str], env: Mapping[str, str], ends: Sequence[int]) -> int:
        """Have a command run with these ends of pipes, and return its process id."""
        request = json.dumps({"arguments": arguments, "env": env}).encode()
        with self._lock:
            self._adopt(_SUBREAPER, 1)
            socket.send_fds(self._link, [request], list(ends))
            answer = self._link.recv(16)
            self._adopt(_SUBREAPER, 0)
        assert answer, f"the process that forks is gone: {self._process.wait()}"
        return int(answer)


# In the process that forks.


def wait(link: socket.socket) -> list[str]:
    """Fork for each request until there are no more; returns in a fork, with its arguments."""
    while True:
        data, ends, _, _ = socket.recv_fds(link, _MOST_BYTES, 3)
        if not data:
            sys.exit()
        request = json.loads(data)
        _import(request["arguments"])
        gc.freeze()  # or each fork would copy what it looks through at its end
        if (pid := _fork()) == 0:
            link.close()
            _become(request["env"], ends)
            arguments: list[str] = request["arguments"]
            return arguments
        for end in ends:
            os.close(end)
        link.send(str(pid).encode())


def _import(arguments: list[str]) -> None:
    from livelog.cli import COMMANDS

    name = arguments[0] if arguments else ""
    import_module(f"livelog.cli.{COMMANDS.get(name, 'serve')}")
    import_module("uvloop")


def _fork() -> int:
    """Fork a grandchild and return its id; in the grandchild, 0.

    Its parent ends at once, so that the tests adopt it; it does nothing before they have.
    """
    told, telling = os.pipe()
    orphaned, keeping = os.pipe()
    if (between := os.fork()) == 0:
        if (pid := os.fork()) == 0:
            os.close(keeping)
            os.read(orphaned, 1)
            for end in (told, telling, orphaned):
                os.close(end)
            return 0
        os.write(telling, str(pid).encode())
        os._exit(0)
    os.waitpid(between, 0)
    pid = int(os.read(told, 16))
    for end in (told, telling, orphaned, keeping):
        os.close(end)
    return pid


def _become(env: dict[str, str], ends: list[int]) -> None:
    """Begin as Python does: with this environment, and the standard streams on these ends."""
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    for number, end in enumerate(ends):
        os.dup2(end, number)
        os.close(end)
    out, err = sys.stdout, sys.stderr
    sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=out.encoding, errors=out.errors, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding=err.encoding, errors=err.errors, closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    arguments = wait(socket.socket(fileno=int(sys.argv[1])))
    from livelog.cli import main

    sys.exit(main(arguments))
