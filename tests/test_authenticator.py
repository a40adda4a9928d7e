"""The authenticator: which check a credential goes to, and in which order things are checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from livelog.auth import keyfile
from livelog.auth.authenticator import ApiKeyCheck, Authenticator, Check
from livelog.auth.credentials import MAX_BYTES, NOTHING, Credential, invalid
from livelog.auth.keyfile import KeyFile
from livelog.auth.principal import ANYBODY, Principal
from livelog.errors import AUTHENTICATION_FAILED, INVALID_TOKEN, TOKEN_EXPIRED, RefusedError
from tests.support.clock import Clock
from tests.support.identity import api_key
from tests.support.wire import on_uvloop


class Recorder:
    """A check of the secrets that begin with `prefix`; it records what it is asked."""

    def __init__(self, prefix: str, *, refuses: bool = False) -> None:
        self.prefix = prefix
        self.refuses = refuses
        self.asked: list[tuple[str, float]] = []

    def takes(self, secret: str) -> bool:
        return secret.startswith(self.prefix)

    async def check(self, secret: str, now: float) -> Principal:
        self.asked.append((secret, now))
        if self.refuses:
            raise invalid("refused by the recorder")
        return Principal(f"{self.prefix}*")


class Ends:
    """Counts how often it is called."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def of(clock: Clock, *checks: Check, keys: ApiKeyCheck | None = None) -> Authenticator:
    """Make an authenticator with these checks; that of the API keys stands first."""
    return Authenticator([*([keys] if keys else []), *checks], keys, clock, Ends())


async def refusal(authenticator: Authenticator, credential: Credential) -> tuple[int, str]:
    """Return the code and the issue with which a credential is refused."""
    with pytest.raises(RefusedError) as caught:
        await authenticator.check(credential)
    assert caught.value.field == "token"
    return caught.value.code, caught.value.issue


# The order of checks.


@on_uvloop
async def test_no_credential_is_refused_before_any_check(clock: Clock) -> None:
    check = Recorder("")
    assert await refusal(of(clock, check), NOTHING) == (
        AUTHENTICATION_FAILED,
        "authenticate with a token or an API key",
    )
    assert check.asked == []


@pytest.mark.parametrize("name", ["token", "api_key"])
@on_uvloop
async def test_an_oversized_credential_is_refused_before_any_check(
    name: str, clock: Clock, file: Path
) -> None:
    api_key(file)
    check = Recorder("")
    authenticator = of(clock, check, keys=ApiKeyCheck(KeyFile(str(file))))
    oversized = Credential(**{name: "x" * (MAX_BYTES + 1)})
    code, issue = await refusal(authenticator, oversized)
    assert (code, issue) == (INVALID_TOKEN, f"the credential is longer than {MAX_BYTES} bytes")
    assert check.asked == []


@on_uvloop
async def test_a_credential_may_have_the_maximum_size(clock: Clock) -> None:
    assert (await of(clock, Recorder("x")).check(Credential("x" * MAX_BYTES))).id == "x*"


@on_uvloop
async def test_the_size_is_counted_in_bytes(clock: Clock) -> None:
    check = Recorder("")
    for letter in ("é", "\ud800"):
        code, _ = await refusal(of(clock, check), Credential(letter * (MAX_BYTES // 2 + 1)))
        assert code == INVALID_TOKEN
    assert check.asked == []


@on_uvloop
async def test_the_first_check_that_takes_a_credential_decides(clock: Clock) -> None:
    one, two, rest = Recorder("a"), Recorder("ab"), Recorder("")
    authenticator = of(clock, one, two, rest)
    assert (await authenticator.check(Credential("abc"))).id == "a*"
    assert (await authenticator.check(Credential("b"))).id == "*"
    assert (one.asked, two.asked, rest.asked) == ([("abc", 1000.0)], [], [("b", 1000.0)])


@on_uvloop
async def test_a_refused_credential_is_not_tried_elsewhere(clock: Clock) -> None:
    one, rest = Recorder("a", refuses=True), Recorder("")
    assert (await refusal(of(clock, one, rest), Credential("abc")))[1] == "refused by the recorder"
    assert rest.asked == []


@on_uvloop
async def test_a_credential_that_no_check_takes_is_refused(clock: Clock) -> None:
    expected = (INVALID_TOKEN, "credentials of this kind are not accepted here")
    assert await refusal(of(clock, Recorder("a")), Credential("b")) == expected
    assert await refusal(of(clock), Credential("b")) == expected


@on_uvloop
async def test_a_check_is_told_the_time_of_the_clock(clock: Clock) -> None:
    check = Recorder("")
    authenticator = of(clock, check)
    for clock.now in (1.0, 2.5):
        await authenticator.check(Credential("a"))
    assert check.asked == [("a", 1.0), ("a", 2.5)]


# API keys.


@pytest.mark.parametrize("name", ["token", "api_key"])
@on_uvloop
async def test_an_api_key_may_be_shown_as_either_kind(name: str, clock: Clock, file: Path) -> None:
    secret, rest = api_key(file, "ann"), Recorder("")
    authenticator = of(clock, rest, keys=ApiKeyCheck(KeyFile(str(file))))
    assert (await authenticator.check(Credential(**{name: secret}))).id == "ann"
    assert rest.asked == []


@on_uvloop
async def test_a_token_shown_as_an_api_key_goes_to_no_other_check(clock: Clock, file: Path) -> None:
    api_key(file)
    rest = Recorder("")
    for keys in (ApiKeyCheck(KeyFile(str(file))), None):
        code, issue = await refusal(of(clock, rest, keys=keys), Credential(api_key="eyJ.a.b"))
        assert (code, issue) == (INVALID_TOKEN, "credentials of this kind are not accepted here")
    assert rest.asked == []


@on_uvloop
async def test_an_api_key_expires_by_the_clock(clock: Clock, file: Path) -> None:
    secret = api_key(file, expires=2000.0)
    authenticator = of(clock, keys=ApiKeyCheck(KeyFile(str(file))))
    clock.now = 1999.9
    assert (await authenticator.check(Credential(api_key=secret))).expires == 2000
    clock.now = 2000.0
    assert (await refusal(authenticator, Credential(api_key=secret)))[0] == TOKEN_EXPIRED


@on_uvloop
async def test_a_principal_stands_until_its_key_is_revoked(clock: Clock, file: Path) -> None:
    secret, other = api_key(file, "ann"), api_key(file, "bob")
    authenticator = of(clock, keys=ApiKeyCheck(KeyFile(str(file))))
    ann = await authenticator.check(Credential(api_key=secret))
    bob = await authenticator.check(Credential(api_key=other))
    assert authenticator.stands(ann)
    with keyfile.changing(str(file)) as keys:
        del keys[str(ann.key)]
    clock.now += 1
    assert not authenticator.stands(ann)
    assert authenticator.stands(bob)
    assert (await refusal(authenticator, Credential(api_key=secret)))[0] == INVALID_TOKEN


def test_a_principal_without_a_key_always_stands(clock: Clock, file: Path) -> None:
    api_key(file)
    for keys in (ApiKeyCheck(KeyFile(str(file))), None):
        for principal in (Principal("ann"), ANYBODY):
            assert of(clock, keys=keys).stands(principal)


@on_uvloop
async def test_closing_releases_what_the_checks_hold(clock: Clock) -> None:
    ends = Ends()
    authenticator = Authenticator([], None, clock, ends)
    assert ends.count == 0
    await authenticator.close()
    assert ends.count == 1
