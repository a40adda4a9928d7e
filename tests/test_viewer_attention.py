"""Staying on top in the viewer: unread messages, notifications, saved views and links,
in a real Chromium.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.browser import Host, Look, Viewer
from tests.support.wire import user

pytestmark = pytest.mark.browser

OUT_OF_SIGHT = """(hidden) => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
  document.dispatchEvent(new Event('visibilitychange'));
}"""

NOTIFICATIONS = """() => {
  window.notified = [];
  window.Notification = class {
    static requestPermission = async () => window.answer ?? 'granted';
    constructor(title, { body }) { window.notified.push([title, body]); }
  };
}"""


def test_the_title_has_the_number_of_unread_messages(host: Host, look: Look) -> None:
    host.publish(*[f"line {n}" for n in range(200)])
    viewer = look(host)
    viewer.until_row("line 199")
    assert viewer.page.title() == "livelog"
    viewer.page.evaluate(OUT_OF_SIGHT, True)
    host.publish("one", "two")
    viewer.until("document.title === '(2) livelog'")
    viewer.page.evaluate(OUT_OF_SIGHT, False)
    assert viewer.page.title() == "livelog"
    viewer.scroll_away()
    host.publish("three")
    viewer.until("document.title === '(1) livelog'")
    viewer.page.keyboard.press("End")
    viewer.until("document.title === 'livelog'")


def test_notifications_are_asked_for_by_a_click_and_come_out_of_sight(
    host: Host, look: Look
) -> None:
    viewer = look(host, "?q=red")
    viewer.page.evaluate(NOTIFICATIONS)
    notify = viewer.page.locator("#notify")
    viewer.page.evaluate("window.answer = 'denied'")
    notify.click()
    viewer.until("document.getElementById('notice').textContent.includes('does not allow')")
    assert notify.get_attribute("aria-pressed") == "false"
    viewer.page.evaluate("window.answer = 'granted'")
    notify.click()
    viewer.until("document.getElementById('notify').ariaPressed === 'true'")
    host.publish("red in sight")
    viewer.until_row("red in sight")
    viewer.page.evaluate(OUT_OF_SIGHT, True)
    host.publish("blue", "red one", "red two", "red three")
    viewer.until("window.notified.length === 1")  # the burst has one
    assert viewer.page.evaluate("window.notified") == [
        ["user · Ann", "red three\nand 2 more messages"],
    ]
    host.publish("red four")
    viewer.until("window.notified.length === 2")
    assert viewer.page.evaluate("window.notified[1]") == ["user · Ann", "red four"]
    notify.click()
    assert notify.get_attribute("aria-pressed") == "false"


def save(viewer: Viewer, name: str) -> None:
    viewer.page.keyboard.press("v")
    viewer.page.locator("#views-name").fill(name)
    viewer.page.locator("#views-form [type=submit]").click()
    viewer.page.locator("#views-close").click()


def test_views_are_saved_opened_exported_and_imported(
    host: Host, look: Look, tmp_path: Path
) -> None:
    host.publish("red", "blue")
    viewer = look(host, "?q=red")
    viewer.until_row("red")
    save(viewer, "the <b>red</b> ones")
    viewer.page.locator("#clear").click()
    viewer.until_row("blue")
    viewer.page.reload()
    viewer.until_row("blue")
    viewer.page.locator("#views").click()
    viewer.page.get_by_role("button", name="the <b>red</b> ones", exact=True).click()
    viewer.until("document.querySelectorAll('.row').length === 1")
    assert viewer.page.url.endswith("?q=red")
    viewer.page.keyboard.press("v")
    with viewer.page.expect_download() as download:
        viewer.page.locator("#views-save").click()
    exported = tmp_path / "views.json"
    download.value.save_as(exported)
    assert json.loads(exported.read_text()) == [
        {"name": "the <b>red</b> ones", "address": "?q=red"}
    ]
    other = look(host)
    other.page.keyboard.press("v")
    other.page.locator("#views-file").set_input_files(exported)
    other.page.get_by_role("button", name="the <b>red</b> ones", exact=True).click()
    other.until("document.querySelectorAll('.row').length === 1")
    exported.write_text("no views")
    other.page.keyboard.press("v")
    other.page.locator("#views-file").set_input_files(exported)
    other.until("document.getElementById('notice').textContent.includes('Not imported')")
    other.page.get_by_role("button", name="Remove the <b>red</b> ones").click()
    assert other.page.locator("#views-list li").count() == 0


def test_a_saved_view_has_its_columns_and_their_widths(
    host: Host, look: Look, tmp_path: Path
) -> None:
    host.publish(user("red", metadata={"level": 7}))
    viewer = look(host, "?q=red&column=metadata.level")
    viewer.until("document.querySelectorAll('.row .cell').length === 1")
    viewer.page.get_by_role("separator", name="Width of metadata.level").focus()
    for _ in range(3):
        viewer.page.keyboard.press("ArrowRight")
    width = int(viewer.page.locator(".edge").get_attribute("aria-valuenow") or 0)
    save(viewer, "wide")
    viewer.page.keyboard.press("t")
    viewer.page.locator("#columns-none").click()
    viewer.page.locator("#columns-close").click()
    save(viewer, "plain")
    viewer.page.keyboard.press("v")
    with viewer.page.expect_download() as download:
        viewer.page.locator("#views-save").click()
    exported = tmp_path / "views.json"
    download.value.save_as(exported)
    assert json.loads(exported.read_text()) == [
        {
            "name": "wide",
            "address": "?q=red&column=metadata.level",
            "widths": {"metadata.level": width},
        },
        {"name": "plain", "address": "?q=red"},
    ]
    other = look(host)
    other.page.keyboard.press("v")
    other.page.locator("#views-file").set_input_files(exported)
    other.page.get_by_role("button", name="wide", exact=True).click()
    other.until(f"document.querySelector('.edge')?.ariaValueNow === '{width}'")
    other.page.keyboard.press("v")
    other.page.get_by_role("button", name="plain", exact=True).click()
    other.until("document.getElementById('columns-head').hidden")
    other.page.reload()
    other.until_row("red")
    assert other.page.locator("#columns-head").is_hidden()
    other.open(host.url)  # without a view it has the columns that it had last
    assert other.page.locator("#columns-head").is_hidden()


def test_a_link_without_columns_shows_none(host: Host, look: Look) -> None:
    host.publish("red")
    viewer = look(host, "?column=username")
    viewer.page.keyboard.press("t")
    viewer.page.locator("#columns-name").fill("channel")
    viewer.page.keyboard.press("Enter")
    viewer.page.locator("#columns-close").click()
    viewer.open(f"{host.url}?q=red")
    assert viewer.page.locator("#columns-head").is_hidden()
    viewer.open(host.url)
    assert viewer.page.locator("#columns-head").is_visible()


def test_a_link_leads_to_a_message_in_its_view(host: Host, look: Look) -> None:
    host.publish(*[user(f"line {n}", metadata={"channel": f"c{n % 2}"}) for n in range(900)])
    allowed = ["clipboard-read", "clipboard-write"]
    viewer = look(host, "?channel=c1", permissions=allowed)
    viewer.until_row("line 899")
    viewer.page.keyboard.press("Home")
    viewer.until_row("line 1")
    viewer.page.locator(".row .summary").first.click()
    chosen = viewer.page.locator(".row[aria-selected=true] .summary").inner_text()
    viewer.page.locator("#copy-link").click()
    viewer.until("document.getElementById('notice').textContent === 'Link copied.'")
    link = viewer.page.evaluate("navigator.clipboard.readText()")
    other = look(host, link.removeprefix(host.url))
    other.until_row(chosen)
    other.until("document.querySelector('.row[aria-selected=true]')")
    assert other.page.locator(".row[aria-selected=true] .summary").inner_text() == chosen
    assert all(int(line.split()[1]) % 2 for line in other.rows())
