"""What `apps logs`, `ps logs` and `ps exec` do with a WebSocket (cli.md 9)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import yaml

from client.model import websocket
from client.model.call import Call, Terminal
from client.model.failures import ClientPanic
from client.model.websocket import Socket, StreamError

STDIN, STDOUT, STDERR, STATUS, SIZE = b"\x00", b"\x01", b"\x02", b"\x03", b"\x04"
_MOST_KEYS: Final = 1024


async def print_logs(call: Call, path: str, request: Mapping[str, object]) -> None:
    """Print each message of a log as a line in a colour of its own."""
    socket = await websocket.dial(call.profile.controller, path, call.profile.token)
    try:
        await socket.send_json(request)
        async for message in socket.frames():
            call.console.print(coloured(message.decode("utf-8", "replace").rstrip("\r\n")))
    except StreamError as error:
        _log(call, error)
    finally:
        await socket.close()


def coloured(line: str) -> str:
    """A line of a log; who says it decides the colour."""
    words = line.partition(" -- ")[0].split()
    word = words[0] if words else ""
    number = sum(word.encode()) % 256 % 6 + 1
    colour = 5 if word == "INFO" else 9 if number == 5 else number
    return f"\x1b[3{colour}m{line}\x1b[0m"


async def execute(call: Call, path: str, *, tty: bool, stdin: bool) -> None:
    """Run a command in an instance. Without stdin exactly one message is read."""
    socket = await websocket.dial(call.profile.controller, path, call.profile.token)
    try:
        await socket.send_json({"tty": tty, "stdin": stdin, "command": call.arguments[1:]})
        if not stdin:
            await _print_one(call, socket)
            return
        if call.terminal is None:
            raise ClientPanic("inappropriate ioctl for device")
        await _converse(call, socket, call.terminal, tty=tty)
    except StreamError as error:
        _log(call, error)
    finally:
        await socket.close()


async def _print_one(call: Call, socket: Socket) -> None:
    async for message in socket.frames():
        _show(call, message)
        return


async def _converse(call: Call, socket: Socket, terminal: Terminal, *, tty: bool) -> None:
    if tty:
        size = {"Height": terminal.rows, "Width": terminal.columns}
        await socket.send(SIZE + json.dumps(size).encode())
    typing = asyncio.create_task(_type(socket, terminal), name="terminal-keys")
    try:
        async for message in socket.frames():
            _show(call, message)
    finally:
        typing.cancel()
        await asyncio.gather(typing, return_exceptions=True)


async def _type(socket: Socket, terminal: Terminal) -> None:
    while True:
        keys = await terminal.keys.get()
        for start in range(0, len(keys), _MOST_KEYS):
            await socket.send(STDIN + keys[start : start + _MOST_KEYS])


def _show(call: Call, message: bytes) -> None:
    if not message:
        raise ClientPanic("index out of range [0] with length 0")
    channel, payload = message[:1], message[1:]
    if channel in (STDOUT, STDERR):
        call.console.print(payload.decode("utf-8", "replace"), end="")
    elif channel == STATUS:
        status = yaml.safe_load(payload)
        text = status.get("message") if isinstance(status, dict) else None
        if isinstance(text, str):
            call.console.print(text, end="")


def _log(call: Call, error: StreamError) -> None:
    call.console.complain(f"{datetime.now():%Y/%m/%d %H:%M:%S} error: {error}")
