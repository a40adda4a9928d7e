"""The public names of `livelog`: that they exist, what they load, and that their examples run."""

from __future__ import annotations

import doctest
import inspect
import pydoc
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import livelog
from tests.support.process import ROOT

SERVER = {"livelog.server", "livelog.fanout.hub", "pyroaring", "httptools", "uvloop"}
CLIENT = {"livelog.client.client", "livelog.client.connection", "websockets.asyncio.client"}
DOCUMENTED = [name for name in livelog.__all__ if inspect.isroutine(getattr(livelog, name))]
DOCUMENTED += [name for name in livelog.__all__ if inspect.isclass(getattr(livelog, name))]
_BLOCK = re.compile(r"\n\n +\S.*(\(|await|raise|except)")
"""An example that cannot run alone: an indented block of code."""


@pytest.mark.parametrize(
    ("names", "unwanted"),
    [
        ("livelog", {"msgspec", "websockets", "asyncio", "livelog.config", *SERVER, *CLIENT}),
        ("livelog.connect", SERVER),
        ("livelog.Server", CLIENT),
        ("livelog.Config", {"asyncio", *SERVER, *CLIENT}),
        ("livelog.UserMessage", {"asyncio", *SERVER, *CLIENT}),
        ("livelog.RefusedError", {"msgspec", "asyncio", *SERVER, *CLIENT}),
    ],
)
def test_a_name_loads_what_it_needs(names: str, unwanted: set[str]) -> None:
    code = f"import sys, livelog; {names}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not unwanted & set(done.stdout.split())


def test_all_names_exist() -> None:
    assert all(getattr(livelog, name) for name in livelog.__all__)
    assert set(livelog.__all__) <= set(dir(livelog))
    with pytest.raises(AttributeError, match="nothing"):
        _ = livelog.nothing


def test_what_a_program_needs_is_public() -> None:
    names = """Server Config connect Client Subscription Page Gap Receipt Delivered Filters
    UserMessage SystemMessage DirectMessage RaidMessage PartyMessage GuildMessage
    LivelogError RefusedError ConfigError ConnectionEndedError UnreachableError NotRunningError"""
    assert set(names.split()) <= set(livelog.__all__)


def test_help_shows_all_names() -> None:
    shown = pydoc.plain(pydoc.render_doc(livelog))
    names = set(livelog.__all__) - {"__version__"}  # has a section of its own
    assert {name for name in names if not re.search(rf"\b{name}\b", shown)} == set()


def examples(name: str) -> Iterator[doctest.DocTest]:
    value: Any = getattr(livelog, name)
    names = {name: getattr(livelog, name) for name in livelog.__all__}
    yield from doctest.DocTestFinder(recurse=False).find(value, name, globs=names)


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_public_name_has_an_example_that_runs(name: str) -> None:
    text = inspect.getdoc(getattr(livelog, name)) or ""
    found = [test for test in examples(name) if test.examples]
    assert found or _BLOCK.search(text), text
    for test in found:
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
        assert result.failed == 0


@pytest.mark.parametrize("name", ["Server", "Client", "Subscription"])
def test_every_public_method_is_documented(name: str) -> None:
    for method, value in inspect.getmembers(getattr(livelog, name), inspect.isfunction):
        if not method.startswith("_"):
            assert inspect.getdoc(value), method
