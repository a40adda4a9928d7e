"""A page of the documentation, walked as its reader would: every command in it, in their order.

Blocks in `sh` are run in one shell, with `set -e`, in an empty folder. Blocks in `shell` keep a
terminal busy: they run beside the others, a server until the next one is started. A block after
"Save this as `NAME`" is written to a file. Servers get a free port, and addresses with the usual
one are replaced. Programs that change the machine or need others beside it stand in for themselves:
they only look at the files that they are given.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from tests.support.ports import free_port
from tests.support.process import CLEAN, ROOT
from tests.support.wire import PATIENCE

DOCS = ROOT / "livelog" / "web" / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))

_FENCE = re.compile(r" *```(\w*)")
_SAVED = re.compile(r"[Ss]ave this as\s+`([^`]+)`")
_SERVES = re.compile(r"(?:\w+=\S+ )*livelog( serve| --|$)")

STAND_INS = ("docker", "kubectl")
"""Programs that would need a daemon or a cluster."""

_STAND_IN = """\
#!{python}
import pathlib, sys
files = [sys.argv[n + 1] for n, word in enumerate(sys.argv) if word == "-f"]
for file in files:
    assert pathlib.Path(file).read_text().strip(), file
print("{name}", *sys.argv[1:])
"""

_PRELUDE = """\
set -eu
server=
beside=
leave() {{
    for each in $server $beside; do kill "$each" 2>/dev/null || true; done
    for each in $server $beside; do wait "$each" || true; done
}}
trap leave EXIT
next_server() {{
    if [ -n "$server" ]; then kill "$server"; wait "$server" || true; server=; fi
}}
until_ready() {{
    for _ in $(seq {tenths}); do
        if grep -qs '^livelog ready' "$1"; then return; fi
        sleep 0.1
    done
    cat "$1" >&2
    return 1
}}
"""


class Block(NamedTuple):
    """A fenced block of a page, and the words right before it."""

    language: str
    text: str
    saved_as: str | None


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, without the indentation that lists give them."""
    before: list[str] = []
    lines = iter((DOCS / page).read_text(encoding="utf-8").splitlines(keepends=True))
    for line in lines:
        if (fence := _FENCE.match(line)) is None:
            before.append(line)
            continue
        text = "".join(takewhile(lambda line: _FENCE.match(line) is None, lines))
        saved = _SAVED.findall("".join(before).strip().rpartition("\n\n")[2])
        yield Block(fence[1], textwrap.dedent(text), saved[-1] if saved else None)
        before = []


class Walk:
    """One walk, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.tools = folder / "tools"
        self.home = folder / "home"
        self.place = folder / "work"
        for each in (self.tools, self.home, self.place):
            each.mkdir()
        python = shlex.quote(sys.executable)
        self._tool("livelog", f'#!/bin/sh\nexec {python} -m livelog "$@"\n')
        self._tool("python", f'#!/bin/sh\nexec {python} "$@"\n')
        for name in STAND_INS:
            self._tool(name, _STAND_IN.format(python=sys.executable, name=name))

    def run(self, page: str) -> str:
        """Run all commands of a page; return what they print. Raises `AssertionError`."""
        with subprocess.Popen(
            ["bash", "-c", self._script(page)],
            cwd=self.place,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as shell:
            try:
                out, err = shell.communicate(timeout=3 * PATIENCE)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)  # what it has left
        assert shell.returncode == 0, f"{out[-2000:]}\n{err[-4000:]}"
        return out

    def replaced(self, text: str) -> str:
        """The text with the server's address in the place of the usual one."""
        return re.sub(r"\b(localhost|127\.0\.0\.1):8000\b", rf"\1:{self.port}", text)

    def environment(self) -> dict[str, str]:
        """The variables of a reader's shell."""
        usual = {name: value for name, value in CLEAN.items() if name != "LIVELOG_STORE"}
        return {
            **usual,
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "LIVELOG_PORT": str(self.port),
            "LIVELOG_URL": f"ws://127.0.0.1:{self.port}/ws/live-log",
            "NODE_NO_WARNINGS": "1",
        }

    def _tool(self, name: str, text: str) -> None:
        (self.tools / name).write_text(text)
        (self.tools / name).chmod(0o755)

    def _script(self, page: str) -> str:
        steps = [_PRELUDE.format(tenths=round(PATIENCE * 10))]
        for number, block in enumerate(blocks(page)):
            text = self.replaced(block.text)
            if block.saved_as:
                source = self.folder / f"{number}.txt"
                source.write_text(text, encoding="utf-8")
                steps.append(f"cp {shlex.quote(str(source))} {shlex.quote(block.saved_as)}")
            elif block.language == "sh":
                steps.append(text)
            elif block.language == "shell":
                steps += self._beside(text.strip(), number)
        return "\n".join(steps)

    def _beside(self, command: str, number: int) -> list[str]:
        """Start a command that keeps running; wait until a server is ready."""
        output = shlex.quote(str(self.folder / f"{number}.out"))
        serves = _SERVES.match(command) is not None
        variables = re.match(r"(?:\w+=\S+ )*", command)
        assert variables is not None
        begun = f"{variables[0]}exec {command[variables.end() :]}"
        start = f"( {begun} ) >{output} 2>&1 &"
        if serves:
            return ["next_server", start, "server=$!", f"until_ready {output}"]
        return [start, 'beside="$beside $!"']
