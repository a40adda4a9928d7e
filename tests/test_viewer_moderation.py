"""Moderation in the viewer: acts from the menus of a line, their undo window, redaction by an
expression, the audit log and the blocks, in a real Chromium.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.browser import Host, Look, Viewer
from tests.support.identity import token
from tests.support.wire import Json, user

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Request

pytestmark = pytest.mark.browser

GAME = token("game", "publish:any")
MODERATOR = token("mod", "read moderate")
READER = token("u9", "read")
LONGER_THAN_THE_WINDOW = 6000
"""Milliseconds after which an act would have been sent."""


def say(host: Host, *messages: Json) -> list[int]:
    """Publish as the game; returns the seqs."""
    return [each["seq"] for each in host.post("api/messages", [*messages], GAME)["messages"]]


def acts_of(host: Host) -> list[Json]:
    found: list[Json] = host.post("api/admin/audit", {}, MODERATOR)["result"]["acts"]
    return found


def choose(viewer: Viewer, words: str) -> None:
    """Choose an item of the menu that is open."""
    viewer.page.locator("#menu").get_by_role("menuitem", name=words).click()


def items(viewer: Viewer) -> list[str]:
    """The items of the menu that is open."""
    return viewer.page.locator("#menu button").all_inner_texts()


def rest_the_pointer(viewer: Viewer) -> None:
    """Move it to where it holds no act up."""
    viewer.page.mouse.move(640, 5)


def admin_requests(viewer: Viewer) -> list[str]:
    """The commands that the page gives from now on."""
    found: list[str] = []

    def note(request: Request) -> None:
        if "/api/admin/" in request.url:
            found.append(request.url.rpartition("/")[2])

    viewer.page.on("request", note)
    return found


def until_notice(viewer: Viewer, words: str) -> None:
    viewer.until("w => document.getElementById('notice').textContent.includes(w)", words)


def until_gone(viewer: Viewer) -> None:
    """Wait until no act waits any more."""
    viewer.until("!document.querySelector('#acts li')")


def test_a_message_is_redacted_from_its_line_after_the_undo_window(
    guarded: Host, look: Look
) -> None:
    say(guarded, user("keep this"), user("remove this"))
    viewer = look(guarded, token=MODERATOR)
    viewer.until_row("remove this")
    sent = admin_requests(viewer)
    viewer.page.locator(".row", has_text="remove this").locator(".subject .handle").click()
    assert items(viewer)[-3:] == [
        "Redact this message…",
        "Block Ann (u1)…",
        "Disconnect Ann (u1)…",
    ]
    choose(viewer, "Redact this message…")
    viewer.page.locator("#act-reason").fill("spam")
    viewer.page.locator("#act-submit").click()
    rest_the_pointer(viewer)
    assert viewer.text("#acts .words") == "Redact a message of Ann (u1)"
    assert "Press u to undo it" in viewer.text("#acts-status")
    assert sent == []
    viewer.until_row("redacted: spam")
    until_notice(viewer, "The message is redacted.")
    assert sent == ["redact"]
    [act] = acts_of(guarded)
    assert (act["act"], act["by"], act["reason"]) == ("redact", "mod", "spam")
    viewer.until_row("keep this")
    viewer.page.locator(".row.redacted .summary").click()
    viewer.page.keyboard.press("m")
    assert "Redact this message…" not in items(viewer)


def test_what_is_undone_is_not_sent_and_what_is_looked_at_waits(guarded: Host, look: Look) -> None:
    say(guarded, user("one"), user("two"), user("three"))
    viewer = look(guarded, token=MODERATOR)
    viewer.until_row("three")
    sent = admin_requests(viewer)
    press = viewer.page.keyboard.press
    for undo in ("key", "button"):
        press("k")
        press("m")
        press("Enter")  # the first item
        press("Enter")  # the dialog
        rest_the_pointer(viewer)
        assert viewer.page.locator("#acts li").count() == 1
        if undo == "key":
            press("u")
        else:
            viewer.page.get_by_role("button", name="Undo").focus()
            viewer.page.wait_for_timeout(LONGER_THAN_THE_WINDOW)
            press("Enter")
        until_gone(viewer)
        assert viewer.text("#acts-status").startswith("Undone: Redact")
    viewer.page.wait_for_timeout(LONGER_THAN_THE_WINDOW)
    assert sent == []
    assert acts_of(guarded) == []


def test_a_user_is_blocked_from_the_keyboard_and_unblocked_in_the_list(
    guarded: Host, look: Look
) -> None:
    say(guarded, user("hello", user_id="u9", username="Zed"))
    viewer = look(guarded, token=MODERATOR)
    victim = look(guarded, token=READER)
    viewer.until_row("hello")
    press = viewer.page.keyboard.press
    press("k")
    press("m")
    press("ArrowDown")
    press("Enter")
    assert viewer.text("#act-title") == "Block Zed (u9)"
    viewer.page.locator("#act-duration").select_option("1 hour")
    viewer.page.locator("#act-reason").fill("insults")
    press("Enter")
    rest_the_pointer(viewer)
    assert viewer.text("#acts .words") == "Block Zed (u9) for 1 hour"
    until_notice(viewer, "Zed (u9) is blocked until")
    assert "The block ends with the server" in viewer.text("#notice")
    victim.until_connection("Connection lost. Attempt 1 in 3")
    viewer.page.locator("#moderate").click()
    choose(viewer, "Blocks")
    viewer.until("document.querySelectorAll('#audit-blocks-list li').length === 1")
    assert viewer.page.url.endswith("#blocks")
    assert "insults" in viewer.text("#audit-blocks-list")
    viewer.page.get_by_role("button", name="Unblock u9").click()
    rest_the_pointer(viewer)
    viewer.until("!document.querySelector('#audit-blocks-list li')")
    assert viewer.text("#audit-state") == "0 blocks in force"
    assert [act["act"] for act in acts_of(guarded)] == ["unblock", "block"]
    victim.faults.clear()  # the browser told of what was refused to the one who is blocked


def test_a_failure_is_told_once_where_it_can_be_tried_again(guarded: Host, look: Look) -> None:
    say(guarded, user("hello"))
    viewer = look(guarded, token=MODERATOR)
    viewer.until_row("hello")
    viewer.page.locator(".row .subject .handle").click()
    choose(viewer, "Disconnect Ann (u1)…")
    assert viewer.page.locator("#act-duration").is_hidden()
    viewer.page.locator("#act-submit").click()
    rest_the_pointer(viewer)
    viewer.until("document.querySelector('#acts .failed')")
    told = "Not done: Disconnect Ann (u1): has no open connection."
    assert viewer.text("#acts .failed .words") == told
    assert viewer.page.locator("#notice").is_hidden()
    ann = look(guarded, token=token("u1", "read"))
    viewer.page.get_by_role("button", name="Try again").click()
    rest_the_pointer(viewer)
    until_notice(viewer, "Ann (u1): 1 connection closed.")
    until_gone(viewer)
    ann.until_connection("Connected")  # again: it may come back
    assert len(viewer.faults) == 1  # the browser's own word about the status 404
    viewer.faults.clear()


def test_the_panel_shares_the_fragment_with_the_choices_of_the_page(
    guarded: Host, look: Look
) -> None:
    viewer = look(guarded, "#density=compact&audit=block", token=MODERATOR)
    viewer.until("document.getElementById('audit-kind').value === 'block'")
    assert viewer.page.evaluate("document.documentElement.dataset.density") == "compact"
    viewer.page.locator("#audit-blocks").click()
    assert viewer.page.url.endswith("/#density=compact&blocks")
    viewer.page.locator("#audit-close").click()
    assert viewer.page.url.endswith("/#density=compact")


def test_nothing_is_offered_without_the_scope(guarded: Host, look: Look) -> None:
    say(guarded, user("hello"))
    viewer = look(guarded, "#audit", token=READER)
    viewer.until_row("hello")
    sent = admin_requests(viewer)
    viewer.until(
        "document.getElementById('audit-state').textContent.includes('the scope moderate')"
    )
    assert viewer.page.locator("#audit-kind").is_hidden()
    viewer.page.keyboard.press("Escape")
    assert viewer.page.locator("#audit").is_hidden()
    assert viewer.page.locator("#moderate").is_hidden()
    viewer.page.locator(".row .subject .handle").click()
    assert items(viewer)[-1] == "Copy"
    viewer.page.keyboard.press("Escape")
    viewer.page.locator(".row .summary").click()
    assert viewer.page.locator("#moderate-one").is_hidden()
    for key in ("m", "a", "u"):
        viewer.page.keyboard.press(key)
    assert viewer.page.locator("#menu").is_hidden()
    assert viewer.page.locator("#audit").is_hidden()
    assert viewer.page.locator("#notice").is_hidden()
    viewer.page.keyboard.press("?")
    assert "audit log" not in viewer.text("#shortcuts")
    assert sent == []


def test_an_open_server_says_that_it_has_no_moderators(host: Host, look: Look) -> None:
    host.publish("hello")
    viewer = look(host, "#audit")
    viewer.until("document.getElementById('audit-state').textContent.includes('no moderators')")
    assert viewer.page.locator("#moderate").is_hidden()
    given = look(host, token="any")
    given.until_row("hello")
    given.until("!document.getElementById('online-count').hidden")
    assert given.page.locator("#moderate").is_hidden()
    assert given.page.locator("#account").is_hidden()


def test_you_are_not_offered_to_block_yourself(guarded: Host, look: Look) -> None:
    say(guarded, user("hello", user_id="mod", username="Mo"))
    viewer = look(guarded, token=MODERATOR)
    viewer.until_row("hello")
    viewer.page.locator(".row .subject .handle").click()
    assert items(viewer)[-1] == "Redact this message…"


def test_what_an_expression_finds_is_counted_before_it_is_redacted(
    guarded: Host, look: Look
) -> None:
    trade = {"channel": "trade"}
    say(guarded, *[user(f"gold {n}", metadata=trade) for n in range(3)], user("gold elsewhere"))
    viewer = look(guarded, "?q=gold&channel=trade&types=user", token=MODERATOR)
    viewer.until("document.querySelectorAll('.row').length === 3")
    viewer.page.locator("#rows").focus()
    viewer.page.keyboard.press("m")
    choose(viewer, "Redact what is found…")
    where = viewer.page.locator("#redacting-where")
    assert where.input_value() == "gold type:user channel:trade"
    confirm = viewer.page.locator("#redacting-confirm")
    assert confirm.is_disabled()
    where.fill("gold chanel:trade")
    where.press("Enter")
    viewer.until("!document.getElementById('redacting-fault').hidden")
    assert viewer.text("#redacting-fault .here") == "chanel:trade"
    assert viewer.text("#redacting-state") == ""
    assert len(viewer.faults) == 1  # the browser's own word about the status 400
    viewer.faults.clear()
    where.fill("nothing of this")
    where.press("Enter")
    viewer.until(
        "document.getElementById('redacting-state').textContent === 'It finds no message.'"
    )
    where.fill("gold channel:trade")
    where.press("Enter")
    viewer.until("!document.getElementById('redacting-confirm').disabled")
    assert viewer.text("#redacting-confirm") == "Redact 3 messages"
    say(guarded, user("gold later", metadata=trade))  # is not meant
    viewer.page.locator("#redacting-reason").fill("trade spam")
    confirm.click()
    rest_the_pointer(viewer)
    until_notice(viewer, "3 messages redacted.")
    viewer.page.locator("#clear").click()
    viewer.until("document.querySelectorAll('.row.redacted').length === 3")
    viewer.until_row("gold later")
    viewer.until_row("gold elsewhere")


def test_a_number_that_has_changed_is_counted_again(guarded: Host, look: Look) -> None:
    seqs = say(guarded, user("gold 1"), user("gold 2"))
    viewer = look(guarded, "?q=gold", token=MODERATOR)
    viewer.until_row("gold 2")
    viewer.page.keyboard.press("m")
    choose(viewer, "Redact what is found…")
    viewer.page.locator("#redacting-where").press("Enter")
    viewer.until("!document.getElementById('redacting-confirm').disabled")
    viewer.page.locator("#redacting-confirm").click()
    guarded.post("api/admin/redact", {"seq": seqs[0]}, MODERATOR)
    rest_the_pointer(viewer)
    viewer.until("document.querySelector('#acts .failed')")
    assert "is not the number of messages that match now, 1" in viewer.text("#acts .words")
    viewer.faults.clear()
    viewer.page.get_by_role("button", name="Try again").click()
    viewer.page.locator("#redacting-where").press("Enter")
    viewer.until("!document.getElementById('redacting-confirm').disabled")
    assert viewer.text("#redacting-confirm") == "Redact 1 message"
    viewer.page.locator("#redacting-confirm").click()
    rest_the_pointer(viewer)
    until_notice(viewer, "1 message redacted.")


def test_the_audit_log_is_a_link_with_a_filter_and_goes_on(guarded: Host, look: Look) -> None:
    for number in range(105):
        text = {"text": f"notice {number}", "reason": f"why {number}"}
        guarded.post("api/admin/announce", text, MODERATOR)
        if number == 1:
            guarded.post("api/admin/block", {"user_id": "u7", "reason": "first"}, MODERATOR)
    viewer = look(guarded, "#audit", token=MODERATOR)
    rows = viewer.page.locator("#audit-acts-list li")
    viewer.until("document.querySelectorAll('#audit-acts-list li').length === 100")
    assert viewer.text("#audit-state") == "100 acts loaded"
    first = rows.first.inner_text().split("\n")
    assert [part for part in first if part in ("mod", "announced", "info", "why 104")] == [
        "mod",
        "announced",
        "info",
        "why 104",
    ]
    viewer.page.locator("#audit-kind").select_option("block")
    assert viewer.page.url.endswith("#audit=block")
    assert viewer.text("#audit-state") == "0 of 100 acts loaded"
    viewer.page.locator("#audit-older").click()
    viewer.until("document.querySelectorAll('#audit-acts-list li').length === 1")
    assert viewer.page.locator("#audit-older").is_hidden()
    assert "blocked" in rows.first.inner_text()
    assert "for ever" in rows.first.inner_text()
    guarded.post("api/admin/block", {"user_id": "u8", "duration_seconds": 60}, MODERATOR)
    viewer.until("document.querySelectorAll('#audit-acts-list li').length === 2")  # by itself
    assert "u8" in rows.first.inner_text()
    viewer.page.reload()
    viewer.until("document.querySelectorAll('#audit-acts-list li').length === 1")
    assert viewer.page.locator("#audit-kind").input_value() == "block"
    rows.first.locator(".handle", has_text="u8").press("Enter")
    assert items(viewer)[-2:] == ["Block u8…", "Disconnect u8…"]
    viewer.page.keyboard.press("Escape")
    viewer.page.evaluate("location.hash = '#audit=of_tomorrow'")
    viewer.until("document.getElementById('audit-kind').value === 'of_tomorrow'")
    assert rows.count() == 0
    viewer.page.locator("#audit-kind").select_option("announce")
    rows.first.get_by_role("button", name="Show").click()
    viewer.until("document.querySelector('.row[aria-selected=true]')")
    assert "notice 104" in viewer.text("#values")
    viewer.page.keyboard.press("Escape")
    viewer.page.keyboard.press("Escape")
    assert viewer.page.locator("#audit").is_hidden()
    assert "#" not in viewer.page.url


def test_a_refusal_for_good_is_told_once_and_not_asked_for_again(guarded: Host, look: Look) -> None:
    viewer = look(guarded, token=MODERATOR)
    viewer.until("!document.getElementById('moderate').hidden")
    details = {"issue": "the scope moderate is missing", "scope": "moderate", "field": "command"}
    refusal = {"action": "error", "error_code": 1008, "error_message": "", "details": details}
    viewer.page.route("**/api/admin/*", lambda route: route.fulfill(status=403, json=refusal))
    sent = admin_requests(viewer)
    viewer.page.keyboard.press("a")
    viewer.until("document.getElementById('audit-state').textContent.startsWith('Not loaded')")
    told = "Not loaded: your token lacks the scope moderate."
    assert viewer.text("#audit-state") == told
    viewer.page.wait_for_timeout(LONGER_THAN_THE_WINDOW)
    assert sent == ["audit"]
    assert viewer.page.locator("#notice").is_hidden()
    viewer.page.unroute("**/api/admin/*")
    viewer.page.locator("#audit-acts").click()  # asks again
    viewer.until("document.getElementById('audit-state').textContent === '0 acts loaded'")
    assert len(viewer.faults) == 1  # the browser's own word about the status 403
    viewer.faults.clear()


def test_a_phone_has_it_all_in_large_targets(guarded: Host, look: Look) -> None:
    say(guarded, user("hello"))
    guarded.post("api/admin/block", {"user_id": "u7", "reason": "first"}, MODERATOR)
    phone = {"viewport": {"width": 390, "height": 740}, "is_mobile": True, "has_touch": True}
    viewer = look(guarded, "#blocks", token=MODERATOR, **phone)
    viewer.until("document.querySelectorAll('#audit-blocks-list li').length === 1")
    viewer.page.get_by_role("button", name="Unblock u7").tap()
    viewer.page.get_by_role("button", name="Undo").wait_for()
    small: list[str] = viewer.page.evaluate(
        """() => [...document.querySelectorAll(
                    '#audit :is(button, select, [role=button]), #acts button, #online-count')]
            .filter((target) => target.checkVisibility())
            .map((target) => [target.textContent, target.getBoundingClientRect()])
            .filter(([, { width, height }]) => width < 44 || height < 44)
            .map(([name]) => name)"""
    )
    assert small == []
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= 390
    viewer.page.get_by_role("button", name="Undo").tap()
    viewer.page.locator("#audit-close").tap()
    viewer.page.locator(".row .summary").tap()
    viewer.page.locator("#moderate-one").tap()
    assert items(viewer)[0] == "Redact this message…"


def test_a_page_with_an_act_that_waits_is_not_left_without_a_question(
    guarded: Host, look: Look
) -> None:
    say(guarded, user("hello"))
    viewer = look(guarded, token=MODERATOR)
    viewer.until_row("hello")
    viewer.page.keyboard.press("k")
    viewer.page.keyboard.press("m")
    viewer.page.keyboard.press("Enter")
    viewer.page.keyboard.press("Enter")
    viewer.page.get_by_role("button", name="Undo").hover()
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    viewer.page.on("dialog", stay)
    viewer.page.close(run_before_unload=True)
    viewer.until("document.querySelector('#acts li')")
    assert asked == ["beforeunload"]


def panels(viewer: Viewer) -> list[str]:
    """The panels in sight."""
    found: list[str] = viewer.page.evaluate(
        """() => [...document.querySelectorAll('.panel')]
          .filter((panel) => panel.checkVisibility()).map(({ id }) => id)"""
    )
    return found


def test_the_panel_opened_last_is_in_sight_and_escape_closes_it_first(
    guarded: Host, look: Look
) -> None:
    say(guarded, user("hello"))
    viewer = look(guarded, token=MODERATOR)
    viewer.until_row("hello")
    viewer.until("!document.getElementById('moderate').hidden")
    press = viewer.page.keyboard.press
    for key, panel in (("k", "details"), ("a", "audit"), ("o", "online"), ("a", "audit")):
        press(key)
        assert panels(viewer) == [panel]
    viewer.until("document.activeElement.id === 'audit-acts'")
    press("o")  # it is open, but not in sight
    assert panels(viewer) == ["online"]
    press("Escape")
    assert panels(viewer) == ["audit"]
    press("z")  # times are written again; the message stays where it is
    assert panels(viewer) == ["audit"]
    press("Escape")
    assert panels(viewer) == ["details"]
    press("Escape")
    assert panels(viewer) == []


def test_keys_scroll_the_list_that_has_the_focus(guarded: Host, look: Look) -> None:
    say(guarded, user("hello"))
    for number in range(40):
        block = {"user_id": f"u{number + 10}", "reason": "spam"}
        guarded.post("api/admin/block", block, MODERATOR)
    viewer = look(guarded, "#audit", token=MODERATOR)
    viewer.until("document.querySelectorAll('#audit-acts-list li').length === 40")
    viewer.page.locator("#audit .scrolled").focus()
    place = 0
    for key in ("ArrowDown", "PageDown", "End"):
        viewer.page.keyboard.press(key)
        viewer.until("n => document.querySelector('#audit .scrolled').scrollTop > n", place)
        viewer.until_at_rest()
        place = viewer.page.evaluate("document.querySelector('#audit .scrolled').scrollTop")
    assert viewer.page.locator("#details").is_hidden()


def test_a_name_turns_no_word_around_it(guarded: Host, look: Look) -> None:
    say(guarded, user("hello", user_id="u_live", username="Bob (u_bob) for ever \u202eelive"))
    viewer = look(guarded, token=MODERATOR)
    viewer.until_row("hello")
    viewer.page.locator(".row .subject .handle").click()
    name = "\u2068Bob (u_bob) for ever elive\u2069 (u_live)"
    assert items(viewer)[-2:] == [f"Block {name}…", f"Disconnect {name}…"]
    choose(viewer, "Block \u2068Bob")
    viewer.page.locator("#act-submit").click()
    assert viewer.text("#acts .words") == f"Block {name} for 1 day"
