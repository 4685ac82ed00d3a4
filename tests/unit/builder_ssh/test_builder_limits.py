"""Login limits, push locks and the cache of key look-ups."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from builder.domain.errors import ControllerUnavailableError, PushInProgressError
from builder.services.accounts import AccountCache
from builder.services.controller import Account
from builder.services.locks import PushLocks
from builder.ssh.limits import LoginLimits
from support import FakeClock


def test_connections_are_counted_per_address_and_in_total() -> None:
    limits = LoginLimits(total=3, per_address=2)

    assert [limits.enter("a"), limits.enter("a"), limits.enter("a")] == [True, True, False]
    assert [limits.enter("b"), limits.enter("c")] == [True, False]
    limits.leave("a")
    assert limits.enter("c")


def test_a_lock_says_who_holds_it_since_when() -> None:
    clock = FakeClock()
    locks = PushLocks(clock)
    with locks.hold("shop", "ana"):
        clock.advance(timedelta(seconds=90))
        with pytest.raises(PushInProgressError) as caught, locks.hold("shop", "bo"):
            pass
        with locks.hold("other", "bo"):
            pass
    assert caught.value.detail == "Another git push is ongoing: ana pushes shop since 10:00:00 UTC"
    with locks.hold("shop", "bo"):
        pass


async def test_concurrent_look_ups_share_one_call_and_a_waiter_may_leave() -> None:
    calls: list[str] = []
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def look_up(fingerprint: str) -> Account | None:
        calls.append(fingerprint)
        is_asked.set()
        await may_answer.wait()
        return Account("ana")

    cache = AccountCache(look_up)
    waiters = [asyncio.create_task(cache.find("SHA256:x")) for _ in range(3)]
    await is_asked.wait()
    waiters[0].cancel()
    may_answer.set()

    assert await waiters[1] == await waiters[2] == await cache.find("SHA256:x") == Account("ana")
    assert calls == ["SHA256:x"]
    await cache.close()


async def test_failures_are_not_remembered() -> None:
    answers: list[Account | Exception | None] = [ControllerUnavailableError(), None]

    async def look_up(_fingerprint: str) -> Account | None:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    cache = AccountCache(look_up)
    with pytest.raises(ControllerUnavailableError):
        await cache.find("x")
    assert await cache.find("x") is None
    assert await cache.find("x") is None
    assert answers == []


async def test_closing_ends_look_ups() -> None:
    async def look_up(_fingerprint: str) -> Account | None:
        await asyncio.Event().wait()
        return None

    cache = AccountCache(look_up)
    waiter = asyncio.create_task(cache.find("x"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cache.close()
    with pytest.raises(asyncio.CancelledError):
        await waiter
