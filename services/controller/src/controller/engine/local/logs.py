"""The output of apps: written per instance, read per instance or merged per app, followed while it comes."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import re
import shutil
from collections import deque
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controller.domain.spec import LAST_LINES
from controller.engine.local.config import LocalEngineConfig
from controller.engine.local.logfile import STAMP_LENGTH, LogFile, generations, stamp, tail
from shared.errors import NotFoundError

CONTROLLER = "controller"
_FOLLOWER_BATCHES = 512
_SAFE = re.compile(r"[a-z0-9][a-z0-9-]*")
_MICROSECOND = timedelta(microseconds=1)

Batch = tuple[str, bytes, list[bytes]]
"""Instance, stamp, lines without their ends."""


class LogWriter:
    """Writes the lines of one instance. The last ones are kept in memory for messages about failures."""

    def __init__(self, app: AppLogs, instance: str, file: LogFile) -> None:
        self._app = app
        self._file = file
        self._last: deque[bytes] = deque(maxlen=LAST_LINES)
        self._moment = datetime.min.replace(tzinfo=UTC)
        self._order = asyncio.Lock()
        self.instance = instance

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The end of the output so far, as text."""
        return tuple(line.decode(errors="replace") for line in self._last)

    def forget(self) -> None:
        """The next attempt begins: older lines are no explanation of what comes."""
        self._last.clear()

    async def write(self, lines: list[bytes]) -> None:
        """Stamp, store and show these lines. Stamps of one writer strictly grow."""
        async with self._order:
            self._moment = max(datetime.now(UTC), self._moment + _MICROSECOND)
            moment = stamp(self._moment).encode()
            self._last.extend(lines)
            data = b"".join(b"%b %b\n" % (moment, line) for line in lines)
            await asyncio.to_thread(self._file.append, data)
            self._app.show((self.instance, moment, lines))

    async def close(self) -> None:
        """The instance is gone for good: followers of it come to an end."""
        async with self._order:
            self._file.close()
        self._app.ended(self.instance)


class _Follower:
    """What one reader has not seen yet; the oldest batches go when it is too slow."""

    def __init__(self, instance: str | None) -> None:
        self.instance = instance
        self._batches: deque[Batch] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self._dropped = 0

    def put(self, batch: Batch) -> None:
        if self.instance not in (None, batch[0]):
            return
        if len(self._batches) == _FOLLOWER_BATCHES:
            self._dropped += len(self._batches.popleft()[2])
        self._batches.append(batch)
        self._wake.set()

    def end(self) -> None:
        self._ended = True
        self._wake.set()

    async def batches(self) -> AsyncIterator[Batch]:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._batches:
                if dropped := self._dropped:
                    self._dropped = 0
                    name, moment, _ = self._batches[0]
                    yield name, moment, [b"(%d lines were left out: they came too fast)" % dropped]
                yield self._batches.popleft()
            if self._ended:
                return


