"""The output of a build's containers, line by line, each line once, whatever breaks meanwhile."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from builder.runner.kubernetes.states import ended, is_over
from builder.runner.kubernetes.watching import Seen
from builder.runner.output import plain
from builder.runner.port import Log
from shared.kubernetes.client import Client
from shared.kubernetes.errors import ClusterError, ClusterInvalidError, ClusterNotFoundError
from shared.kubernetes.kinds import Kind

TAIL_LINES: Final = 20
_PAUSE_SECONDS: Final = 1.0
_SILENCE_SECONDS: Final = 60.0
"""What says nothing for so long is asked again: its connection may be dead."""
_MOST_FAILURES: Final = 20
"""So often in a row the output of a container that has ended is asked for, when the API server cannot get it."""
_MOST_BYTES: Final = 64 * 1024
_STAMP: Final = re.compile(r"(?P<second>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<zone>Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True)
class Position:
    """How far the output has been written: everything of the containers before this one, and of this one all lines up
    to that stamp (RFC 3339 with nanoseconds, as the kubelet writes it)."""

    container: str = ""
    stamp: str = ""

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read what `str` has given."""
        container, _, stamp = text.partition(" ")
        return cls(container, stamp)

    def __str__(self) -> str:
        return f"{self.container} {self.stamp}"


class Streamer:
    """Writes the output of one pod to the log; `tail` are the last lines, at most 20."""

    def __init__(self, client: Client[Kind], namespace: str, seen: Seen, log: Log) -> None:
        self._client = client
        self._namespace = namespace
        self._seen = seen
        self._log = log
        self._position = Position.parse(log.position)
        self._tail: list[str] = []
        self._is_new = False

    @property
    def tail(self) -> tuple[str, ...]:
        return tuple(self._tail)

    @property
    def position(self) -> Position:
        return self._position

    async def stream(self, pod: str, container: str) -> None:
        """Write all that the container says until it has ended; ends as well when its pod is gone."""
        if self._position.container != container:
            self._position = Position(container)
        failures = 0
        while True:
            was_over = self._is_over(container)
            try:
                await self._read(pod, container)
            except ClusterNotFoundError:
                return
            except ClusterError as exc:
                # An API server that is away is waited for; one that answers may have lost the machine.
                failures += was_over and (exc.http_status > 0 or self._seen.is_current)
                is_lost = isinstance(exc, ClusterInvalidError) or failures >= _MOST_FAILURES
                if was_over and (is_lost or self._seen.pod is None):
                    return
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if was_over:
                return
            # The output has ended, and the container's status may take a moment; or the connection was cut.
            try:
                await self._seen.until(lambda _: self._is_over(container) or None, seconds=_PAUSE_SECONDS)
            except TimeoutError:
                continue

    def _is_over(self, container: str) -> bool:
        pod = self._seen.pod
        return pod is None or ended(pod, container) is not None or is_over(pod)

    async def _read(self, pod: str, container: str) -> None:
        query = {"container": container, "follow": "true", "timestamps": "true"}
        if self._position.stamp:  # the API server counts in whole seconds
            query["sinceTime"] = f"{self._position.stamp[:19]}Z"
        async with self._client.pod_logs(self._namespace, pod, _SILENCE_SECONDS, **query) as chunks:
            async for lines in _lines(chunks):
                await self._write(container, lines)

    async def _write(self, container: str, lines: list[tuple[bytes, bool]]) -> None:
        text, stamp = [], self._position.stamp
        for line, is_start in lines:
            words = line
            if is_start:
                when, _, words = line.partition(b" ")
                moment = _in_utc(when.decode(errors="replace"))
                self._is_new = moment > stamp
                stamp = max(moment, stamp)
            if self._is_new and (is_start or words):
                text.append(plain(words.decode(errors="replace")))
        if text:
            self._position = Position(container, stamp)
            self._tail = [*self._tail, *(line for line in text if line.strip())][-TAIL_LINES:]
            await self._log.write("".join(f"{line}\n" for line in text), position=str(self._position))


def _in_utc(stamp: str) -> str:
    """A stamp of a machine, which has its own time zone, so that stamps can be compared; empty for what is none: there
    the machine itself speaks, about output that it does not have."""
    found = _STAMP.fullmatch(stamp)
    if found is None:
        return ""
    if found["zone"] == "Z":
        return stamp
    moment = datetime.fromisoformat(found["second"] + found["zone"]).astimezone(UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}{found['fraction'] or ''}Z"


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[tuple[bytes, bool]]]:
    """Whole lines without their ends, as many as a chunk completes; a long one in parts of about 64 KiB, of which only
    the first (True) begins with a stamp."""
    rest, is_start = b"", True
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        lines = [(line, is_start or number > 0) for number, line in enumerate(whole)]
        is_start = is_start or bool(whole)
        if len(rest) > _MOST_BYTES:
            lines.append((rest, is_start))
            rest, is_start = b"", False
        if lines:
            yield lines
    if rest:
        yield [(rest, is_start)]
