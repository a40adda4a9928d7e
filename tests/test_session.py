"""The session: an unknown client has to authenticate in time, a known one may expire."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from livelog.auth.principal import ANYBODY, NOBODY, Principal
from livelog.errors import RefusedError
from livelog.net.websocket import session as module
from livelog.net.websocket.session import WARNING, Session, authenticated

UNIX = 1_700_000_000.0
"""Unix time and the loop's do not run alike."""


def ann(expires: float | None = None, scope: str = "read") -> Principal:
    return Principal("ann", frozenset({scope}), expires)


def context(auth: object = None) -> Any:
    """As much of a context as a session looks at."""
    return SimpleNamespace(
        auth=auth,
        clock=lambda: UNIX,
        loop=SimpleNamespace(time=lambda: 100.0),
        config=SimpleNamespace(auth=SimpleNamespace(auth_timeout=10.0)),
    )


class Authenticator:
    """Knows the ids of API keys that stand."""

    def __init__(self, *standing: str) -> None:
        self.standing = set(standing)

    def stands(self, principal: Principal) -> bool:
        return principal.key is None or principal.key in self.standing


def test_without_authentication_a_session_is_identified_and_never_due() -> None:
    session = module.begin(context())
    assert session.principal is ANYBODY
    assert session.identified
    assert session.due == math.inf


def test_with_authentication_it_has_to_be_identified_in_time() -> None:
    session = module.begin(context(Authenticator()))
    assert not session.identified
    assert session.due == 110
    with pytest.raises(RefusedError, match="in time") as refused:
        session.review(UNIX, 110)
    assert refused.value.code == 4000
    session.identify(ann(), UNIX, 105)
    assert session.identified
    assert session.due == math.inf
    assert session.review(UNIX, 10**9) is None


def test_a_principal_that_expires_is_warned_once_and_then_over() -> None:
    session = Session(NOBODY)
    session.identify(ann(UNIX + 300), UNIX, 100)
    assert session.due == 100 + 300 - WARNING
    warning = session.review(UNIX + 240, 340)
    assert warning is not None
    assert warning.expires_in_seconds == 60
    assert session.due == 400
    assert session.review(UNIX + 270, 370) is None, "warned already"
    with pytest.raises(RefusedError, match="expired") as refused:
        session.review(UNIX + 300, 400)
    assert refused.value.code == 4002


def test_one_that_is_about_to_expire_is_due_at_once() -> None:
    session = Session(NOBODY)
    session.identify(ann(UNIX + 5), UNIX, 100)
    assert session.due == 100


def test_a_new_token_plans_anew_and_is_warned_of_again() -> None:
    session = Session(NOBODY)
    session.identify(ann(UNIX + 30), UNIX, 100)
    assert session.review(UNIX, 100) is not None
    session.identify(ann(UNIX + 1000), UNIX, 100)
    assert session.due == 100 + 1000 - WARNING
    assert session.review(UNIX + 950, 1050) is not None


def test_another_principal_is_refused_and_the_session_stays() -> None:
    session = Session(NOBODY)
    session.identify(ann(), UNIX, 100)
    with pytest.raises(RefusedError, match="somebody else") as refused:
        session.identify(Principal("bob"), UNIX, 100)
    assert refused.value.code == 4001
    assert session.principal.id == "ann"


def test_the_time_to_authenticate_is_not_over_while_a_credential_is_checked() -> None:
    here, session = context(Authenticator()), module.begin(context(Authenticator()))
    assert module.review(session, here, 110, busy=True) is None
    assert session.due == 120
    with pytest.raises(RefusedError):
        module.review(session, here, 120, busy=False)


def test_a_command_under_way_does_not_put_off_the_end_of_a_token() -> None:
    session = Session(NOBODY)
    session.identify(ann(UNIX), UNIX - 100, 0)
    with pytest.raises(RefusedError, match="expired"):
        module.review(session, context(Authenticator()), session.due, busy=True)


def test_a_session_ends_with_its_api_key() -> None:
    keys = Authenticator("k1")
    session = Session(NOBODY)
    session.identify(Principal("ann", key="k1"), UNIX, 100)
    assert module.review(session, context(keys), 101, busy=False) is None
    keys.standing.clear()
    with pytest.raises(RefusedError, match="revoked"):
        module.review(session, context(keys), 102, busy=False)


def test_the_answer_to_a_credential_names_principal_scopes_and_expiry() -> None:
    event = authenticated(Principal("ann", frozenset({"read", "publish"}), 0.0))
    assert (event.id, event.scopes) == ("ann", ["publish", "read"])
    assert event.expires == "1970-01-01T00:00:00.000Z"