class AppLogs:
    """The logs of one app."""

    def __init__(self, app: str, config: LocalEngineConfig) -> None:
        self._app = app
        self._config = config
        self._directory = config.logs / app
        self._live: dict[str, LogWriter] = {}
        self._followers: set[_Follower] = set()

    async def writer(self, instance: str) -> LogWriter:
        """The writer of an instance; the logs of the longest ended ones are removed on the way."""
        if instance not in self._live:
            self._live[instance] = LogWriter(self, instance, self._file(instance))
            await asyncio.to_thread(self._prune, frozenset(self._live))
        return self._live[instance]

    def show(self, batch: Batch) -> None:
        """Pass new lines on to whoever follows."""
        for follower in self._followers:
            follower.put(batch)

    def ended(self, instance: str) -> None:
        """Nothing more comes from that instance."""
        self._live.pop(instance, None)
        for follower in self._followers:
            if follower.instance == instance:
                follower.end()

    async def read(self, instance: str | None, *, lines: int, follow: bool) -> AsyncIterator[bytes]:
        """The last lines, then (with `follow`) what comes, each piece a number of whole lines.

        Lines of an instance are as it wrote them; merged ones are `<stamp> <app>[<type>.<id>]: <text>`.

        Raises:
            NotFoundError: no output of such an instance is kept.
        """
        # From before the files are read, so that nothing falls between them and the following.
        follower = _Follower(instance)
        self._followers.add(follower)
        try:
            old = await asyncio.to_thread(self._tails, instance, lines)
            if instance is not None and not old and instance not in self._live:
                raise NotFoundError(f"no output of {instance} is kept; see `drycc ps` for what runs")
            seen = {name: kept[-1][:STAMP_LENGTH] for name, kept in old.items() if kept}
            if text := self._merged(old, lines, raw=instance is not None):
                yield text
            if not follow or (instance is not None and instance not in self._live):
                return
            async for name, moment, fresh in follower.batches():
                if moment > seen.get(name, b""):
                    yield self._text(name, ((moment, line) for line in fresh), raw=instance is not None)
        finally:
            self._followers.discard(follower)

    async def remove(self) -> None:
        """Delete everything and end all followers."""
        await self.close()
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def close(self) -> None:
        """End all followers and close the files."""
        for follower in self._followers:
            follower.end()
        for writer in list(self._live.values()):
            await writer.close()

    def _file(self, instance: str) -> LogFile:
        return LogFile(
            self._directory / f"{instance}.log",
            max_bytes=self._config.log_max_bytes,
            backups=self._config.log_backups,
        )

    def _names(self) -> list[str]:
        return [path.stem for path in self._directory.glob("*.log")] if self._directory.is_dir() else []

    def _tails(self, instance: str | None, lines: int) -> dict[str, list[bytes]]:
        names = self._names() if instance is None else [name for name in self._names() if name == instance]
        return {name: tail(self._directory / f"{name}.log", lines) for name in names}

    def _merged(self, tails: dict[str, list[bytes]], lines: int, *, raw: bool) -> bytes:
        streams = [self._stamped(name, kept) for name, kept in sorted(tails.items())]
        merged = list(heapq.merge(*streams, key=lambda entry: entry[0]))
        if lines > 0:
            merged = merged[-lines:]
        return b"".join(self._text(name, [(moment, line)], raw=raw) for moment, name, line in merged)

    @staticmethod
    def _stamped(name: str, kept: list[bytes]) -> list[tuple[bytes, str, bytes]]:
        return [(line[:STAMP_LENGTH], name, line[STAMP_LENGTH + 1 :]) for line in kept]

    def _text(self, instance: str, entries: Iterable[tuple[bytes, bytes]], *, raw: bool) -> bytes:
        if raw:
            return b"".join(line + b"\n" for _, line in entries)
        prefix = f"{self._app}[{self._label(instance)}]:".encode()
        return b"".join(b"%b %b %b\n" % (moment, prefix, line) for moment, line in entries)

    def _label(self, instance: str) -> str:
        """`web.3f9c02ab1d` of `shop-web-3f9c02ab1d`."""
        if instance == CONTROLLER:
            return CONTROLLER
        ptype, _, suffix = instance.removeprefix(f"{self._app}-").rpartition("-")
        return f"{ptype}.{suffix}" if ptype else suffix

    def _prune(self, live: frozenset[str]) -> None:
        ended = [name for name in self._names() if name not in live and name != CONTROLLER]
        paths = [self._directory / f"{name}.log" for name in ended]
        paths.sort(key=_modified, reverse=True)
        for path in paths[self._config.kept_instances :]:
            for file in (*generations(path), path.with_suffix(".json")):
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)


class LogStore:
    """The logs of all apps."""

    def __init__(self, config: LocalEngineConfig) -> None:
        self._config = config
        self._apps: dict[str, AppLogs] = {}

    def app(self, name: str) -> AppLogs:
        """Logs of that app.

        Raises:
            NotFoundError: no app can have this name.
        """
        if not _SAFE.fullmatch(name):
            raise NotFoundError(f"{name!r} is not the name of an app")
        if name not in self._apps:
            self._apps[name] = AppLogs(name, self._config)
        return self._apps[name]

    async def write_controller_line(self, app: str, text: str) -> None:
        """A message of the platform itself in an app's log."""
        writer = await self.app(app).writer(CONTROLLER)
        await writer.write([line.encode() for line in text.splitlines()])

    async def remove(self, app: str) -> None:
        """Forget an app's output."""
        if logs := self._apps.pop(app, None):
            await logs.remove()
        elif _SAFE.fullmatch(app):
            await asyncio.to_thread(shutil.rmtree, self._config.logs / app, ignore_errors=True)

    async def close(self) -> None:
        """Close the files; followers come to an end."""
        for logs in self._apps.values():
            await logs.close()


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
