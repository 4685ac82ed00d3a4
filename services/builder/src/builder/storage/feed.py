"""Hands the chunks of an upload over, one at a time: the one who has them waits until storage takes more."""

from __future__ import annotations

import asyncio
from typing import Any, Final

_END: Final = b""


class AbortedError(Exception):
    """Told to the uploading side, so that it takes back what it has sent."""


class Feed:
    """An async iterator that is filled from elsewhere. It ends with `finish`, and fails with `abort`.

    obstore takes an upload back when its source fails, but not when its call is cancelled. So it is given a source of
    our own, which can be made to fail while the real one still waits for something.
    """

    def __init__(self) -> None:
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._chunks.get()
        if chunk is None:
            raise AbortedError("the upload is given up")
        if chunk == _END:
            raise StopAsyncIteration
        return chunk

    async def send(self, chunk: bytes, *, to: asyncio.Future[Any]) -> None:
        """Hand a chunk over as soon as there is room; returns also when `to`, which takes them, has ended."""
        if not self._chunks.full():
            self._chunks.put_nowait(chunk)
            return
        waiting = asyncio.ensure_future(self._chunks.put(chunk))
        try:
            await asyncio.wait({waiting, to}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()

    async def finish(self, *, to: asyncio.Future[Any]) -> None:
        """There is no more."""
        await self.send(_END, to=to)

    def abort(self) -> None:
        """Fail, instead of what was handed over and not taken yet."""
        while not self._chunks.empty():
            self._chunks.get_nowait()
        self._chunks.put_nowait(None)
