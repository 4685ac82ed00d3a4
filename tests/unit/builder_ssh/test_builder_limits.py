"""Login limits and the cache of key look-ups."""

from __future__ import annotations

import asyncio

import pytest

from builder.domain.errors import ControllerUnavailableError, TooManyCommandsError
from builder.services.accounts import AccountCache
from builder.services.controller import Account, Fingerprints, speaks_our_version
from builder.services.limits import Caller, CommandLimits
from builder.ssh.limits import FailedLogins, LoginLimits, group_of

KEY = Fingerprints(sha256="SHA256:x", md5="aa:bb")


def test_connections_are_counted_per_address_and_in_total() -> None:
    limits = LoginLimits(total=3, per_address=2)

    assert [limits.enter("a"), limits.enter("a"), limits.enter("a")] == [True, True, False]
    assert [limits.enter("b"), limits.enter("c")] == [True, False]
    limits.leave("a")
    assert limits.enter("c")


def test_commands_are_counted_per_address_key_and_app() -> None:
    limits = CommandLimits(per_address=3, per_key=2, per_app=1)
    ana, same_address = Caller("ana", "SHA256:a", "10.0.0.1"), Caller("bo", "SHA256:b", "10.0.0.1")
    with limits.hold(ana), limits.hold(ana):
        with pytest.raises(TooManyCommandsError, match=r"with your key at once \(2\)"), limits.hold(ana):
            pass
        with (
            limits.hold(same_address),
            pytest.raises(TooManyCommandsError, match=r"from your address at once \(3\)"),
            limits.hold(same_address),
        ):
            pass
    with limits.hold(ana), limits.hold(ana):
        pass
    with (
        limits.hold_app("shop"),
        limits.hold_app("other"),
        pytest.raises(TooManyCommandsError, match=r"on shop at once \(1\)"),
        limits.hold_app("shop"),
    ):
        pass
    unlimited = CommandLimits()
    with unlimited.hold(ana), unlimited.hold(ana), unlimited.hold_app("shop"), unlimited.hold_app("shop"):
        pass


def test_weakness_04_an_address_that_fails_too_often_is_banned_for_a_while() -> None:
    now = 0.0
    failures = FailedLogins(limit=3, window_seconds=60, ban_seconds=30, now=lambda: now)
    failures.failed("a")
    failures.failed("a")
    now = 60.0  # too long ago to count
    failures.failed("a")
    failures.failed("a")
    assert failures.banned_seconds("a") == 0
    failures.failed("a")
    assert (failures.banned_seconds("a"), failures.banned_seconds("b")) == (30, 0)
    now = 89.5
    assert failures.banned_seconds("a") == 1
    now = 90.0
    assert failures.banned_seconds("a") == 0


def test_a_login_that_succeeds_clears_the_address_and_zero_never_bans() -> None:
    failures = FailedLogins(limit=2, window_seconds=60, ban_seconds=30, now=lambda: 0.0)
    failures.failed("a")
    failures.succeeded("a")
    failures.failed("a")
    assert failures.banned_seconds("a") == 0
    never = FailedLogins(limit=0, window_seconds=60, ban_seconds=30, now=lambda: 0.0)
    for _ in range(100):
        never.failed("a")
    assert never.banned_seconds("a") == 0


def test_failed_logins_do_not_fill_the_memory() -> None:
    failures = FailedLogins(limit=1, window_seconds=60, ban_seconds=30, now=lambda: 0.0)
    for number in range(20_001):
        failures.failed(str(number))
    assert (failures.banned_seconds("0"), failures.banned_seconds("20000")) == (0, 30)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
    ],
)
def test_what_counts_as_one_address(address: str, group: str) -> None:
    assert group_of(address) == group


@pytest.mark.parametrize(
    ("version", "fits"),
    [("2.3", True), ("2.10", True), ("2.3.1", True), ("2.2", False), ("3.3", False), ("1.9", False), ("x", False)],
)
def test_weakness_23_versions_are_compared_as_numbers(version: str, fits: bool) -> None:
    assert speaks_our_version(version) is fits


async def test_concurrent_look_ups_share_one_call_and_a_waiter_may_leave() -> None:
    calls: list[Fingerprints] = []
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def look_up(key: Fingerprints) -> Account | None:
        calls.append(key)
        is_asked.set()
        await may_answer.wait()
        return Account("ana")

    cache = AccountCache(look_up)
    waiters = [asyncio.create_task(cache.find(KEY)) for _ in range(3)]
    await is_asked.wait()
    waiters[0].cancel()
    may_answer.set()

    assert await waiters[1] == await waiters[2] == await cache.find(KEY) == Account("ana")
    assert calls == [KEY]
    await cache.close()


async def test_failures_are_not_remembered() -> None:
    answers: list[Account | Exception | None] = [ControllerUnavailableError(), None]

    async def look_up(_key: Fingerprints) -> Account | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    cache = AccountCache(look_up)
    with pytest.raises(ControllerUnavailableError):
        await cache.find(KEY)
    assert await cache.find(KEY) is None
    assert await cache.find(KEY) is None
    assert answers == []


async def test_closing_ends_look_ups() -> None:
    async def look_up(_key: Fingerprints) -> Account | None:
        await asyncio.Event().wait()
        return None

    cache = AccountCache(look_up)
    waiter = asyncio.create_task(cache.find(KEY))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await waiter
