"""Signing in to the viewer, in a real Chromium, at an issuer on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.support.browser import Host, Viewer, hosting
from tests.support.identity import SECRET, token
from tests.support.issuer import Issuer, issuing
from tests.support.nginx import NGINX
from tests.test_prefix import below_a_prefix

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

VIEW = "?types=user&q=hello#x"
SIGN_IN_PAGE = "viewer/sign-in.html"
TOKEN = "() => sessionStorage['livelog.token']"
KEPT = "() => Object.keys(sessionStorage).sort()"
REFUSED = ("401", "400", "503", "CORS", "Failed to load")
"""Parts of what a browser itself says of answers that are no success; the page tells them."""


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Issuer, Host]]:
    """An issuer, and a server whose viewer signs in there, with the usual settings."""
    with issuing() as issuer, server_of(issuer) as host:
        yield issuer, host


@pytest.fixture
def issuer(place: tuple[Issuer, Host]) -> Issuer:
    """The issuer, as new."""
    place[0].reset()
    return place[0]


@pytest.fixture
def host(place: tuple[Issuer, Host]) -> Host:
    """The server with the usual settings."""
    return place[1]


@contextmanager
def server_of(issuer: Issuer, *more: str) -> Iterator[Host]:
    """Run a server whose viewer signs in there."""
    options = ("--oauth-issuer", issuer.url, "--viewer-client-id", issuer.client_id)
    with hosting("--store", "memory", "--no-limits", *options, *more) as host:
        issuer.redirects.add(host.url + SIGN_IN_PAGE)
        yield host


class Page(Viewer):
    """The viewer, with what a reader does to sign in."""

    def visit(self, url: str) -> None:
        """Open the viewer, and wait until it offers to sign in."""
        self.page.goto(url)
        self.page.locator("#sign-in").wait_for()

    def sign_in(self) -> None:
        """Click, and wait for the way back."""
        with self.page.expect_navigation(url=lambda url: SIGN_IN_PAGE in url, wait_until="commit"):
            self.page.locator("#sign-in").click()
        self.page.wait_for_url(lambda url: SIGN_IN_PAGE not in url)

    def come_back(self, answer: str) -> None:
        """Open the address of an answer, and wait for the viewer."""
        self.page.goto(answer, wait_until="commit")
        self.page.wait_for_url(lambda url: SIGN_IN_PAGE not in url)

    def until_told(self, words: str) -> None:
        """Wait until the login says this."""
        self.until_told_by("login-reason", words)

    def until_told_by(self, place: str, words: str) -> None:
        """Wait until the element with this id says this."""
        self.until(f"w => document.getElementById('{place}')?.textContent.includes(w)", words)

    def until_connection(self, words: str) -> None:
        """Wait, also on the way back, until the state of the connection is told so."""
        self.until("w => document.getElementById('connection')?.textContent.includes(w)", words)

    @property
    def own_faults(self) -> list[str]:
        """The faults, without what the browser says by itself of refusals."""
        return [fault for fault in self.faults if not any(words in fault for words in REFUSED)]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a profile of its own; at the end nothing may have gone wrong in it."""
    with ExitStack() as stack:
        context = browser.new_context()
        stack.callback(context.close)
        made = Page(context.new_page())
        yield made
        assert made.own_faults == []


# Signing in and out.


def test_the_reader_signs_in_and_comes_back_to_the_view(
    issuer: Issuer, host: Host, page: Page
) -> None:
    page.visit(host.url + VIEW)
    page.until_told("requires a token")
    assert page.text("#sign-in") == f"Sign in at {urlsplit(issuer.url).netloc}"
    page.sign_in()
    page.until_connection("Connected")
    assert page.page.url == host.url + VIEW
    [asked] = issuer.asked
    assert asked.keys() == {
        *("response_type", "client_id", "redirect_uri", "scope", "state"),
        *("code_challenge", "code_challenge_method"),
    }
    assert asked["scope"] == "openid read publish"
    assert len(asked["state"]) == len(asked["code_challenge"]) == 43
    [form] = issuer.forms
    assert 43 <= len(form["code_verifier"]) <= 128
    assert issuer.faults == []
    assert page.page.evaluate(KEPT) == ["livelog.session", "livelog.token"]
    page.page.reload()
    page.until_connection("Connected")
    assert len(issuer.forms) == 1


