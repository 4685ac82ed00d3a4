"""A conversation with a script in a filer: lines and pieces of content, each waited for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from controller.engine.kubernetes.filer_scripts import Head, parse_head
from controller.engine.port import ExecSession
from shared.errors import SuiteError, UnavailableError

SILENCE_SECONDS: Final = 60.0
_LAST_WORDS_SECONDS: Final = 2.0
_MOST_WORDS: Final = 4000
_LONGEST_LINE: Final = 200


class LostError(UnavailableError):
    """The filer went away, or something else answers in its place."""


async def _nothing() -> None:
    """Who needs no more time asks for none."""


class Talk:
    """One script that runs in a filer; `close` ends it. `keep` is called now and then while it goes on."""

    def __init__(self, session: ExecSession, *, keep: Callable[[], Awaitable[None]] = _nothing) -> None:
        self._session = session
        self._keep = keep
        self._buffer = b""
        self._words = b""
        self._is_over = False

    async def head(self, *, seconds: float = SILENCE_SECONDS) -> Head:
        """The next line.

        Raises:
            LostError: there is none.
        """
        while b"\n" not in self._buffer:
            data = await self._next(seconds)
            if data is None or len(self._buffer) > _LONGEST_LINE:
                raise LostError(f"the filer went away: {self.words or 'the connection broke'}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        found = parse_head(line)
        if found is None:
            raise LostError("the filer does not answer as it should: its image may be no system with a shell")
        return found

    async def take(self, *, seconds: float = SILENCE_SECONDS) -> bytes | None:
        """The next piece of content; None at the end.

        Raises:
            LostError: it does not come.
        """
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        return await self._next(seconds)

    async def send(self, data: bytes) -> None:
        """Bytes for the script.

        Raises:
            LostError: they are not taken.
        """
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                await self._session.write(data)
        except TimeoutError:
            raise LostError("the filer does not take what is sent") from None

    async def last_words(self) -> str:
        """What the programs of the script have complained of, when it is about to end."""
        with suppress(TimeoutError, SuiteError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                while await self._next(_LAST_WORDS_SECONDS) is not None:
                    pass
        return self.words

    @property
    def words(self) -> str:
        """What the programs of the script have complained of so far."""
        return self._words.decode(errors="replace").strip()

    async def close(self) -> None:
        """End it if it still runs."""
        with suppress(SuiteError):
            await self._session.close()

    async def _next(self, seconds: float) -> bytes | None:
        if self._is_over:
            return None
        await self._keep()
        try:
            async with asyncio.timeout(seconds):
                while (output := await self._session.read()) is not None:
                    stream, data = output
                    if stream == 1 and data:
                        return data
                    self._words = (self._words + data)[-_MOST_WORDS:]
        except TimeoutError:
            raise LostError(f"the filer has said nothing for {seconds:g} s") from None
        self._is_over = True
        return None
