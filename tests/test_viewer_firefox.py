"""The viewer in a real Firefox: a look at each thing that depends on the browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.browser import hosting
from tests.support.firefox import Firefox, firefox

pytestmark = pytest.mark.browser

CONNECTED = "document.getElementById('light').dataset.state === 'connected'"
DETAILS = "document.getElementById('details').checkVisibility()"
ESCAPE = "\ue00c"  # as the keys of WebDriver are written


def until_rows(page: Firefox, *texts: str) -> None:
    """Wait until these are the texts of all rows."""
    rows = "[...document.querySelectorAll('.row .summary')].map((row) => row.textContent)"
    page.until(f"JSON.stringify({rows}.sort()) === JSON.stringify({sorted(texts)})")


def test_it_follows_searches_goes_back_and_resumes(tmp_path: Path) -> None:
    store = ("--store", str(tmp_path / "live.db"), "--no-limits")
    with hosting(*store) as host, firefox(tmp_path / "profile") as page:
        host.publish("red one", "blue one")
        page.open(host.url)
        until_rows(page, "red one", "blue one")
        host.publish("red two")
        until_rows(page, "red one", "blue one", "red two")
        page.type("/red")
        until_rows(page, "red one", "red two")
        page.until("location.search === '?q=red'")
        page.type(f"{ESCAPE}k")
        page.until(DETAILS)
        page.back()
        page.until(f"!{DETAILS}")
        page.type("k")
        page.until(DETAILS)
        page.type(ESCAPE)
        page.until(f"!{DETAILS}")
        page.until("location.search === '?q=red'")
        host.kill()
        page.until("document.getElementById('connection').textContent.includes('lost')")
        host.start()
        page.until(f"document.getElementById('reconnect').click(), {CONNECTED}")
        host.publish("red three")
        until_rows(page, "red one", "red two", "red three")
        assert page.faults == []
