"""The way of bytes into a process: complete, in order, with bounded memory."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from pathlib import Path

import pytest

from builder.git.pipe import HIGH_WATER_BYTES, InputPipe
from builder.git.process import GitProcess
from support import eventually

WINDOW = 2 * 1024 * 1024
PACKET = 32 * 1024


class Channel:
    """Delivers as asyncssh does: a paused channel queues, and each delivery of one packet grants a full window."""

    def __init__(self, total: int) -> None:
        self.to_send = total
        self.granted = WINDOW
        self.queue: deque[bytes] = deque()
        self.is_paused = False
        self.most_queued = 0
        self.pipe = InputPipe(pause=self.pause, resume=self.resume)

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False
        while self.queue and not self.is_paused:
            self._deliver(self.queue.popleft())

    def network(self) -> None:
        """The client sends all that it may."""
        while self.to_send and self.granted >= PACKET:
            self.to_send -= PACKET
            self.granted -= PACKET
            if self.is_paused:
                self.queue.append(bytes(PACKET))
            else:
                self._deliver(bytes(PACKET))
            held = len(self.queue) * PACKET + self.pipe.buffered_bytes
            self.most_queued = max(self.most_queued, held)

    def _deliver(self, data: bytes) -> None:
        if self.granted < WINDOW / 2:
            self.granted = WINDOW
        self.pipe.feed(data)


class Collector:
    def __init__(self) -> None:
        self.output = b""

    def take(self, data: bytes, *, is_error: bool) -> None:
        self.output += data


async def test_trap_02_a_slow_reader_does_not_make_memory_grow() -> None:
    channel = Channel(total=64 * 1024 * 1024)
    reader = channel.pipe.reader
    received = 0

    def read() -> int:
        return len(os.read(reader, 64 * 1024))

    while received < 64 * 1024 * 1024:
        channel.network()
        received += await asyncio.to_thread(read)
    channel.pipe.close()

    assert channel.most_queued <= 2 * WINDOW + HIGH_WATER_BYTES + PACKET


async def test_trap_01_all_bytes_arrive_in_order_with_the_end_after_them() -> None:
    pipe = InputPipe(pause=lambda: None, resume=lambda: None)
    pieces = [os.urandom(70_000) for _ in range(60)]
    for piece in pieces:
        pipe.feed(piece)
    pipe.finish()
    collector = Collector()
    process = await GitProcess.spawn(["cat"], environment={"PATH": os.environ["PATH"]}, stdin=pipe, sink=collector)

    assert await process.ended == 0
    assert collector.output == b"".join(pieces)


async def test_writing_to_a_process_that_has_gone_is_quiet() -> None:
    pipe = InputPipe(pause=lambda: None, resume=lambda: None)
    process = await GitProcess.spawn(["true"], environment={"PATH": os.environ["PATH"]}, stdin=pipe, sink=Collector())
    await process.ended
    pipe.feed(b"x" * 100)
    pipe.feed(b"y")
    pipe.finish()
    pipe.close()

    assert pipe.buffered_bytes == 0


@pytest.mark.parametrize("time", range(5))
async def test_trap_01_an_end_that_comes_with_the_last_bytes_cuts_nothing_off(time: int) -> None:
    rest: deque[bytes] = deque(bytes([(number + time) % 251]) * PACKET for number in range(128))
    expected = b"".join(rest)

    def send_rest() -> None:
        # As asyncssh empties its queue: all of it at once, and the end of the file in the same call.
        while rest:
            pipe.feed(rest.popleft())
        pipe.finish()

    pipe = InputPipe(pause=lambda: None, resume=send_rest)
    while pipe.buffered_bytes <= HIGH_WATER_BYTES:
        pipe.feed(rest.popleft())
    collector = Collector()
    process = await GitProcess.spawn(["cat"], environment={"PATH": os.environ["PATH"]}, stdin=pipe, sink=collector)

    async with asyncio.timeout(20):
        assert await process.ended == 0
    assert collector.output == expected


async def test_trap_08_a_surprise_in_a_callback_does_not_leave_the_descriptor_watched() -> None:
    loop = asyncio.get_running_loop()
    surprises: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _loop, context: surprises.append(context))

    def resume() -> None:
        raise RuntimeError("a surprise")

    try:
        pipe = InputPipe(pause=lambda: None, resume=resume)
        reader = os.dup(pipe.reader)
        while pipe.buffered_bytes <= HIGH_WATER_BYTES:
            pipe.feed(bytes(PACKET))
        while await asyncio.to_thread(os.read, reader, PACKET):  # ends: both ends of ours are closed
            pass
        for _ in range(20):
            await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
        os.close(reader)

    assert len(surprises) == 1
    assert pipe.buffered_bytes == 0


async def test_a_process_that_ignores_the_polite_signal_is_ended(tmp_path: Path) -> None:
    marker = tmp_path / "running"
    pipe = InputPipe(pause=lambda: None, resume=lambda: None)
    script = f"trap '' TERM; echo > {marker}; while :; do sleep 0.1; done"
    process = await GitProcess.spawn(
        ["sh", "-c", script], environment={"PATH": os.environ["PATH"]}, stdin=pipe, sink=Collector()
    )
    await eventually(marker.exists)
    await process.end()

    assert process.ended.result() == -9
    pipe.close()
