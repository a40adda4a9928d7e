"""The users on line in the viewer: their number, their list, and servers without users, in a real
Chromium.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from websockets.sync.client import connect

from tests.support.browser import Host, Look, Viewer
from tests.support.identity import token
from tests.support.wire import PATIENCE, Json

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, WebSocketRoute

SEES = token("watcher", "read presence")


@contextmanager
def on_line(host: Host, *users: str) -> Iterator[None]:
    """Connections of users."""
    address = host.url.replace("http", "ws") + "ws/live-log?token="
    with ExitStack() as stack:
        for each in users:
            socket = connect(address + token(each, "read"), open_timeout=PATIENCE)
            stack.enter_context(socket)
        yield


def until_count(viewer: Viewer, words: str) -> None:
    viewer.until("w => document.getElementById('online-count').textContent === w", words)


def until_users(viewer: Viewer, *users: str) -> None:
    viewer.until(
        """(users) => {
          const shown = [...document.querySelectorAll('#online-list .value')];
          return JSON.stringify(shown.map((user) => user.textContent)) === JSON.stringify(users);
        }""",
        [*users],
    )


def test_the_number_and_the_list_follow_who_comes_and_goes(guarded: Host, look: Look) -> None:
    viewer = look(guarded, token=SEES)
    until_count(viewer, "1 on line")
    with on_line(guarded, "ann", "zed"):
        until_count(viewer, "3 on line")
        viewer.page.keyboard.press("o")
        until_users(viewer, "ann", "watcher", "zed")
        assert viewer.text("#online-state") == "3 users"
        viewer.page.locator("#online-list .handle", has_text="ann").focus()
        with on_line(guarded, "bob", "zed"):
            until_users(viewer, "ann", "bob", "watcher", "zed")
            assert viewer.page.evaluate("document.activeElement.textContent") == "ann"
            viewer.page.keyboard.press("Enter")
            viewer.page.locator("#menu").get_by_role("menuitem", name="Only this").click()
            viewer.until("document.getElementById('search').value === 'user_id:ann'")
        until_users(viewer, "ann", "watcher", "zed")
    until_users(viewer, "watcher")
    viewer.page.locator("#online-close").click()
    assert viewer.page.evaluate("document.activeElement.id") == "online-count"


def test_many_users_come_by_pages(guarded: Host, look: Look) -> None:
    users = [f"user {n:03}" for n in range(120)]
    viewer = look(guarded, token=SEES)
    with on_line(guarded, *users):
        until_count(viewer, "121 on line")
        viewer.page.locator("#online-count").click()
        until_users(viewer, *users[:100])
        viewer.page.locator("#online-more").click()
        until_users(viewer, *users, "watcher")
        assert viewer.page.locator("#online-more").is_hidden()


def test_without_the_scope_there_is_a_number_alone(guarded: Host, look: Look) -> None:
    viewer = look(guarded, token=token("reader", "read"))
    until_count(viewer, "1 on line")
    with on_line(guarded, "ann"):
        until_count(viewer, "2 on line")
        viewer.page.locator("#online-count").click()
        assert "The scope presence" in viewer.text("#online-note")
        assert viewer.page.locator("#online-list li").count() == 0


def test_who_may_not_read_is_told_no_number(guarded: Host, look: Look) -> None:
    viewer = look(guarded, token=token("bot", "moderate"))
    viewer.until("!document.getElementById('moderate').hidden")
    assert viewer.page.locator("#online-count").is_hidden()
    assert viewer.page.locator("#notice").is_hidden()
    viewer.faults.clear()  # the browser told of the pages that were refused


def test_a_reconnect_asks_again(guarded: Host, look: Look) -> None:
    viewer = look(guarded, token=SEES)
    until_count(viewer, "1 on line")
    viewer.page.keyboard.press("o")
    until_users(viewer, "watcher")
    guarded.kill()
    viewer.until("document.getElementById('online-count').hidden")
    guarded.start()
    viewer.reconnect()
    until_count(viewer, "1 on line")
    with on_line(guarded, "ann"):
        until_users(viewer, "ann", "watcher")
    assert viewer.page.locator("#notice").is_hidden()


def test_an_internal_error_of_the_server_is_passed_over(guarded: Host, browser: Browser) -> None:
    context = browser.new_context()
    context.add_init_script(f"sessionStorage['livelog.token'] = '{SEES}'")
    refused: list[str] = []

    def between(page: WebSocketRoute) -> None:
        server = page.connect_to_server()

        def answer(text: str | bytes) -> None:
            event = json.loads(text)
            if isinstance(event, dict) and event.get("action") == "online" and not refused:
                refused.append(event["request_id"])
                text = json.dumps(fault(event["request_id"]))
            page.send(text)

        server.on_message(answer)

    context.route_web_socket("**/ws/live-log", between)
    viewer = Viewer(context.new_page())
    viewer.open(guarded.url)
    until_count(viewer, "1 on line")
    assert len(refused) == 1
    context.close()


def fault(request_id: str) -> Json:
    """The event by which a server tells of an internal error."""
    details = {"issue": "the server is overloaded"}
    error = {"error_code": 1011, "error_message": "Internal error", "details": details}
    return {"action": "error", **error, "request_id": request_id}


def test_an_open_server_says_that_it_knows_no_users(host: Host, look: Look) -> None:
    viewer = look(host)
    until_count(viewer, "open server")
    viewer.page.locator("#online-count").click()
    viewer.until("document.getElementById('online-state').textContent === '1 open connection'")
    assert "no authentication" in viewer.text("#online-note")
    assert viewer.page.locator("#notice").is_hidden()
