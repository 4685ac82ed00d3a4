"""Waits on conditions instead of sleeping."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")
_INTERVAL_SECONDS = 0.01


@overload
async def eventually(predicate: Callable[[], Awaitable[T]], *, timeout: float = ...) -> T: ...
@overload
async def eventually(predicate: Callable[[], T], *, timeout: float = ...) -> T: ...
async def eventually(predicate: Callable[[], T | Awaitable[T]], *, timeout: float = 10.0) -> T:
    """The first truthy value of `predicate`, which may be a coroutine function and may fail by `assert` meanwhile.

    Raises:
        AssertionError: the condition did not come true within `timeout` seconds; tells what was seen last.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        seen: object
        try:
            outcome = predicate()
            value = await outcome if inspect.isawaitable(outcome) else outcome
        except AssertionError as exc:
            seen = exc
        else:
            if value:
                return value
            seen = value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not true within {timeout} s; last seen: {seen!r}")
        await asyncio.sleep(_INTERVAL_SECONDS)