def test_the_account_says_who_it_is_and_signs_out_at_the_issuer(issuer: Issuer, page: Page) -> None:
    with server_of(issuer, "--viewer-scopes", "openid read") as host:
        issuer.scope = "read"
        page.visit(host.url)
        page.sign_in()
        page.page.locator("#account").click()
        assert page.text("#account") == "ann"
        shown = page.text("#account-values").split("\n")
        assert {"ann", "read", f"at {urlsplit(issuer.url).netloc}"} <= {*shown}
        assert issuer.asked[0]["scope"] == "openid read"
        page.page.locator("#sign-out").click()
        page.page.locator("#sign-in").wait_for()
        [ended] = issuer.ended
        assert ended["post_logout_redirect_uri"] == page.page.url == host.url
        assert ended["id_token_hint"].startswith("id.")
        assert page.page.evaluate(KEPT) == []


def test_the_issuer_is_told_what_the_token_is_for(issuer: Issuer, host: Host, page: Page) -> None:
    issuer.target = {"audience": "the log", "resource": "https://log.example.org/"}
    issuer.lifetime = 4
    page.visit(host.url)
    page.sign_in()
    page.until_told("gives no token for what this server asks for (--viewer-resource")
    options = [f"--viewer-{name}={value}" for name, value in issuer.target.items()]
    with server_of(issuer, "--jwt-leeway", "0", *options) as aimed:
        page.visit(aimed.url)
        page.sign_in()
        page.until_connection("Connected")
        until(lambda: len(issuer.forms) >= 2, page)  # a renewal names it, too
        page.until_connection("Connected")


def test_without_an_end_of_session_only_the_tab_forgets(issuer: Issuer, page: Page) -> None:
    issuer.metadata["end_session_endpoint"] = None
    with server_of(issuer) as host:
        page.visit(host.url + VIEW)
        page.sign_in()
        page.page.locator("#account").click()
        page.page.locator("#sign-out").click()
        page.page.locator("#sign-in").wait_for()
        assert page.page.url == host.url + VIEW
        assert page.page.evaluate(KEPT) == []


def test_a_login_that_was_closed_can_be_opened_again(
    issuer: Issuer, host: Host, page: Page
) -> None:
    page.visit(host.url)
    page.page.keyboard.press("Escape")
    assert page.page.locator("#login").is_hidden()
    page.page.locator("#account").click()
    page.sign_in()
    page.until_connection("Connected")


def test_a_token_by_hand_works_as_before(issuer: Issuer, page: Page) -> None:
    with server_of(issuer, "--jwt-secret", SECRET) as host:
        page.visit(host.url)
        page.page.locator("#token").fill(token("bob", "read", iss=issuer.url))
        page.page.locator("#login-form button").click()
        page.until_connection("Connected")
        page.page.locator("#account").click()
        assert "with a token or an API key" in page.text("#account-values")
        page.page.locator("#sign-out").click()
        page.page.locator("#sign-in").wait_for()
        assert issuer.asked == issuer.ended == []


def test_where_there_is_no_issuer_none_is_offered(page: Page) -> None:
    with hosting("--store", "memory", "--jwt-secret", SECRET) as host:
        with page.page.expect_response(lambda answer: answer.url.endswith("/api/sign-in")):
            page.page.goto(host.url)
        page.page.locator("#token").wait_for()
        assert page.page.locator("#sign-in").is_hidden()


@pytest.mark.skipif(not Path(NGINX).exists(), reason="there is no nginx")
def test_it_works_below_a_prefix(issuer: Issuer, host: Host, page: Page, tmp_path: Path) -> None:
    with below_a_prefix(host, tmp_path) as url:
        issuer.redirects.add(url + SIGN_IN_PAGE)
        page.visit(url + VIEW)
        page.sign_in()
        page.until_connection("Connected")
        assert page.page.url == url + VIEW
        page.page.locator("#account").click()
        page.page.locator("#sign-out").click()
        page.page.locator("#sign-in").wait_for()
        assert issuer.ended[0]["post_logout_redirect_uri"] == page.page.url == url


# What goes wrong: each is told once, in words, and the view is still there.

