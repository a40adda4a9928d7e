"""The viewer in a real Chromium, on servers of their own process.

Nothing may be logged as an error in the page, whatever happens to it: `viewer` asserts that.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import Host, Look, Viewer, hosting
from tests.support.follower import NODE
from tests.support.wire import SAMPLES, Json, user

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Route

VIEWER_MODULES = Path(__file__).parent.parent / "livelog/web/viewer"


def test_all_six_types_appear_live_each_with_time_who_what_and_badges(
    host: Host, look: Look
) -> None:
    viewer = look(host)
    assert "There is no message yet" in viewer.text("#empty")
    host.publish(*SAMPLES)
    viewer.until_row("conquest complete")
    shown = {
        kind: viewer.text(f".row.{kind}").replace("\n", " ")
        for kind in ("user", "system", "dm", "raid", "party", "guild")
    }
    assert "DragonMaster" in shown["user"]
    assert "Message text here" in shown["user"]
    assert "#general" in shown["user"]
    assert "user joined" in shown["system"]
    assert "info" in shown["system"]
    assert "DragonMaster → user_67890" in shown["dm"]
    assert "mythic" in shown["raid"]
    assert "in progress" in shown["raid"]
    assert "45 %" in shown["raid"]
    assert "4 members" in shown["party"]
    assert "The Dragonslayers" in shown["guild"]
    viewer.until("document.querySelector('.toggle.guild .rate').textContent !== ''")


def test_the_raw_json_is_shown_on_demand(host: Host, look: Look) -> None:
    [seq] = host.publish(user("look at me", metadata={"deep": {"er": [1, 2]}}))
    viewer = look(host)
    viewer.until_row("look at me")
    viewer.page.locator(".row").click()
    shown = json.loads(viewer.text("#json"))
    assert shown["metadata"] == {"deep": {"er": [1, 2]}}
    assert shown["seq"] == seq
    viewer.page.keyboard.press("Escape")
    assert viewer.page.locator("#details").is_hidden()


def test_numbers_keep_all_their_digits(host: Host, look: Look) -> None:
    big = 9007199254740993
    told = {"type": "system", "event": "error", "data": {"count": big}}
    host.publish(told)
    viewer = look(host)
    viewer.until_row(f"error · count {big}")
    host.publish({**told, "data": {"count": big + 2}})
    viewer.until_row(f"error · count {big + 2}")
    viewer.page.locator(".row").first.click()
    assert f'"count": {big}' in viewer.text("#json")
    with viewer.page.expect_download() as download:
        viewer.page.locator("#download").click()
    lines = download.value.path().read_text().splitlines()
    assert [json.loads(line)["data"]["count"] for line in lines] == [big, big + 2]
    viewer.page.keyboard.press("n")
    for name, value in (("user_id", "u1"), ("username", "Ann"), ("content", "x")):
        viewer.page.locator(f"#message-fields [name={name}]").fill(value)
    viewer.page.locator("#message-fields [name=metadata]").fill(f'{{"n": {big}}}')
    viewer.page.locator("#message button[type=submit]").click()
    assert f"cannot send all digits of {big}" in viewer.text("#answer")


def test_types_and_fields_filter_the_past_and_what_comes(host: Host, look: Look) -> None:
    trade = {"channel": "trade"}
    host.publish(*SAMPLES, user("old trade", metadata=trade))
    viewer = look(host)
    viewer.until_row("old trade")
    for kind in ("system", "dm", "raid", "party", "guild"):
        viewer.page.locator(f".toggle.{kind}").click()
    viewer.until("document.querySelectorAll('.row').length === 2")
    viewer.page.keyboard.press("f")
    viewer.page.get_by_label("channel", exact=True).fill("trade")
    viewer.until("document.querySelectorAll('.row').length === 1")
    host.publish(*SAMPLES[1:], user("no"), user("new trade", metadata=trade))
    viewer.until_row("new trade")
    viewer.until_rows(["old trade", "new trade"])
    assert viewer.page.url.endswith("?types=user&channel=trade")
    # The address holds all of it: whoever opens it sees the same.
    other = look(host, "?types=user&channel=trade")
    other.until_row("new trade")
    other.until_rows(["old trade", "new trade"])
    assert not other.page.locator(".toggle.raid input").is_checked()
    assert other.text("#filters") == "Filters (1)"


TOGGLED = ("dm", "raid", "party", "guild", "dm", "raid", "party")


def toggle(viewer: Viewer) -> None:
    """Change the types one by one, so slowly that each is a change of its own."""
    for kind in TOGGLED:
        viewer.page.locator(f".toggle.{kind}").click()
        viewer.page.wait_for_timeout(450)


def test_some_clicks_on_types_stay_within_the_limit_of_commands(look: Look) -> None:
    with hosting("--store", "memory") as host:
        viewer = look(host)
        viewer.until_connection("Connected")
        toggle(viewer)
        assert "only so many commands" not in viewer.text("#notice")
        host.publish(*SAMPLES)
        viewer.until("document.querySelectorAll('.row').length === 5")
        assert viewer.page.locator(".row.guild").count() == 0


def test_over_the_limit_of_commands_the_last_view_comes_at_last(look: Look) -> None:
    limits = ("--command-limit", "3", "--limit-window", "10")
    with hosting("--store", "memory", *limits) as host:
        viewer = look(host)
        viewer.until_connection("Connected")
        toggle(viewer)
        assert "only so many commands" in viewer.text("#notice")
        host.publish(*SAMPLES)
        viewer.until("document.querySelectorAll('.row').length === 5")
        assert viewer.page.locator(".row.guild").count() == 0


def test_search_finds_marks_and_goes_on_live(host: Host, look: Look) -> None:
    host.publish("a Dragon wakes", "nothing here", "two (dragons) fight", "three")
    viewer = look(host)
    viewer.until_row("three")
    viewer.page.keyboard.press("/")
    viewer.page.keyboard.type("dragon")
    viewer.until("document.querySelectorAll('.row').length === 2")
    host.publish("not this", "DRAGON again")
    viewer.until_row("DRAGON again")
    viewer.until_rows(["a Dragon wakes", "two (dragons) fight", "DRAGON again"])
    marks = viewer.page.locator(".summary mark").all_inner_texts()
    assert sorted(marks, key=str.lower) == sorted(["Dragon", "dragon", "DRAGON"], key=str.lower)
    assert "q=dragon" in viewer.page.url
    viewer.page.locator("#search").fill('"(dragons) fight" .*')
    viewer.until("document.querySelectorAll('.row').length <= 1")


def test_an_expression_selects_the_past_and_what_comes(host: Host, look: Look) -> None:
    channels = [{"channel": "general"}, {"channel": "trade"}]
    host.publish(*[user(f"dragon {n}", metadata=channels[n]) for n in range(2)], "gate")
    viewer = look(host)
    viewer.until_row("gate")
    viewer.page.locator("#search").fill("dragon -channel:trade")
    viewer.until("document.querySelectorAll('.row').length === 1")
    host.publish("not this", user("dragon 2", metadata=channels[1]), "dragon 3")
    viewer.until_row("dragon 3")
    viewer.until_rows(["dragon 0", "dragon 3"])
    assert viewer.page.locator(".summary mark").all_inner_texts() == ["dragon", "dragon"]
    viewer.page.locator("#search").fill("chanel:trade")
    viewer.until("document.body.innerText.includes(\"did you mean 'channel'\")")
    assert ["400" in fault for fault in viewer.faults] == [True]
    viewer.faults.clear()


def test_another_view_begins_at_its_newest_line(host: Host, look: Look) -> None:
    host.publish(*[user(f"{n}", metadata={"channel": f"{n % 2}"}) for n in range(400)])
    viewer = look(host)
    viewer.until_row("399")
    viewer.scroll_away()
    viewer.page.locator(".toggle.raid").click()
    viewer.until_row("399")
    viewer.page.keyboard.press("f")
    viewer.page.get_by_label("channel", exact=True).fill("0")
    viewer.until_row("398")
    host.publish(user("the next", metadata={"channel": "0"}))
    viewer.until_row("the next")
    assert viewer.rows()[-1] == "the next"


def test_dates_limit_what_is_shown(host: Host, look: Look) -> None:
    for day in ("01", "02", "03"):
        host.publish(user(f"day {day}", timestamp=f"2025-12-{day}T12:00:00Z"))
    viewer = look(host, "?from=2025-12-02T00:00:00Z&to=2025-12-02T23:59:59Z")
    viewer.until_row("day 02")
    viewer.until_rows(["day 02"])
    assert viewer.page.locator("#from").input_value().startswith("2025-12-0")


def days(viewer: Viewer) -> list[str]:
    """The day rows, from top to bottom."""
    found: list[str] = viewer.page.evaluate(
        """() => [...document.querySelectorAll('.day')]
            .sort((one, other) => one.getBoundingClientRect().y - other.getBoundingClientRect().y)
            .map((day) => day.textContent)"""
    )
    return found


def test_a_day_row_stands_where_the_local_day_changes(host: Host, look: Look) -> None:
    for time in ("2024-02-29T00:00:00Z", "2024-02-29T23:59:00Z", "2024-03-01T00:00:00Z"):
        host.publish(user(time, timestamp=time))
    viewer = look(host, timezone_id="Asia/Kolkata")
    viewer.until_row("2024-03-01T00:00:00Z")
    first, second = "Thursday, February 29, 2024 · UTC+05:30", "Friday, March 1, 2024 · UTC+05:30"
    assert days(viewer) == [first, second]
    assert viewer.page.locator(".row .time").all_inner_texts() == [
        "05:30:00.000",
        "05:29:00.000",
        "05:30:00.000",
    ]
    viewer.page.keyboard.press("k")
    for content in ("2024-02-29T23:59:00Z", "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"):
        viewer.page.keyboard.press("k")
        assert content in viewer.text("#json")
    assert viewer.text("#title").endswith("UTC+05:30")
    viewer.page.keyboard.press("j")
    viewer.page.keyboard.press("j")
    assert "2024-03-01T00:00:00Z" in viewer.text("#json")


def test_a_result_is_shown_in_its_context_and_back_leads_back(host: Host, look: Look) -> None:
    host.publish(*[f"line {n}" + (" needle" if n == 1500 else "") for n in range(3000)])
    viewer = look(host, "?q=needle")
    viewer.until_row("needle")
    assert len(viewer.rows()) == 1
    viewer.page.locator(".row").click()
    viewer.page.get_by_text("Show in context").click()
    viewer.until_row("line 1499")
    shown = viewer.rows()
    assert {"line 1495", "line 1500 needle", "line 1505"} <= set(shown)
    # It is in the middle, marked, and the newer ones are known of.
    assert (
        viewer.page.locator(".row[aria-selected=true] .summary").inner_text() == "line 1500 needle"
    )
    assert viewer.text("#unseen").endswith("new ↓")
    viewer.again_until(lambda: viewer.scroll(4000), lambda: viewer.rows()[-1:] == ["line 2999"])
    viewer.page.go_back()
    viewer.until("document.querySelectorAll('.row').length === 1")


def test_scrolled_up_nothing_moves_and_the_new_ones_are_counted(host: Host, look: Look) -> None:
    host.publish(*[f"line {n}" for n in range(400)])
    viewer = look(host)
    viewer.until_row("line 399")
    viewer.scroll(-2000)
    viewer.until("!document.querySelector('.row .summary').textContent.includes('line 399')")
    viewer.until_at_rest()
    before = viewer.rows()
    host.publish(*[f"new {n}" for n in range(128)])
    viewer.until("document.getElementById('unseen').textContent === '128 new ↓'")
    assert viewer.rows() == before
    viewer.page.locator("#unseen").click()
    viewer.until_row("new 127")
    viewer.until("document.getElementById('unseen').hidden")
    host.publish("and on it goes")
    viewer.until_row("and on it goes")


def test_scrolling_up_leads_to_the_oldest_message(host: Host, look: Look) -> None:
    host.publish(*[f"line {n}" for n in range(2500)])
    viewer = look(host)
    viewer.until_row("line 2499")
    viewer.again_until(
        lambda: viewer.page.keyboard.press("Home"), lambda: viewer.rows()[:1] == ["line 0"]
    )
    assert viewer.text("#total") == "2,500 messages"


@pytest.mark.parametrize("missed", [300, 7000])
def test_a_pause_loses_nothing(host: Host, look: Look, missed: int) -> None:
    host.publish("before")
    viewer = look(host)
    viewer.until_row("before")
    viewer.page.keyboard.press("p")
    for start in range(0, missed, 1000):
        host.publish(*[f"missed {n}" for n in range(start, min(missed, start + 1000))])
    viewer.until("n => document.getElementById('unseen').textContent === n", f"{missed:,} new ↓")
    viewer.until_rows(["before"])
    viewer.page.keyboard.press("p")
    viewer.until_row(f"missed {missed - 1}")
    host.publish("after")
    viewer.until_row("after")
    assert downloaded(viewer) == ["before", *[f"missed {n}" for n in range(missed)], "after"]


def downloaded(viewer: Viewer) -> list[str]:
    """Contents of the loaded lines, from the file that the page makes of them."""
    with viewer.page.expect_download() as download:
        viewer.page.locator("#download").click()
    lines = download.value.path().read_text().splitlines()
    return [json.loads(line)["content"] for line in lines]


def test_killed_and_restarted_under_the_page_nothing_is_lost_that_was_kept(
    look: Look, tmp_path: Path
) -> None:
    with hosting("--store", str(tmp_path / "log.db"), "--no-limits") as host:
        viewer = look(host)
        host.publish("before")
        viewer.until_row("before")
        host.kill()
        viewer.until_connection("Connection lost. Attempt")
        host.start()
        host.publish("while away")
        viewer.reconnect()
        viewer.until_connection("Connected · resumed without loss")
        host.publish("after")
        viewer.until_row("after")
        viewer.until_rows(["before", "while away", "after"])


def test_a_tab_that_was_frozen_goes_on_where_it_was(look: Look, tmp_path: Path) -> None:
    with hosting("--store", str(tmp_path / "log.db"), "--no-limits") as host:
        viewer = look(host)
        host.publish("before")
        viewer.until_row("before")
        tools = viewer.page.context.new_cdp_session(viewer.page)
        tools.send("Page.setWebLifecycleState", {"state": "frozen"})
        host.publish(*[f"asleep {n}" for n in range(500)])
        host.kill()
        host.start()
        host.publish(*[f"deep asleep {n}" for n in range(500)])
        tools.send("Page.setWebLifecycleState", {"state": "active"})
        viewer.until_row("deep asleep 499")
        assert downloaded(viewer) == [
            "before",
            *[f"asleep {n}" for n in range(500)],
            *[f"deep asleep {n}" for n in range(500)],
        ]


def test_who_reads_the_past_while_the_server_is_away_keeps_the_place(
    look: Look, tmp_path: Path
) -> None:
    with hosting("--store", str(tmp_path / "log.db"), "--no-limits") as host:
        host.publish(*[f"line {n}" for n in range(1500)])
        viewer = look(host)
        viewer.until_row("line 1499")
        host.kill()
        viewer.until_connection("Connection lost. Attempt")
        viewer.page.keyboard.press("Home")  # there is more, and nobody to ask
        viewer.until("document.getElementById('total').textContent.includes('could not load')")
        host.start()
        viewer.reconnect()
        viewer.until("document.getElementById('total').textContent === '1,500 messages'")
        assert viewer.rows()[0].startswith("line ")
        assert int(viewer.rows()[0].split()[1]) < 1450  # the oldest that was loaded
        host.publish("new")
        viewer.until("document.getElementById('unseen').textContent === '1 new ↓'")


def test_what_a_restarted_server_has_lost_is_shown_as_a_gap(host: Host, look: Look) -> None:
    viewer = look(host)
    host.publish("before")
    viewer.until_row("before")
    host.kill()
    viewer.until_connection("Connection lost. Attempt")
    host.start()
    host.publish("while away")
    viewer.reconnect()
    viewer.until_connection("Connected · resumed")
    host.publish("after")
    viewer.until_row("after")
    # This server keeps nothing beyond its life, so the page says that something is missing.
    assert "Gap" in viewer.text(".row.gap")
    viewer.page.locator(".fill").click()
    viewer.until("!document.querySelector('.row.gap')")
    viewer.until_row("before")
    assert viewer.rows()[0] == "before"
    assert viewer.rows()[-1] == "after"


def test_what_appears_beside_the_lines_does_not_stop_it_from_following(
    host: Host, look: Look
) -> None:
    phone = {"viewport": {"width": 390, "height": 700}, "is_mobile": True, "has_touch": True}
    host.publish(*[f"line {n}" for n in range(100)])
    viewer = look(host, **phone)
    viewer.until_row("line 99")
    host.kill()
    viewer.until_connection("Connection lost. Attempt")
    host.start()
    viewer.reconnect()
    viewer.until_connection("Connected · resumed, with a gap")
    viewer.until("!document.getElementById('notice').hidden")
    host.publish("after")
    viewer.until(
        "[...document.querySelectorAll('.summary')].some((e) => e.textContent === 'after')"
    )
    assert viewer.page.locator("#unseen").is_hidden()


def test_the_keyboard_pages_up_and_back_to_the_newest(host: Host, look: Look) -> None:
    host.publish(*[f"line {n}" for n in range(400)])
    viewer = look(host)
    viewer.until_row("line 399")
    viewer.page.keyboard.press("PageUp")
    viewer.until_row("line 350")
    host.publish("new")
    viewer.until("document.getElementById('unseen').textContent === '1 new ↓'")
    viewer.page.keyboard.press("End")
    viewer.until_row("new")


ATTACK = "<img src=x onerror=window.harm=1><script>window.harm=1</script>\"'><b>"


def attacked(value: Any) -> Any:
    """The same message, with an attack in every string that may hold one."""
    kept = {"type", "timestamp", "event", "status", "severity"}
    if isinstance(value, dict):
        return {k: v if k in kept else attacked(v) for k, v in value.items()}
    if isinstance(value, list):
        return [attacked(item) for item in value]
    return f"{ATTACK}{value[:8]}" if isinstance(value, str) else value


def test_text_from_messages_is_never_markup(host: Host, look: Look) -> None:
    messages: list[Json] = [attacked(sample) for sample in SAMPLES]
    messages[0]["user_avatar"] = "javascript:window.harm=1"
    host.publish(*messages)
    viewer = look(host, "?q=img")
    viewer.until("document.querySelectorAll('.row').length === 6")
    viewer.page.locator("#pictures").click()
    for place in range(6):
        viewer.page.locator(".row .summary").nth(place).click()
        viewer.until("!document.getElementById('details').hidden")
    inside = "document.querySelectorAll('main img, main script, main b').length"
    assert viewer.page.evaluate(inside) == 0
    assert viewer.page.evaluate("window.harm") is None
    assert ATTACK in viewer.text(".row.user .summary")
    # Letters that turn the direction of writing stay inside their place.
    assert viewer.page.evaluate("document.querySelector('.row .summary').tagName") == "BDI"


def test_pictures_are_loaded_only_when_asked_for(host: Host, look: Look) -> None:
    viewer = look(host)
    asked: list[str] = []

    def turn_away(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    viewer.page.route("http://pictures.test/**", turn_away)
    host.publish(user("smile", user_avatar="http://pictures.test/a.png"))
    viewer.until_row("smile")
    assert viewer.page.locator(".row img").count() == 0
    assert not asked
    viewer.page.locator("#pictures").click()
    viewer.until("document.querySelector('.row img')")
    assert viewer.page.locator(".row img").get_attribute("src") == "http://pictures.test/a.png"


def test_a_message_is_published_and_a_refusal_is_worded_by_the_server(
    host: Host, look: Look
) -> None:
    viewer = look(host)
    viewer.page.keyboard.press("n")
    form = viewer.page.locator("#message")
    form.get_by_label("user_id").fill("u1")
    form.get_by_label("username").fill("Ann")
    form.get_by_role("button", name="Publish").click()
    viewer.until("document.getElementById('answer').dataset.kind === 'bad'")
    assert viewer.text("#answer") == "1002: message.content: required field is missing"
    form.get_by_label("content").fill("hello there")
    form.get_by_role("button", name="Publish").click()
    viewer.until("document.getElementById('answer').dataset.kind === 'good'")
    viewer.page.locator("#type").select_option("raid")
    for name in ("raid_id", "raid_name", "boss_name", "difficulty"):
        form.get_by_label(name).fill(f"the {name}")
    form.get_by_label("health_percentage").fill("12")
    form.get_by_role("button", name="Publish").click()
    viewer.until("document.getElementById('answer').dataset.kind === 'good'")
    form.get_by_role("button", name="Close").click()
    viewer.until_row("hello there")
    viewer.until_row("12 %")


def test_copies_what_is_shown(host: Host, look: Look) -> None:
    host.publish("one", "two")
    viewer = look(host, permissions=["clipboard-read", "clipboard-write"])
    viewer.until_row("two")
    viewer.page.locator("#copy").click()
    viewer.until("document.getElementById('notice').textContent === '2 messages copied.'")
    copied = viewer.page.evaluate("navigator.clipboard.readText()")
    assert [json.loads(line)["content"] for line in copied.splitlines()] == ["one", "two"]


def test_over_the_limit_of_commands_it_waits_and_says_so(look: Look) -> None:
    limits = ("--command-limit", "2", "--limit-window", "6")
    with hosting("--store", "memory", *limits) as host:
        host.publish("one")
        viewer = look(host)
        viewer.until_row("one")
        for kind in ("raid", "party", "guild"):
            viewer.page.locator(f".toggle.{kind}").click()
            viewer.page.wait_for_timeout(500)
        viewer.until("document.getElementById('notice').textContent.includes('commands a minute')")
        host.publish("comes after all")
        viewer.until_row("comes after all")


def test_fifty_thousand_messages_leave_the_document_small(host: Host, look: Look) -> None:
    def publish(begin: int, end: int) -> None:
        for start in range(begin, end, 5000):
            host.publish(*[f"line {n}" for n in range(start, start + 5000)])

    publish(0, 35_000)
    viewer = look(host)
    publish(35_000, 50_000)
    viewer.until_row("line 49999")
    assert viewer.text("#total") == "50,000 messages"
    assert viewer.page.evaluate("document.querySelectorAll('*').length") < 1500
    for _ in range(10):
        viewer.scroll(-60_000)
    viewer.until_at_rest()
    assert viewer.page.evaluate("document.querySelectorAll('*').length") < 1500
    shown = [int(line.split()[1]) for line in viewer.rows()]
    assert shown == list(range(shown[0], shown[0] + len(shown)))
    viewer.page.keyboard.press("End")
    viewer.until_row("line 49999")


@pytest.mark.parametrize("width", [360, 412])
def test_a_phone_shows_everything_within_its_width(host: Host, look: Look, width: int) -> None:
    host.publish(*SAMPLES, user("word" * 500))
    viewer = look(host, viewport={"width": width, "height": 740}, has_touch=True, is_mobile=True)
    viewer.until_row("wordword")
    assert viewer.page.evaluate("document.documentElement.scrollWidth") <= width
    for kind in ("user", "raid", "guild"):
        what = viewer.page.locator(f".row.{kind} .summary").first.bounding_box()
        assert what is not None
        assert what["x"] >= 0
        assert what["x"] + what["width"] <= width
    viewer.page.locator(".row.raid").tap()
    assert viewer.page.locator("#details").is_visible()


def test_the_keyboard_reaches_everything(host: Host, look: Look) -> None:
    host.publish("one", "two", "three")
    viewer = look(host)
    viewer.until_row("three")
    press = viewer.page.keyboard.press
    press("?")
    assert viewer.page.locator("#shortcuts").is_visible()
    press("Escape")
    viewer.until("!document.getElementById('shortcuts').open")
    press("k")
    press("k")
    assert viewer.page.locator(".row[aria-selected=true] .summary").inner_text() == "two"
    active = viewer.page.locator("#rows").get_attribute("aria-activedescendant")
    assert viewer.page.locator(f"#{active} .summary").inner_text() == "two"
    press("Escape")
    press("p")
    assert viewer.page.locator("#pause").get_attribute("aria-pressed") == "true"
    press("/")
    viewer.page.keyboard.type("p?")
    assert viewer.page.locator("#search").input_value() == "p?"
    assert viewer.page.locator("#shortcuts").is_hidden()


SHIFT = """
import {{ Timeline, CAPACITY }} from "{web}/timeline.js";
import {{ EVERYTHING }} from "{web}/view.js";
let follow;
const live = {{
  on() {{}},
  listen(what, handler) {{
    follow = handler;
    return {{ stop() {{}} }};
  }},
}};
const pages = {{
  head: async () => 0,
  fetch: async () => ({{ messages: [], newer: 0, older: 0 }}),
}};
const timeline = new Timeline(live, pages, () => {{}});
await timeline.open(EVERYTHING);
const heap = () => {{ gc(); return process.memoryUsage().heapUsed / 1e6; }};
let seq = 0, early = 0;
const hours = (count) => {{
  for (const end = seq + count * 3600 * 200; seq < end; ) {{
    seq += 1;
    follow({{ type: "user", seq, content: `line ${{seq}}`, metadata: {{ channel: "general" }} }});
  }}
}};
hours(1); early = heap();
hours(3);
timeline.hold(true); hours(3); timeline.hold(false);  // scrolled up for three hours
await timeline.catchUp();
timeline.hold(false); hours(1);
console.log(JSON.stringify({{ early, late: heap(), rows: timeline.rows.length, CAPACITY, seq }}));
"""


@pytest.mark.skipif(NODE is None, reason="Node is not installed")
def test_a_shift_of_eight_hours_does_not_make_memory_grow(tmp_path: Path) -> None:
    assert NODE is not None
    script = tmp_path / "shift.mjs"
    script.write_text(SHIFT.format(web=VIEWER_MODULES))
    done = subprocess.run(
        [NODE, "--expose-gc", str(script)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["seq"] == 8 * 3600 * 200
    assert figures["rows"] <= figures["CAPACITY"] + 1000
    assert figures["late"] < figures["early"] + 5  # megabytes
