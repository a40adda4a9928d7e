"""Plain English: how docstrings open, and words of a private dialect that have a plain one."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

OPENING = re.compile(r"(what|who|whoever|whose|whom|nothing|nobody|of)\b", re.IGNORECASE)
"""Words that open no docstring: it opens with an imperative or a noun phrase."""

PLAIN = {
    r"goodbyes?": "close handshake, close frame, drain",
    r"doorm[ae]n": "limiter",
    r"strangers?": "client, address",
    r"visitors?": "client, address",
    r"whoever": "the client, the principal, the reader, the caller",
    r"who somebody is": "principal",
    r"nobody in particular": "anonymous",
    r"faults? of ours": "internal error",
    r"will not do": "is invalid: ..., must be ...",
    r"(?:that|which|what|it|one) is none": "is invalid: ..., must be ...",
    r"cannot be(?= ?(?:[.,;:!?\"')]|$))": "is invalid: ..., must be ...",
    r"ma(?:k|d)es? room": "is evicted",
    r"in line(?! [\d{%])": "in the queue, enqueue",
    r"sen[dt] away": "disconnect",
}
"""Word or phrase that must not occur → the plain one."""


def sources() -> Iterator[tuple[str, str]]:
    """Every module: its path from the root, and its text."""
    for package in ("livelog", "bench", "tests"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text()


def bad_openings(source: str) -> list[str]:
    """First lines of docstrings of modules, classes and functions that open with a wrong word."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))
    texts = (ast.get_docstring(node) or "" for node in nodes)
    return [text.partition("\n")[0] for text in texts if OPENING.match(text)]


def prose(source: str) -> list[tuple[int, str]]:
    """Line and text of every string, and of every run of comments, without line breaks."""
    texts: list[tuple[int, str]] = []
    last = -1  # line of the comment that the next one may continue
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for token, following in pairwise(tokens):
        line, text = token.start[0], " ".join(token.string.split())
        if token.type == tokenize.COMMENT:
            first, before = texts.pop() if line == last + 1 else (line, "")
            texts.append((first, f"{before} {text.lstrip('# ')}".strip()))
            last = line
        elif token.type == tokenize.STRING:
            texts.append((line, text))
            last = -1
        elif tokenize.tok_name[token.type] == "FSTRING_MIDDLE":  # from Python 3.12 on
            texts.append((line, f"{text} {{" if following.string == "{" else text))
            last = -1
    return texts


def dialect(source: str) -> dict[int, str]:
    """Line → the word of dialect in its prose, and the plain one."""
    return {
        line: f"{found[0]!r}: say {plain}"
        for line, text in prose(source)
        for pattern, plain in PLAIN.items()
        if (found := re.search(rf"\b{pattern}", text, re.IGNORECASE))
    }


def test_docstrings_open_with_an_imperative_or_a_noun() -> None:
    assert [f"{name}: {text}" for name, source in sources() for text in bad_openings(source)] == []


def test_there_is_a_plain_word() -> None:
    found = [
        f"{name}:{line}: {issue}"
        for name, source in sources()
        if name.startswith("livelog/")
        for line, issue in dialect(source).items()
    ]
    assert found == []


def test_modules_are_looked_at() -> None:
    names = {name for name, _ in sources()}
    expected = {"livelog/errors.py", "livelog/wire/frames.py", "livelog/auth/tokens.py"}
    assert expected | {"bench/load.py", "tests/test_log.py", "tests/support/wire.py"} <= names


@pytest.mark.parametrize("word", ["What", "who", "Whoever", "Whose", "Whom", "Nothing", "nobody"])
def test_a_wrong_opening_is_found_wherever_it_stands(word: str) -> None:
    text = f'"""{word} is asked."""'
    source = f"{text}\nclass A:\n    {text}\n    async def b(self):\n        {text}\n"
    assert bad_openings(source) == [f"{word} is asked."] * 3


@pytest.mark.parametrize("text", ["Offer a slot.", "Whole pages.", "The one who asks.", ""])
def test_other_openings_are_not(text: str) -> None:
    assert bad_openings(f'def a():\n    """{text}"""\n') == []


@pytest.mark.parametrize(
    "source",
    [
        '"""A goodbye."""',
        '"""One of the faults\n    of ours."""',
        "x = 1  # the Doorman",
        "# a fault\n# of ours",
        'error = "this will not do"',
        'error = f"{x} will not do"',
        '"""Get in line."""',
        'a = "an owner that cannot be"',
        'a = "a key that is none"',
    ],
)
def test_dialect_is_found_in_docstrings_comments_and_strings(source: str) -> None:
    assert len(dialect(f"{source}\n")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "doorman = goodbye(stranger)",
        'a = f"not JSON in line {number}"',
        '"""The file cannot be read, and there is none beside it."""',
        "# a fault\n\nx = 1  # of ours",
    ],
)
def test_plain_words_are_not(source: str) -> None:
    assert dialect(f"{source}\n") == {}