TOLD = {
    "refused": ({"error": "access_denied", "code": ""}, "did not allow this page to sign you in"),
    "scopes": ({"error": "invalid_scope"}, "does not grant the scopes"),
    "client": ({"error": "unauthorized_client"}, "does not let this client"),
    "a fault": ({"error": "server_error"}, "has a fault at the moment"),
    "another": (
        {"error": "toString", "error_description": "<b>no</b>"},
        "has refused (toString). It says: <b>no</b>",
    ),
    "state": ({"state": "another"}, "belongs to another sign-in"),
    "no state": ({"state": ""}, "belongs to another sign-in"),
    "issuer": ({"iss": "https://other.example"}, "The answer is not from 127.0.0.1:"),
    "no issuer": ({"iss": ""}, "The answer is not from 127.0.0.1:"),
    "no code": ({"code": ""}, "has answered without a code"),
    "code": ({"code": "stale"}, "no longer takes this sign-in"),
}


def test_an_answer_that_is_no_token_is_told(issuer: Issuer, page: Page) -> None:
    issuer.metadata["authorization_response_iss_parameter_supported"] = True
    with server_of(issuer) as host:
        page.visit(host.url + VIEW)
        for case, (answer, words) in TOLD.items():
            issuer.answer = answer
            page.sign_in()
            page.until_told(words)
            assert page.page.url == host.url + VIEW, case
            assert page.page.evaluate(KEPT) == [], case
            page.until_connection("Not logged in")
            page.page.locator("#sign-in").wait_for()
        assert issuer.forms == []
        # The next attempt is not the worse for it.
        issuer.answer = {}
        page.sign_in()
        page.until_connection("Connected")


def test_an_issuer_that_does_not_name_itself_is_taken_unless_it_promised(
    issuer: Issuer, host: Host, page: Page
) -> None:
    issuer.answer = {"iss": ""}
    page.visit(host.url)
    page.sign_in()
    page.until_connection("Connected")


def test_a_reader_who_turns_back_can_sign_in_after_all(
    issuer: Issuer, host: Host, page: Page
) -> None:
    page.visit(host.url + VIEW)
    issuer.client_id = "another"  # the issuer keeps the reader, and says why
    with page.page.expect_navigation(url=lambda url: url.startswith(issuer.url)):
        page.page.locator("#sign-in").click()
    issuer.reset()
    page.page.go_back()
    page.page.locator("#sign-in").wait_for()
    page.sign_in()
    page.until_connection("Connected")
    assert page.page.url == host.url + VIEW


def test_a_code_is_not_used_again(issuer: Issuer, host: Host, page: Page) -> None:
    page.visit(host.url)
    with page.page.expect_request(lambda request: SIGN_IN_PAGE + "?" in request.url) as answer:
        page.sign_in()
    page.until_connection("Connected")
    page.come_back(answer.value.url)
    page.until("document.getElementById('notice')?.textContent.includes('used already')")
    page.until_connection("Connected")  # the token at hand is as good as before
    page.page.evaluate("() => sessionStorage.clear()")
    page.come_back(answer.value.url)
    page.until_told("was not begun in this tab, or was used already")
    assert page.page.url == host.url
    assert len(issuer.forms) == 1


def test_an_issuer_that_lets_no_page_ask_is_told(issuer: Issuer, host: Host, page: Page) -> None:
    issuer.cors = False
    page.visit(host.url + VIEW)
    page.sign_in()
    page.until_told(f"it does not allow the origin {host.url.rstrip('/')} (CORS)")


def test_an_issuer_that_is_down_is_told_before_the_page_is_left(
    issuer: Issuer, host: Host, page: Page
) -> None:
    page.visit(host.url + VIEW)
    issuer.stop()
    page.page.locator("#sign-in").click()
    page.until_told("cannot be reached")
    issuer.start()
    page.sign_in()
    page.until_connection("Connected")
    assert page.page.url == host.url + VIEW


def test_an_issuer_that_goes_down_on_the_way_is_told(
    issuer: Issuer, host: Host, page: Page
) -> None:
    page.visit(host.url)
    page.page.route(
        "**/token",
        lambda route: route.abort() if issuer.asked else route.continue_(),
    )
    page.sign_in()
    page.until_told("cannot be reached")


def test_an_issuer_with_a_fault_is_told(issuer: Issuer, host: Host, page: Page) -> None:
    issuer.status = 503
    page.visit(host.url)
    page.sign_in()
    page.until_told("has answered without a token (HTTP status 503)")


