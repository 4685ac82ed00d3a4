"""The pushed commit as a Tree: read while git still holds the push in quarantine."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from builder.git.archive import packed_archive, unpack_archive
from builder.git.objects import ObjectReader, TreeEntry, parse_tree
from builder.runner.port import BuildFailedError

MAX_FILE_BYTES = 1024 * 1024
MAX_TREE_BYTES = 64 * 1024 * 1024
_QUARANTINE = re.compile(r"(?:tmp_objdir-)?incoming-\w+")


def quarantine_of(repository: Path, claimed: Path | None) -> Path | None:
    """The quarantine directory that a hook named, if it can be one of this repository.

    Raises:
        ValueError: it names something else.
    """
    if claimed is None:
        return None
    if claimed.parent.resolve() != (repository / "objects").resolve() or not _QUARANTINE.fullmatch(claimed.name):
        raise ValueError(f"{claimed} is not a quarantine of {repository.name}")
    return claimed


class CommitTree:
    """The files of one commit. Symbolic links and submodules are listed, but have no content to read."""

    def __init__(self, commit: str, root: str, reader: ObjectReader, environment: Mapping[str, str]) -> None:
        self._commit = commit
        self._root = root
        self._reader = reader
        self._environment = environment
        self._entries: dict[str, Sequence[TreeEntry]] = {}

    async def read(self, path: str) -> bytes | None:
        """See `Tree.read`."""
        directory, _, name = path.strip("/").rpartition("/")
        entry = next((entry for entry in await self._list(directory) if entry.name == name), None)
        if entry is None or not entry.is_regular:
            return None
        blob = await self._reader.get(entry.oid, max_bytes=MAX_FILE_BYTES)
        return blob.content if blob is not None else None

    async def list(self, directory: str = "") -> list[str]:
        """See `Tree.list`."""
        entries = await self._list(directory.strip("/"))
        return sorted(f"{entry.name}/" if entry.is_directory else entry.name for entry in entries)

    async def extract(self, destination: Path, *, max_bytes: int) -> int:
        """See `Tree.extract`."""
        return await unpack_archive(self._commit, destination, environment=self._environment, max_bytes=max_bytes)

    def archive(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """See `Tree.archive`."""
        return packed_archive(self._commit, environment=self._environment)

    async def _list(self, directory: str) -> Sequence[TreeEntry]:
        if directory not in self._entries:
            oid = await self._find(directory)
            self._entries[directory] = await self._tree(oid) if oid else []
        return self._entries[directory]

    async def _find(self, directory: str) -> str | None:
        if not directory:
            return self._root
        parent, _, name = directory.rpartition("/")
        entries = await self._list(parent)
        return next((entry.oid for entry in entries if entry.name == name and entry.is_directory), None)

    async def _tree(self, oid: str) -> Sequence[TreeEntry]:
        found = await self._reader.get(oid, max_bytes=MAX_TREE_BYTES)
        if found is None or found.content is None:
            return []
        return parse_tree(found.content, id_bytes=20 if len(oid) == 40 else 32)


@asynccontextmanager
async def open_commit(commit: str, environment: Mapping[str, str]) -> AsyncIterator[CommitTree]:
    """The tree of a commit that git, in this environment, can see.

    Raises:
        BuildFailedError: the id does not name a commit.
    """
    async with ObjectReader(environment) as reader:
        found = await reader.get(commit, max_bytes=MAX_FILE_BYTES)
        if found is None or found.kind != "commit" or found.content is None:
            raise BuildFailedError("build-failed", f"{commit[:12]} is not a commit, so there is nothing to build")
        # gitformat: a commit object starts with the line `tree <id>`.
        root = found.content.split(b"\n", 1)[0].removeprefix(b"tree ").decode()
        yield CommitTree(commit, root, reader, environment)
