"""Names of source archives: `source/<app>/<build id>-<commit>.tar.gz`, below the prefix of the storage's URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from builder.domain.commands import APP_ID

SOURCE: Final = "source"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_KEY: Final = re.compile(
    rf"{SOURCE}/(?P<app>{APP_ID.pattern})/(?P<build>[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})"
    rf"-(?P<sha>{_COMMIT.pattern})\.tar\.gz"
)


@dataclass(frozen=True)
class ArchiveKey:
    """Of what and for whom an archive is. The commit's id is complete (builder.md 18.13, 21.8)."""

    app: str
    build_id: UUID
    sha: str

    def __str__(self) -> str:
        return f"{folder_of(self.app)}/{self.build_id}-{self.sha}.tar.gz"


def key_of(app: str, build_id: UUID, sha: str) -> str:
    """The key of a build's archive.

    Raises:
        ValueError: not an app's name, or not a complete commit id.
    """
    if not _COMMIT.fullmatch(sha):
        raise ValueError(f"{sha!r} is not a complete commit id")
    return str(ArchiveKey(app, build_id, sha))


def parse_key(key: str) -> ArchiveKey:
    """What a key says.

    Raises:
        ValueError: it is not the key of a source archive.
    """
    found = _KEY.fullmatch(key)
    if found is None:
        raise ValueError(f"{key!r} is not the key of a source archive")
    return ArchiveKey(found["app"], UUID(found["build"]), found["sha"])


def folder_of(app: str) -> str:
    """Where the archives of an app are.

    Raises:
        ValueError: not an app's name.
    """
    if not APP_ID.fullmatch(app):
        raise ValueError(f"{app!r} is not the name of an app")
    return f"{SOURCE}/{app}"
