"""Logs over WebSockets: of a whole app line by line, of one instance as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Final

from fastapi import APIRouter, WebSocket

from controller.api.deps import Ctx
from controller.api.sockets import Who, conversation, flag, number, while_connected
from controller.context import Context
from controller.domain.accounts import Account
from controller.services.access import Access, Action
from shared.errors import SuiteError

router = APIRouter(prefix="/v2/apps/{app_id:word}")
MOST_LINES: Final = 100_000
MOST_MESSAGE_BYTES: Final = 16 * 1024 * 1024
MOST_SECONDS: Final = 24 * 3600


@router.websocket("/logs")
async def app_logs(websocket: WebSocket, app_id: str, who: Who, ctx: Ctx) -> None:
    """What all instances of the app say, one line a message: the client colours each by its first word."""
    await _authorise(ctx, app_id, who)
    async with conversation(websocket) as request:
        lines, follow = number(request, "lines", 100), flag(request, "follow")
        seconds = min(max(number(request, "timeout", 300), 1), MOST_SECONDS)
        source = ctx.engine.logs(app_id, instance=None, lines=min(lines, MOST_LINES), follow=follow)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await while_connected(websocket, _send_lines(websocket, source))


@router.websocket("/pods/{name:word}/logs")
async def pod_logs(websocket: WebSocket, app_id: str, name: str, who: Who, ctx: Ctx) -> None:
    """What one instance says: everything in one message, or with `follow` a message for each piece."""
    await _authorise(ctx, app_id, who)
    async with conversation(websocket) as request:
        lines, follow = number(request, "lines", 300), flag(request, "follow")
        source = ctx.engine.logs(app_id, instance=name, lines=min(lines, MOST_LINES), follow=follow)
        send = _send_pieces if follow else _send_at_once
        await while_connected(websocket, send(websocket, source))


async def _authorise(ctx: Context, app_id: str, who: Account) -> None:
    async with ctx.unit_of_work() as uow:
        await Access(uow).app(app_id, who, Action.VIEW)


async def _send_lines(websocket: WebSocket, source: AsyncIterator[bytes]) -> None:
    rest = b""
    async with aclosing(_pieces(source)) as pieces:
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                await _send_text(websocket, line)
    await _send_text(websocket, rest)


async def _send_pieces(websocket: WebSocket, source: AsyncIterator[bytes]) -> None:
    async with aclosing(_pieces(source)) as pieces:
        async for piece in pieces:
            if piece:
                await websocket.send_bytes(piece)


async def _send_at_once(websocket: WebSocket, source: AsyncIterator[bytes]) -> None:
    everything = bytearray()
    async with aclosing(_pieces(source)) as pieces:
        async for piece in pieces:
            everything += piece
            if len(everything) > 2 * MOST_MESSAGE_BYTES:
                del everything[:-MOST_MESSAGE_BYTES]
    await _send_text(websocket, bytes(everything[-MOST_MESSAGE_BYTES:]))


async def _send_text(websocket: WebSocket, text: bytes) -> None:
    if text.strip(b"\r\n"):
        await websocket.send_text(text.decode("utf-8", "replace"))


async def _pieces(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The pieces of `source`, which is closed in the end; an error that we know becomes a last line that says so."""
    try:
        async for piece in source:
            yield piece
    except SuiteError as error:
        yield f"{error.detail}\n".encode()
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
