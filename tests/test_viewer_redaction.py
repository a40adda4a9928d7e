"""The viewer forgets what is redacted while it is open: the line, the panel, what is copied."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.support.browser import Host, Viewer, chromium, hosting
from tests.support.identity import SECRET, token
from tests.support.wire import PATIENCE, Json, user

pytestmark = pytest.mark.browser


def post(host: Host, path: str, body: object) -> Json:
    """Send a request as a moderator who may publish for anybody."""
    bearer = token("mod", "read publish:any moderate")
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer}"}
    request = urllib.request.Request(host.url + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        found: Json = json.load(answer)
        return found


def test_a_redacted_line_is_forgotten_wherever_it_is_shown() -> None:
    with (
        hosting("--store", "memory", "--no-limits", "--jwt-secret", SECRET) as host,
        chromium() as browser,
    ):
        viewer = Viewer(browser.new_page())
        page = viewer.page
        page.goto(host.url)
        page.locator("#token").wait_for()
        page.locator("#token").fill(token("u1", "read"))
        page.locator("#login-form button").click()
        viewer.until_connection("Connected")
        texts = ["keep this", "remove this"]
        post(host, "api/messages", [user(text, id=f"m{n}") for n, text in enumerate(texts)])
        viewer.until_row("remove this")
        page.locator(".row", has_text="remove this").click()
        assert "remove this" in viewer.text("#json")
        page.locator(".row .summary", has_text="keep this").evaluate(
            "(text) => getSelection().selectAllChildren(text)"
        )
        post(host, "api/admin/redact", {"id": "m1", "reason": "spam"})
        viewer.until_row("redacted: spam")
        assert page.locator("#details").is_hidden()
        # Text that was selected elsewhere stays selected.
        assert page.evaluate("getSelection().toString()") == "keep this"
        assert page.locator(".row", has_text="remove this").count() == 0
        assert page.locator(".row", has_text="keep this").count() == 1
        with page.expect_download() as download:
            page.locator("#download").click()
        saved = download.value.path().read_text()
        assert "remove this" not in saved
        assert "keep this" in saved
        assert '"redacted":true' in saved
        page.reload()
        viewer.until_row("redacted: spam")
