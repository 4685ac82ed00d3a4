"""Commands in running instances over WebSockets: every message is one channel byte and its payload."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from fastapi import APIRouter, WebSocket

from controller.api.deps import Ctx
from controller.api.sockets import Who, conversation, flag, receive, while_connected
from controller.context import Context
from controller.domain.accounts import Account
from controller.engine.port import ExecSession, NotSupportedError
from controller.services.access import Access, Action
from controller.services.processes import Processes
from shared.db import DatabaseAwayError
from shared.errors import InvalidInputError, NotFoundError, SuiteError, UnavailableError
from shared.logging import get_logger

router = APIRouter(prefix="/v2/apps/{app_id:word}")
STDIN, STDOUT, STDERR, STATUS, RESIZE = b"\x00", b"\x01", b"\x02", b"\x03", b"\x04"
MOST_OUTPUT_BYTES: Final = 8 * 1024 * 1024
LARGEST_TERMINAL: Final = 65535
log = get_logger(__name__)


@router.websocket("/pods/{name:word}/exec")
async def run(websocket: WebSocket, app_id: str, name: str, who: Who, ctx: Ctx) -> None:
    """Run a command beside a process until it ends, the client leaves or the time for it is over."""
    async with ctx.unit_of_work() as uow:
        await Access(uow).app(app_id, who, Action.EXEC)
    async with conversation(websocket) as request:
        command, stdin = _command(request.get("command")), flag(request, "stdin")
        try:
            await _note(ctx, app_id, name, command, who)
            session = await ctx.engine.exec(app_id, name, command=command, tty=flag(request, "tty"), stdin=stdin)
        except SuiteError as error:
            await websocket.send_bytes(STDERR + f"{error.detail}\n".encode())
            return
        seconds = ctx.settings.exec_timeout.total_seconds()
        try:
            log.info("exec_started", app=app_id, instance=name, actor=who.username)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await (_converse(websocket, session) if stdin else _report(websocket, session))
        finally:
            await session.close()


async def _note(ctx: Context, app: str, name: str, command: Sequence[str], who: Account) -> None:
    """Write down what is about to begin: a command of which the audit trail cannot tell does not run.

    Raises:
        NotFoundError: no such instance is there. UnavailableError: the entry cannot be written now.
    """
    observation = await ctx.engine.observe(app)
    if all(instance.name != name for instance in observation.instances):
        raise NotFoundError(f"{name} does not run; see `drycc ps` for what does")
    try:
        async with ctx.unit_of_work() as uow:
            await Processes(uow).note_exec(app, name, command, actor=who)
    except DatabaseAwayError:
        raise UnavailableError("the audit trail cannot be written now, so that nothing was run; try again") from None


async def _report(websocket: WebSocket, session: ExecSession) -> None:
    """Send all output in one message: without stdin the client reads no second one."""

    async def report() -> None:
        output = bytearray()
        while (piece := await session.read()) is not None and len(output) < MOST_OUTPUT_BYTES:
            output += piece[1]
        status = await _status(session) if piece is None and not output else None
        await websocket.send_bytes(status or STDOUT + bytes(output[:MOST_OUTPUT_BYTES]))

    await while_connected(websocket, report())


async def _converse(websocket: WebSocket, session: ExecSession) -> None:
    inward = asyncio.create_task(_inward(websocket, session), name="exec-inward")
    outward = asyncio.create_task(_outward(websocket, session), name="exec-outward")
    try:
        await asyncio.wait((inward, outward), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (inward, outward):
            task.cancel()
        await asyncio.gather(inward, outward, return_exceptions=True)
    for task in (inward, outward):
        if not task.cancelled():
            task.result()


async def _outward(websocket: WebSocket, session: ExecSession) -> None:
    while (piece := await session.read()) is not None:
        channel, data = piece
        if data:
            await websocket.send_bytes((STDERR if channel == STDERR[0] else STDOUT) + data)
    if (status := await _status(session)) is not None:
        await websocket.send_bytes(status)


async def _inward(websocket: WebSocket, session: ExecSession) -> None:
    while True:
        frame = await receive(websocket)
        if frame[:1] == STDIN:
            with suppress(NotSupportedError):  # of an empty one, which ends the input where that can be
                await session.write(frame[1:])
        elif frame[:1] == RESIZE:
            await _resize(session, frame[1:])


async def _resize(session: ExecSession, payload: bytes) -> None:
    try:
        size = json.loads(payload)
        height, width = int(size["Height"]), int(size["Width"])
    except (ValueError, KeyError, TypeError):
        return  # a size that makes no sense changes nothing
    if 0 < height <= LARGEST_TERMINAL and 0 < width <= LARGEST_TERMINAL:
        await session.resize(height=height, width=width)


async def _status(session: ExecSession) -> bytes | None:
    """The last message of a command that failed; one that went well needs none."""
    code = await session.wait()
    if code == 0:
        return None
    status = {"status": "Failure", "reason": "NonZeroExitCode"}
    return STATUS + json.dumps({**status, "message": f"command terminated with exit code {code}"}).encode()


def _command(value: object) -> list[str]:
    if (
        not isinstance(value, list)
        or not value
        or not all(isinstance(word, str) and "\0" not in word for word in value)
    ):
        raise InvalidInputError("command must be a list of words")
    return value
