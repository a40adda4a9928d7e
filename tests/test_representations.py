"""Representations of files: the coding a client takes, and the file that it has already."""

from __future__ import annotations

import gzip
import subprocess
import sys

import pytest
import zstandard

from livelog.net.http.representations import CODINGS, coding_for, has
from tests.support.process import ROOT


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("", ""),
        ("identity", ""),
        ("br", ""),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0, gzip;q=0.5", "gzip"),
        ("zstd ; q=0.000 , gzip ; q=1.0", "gzip"),
        ("gzip;q=0", ""),
        ("gzip;q=0.001", "gzip"),
        ("*", "zstd"),
        ("*;q=0", ""),
        ("*;q=0, gzip", "gzip"),
        ("zstd;q=0, *", "gzip"),
        ("gzipped", ""),
        (";;,,=", ""),
    ],
)
def test_the_coding_is_one_that_the_client_takes(accepted: str, coding: str) -> None:
    assert coding_for(accepted) == coding


def test_a_coding_gives_back_what_went_in() -> None:
    body = b"the same words again and again " * 100
    assert gzip.decompress(CODINGS["gzip"](body)) == body
    assert zstandard.ZstdDecompressor().decompress(CODINGS["zstd"](body)) == body
    assert CODINGS["gzip"](body) == CODINGS["gzip"](body)


def test_without_zstandard_there_is_gzip() -> None:
    code = (
        "import sys; sys.modules['zstandard'] = None\n"
        "from livelog.net.http.representations import coding_for\n"
        "print(coding_for('zstd, gzip'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "gzip\n", done.stderr


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", False),
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ('"b","a-gzip"', False),
        ("*", True),
        ("a", False),
        ('"b"', False),
        ('"', False),
    ],
)
def test_a_client_has_what_its_tags_name(tags: str, expected: bool) -> None:
    assert has(tags, '"a"') is expected
