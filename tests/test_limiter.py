"""The limiter, with a clock that is set by hand; its effect on the wire is in test_floods."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature

import pytest

from livelog import Config
from livelog.auth.principal import ANYBODY, Principal
from livelog.config.check import networks
from livelog.errors import CODES, INVALID_TOKEN, RefusedError
from livelog.net import quotas
from livelog.net.addresses import Networks
from livelog.net.audit import Audit
from livelog.net.limiter import Limiter
from tests.support.clock import Clock
from tests.support.peer import Peer

ANN, BOB = Principal("ann", frozenset({"read"})), Principal("bob")
SERVICE = Principal("service", frozenset({"publish", "publish:any"}))
FAR = "203.0.113.9"


@pytest.fixture
def clock() -> Clock:
    return Clock()


Make = Callable[..., Limiter]


@pytest.fixture
def make(clock: Clock) -> Make:
    def made(proxies: str = "", **settings: int) -> Limiter:
        return Limiter(Config(**settings), Networks(networks(proxies)), clock, Audit(clock))

    return made


def known(limiter: Limiter) -> tuple[int, int]:
    return len(limiter._addresses), len(limiter._users)


def test_a_user_has_one_bucket_wherever_he_connects_from(make: Make, clock: Clock) -> None:
    limiter = make(user_command_limit=3)
    for address in ("203.0.113.1", "203.0.113.2", ""):
        limiter.spend("commands", address, ANN)
    with pytest.raises(RefusedError, match="of this user") as refused:
        limiter.spend("commands", "203.0.113.4", ANN)
    assert refused.value.code == 4003
    assert refused.value.details["retry_after_seconds"] == pytest.approx(20)
    limiter.spend("commands", "203.0.113.1", BOB)
    limiter.spend("messages", "203.0.113.1", ANN)
    clock.now += 20
    limiter.spend("commands", "203.0.113.4", ANN)


@pytest.mark.parametrize("principal", [ANYBODY, SERVICE, Principal("root", frozenset({"admin"}))])
def test_who_is_no_single_user_is_limited_by_address_only(make: Make, principal: Principal) -> None:
    limiter = make(user_message_limit=1, address_message_limit=3)
    for _ in range(3):
        limiter.spend("messages", FAR, principal)
    with pytest.raises(RefusedError, match="of this address"):
        limiter.spend("messages", FAR, principal)


@pytest.mark.parametrize("call", [Limiter.spend, Limiter.charge])
def test_no_principal_is_assumed(call: Callable[..., object]) -> None:
    """A default would let a door that forgets it treat its clients as anybody."""
    assert signature(call).parameters["principal"].default is Parameter.empty


def test_an_ipv6_client_is_his_whole_network(make: Make) -> None:
    limiter = make(address_command_limit=2)
    limiter.spend("commands", "2001:db8::1", ANYBODY)
    limiter.spend("commands", "2001:db8::2", ANYBODY)
    with pytest.raises(RefusedError):
        limiter.spend("commands", "2001:db8::3", ANYBODY)
    limiter.spend("commands", "2001:db8:0:1::3", ANYBODY)


def test_what_is_owed_has_to_come_back_first(make: Make, clock: Clock) -> None:
    limiter = make(address_message_limit=60)
    limiter.spend("messages", FAR, ANYBODY)
    limiter.charge(99, FAR, ANYBODY)
    clock.now += 40
    with pytest.raises(RefusedError):
        limiter.spend("messages", FAR, ANYBODY)
    clock.now += 1.1
    limiter.spend("messages", FAR, ANYBODY)


def test_a_block_ends_and_starts_with_a_clean_slate(make: Make, clock: Clock) -> None:
    limiter = make(block_after=3, block_seconds=100)
    for _ in range(2):
        limiter.failed(FAR)
    limiter.check(FAR)
    limiter.failed(FAR)
    for _ in range(5):
        with pytest.raises(RefusedError, match="blocked") as refused:
            limiter.check(FAR)
        limiter.refused(FAR, refused.value)  # being told so makes it no longer
    limiter.check("203.0.113.10")
    clock.now += 100
    limiter.check(FAR)
    limiter.failed(FAR)
    limiter.check(FAR)


def test_failures_far_apart_do_not_add_up(make: Make, clock: Clock) -> None:
    limiter = make(block_after=3)
    for _ in range(20):
        limiter.failed(FAR)
        clock.now += 20
    limiter.check(FAR)


@pytest.mark.parametrize("address", ["", "127.0.0.1", "::1", "10.1.1.1"])
def test_who_others_stand_behind_is_never_blocked(make: Make, address: str) -> None:
    limiter = make("10.0.0.0/8", block_after=1)
    limiter.failed(address)
    limiter.check(address)


def test_too_many_connections_of_an_address_do_not_block_it(make: Make) -> None:
    limiter = make(block_after=1, waiting_per_ip=1)
    limiter.enter(Peer(), FAR)
    for _ in range(3):
        with pytest.raises(RefusedError, match="wait already") as refused:
            limiter.enter(Peer(), FAR)
        limiter.refused(FAR, refused.value)
    limiter.check(FAR)
    limiter.refused(FAR, RefusedError(INVALID_TOKEN, "token", "is wrong"))
    with pytest.raises(RefusedError, match="blocked"):
        limiter.check(FAR)


def test_who_is_being_answered_is_not_sent_away(make: Make) -> None:
    limiter = make(waiting_connections=2)
    busy, silent, late = Peer(busy=True), Peer(), Peer()
    for connection in (busy, silent, late, Peer()):
        limiter.enter(connection, FAR)
    assert (busy.gone, silent.gone, late.gone) == (False, True, False)


def test_whoever_is_quiet_is_forgotten_and_who_is_not_is_kept(make: Make, clock: Clock) -> None:
    limiter = make(block_after=1, block_seconds=100)
    limiter.spend("messages", FAR, ANN)
    limiter.failed("203.0.113.66")
    limiter.sweep()
    assert known(limiter) == (2, 1)
    clock.now += 61
    limiter.sweep()
    assert known(limiter) == (1, 0)
    with pytest.raises(RefusedError):
        limiter.check("203.0.113.66")
    clock.now += 40
    limiter.sweep()
    assert known(limiter) == (0, 0)


def test_no_number_of_addresses_fills_the_memory(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "REMEMBERED", 100)
    limiter = make(address_message_limit=2)
    for number in range(1000):
        limiter.spend("messages", f"10.0.{number // 256}.{number % 256}", Principal(str(number)))
        limiter.spend("messages", FAR, ANYBODY)  # whoever comes again is not forgotten
        if number == 1:
            break
    with pytest.raises(RefusedError):
        limiter.spend("messages", FAR, ANYBODY)
    for number in range(1000):
        limiter.spend("messages", f"10.0.{number // 256}.{number % 256}", Principal(str(number)))
    assert known(limiter) == (100, 100)


@pytest.mark.parametrize("call", ["refused", "closed"])
@pytest.mark.parametrize("code", CODES)
def test_both_doors_hold_the_same_codes_against_an_address(
    make: Make, call: str, code: int
) -> None:
    limiter = make(block_after=1)
    if call == "closed":
        limiter.closed(FAR, code)
    else:
        limiter.refused(FAR, RefusedError(code, "message", "is wrong"))
    if code in (4000, 4001, 4003):
        with pytest.raises(RefusedError, match="blocked"):
            limiter.check(FAR)
    else:
        limiter.check(FAR)
