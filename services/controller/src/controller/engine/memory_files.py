"""The volumes of the memory engine: files that live as long as the engine does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from controller.domain.spec_storage import FileEntry, VolumeSpec
from shared.clock import Clock
from shared.errors import InvalidInputError, NotFoundError, SuiteError

CHUNK_BYTES: Final = 2 * 1024 * 1024
ROOT: Final = ""


@dataclass(frozen=True)
class _Node:
    """A file, or a directory: then there is no content."""

    modified: datetime
    content: bytes | None = None


class MemoryFiles:
    """Implements `engine.port.FileStore`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._nodes: dict[str, _Node] = {ROOT: _Node(clock.now())}

    async def list(self, path: str) -> Sequence[FileEntry]:
        """See `FileStore.list`; directories first, each kind by name."""
        node = self._get(path)
        if node.content is not None:
            return [_entry(path, node)]
        prefix = f"{path}/" if path else ROOT
        children = [
            _entry(name, child)
            for name, child in self._nodes.items()
            if name.startswith(prefix) and name != ROOT and "/" not in name.removeprefix(prefix)
        ]
        return sorted(children, key=lambda entry: (not entry.is_dir, entry.name))

    async def read(self, path: str) -> tuple[int, AsyncIterator[bytes]]:
        """See `FileStore.read`.

        Raises:
            InvalidInputError: it is a directory.
        """
        content = self._get(path).content
        if content is None:
            raise InvalidInputError(f"{path or '/'} is a directory: name a file")
        return len(content), _chunks(content)

    async def write(self, path: str, content: AsyncIterator[bytes]) -> None:
        """See `FileStore.write`.

        Raises:
            InvalidInputError: it is a directory, or a file stands where a directory is needed.
        """
        self._check_writable(path)
        received = bytearray()
        async for chunk in content:
            received += chunk
        # Looked at again: others may have written while this came in.
        self._check_writable(path)
        now = self._clock.now()
        for parent in _parents(path):
            self._nodes.setdefault(parent, _Node(now))
        self._nodes[path] = _Node(now, bytes(received))

    async def delete(self, path: str) -> None:
        """See `FileStore.delete`.

        Raises:
            InvalidInputError: it is the whole volume.
        """
        self._get(path)
        if path == ROOT:
            raise InvalidInputError("name a file or a directory: the volume itself stays")
        for name in [name for name in self._nodes if name == path or name.startswith(f"{path}/")]:
            del self._nodes[name]

    def _get(self, path: str) -> _Node:
        node = self._nodes.get(path)
        if node is None:
            raise NotFoundError(f"there is no {path} in this volume")
        return node

    def _check_writable(self, path: str) -> None:
        known = self._nodes.get(path)
        if path == ROOT or (known is not None and known.content is None):
            raise InvalidInputError(f"{path or '/'} is a directory: name a file")
        for parent in _parents(path):
            if parent in self._nodes and self._nodes[parent].content is not None:
                raise InvalidInputError(f"{parent} is a file, not a directory")


class MemoryVolumes:
    """The volumes of all apps, made and removed as specs come in."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apps: dict[str, dict[str, MemoryFiles]] = {}
        self._refusal: SuiteError | None = None

    def refuse(self, error: SuiteError | None) -> None:
        """From now on no volume can be made or grown, for this reason; None: they can."""
        self._refusal = error

    def check(self) -> None:
        """Say so.

        Raises:
            SuiteError: what `refuse` was given.
        """
        if self._refusal is not None:
            raise self._refusal

    def apply(self, app: str, volumes: Iterable[VolumeSpec]) -> None:
        """The app has these volumes and no others."""
        before = self._apps.get(app, {})
        self._apps[app] = {volume.name: before.get(volume.name) or MemoryFiles(self._clock) for volume in volumes}

    def remove(self, app: str) -> None:
        """The app is gone, with its files."""
        self._apps.pop(app, None)

    def files(self, app: str, volume: str) -> MemoryFiles:
        """The files of a volume.

        Raises:
            NotFoundError: the app has no such volume.
        """
        files = self._apps.get(app, {}).get(volume)
        if files is None:
            raise NotFoundError(f"{app} has no volume {volume}")
        return files


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:size]) for size in range(1, len(parts) + 1)]


def _entry(path: str, node: _Node) -> FileEntry:
    modified = node.modified.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    is_dir = node.content is None
    return FileEntry(path.rpartition("/")[2], path, len(node.content or b""), is_dir, modified)


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), CHUNK_BYTES):
        yield content[start : start + CHUNK_BYTES]
