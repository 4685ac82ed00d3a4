"""The files of a volume, read and written by small scripts in a filer: a pod that mounts it (kubernetes.md 2.11)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

from controller.domain.file_paths import clean_path
from controller.domain.spec_storage import FileEntry
from controller.engine.kubernetes import filer_scripts
from controller.engine.kubernetes.filer_scripts import CHUNK_BYTES, Head, problem_of
from controller.engine.kubernetes.filer_talk import SILENCE_SECONDS, Talk
from controller.engine.kubernetes.manifests.filer import ROOT
from shared.errors import InvalidInputError, UnavailableError

AT_A_TIME: Final = 12
"""Transfers of one volume that a process has under way; more wait. A filer has memory for several times that."""
_WAIT_SECONDS: Final = 30.0
_DELETE_SECONDS: Final = 600.0
_MOST_LISTED_BYTES: Final = 64 * 1024 * 1024


class Opener(Protocol):
    """Runs one of the scripts and gives its first line: `ok`, or what is wrong. Content may still be to come."""

    async def __call__(self, command: Sequence[str], *, stdin: bool = False) -> tuple[Talk, Head]: ...


class PodFiles:
    """Implements `engine.port.FileStore` with scripts that `opener` runs where the volume is mounted at `root`."""

    def __init__(self, opener: Opener, *, root: str = ROOT, slots: asyncio.Semaphore | None = None) -> None:
        self._open = opener
        self._root = root
        self._slots = slots or asyncio.Semaphore(AT_A_TIME)

    async def list(self, path: str) -> Sequence[FileEntry]:
        """See `FileStore.list`; directories first, each kind by name. Names that are not UTF-8 are shown as far as can
        be.

        Raises:
            InvalidInputError: there are too many to list, or it leads out of the volume.
        """
        path, answer = clean_path(path), bytearray()
        async with self._talk(filer_scripts.listing(self._root, path), path, doing="list") as (talk, head):
            while (data := await talk.take()) is not None:
                answer += data
                if len(answer) > _MOST_LISTED_BYTES:
                    raise InvalidInputError(f"{path or '/'} has too many files to list")
        return await asyncio.to_thread(filer_scripts.parse_entries, path, bytes(answer), is_file=head.number == 1)

    async def read(self, path: str) -> tuple[int, AsyncIterator[bytes]]:
        """See `FileStore.read`. A file that grows meanwhile is given as long as it was.

        Raises:
            InvalidInputError: it is a directory or something else than a file, or leads out of the volume.
        """
        content = self._content(_file(path))
        # Its first step is done here: only what has begun is closed when nobody asks for the rest.
        size = int(await anext(content))
        return size, content

    async def write(self, path: str, content: AsyncIterator[bytes]) -> None:
        """See `FileStore.write`. A file keeps its mode.

        Raises:
            InvalidInputError: it is a directory, a file stands where a directory is needed, it leads out of the volume,
                or the volume does not take it.
        """
        path = _file(path)
        command = filer_scripts.writing(self._root, path, token=secrets.token_hex(8))
        async with self._talk(command, path, doing="write", stdin=True) as (talk, _):
            async for data in content:
                for start in range(0, len(data), CHUNK_BYTES):
                    piece = data[start : start + CHUNK_BYTES]
                    await talk.send(b"%d\n%b" % (len(piece), piece))
                    await _confirm(talk, path, doing="write")
            await talk.send(b"end\n")
            await _confirm(talk, path, doing="write")

    async def delete(self, path: str) -> None:
        """See `FileStore.delete`. Of a link, what it leads to stays.

        Raises:
            InvalidInputError: it is the whole volume, or leads out of it.
        """
        path = clean_path(path)
        if not path:
            raise InvalidInputError("name a file or a directory: the volume itself stays")
        async with self._talk(filer_scripts.deleting(self._root, path), path, doing="delete") as (talk, _):
            await _confirm(talk, path, doing="delete", seconds=_DELETE_SECONDS)

    async def _content(self, path: str) -> AsyncGenerator[bytes, None]:
        """First the size in digits, then the file."""
        async with self._talk(filer_scripts.reading(self._root, path), path, doing="read") as (talk, head):
            yield str(head.number).encode()
            left = head.number
            while left > 0:
                data = await talk.take()
                if data is None:
                    raise UnavailableError(f"{path} broke off {left} bytes before its end: try again")
                data = data[:left]
                left -= len(data)
                yield data

    @asynccontextmanager
    async def _talk(
        self, command: Sequence[str], path: str, *, doing: str, stdin: bool = False
    ) -> AsyncIterator[tuple[Talk, Head]]:
        """A script that has said `ok`.

        Raises:
            SuiteError: what it has said instead.
        """
        async with _slot(self._slots):
            talk, head = await self._open(command, stdin=stdin)
            try:
                if not head.is_ok:
                    raise problem_of(head, path, doing=doing, words=await talk.last_words())
                yield talk, head
                await talk.last_words()  # one that has ended need not be ended
            finally:
                await talk.close()


def _file(path: str) -> str:
    path = clean_path(path)
    if not path:
        raise InvalidInputError("/ is a directory: name a file")
    return path


async def _confirm(talk: Talk, path: str, *, doing: str, seconds: float = SILENCE_SECONDS) -> None:
    head = await talk.head(seconds=seconds)
    if not head.is_ok:
        raise problem_of(head, path, doing=doing, words=await talk.last_words())


@asynccontextmanager
async def _slot(slots: asyncio.Semaphore) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            await slots.acquire()
    except TimeoutError:
        detail = "too many transfers of this volume are under way: try again in a moment"
        raise UnavailableError(detail, headers={"Retry-After": "10"}) from None
    try:
        yield
    finally:
        slots.release()
