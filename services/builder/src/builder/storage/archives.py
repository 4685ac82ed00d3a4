"""Source archives: streamed in and out, never whole in memory, visible only when complete."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

from builder.domain.errors import ArchiveNotFoundError, ArchiveTooLargeError, StorageUnavailableError
from builder.storage.config import StorageConfig
from builder.storage.feed import Feed
from builder.storage.keys import folder_of, key_of, parse_key
from builder.storage.stores import open_probe, open_store
from builder.storage.words import words_of
from shared.logging import get_logger

if TYPE_CHECKING:
    from obstore import ObjectMeta

log = get_logger(__name__)

MIB: Final = 1024 * 1024
PART_BYTES: Final = 8 * MIB
# One part on its way while the next one fills.
PARTS_AT_ONCE: Final = 1
# The threads that read keep several of them: 2 MiB cost 22 MiB for an archive of 210 MB, 1 MiB costs 16.
READ_BYTES: Final = MIB
READ_TRIES: Final = 3
# How long a given-up upload is waited for: it tells storage so.
ABORT_SECONDS: Final = 10.0
_GZIP: Final = "application/gzip"
# Nothing is ever kept there.
_NOWHERE: Final = "source/.check"


@dataclass(frozen=True)
class StoredArchive:
    """What was stored: its key, and its size in bytes."""

    key: str
    size: int


@dataclass(frozen=True)
class ListedArchive:
    """One archive as storage lists it."""

    key: str
    build_id: UUID
    sha: str
    size: int
    modified: datetime


class Archives:
    """The source archives of all apps. Any number of its methods may run at the same time.

    Every method raises StorageUnavailableError when storage does not do its part within the configured patience, or
    refuses; the error has storage's own words, and no credentials.
    """

    def __init__(self, config: StorageConfig) -> None:
        self._config = config
        with self._wording("opening it"):
            self._store = open_store(config)
            self._probe = open_probe(config) or self._store

    async def put(
        self, app: str, build_id: UUID, sha: str, stream: AsyncIterable[bytes], *, max_bytes: int
    ) -> StoredArchive:
        """Store what the stream yields; replaces an earlier archive of the same build at once or not at all.

        Nothing is visible, and what was sent is taken back, when the stream fails (its error passes through), when
        the caller is cancelled, or when there is more than `max_bytes`. What a process that is killed meanwhile has
        sent stays in storage, invisible: a bucket needs a rule that ends incomplete multipart uploads.

        Raises:
            ArchiveTooLargeError: there is more.
            ValueError: no such app or commit can be.
        """
        key = key_of(app, build_id, sha)
        feed, counted = Feed(), _Counted(stream, max_bytes)
        upload = asyncio.ensure_future(self._upload(key, feed))
        try:
            await _pass_on(counted, feed, upload)
            await asyncio.shield(upload)
        except BaseException:
            feed.abort()
            await self._give_up(key, upload)
            raise
        return StoredArchive(key, counted.size)

    async def open(self, key: str, *, offset: int = 0) -> ArchiveReader:
        """The archive, from byte `offset` on.

        Raises:
            ArchiveNotFoundError: there is none of that key.
            ValueError: it is not the key of an archive, or the offset is negative.
        """
        parse_key(key)
        if offset < 0:
            raise ValueError("an offset counts from the start of an archive")
        meta = await self._meta(key)
        return ArchiveReader(meta["size"], offset, partial(self._read, key, meta["e_tag"]))

    async def remove(self, key: str) -> None:
        """Remove an archive; absent is fine.

        Raises:
            ValueError: it is not the key of an archive.
        """
        parse_key(key)
        await self._delete(key)

    async def remove_app(self, app: str) -> int:
        """Remove all archives of an app, and what interrupted uploads left in a directory; returns how many."""
        folder, count = folder_of(app), 0
        with self._wording(f"removing the source of {app}"):
            async for page in self._store.list(folder, chunk_size=500):
                keys = [meta["path"] for meta in page]
                count += len(keys)
                for key in keys:
                    with contextlib.suppress(FileNotFoundError):
                        await self._store.delete_async(key)
        if (directory := self._config.directory) is not None:
            await asyncio.to_thread(shutil.rmtree, directory / folder, ignore_errors=True)
        return count

    async def list(self, app: str) -> list[ListedArchive]:
        """The archives of an app, the oldest first; what else somebody put there is left out."""
        folder = folder_of(app)
        found: list[ListedArchive] = []
        with self._wording(f"listing the source of {app}"):
            async for page in self._store.list(folder):
                found += [listed for meta in page if (listed := _listed(meta)) is not None]
        return sorted(found, key=lambda each: (each.modified, each.key))

    async def check(self) -> None:
        """Storage answers and knows us; asked once, and told within ten seconds."""
        with self._wording("looking at it"):
            if self._config.directory is not None:
                await asyncio.to_thread(_check_directory, self._config.directory)
                return
            await self._probe.list(_NOWHERE).collect_async()

    async def _upload(self, key: str, feed: Feed) -> None:
        with self._wording("storing the source"):
            await self._store.put_async(
                key,
                feed,
                attributes=None if self._config.directory else {"Content-Type": _GZIP},
                use_multipart=True,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    async def _give_up(self, key: str, upload: asyncio.Future[None]) -> None:
        """Wait until storage has forgotten what was sent; it may even have taken all of it in the last moment."""
        try:
            await asyncio.wait({upload}, timeout=ABORT_SECONDS)
            if upload.done() and upload.exception() is None:
                await self._delete(key)
        except StorageUnavailableError as exc:
            log.warning("archive_left_behind", key=key, error=exc.detail)
        finally:
            if not upload.done():
                log.warning("archive_upload_left_behind", key=key)
            upload.cancel()

    async def _delete(self, key: str) -> None:
        with self._wording("removing source"):
            try:
                await self._store.delete_async(key)
            except FileNotFoundError:
                # The bucket may be what is not found.
                await self.check()

    async def _meta(self, key: str) -> ObjectMeta:
        with self._wording("reading source"):
            try:
                return await self._store.head_async(key)
            except (FileNotFoundError, PermissionDeniedError, UnauthenticatedError) as exc:
                # Answers to HEAD have no words, and it may be the bucket that is not found.
                await self.check()
                if isinstance(exc, FileNotFoundError):
                    raise ArchiveNotFoundError(key) from None
                raise

    async def _read(self, key: str, tag: str | None, start: int, end: int) -> bytes:
        with self._wording("reading source"):
            try:
                part = await self._store.get_async(key, options={"range": (start, end), "if_match": tag})
                return (await part.bytes_async()).to_bytes()
            except FileNotFoundError:
                await self.check()
                raise ArchiveNotFoundError(key) from None
            except PreconditionError:
                raise ArchiveNotFoundError(key) from None  # replaced meanwhile: the one that was opened is gone

    @contextlib.contextmanager
    def _wording(self, doing: str) -> Iterator[None]:
        """Says what storage said, without its own error as the cause: that repeats what requests were signed with."""
        try:
            yield
        except (BaseError, OSError, ValueError) as exc:
            words = words_of(exc, secrets=self._config.secrets)
            raise StorageUnavailableError(doing, self._config.place, words) from None


class ArchiveReader:
    """An open archive: `size` is that of all of it, iterating gives its bytes from the offset on.

    Read piece by piece, each with a deadline of its own: who takes the bytes may be as slow as he likes.
    """

    def __init__(self, size: int, offset: int, read: Callable[[int, int], Awaitable[bytes]]) -> None:
        self.size = size
        self._offset = offset
        self._read = read

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes.

        Raises:
            ArchiveNotFoundError: the archive was removed or replaced meanwhile.
            StorageUnavailableError: storage does not answer any more.
        """
        position = self._offset
        while position < self.size:
            data = await self._read(position, min(position + READ_BYTES, self.size))
            position += len(data)
            yield data


class _Counted:
    """What goes through it, counted."""

    def __init__(self, stream: AsyncIterable[bytes], max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes
        self.size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self.size += len(chunk)
            if self.size > self._max_bytes:
                raise ArchiveTooLargeError(self._max_bytes)
            if chunk:  # an empty one would end the upload
                yield chunk


async def _pass_on(stream: AsyncIterable[bytes], feed: Feed, upload: asyncio.Future[None]) -> None:
    """All of the stream, unless the upload ends before."""
    async for chunk in stream:
        await feed.send(chunk, to=upload)
        if upload.done():
            return
    await feed.finish(to=upload)


def _listed(meta: ObjectMeta) -> ListedArchive | None:
    try:
        key = parse_key(meta["path"])
    except ValueError:
        return None
    return ListedArchive(meta["path"], key.build_id, key.sha, meta["size"], meta["last_modified"])


def _check_directory(directory: Path) -> None:
    if not directory.is_dir():
        raise FileNotFoundError(2, "No such directory")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(13, "The directory cannot be written to")
