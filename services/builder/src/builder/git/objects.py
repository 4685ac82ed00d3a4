"""Reads single objects through one `git cat-file --batch`, so that early checks cost one process however many files."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

ANSWER_SECONDS = 30.0
_CHUNK_BYTES = 256 * 1024

REGULAR = ("100644", "100755")
DIRECTORY = "40000"


@dataclass(frozen=True)
class GitObject:
    """Type and content of an object; `content` is None when it is larger than was asked for."""

    kind: str
    content: bytes | None


@dataclass(frozen=True)
class TreeEntry:
    """One name in a directory: git's octal mode without leading zeros, and the id of what it names."""

    mode: str
    name: str
    oid: str

    @property
    def is_directory(self) -> bool:
        return self.mode == DIRECTORY

    @property
    def is_regular(self) -> bool:
        return self.mode in REGULAR


class ObjectReader:
    """An async context manager around the process; requests are answered one after another."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def get(self, oid: str, *, max_bytes: int) -> GitObject | None:
        """The object of that id; None when there is none.

        Raises:
            OSError: git cannot be started or has died.
            TimeoutError: no answer in time.
        """
        async with self._turn, asyncio.timeout(ANSWER_SECONDS):
            requests, answers = await self._started()
            requests.write(oid.encode() + b"\n")
            header = (await answers.readline()).split()
            if not header:
                raise ConnectionError("git cat-file ended")
            if len(header) != 3:
                return None
            content = await _read(answers, int(header[2]), max_bytes)
            return GitObject(header[1].decode(), content)

    async def _started(self) -> tuple[asyncio.StreamWriter, asyncio.StreamReader]:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                *("git", "cat-file", "--batch"),
                env=dict(self._environment),
                cwd="/",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        if self._process.stdin is None or self._process.stdout is None:
            raise ConnectionError("git cat-file has no pipes")
        return self._process.stdin, self._process.stdout


async def _read(stream: asyncio.StreamReader, size: int, max_bytes: int) -> bytes | None:
    """Exactly `size` bytes and the newline after them; dropped when there are more than `max_bytes`."""
    if size <= max_bytes:
        return (await stream.readexactly(size + 1))[:size]
    left = size + 1
    while left:
        left -= len(await stream.readexactly(min(left, _CHUNK_BYTES)))
    return None


def parse_tree(content: bytes, *, id_bytes: Literal[20, 32]) -> list[TreeEntry]:
    """Entries of a tree object: `<mode> <name>` NUL `<binary id>`, over and over."""
    entries = []
    position = 0
    while position < len(content):
        space = content.index(b" ", position)
        end = content.index(b"\0", space)
        oid = content[end + 1 : end + 1 + id_bytes].hex()
        name = content[space + 1 : end].decode("utf-8", "surrogateescape")
        entries.append(TreeEntry(content[position:space].decode(), name, oid))
        position = end + 1 + id_bytes
    return entries
