"""The viewer forgets what is redacted while it is open: the line, the panel, what is copied."""

from __future__ import annotations

import pytest

from tests.support.browser import Viewer, chromium, hosting
from tests.support.identity import SECRET, token
from tests.support.wire import user

pytestmark = pytest.mark.browser


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
        bearer = token("mod", "publish:any moderate")
        texts = ["keep this", "remove this"]
        lines = [user(text, id=f"m{n}") for n, text in enumerate(texts)]
        host.post("api/messages", lines, bearer)
        viewer.until_row("remove this")
        page.locator(".row", has_text="remove this").click()
        assert "remove this" in viewer.text("#json")
        page.locator(".row .summary", has_text="keep this").evaluate(
            "(text) => getSelection().selectAllChildren(text)"
        )
        host.post("api/admin/redact", {"id": "m1", "reason": "spam"}, bearer)
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
