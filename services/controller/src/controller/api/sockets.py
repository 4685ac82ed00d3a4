"""What the WebSocket endpoints share.

The first frame of the client says what it wants. Messages are never empty and never fragmented, and a pause comes
before the close: the released client breaks on the former and loses what arrives together with the latter.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final

from fastapi import Depends, WebSocket
from starlette.websockets import WebSocketDisconnect, WebSocketState

from controller.api.deps import require_person
from controller.domain.accounts import Account
from shared.errors import InvalidInputError
from shared.logging import get_logger

FIRST_FRAME_SECONDS: Final = 30.0
CLOSE_PAUSE_SECONDS: Final = 0.1
BAD_REQUEST_CLOSE: Final = 1008
Who = Annotated[Account, Depends(require_person)]
log = get_logger(__name__)


@asynccontextmanager
async def conversation(websocket: WebSocket) -> AsyncIterator[Mapping[str, object]]:
    """Accept the client and yield the JSON object of its first frame; close in the end, whoever ends it.

    A client that says nothing within 30 s or nothing sensible is closed with a reason.
    """
    await websocket.accept()
    try:
        async with asyncio.timeout(FIRST_FRAME_SECONDS):
            request = _parse(await receive(websocket))
        yield request
    except (InvalidInputError, TimeoutError) as error:
        await _close(websocket, code=BAD_REQUEST_CLOSE, reason=str(error) or "no request came")
    except WebSocketDisconnect:
        return
    else:
        await asyncio.sleep(CLOSE_PAUSE_SECONDS)
        await _close(websocket, code=1000, reason="")


async def receive(websocket: WebSocket) -> bytes:
    """The next message, text or binary alike.

    Raises:
        WebSocketDisconnect: the client went away.
    """
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or 1006)
    text = message.get("text")
    return text.encode() if text is not None else bytes(message.get("bytes") or b"")


async def while_connected(websocket: WebSocket, work: Coroutine[Any, Any, None]) -> None:
    """Do `work` until it is done or the client goes away; what else the client sends is ignored.

    Raises:
        Exception: whatever `work` raises.
    """
    gone = asyncio.create_task(_until_gone(websocket), name="websocket-until-gone")
    working = asyncio.create_task(work, name="websocket-work")
    try:
        await asyncio.wait((gone, working), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, working):
            task.cancel()
        await asyncio.gather(gone, working, return_exceptions=True)
    if not working.cancelled():
        working.result()


def number(request: Mapping[str, object], name: str, default: int) -> int:
    """An integer of the request.

    Raises:
        InvalidInputError: it is there and none.
    """
    value = request.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidInputError(f"{name} must be a whole number")
    return value


def flag(request: Mapping[str, object], name: str) -> bool:
    """A boolean of the request; absent is false."""
    return request.get(name) is True


async def _until_gone(websocket: WebSocket) -> None:
    try:
        while True:
            await receive(websocket)
    except WebSocketDisconnect:
        return


def _parse(raw: bytes) -> Mapping[str, object]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        raise InvalidInputError("the first frame must be a JSON object") from None
    if not isinstance(value, dict):
        raise InvalidInputError("the first frame must be a JSON object")
    return value


async def _close(websocket: WebSocket, *, code: int, reason: str) -> None:
    if websocket.client_state is WebSocketState.CONNECTED and websocket.application_state is WebSocketState.CONNECTED:
        try:
            # A close frame holds at most 123 bytes of reason (RFC 6455 section 5.5).
            await websocket.close(code=code, reason=reason.encode()[:120].decode(errors="ignore"))
        except WebSocketDisconnect:
            return
