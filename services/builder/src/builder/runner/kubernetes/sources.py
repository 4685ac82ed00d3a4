"""The source of each build in object storage, from the push to the end of the build."""

from __future__ import annotations

from uuid import UUID

from builder.domain.errors import ArchiveNotFoundError, ArchiveTooLargeError, StorageUnavailableError
from builder.runner.port import BuildFailedError, BuildSpec, Tree
from builder.storage.archives import ArchiveReader, Archives, ListedArchive
from builder.storage.keys import key_of
from shared.logging import get_logger

_STORAGE_HINT = "Push again in a moment; if it stays so, tell the platform's operator."

log = get_logger(__name__)


class Sources:
    """Puts the trees of builds into storage, and gives them to their builds. `max_bytes` is that of an archive."""

    def __init__(self, archives: Archives, *, max_bytes: int) -> None:
        self._archives = archives
        self._max_bytes = max_bytes

    async def put(self, tree: Tree, spec: BuildSpec) -> None:
        """Keep the source of that build; again is the same.

        Raises:
            BuildFailedError: disk-limit, storage-unavailable, or git cannot read it.
        """
        try:
            async with tree.archive() as chunks:
                await self._archives.put(spec.app, spec.build_id, spec.sha, chunks, max_bytes=self._max_bytes)
        except ArchiveTooLargeError as exc:
            raise BuildFailedError("disk-limit", exc.detail) from exc
        except StorageUnavailableError as exc:
            raise BuildFailedError("storage-unavailable", exc.detail, hint=_STORAGE_HINT) from exc

    async def open(self, app: str, build_id: UUID, sha: str) -> ArchiveReader:
        """The source of a build that has not ended.

        Raises:
            ArchiveNotFoundError: it is not kept (any more).
            StorageUnavailableError: nobody can tell now.
        """
        return await self._archives.open(key_of(app, build_id, sha))

    async def is_lost(self, spec: BuildSpec) -> bool:
        """Whether it is certain that the source of that build is not kept."""
        try:
            await self._archives.open(key_of(spec.app, spec.build_id, spec.sha))
        except ArchiveNotFoundError:
            return True
        except StorageUnavailableError as exc:  # the build itself tries for a while
            log.warning("source_not_seen", build_id=str(spec.build_id), error=exc.detail)
        return False

    async def remove(self, spec: BuildSpec) -> None:
        """It is not needed any more. Again is no error.

        Raises:
            StorageUnavailableError: it may still be there.
        """
        await self._archives.remove(key_of(spec.app, spec.build_id, spec.sha))

    async def list(self, app: str) -> list[ListedArchive]:
        """All that is kept of the app.

        Raises:
            StorageUnavailableError: nobody can tell now.
        """
        return await self._archives.list(app)

    async def remove_key(self, key: str) -> None:
        """Remove what `list` told of. Again is no error.

        Raises:
            StorageUnavailableError: it may still be there.
        """
        await self._archives.remove(key)

    async def remove_app(self, app: str) -> None:
        """Nothing of the app is needed any more.

        Raises:
            StorageUnavailableError: some may still be there.
        """
        await self._archives.remove_app(app)
