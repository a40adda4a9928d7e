"""How livelog.js and the viewer say who they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import Viewer, chromium, hosting
from tests.support.follower import Follower, following
from tests.support.identity import SECRET, token
from tests.support.wire import on_uvloop, serving, user
from tests.test_authentication import AUTH, Time

pytestmark = pytest.mark.browser


async def entered(follower: Follower, times: int = 1) -> list[dict[str, object]]:
    """Wait until it was told so often who it is."""

    def told() -> list[dict[str, object]] | None:
        events = follower.said("authenticated")
        return events if len(events) >= times else None

    found: list[dict[str, object]] = await follower.until(told, "an answer to who it is")
    return found


@on_uvloop
async def test_a_token_is_shown_before_anything_else(node_modules: Path) -> None:
    async with (
        serving(**AUTH) as house,
        following(house.server.url, node_modules, token=token("u1")) as follower,
    ):
        await follower.call("listen", name="all", types=["user"])
        [event] = await entered(follower)
        assert (event["id"], event["scopes"]) == ("u1", ["publish", "read"])
        await follower.call("publish", message=user("mine"))
        refused = await follower.call("publish", message=user("not mine", user_id="u2"))
        assert (refused["error"]["code"], refused["error"]["details"]["scope"]) == (
            1008,
            "publish:any",
        )
        await follower.until(lambda: follower.contents() == ["mine"], "the message")


@pytest.mark.parametrize(
    ("proof", "code"), [("nonsense", 4001), (token(lasts=-100), 4002), (None, 4000)]
)
def test_who_is_not_let_in_stops(proof: str | None, code: int, node_modules: Path) -> None:
    @on_uvloop
    async def check() -> None:
        async with (
            serving(**AUTH) as house,
            following(house.server.url, node_modules, token=proof) as follower,
        ):
            if proof is None:
                await follower.tell("history")
            assert (await follower.state("stopped"))["code"] == code

    check()


@on_uvloop
async def test_an_open_server_takes_any_token(node_modules: Path) -> None:
    async with (
        serving() as house,
        following(house.server.url, node_modules, token="any") as follower,
    ):
        assert (await follower.call("history"))["total_count"] == 0


@on_uvloop
async def test_a_function_renews_a_token_that_expires(node_modules: Path) -> None:
    clock = Time()
    tokens = [token(lasts=20), token(lasts=500)]
    async with (
        serving(**AUTH, clock=clock, jwt_leeway=0) as house,
        following(house.server.url, node_modules, tokens=tokens) as follower,
    ):
        await follower.call("listen", name="all", types=["user"])
        await entered(follower, 2)
        clock.now += 100
        house.inside.review_sessions()
        house.publish("still here")
        await follower.until(lambda: follower.contents() == ["still here"], "the message")
        assert len(follower.said("state")) == connected_states(follower)


def connected_states(follower: Follower) -> int:
    """How many states there are up to the first `connected`."""
    names = [event["name"] for event in follower.said("state")]
    return names.index("connected") + 1


@on_uvloop
async def test_with_a_function_an_expired_connection_comes_back(node_modules: Path) -> None:
    clock = Time()
    tokens = [token(lasts=100), token(lasts=100_000)]
    async with (
        serving(**AUTH, clock=clock, jwt_leeway=0) as house,
        following(house.server.url, node_modules, tokens=tokens, random=0) as follower,
    ):
        await follower.call("listen", name="all", types=["user"])
        clock.now += 101  # past the warning: the computer was asleep
        house.inside.review_sessions()
        assert (await follower.state("waiting"))["code"] == 4002
        await entered(follower, 2)
        await follower.call("history")
        house.publish("still here")
        await follower.until(lambda: follower.contents() == ["still here"], "the message")


# The viewer.


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    """A page of a browser."""
    with chromium() as browser:
        yield Viewer(browser.new_page())


def test_the_viewer_asks_who_looks_and_keeps_it_for_the_tab(viewer: Viewer) -> None:
    with hosting("--store", "memory", "--jwt-secret", SECRET) as host:
        page = viewer.page
        page.goto(f"{host.url}?type=user")
        page.locator("#token").wait_for()
        assert "requires a token" in viewer.text("#login-reason")
        page.locator("#token").fill("nonsense")
        page.locator("#login-form button").click()
        viewer.until("document.getElementById('login-reason')?.textContent.includes('not valid')")
        page.locator("#token").fill(token("u1", "read publish"))
        page.locator("#login-form button").click()
        viewer.until_connection("Connected")
        assert page.url == f"{host.url}?type=user"
        page.locator("#publish").click()
        for name, value in (("user_id", "u1"), ("username", "Ann"), ("content", "it is me")):
            page.locator(f"#message-fields [name={name}]").fill(value)
        page.locator("#message button[type=submit]").click()
        viewer.until_row("it is me")
        page.reload()
        viewer.until_connection("Connected")
        viewer.until_row("it is me")
        # What a browser says of a 401 by itself is no fault of the page.
        assert [fault for fault in viewer.faults if "401" not in fault] == []
