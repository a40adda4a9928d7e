"""Which pages may use the server."""

from __future__ import annotations

import pytest

from livelog.config.check import origins
from livelog.errors import RefusedError
from livelog.net.origins import Origins

LISTED = Origins(origins("https://example.org, http://localhost:3000"))


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("", "log.example.org"),
        ("https://log.example.org", "log.example.org"),
        ("http://log.example.org", "log.example.org"),
        ("https://log.example.org", "LOG.example.org:443"),
        ("http://log.example.org:80", "log.example.org"),
        ("http://localhost:8000", "localhost:8000"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_without_a_list_the_own_host_is_allowed(origin: str, host: str) -> None:
    Origins().check(origin, host)
    assert not Origins().headers(origin)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.org", "log.example.org"),
        ("https://log.example.org.evil.org", "log.example.org"),
        ("https://evil-log.example.org", "log.example.org"),
        ("https://log.example.org", ""),
        ("http://localhost:3000", "localhost:8000"),
        ("https://log.example.org:8443", "log.example.org"),
        ("null", "log.example.org"),
        ("null", "null"),
        ("file://", "log.example.org"),
        ("https://log.example.org@evil.org", "log.example.org@evil.org"),
        ("https://log.example.org/", "log.example.org"),
        ("https://", ""),
        ("https://é.org", "é.org"),
    ],
)
def test_without_a_list_no_other_is(origin: str, host: str) -> None:
    with pytest.raises(RefusedError) as refused:
        Origins().check(origin, host)
    assert (refused.value.code, refused.value.field) == (1008, "origin")


def test_a_list_is_exact_and_the_only_thing_that_counts() -> None:
    for origin in ("", "https://example.org", "HTTPS://example.org:443", "http://localhost:3000"):
        LISTED.check(origin, "elsewhere")
    for origin in ("http://example.org", "https://www.example.org", "https://own", "null", "*"):
        with pytest.raises(RefusedError):
            LISTED.check(origin, "own")


def test_who_is_listed_may_read_the_answers() -> None:
    headers = LISTED.headers("https://example.org")
    assert headers["Access-Control-Allow-Origin"] == "https://example.org"
    assert headers["Vary"] == "Origin"
    assert LISTED.headers("") == {"Vary": "Origin"}


def test_a_browser_that_asks_first_is_answered() -> None:
    answer = LISTED.preflight("https://example.org", "POST")
    assert answer is not None
    assert "POST" in answer["Access-Control-Allow-Methods"]
    assert LISTED.preflight("https://example.org", "") is None
    assert Origins().preflight("https://example.org", "POST") is None


@pytest.mark.parametrize("wrong", ["*", "null", "example.org", "https://example.org/", "ws://x"])
def test_a_list_that_cannot_be_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be an origin"):
        Origins(origins(f"https://example.org, {wrong}"))
