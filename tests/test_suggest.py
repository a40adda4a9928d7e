"""Suggestions for mistyped names."""

from __future__ import annotations

import doctest

import pytest

from livelog.config import suggest
from livelog.config.suggest import suggestion

KNOWN = ["port", "host", "ping_interval", "ping_timeout", "--tls-cert", "tail", "history", "store"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("prot", "port"),
        ("pings-interval", "ping_interval"),
        ("PING-TIMEOUT", "ping_timeout"),
        ("pingtimeout", "ping_timeout"),
        ("--tls_cret", "--tls-cert"),
        ("--TLS-CERT", "--tls-cert"),
        ("tial", "tail"),
        ("histroy", "history"),
        ("stores", "store"),
    ],
)
def test_the_closest_name_is_suggested_in_its_own_spelling(name: str, meant: str) -> None:
    assert suggestion(name, KNOWN) == f"; did you mean '{meant}'?"


@pytest.mark.parametrize("name", ["", "x", "colour", "--metrics", "serve"])
def test_a_name_that_resembles_none_gets_no_suggestion(name: str) -> None:
    assert suggestion(name, KNOWN) == ""


def test_without_known_names_there_is_no_suggestion() -> None:
    assert suggestion("port", []) == ""


def test_the_example_in_the_docstring_holds() -> None:
    assert doctest.testmod(suggest) == (0, 1)