CLAIMS: list[dict[str, int]] = [
    {"exp": 1_000_000_000},
    {"iat": 9_000_000_000},
    {"nbf": 9_000_000_000},
]


def test_clocks_that_differ_are_told(issuer: Issuer, host: Host, page: Page) -> None:
    page.visit(host.url)
    for issuer.refreshes in (True, False):
        for issuer.claims in CLAIMS:
            page.sign_in()
            names = f"The clocks of {urlsplit(issuer.url).netloc} and of this server differ"
            page.until_told(names)
            assert page.page.evaluate(KEPT) == []
            page.page.locator("#sign-in").wait_for()


def test_a_token_that_is_not_for_this_server_is_told(issuer: Issuer, page: Page) -> None:
    with server_of(issuer, "--jwt-audience", "livelog") as host:
        page.visit(host.url)
        page.sign_in()
        page.until_told("The token is not valid: ")
        assert page.page.evaluate(KEPT) == []


# Renewal.


def until(condition: Any, page: Page) -> None:
    """Wait for something at the issuer."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        page.page.wait_for_timeout(50)


def test_a_token_is_renewed_before_it_expires(issuer: Issuer, page: Page) -> None:
    issuer.lifetime = 4
    with server_of(issuer, "--jwt-leeway", "0") as host:
        page.visit(host.url)
        page.sign_in()
        page.until_connection("Connected")
        page.page.evaluate(
            """() => {
              window.states = [];
              new MutationObserver(() => {
                window.states.push(document.getElementById('light').dataset.state);
              }).observe(document.getElementById('light'), { attributes: true });
            }"""
        )
        until(lambda: len(issuer.forms) >= 4, page)
        used = [form["refresh_token"] for form in issuer.forms[1:]]
        assert len({*used}) == len(used)  # each is good once
        assert {*page.page.evaluate("() => window.states")} <= {"connected"}
        assert page.page.locator("#login").is_hidden()
        assert page.page.locator("#notice").is_hidden()


def test_a_renewed_token_without_the_scope_takes_the_audit_log_away(
    issuer: Issuer, page: Page
) -> None:
    issuer.lifetime, issuer.scope = 4, "read moderate"
    listed = "document.getElementById('audit-acts-list').checkVisibility()"
    with server_of(issuer, "--jwt-leeway", "0") as host:
        page.visit(f"{host.url}#audit")
        page.sign_in()
        page.until_connection("Connected")
        host.post("api/admin/block", {"user_id": "u9"}, page.page.evaluate(TOKEN))
        page.until(f"{listed} && document.querySelector('#audit-acts-list li')")
        issuer.scope = "read"
        page.until(f"!{listed}")
        page.until_told_by("audit-state", "those who have the scope moderate")
        page.faults.clear()  # the browser's own word about a status 403, if it asked meanwhile


def test_the_end_of_the_session_is_told(issuer: Issuer, page: Page) -> None:
    issuer.lifetime = 4
    with server_of(issuer, "--jwt-leeway", "0") as host:
        page.visit(host.url + VIEW)
        page.sign_in()
        page.until_connection("Connected")
        issuer.refresh_tokens.clear()
        page.until_told("no longer takes this sign-in")
        page.until_connection("Not logged in")
        page.page.locator("#sign-in").wait_for()
        page.sign_in()
        page.until_connection("Connected")
        assert page.page.url == host.url + VIEW


def test_without_a_refresh_token_the_reader_signs_in_again(issuer: Issuer, page: Page) -> None:
    issuer.lifetime, issuer.refreshes = 3, False
    with server_of(issuer, "--jwt-leeway", "0") as host:
        page.visit(host.url)
        page.sign_in()
        page.until_told("The token has expired")


def test_an_issuer_that_is_down_for_a_while_costs_no_session(issuer: Issuer, page: Page) -> None:
    issuer.lifetime = 4
    with server_of(issuer, "--jwt-leeway", "0") as host:
        page.visit(host.url)
        page.sign_in()
        page.until_connection("Connected")
        issuer.stop()
        page.until("document.getElementById('notice').textContent.includes('cannot be reached')")
        page.until_connection("Connection lost")
        issuer.start()
        page.until_connection("Connected")
        assert page.page.locator("#login").is_hidden()
