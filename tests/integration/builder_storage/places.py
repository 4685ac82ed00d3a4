"""Storage as tests see it: from our side through `Archives`, and from its own side as it really is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from builder.storage.archives import MIB, PART_BYTES, Archives
from builder.storage.config import StorageConfig
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server

BUCKET: Final = "sources"
SHA: Final = "0123456789abcdef0123456789abcdef01234567"
CHUNK: Final = 256 * 1024
UNLIMITED: Final = 1024 * MIB
A_FEW_PARTS: Final = 3 * PART_BYTES + 12345


@dataclass(frozen=True)
class Place:
    """One storage. `stored` gives the paths of what is visible in it, `unfinished` what is left of broken uploads."""

    archives: Archives
    stored: Callable[[], list[str]]
    unfinished: Callable[[], list[Path]]


def in_directory(directory: Path) -> Place:
    """Storage in a directory."""

    def files(*, staged: bool) -> list[Path]:
        found = (path for path in directory.rglob("*") if path.is_file())
        return [path for path in found if ("#" in path.name) == staged]

    return Place(
        Archives(StorageConfig(directory.as_uri())),
        stored=lambda: sorted(str(path.relative_to(directory)) for path in files(staged=False)),
        unfinished=lambda: files(staged=True),
    )


def on_s3(server: S3Server, *, bucket: str = BUCKET, **changed: object) -> Place:
    """Storage in a bucket, below the prefix `builds`."""
    return Place(
        Archives(s3_config(server.endpoint, bucket=bucket, **changed)),
        stored=lambda: [key.removeprefix("builds/") for key in server.objects(bucket)],
        unfinished=lambda: server.unfinished(bucket),
    )


def s3_config(endpoint: str, *, bucket: str = BUCKET, **changed: object) -> StorageConfig:
    """Settings that work with the tests' server, unless some are changed."""
    usual: dict[str, object] = {
        "access_key": ACCESS_KEY,
        "secret_key": SECRET_KEY,
        "patience": timedelta(seconds=1),
        "request_timeout": timedelta(seconds=5),
    }
    options: dict[str, object] = usual | changed
    return StorageConfig(f"s3://{bucket}/builds", endpoint=endpoint, **options)  # type: ignore[arg-type]


async def pieces(content: bytes, *, size: int = CHUNK) -> AsyncIterator[bytes]:
    """The content in chunks."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def pieces_until(content: bytes, then: Callable[[], None]) -> AsyncIterator[bytes]:
    """The content in chunks; then something happens, and no end comes."""
    async for piece in pieces(content):
        yield piece
    then()
    await asyncio.Event().wait()


def random_bytes(size: int) -> bytes:
    """What no compression makes smaller."""
    return os.urandom(size)


async def whole(archives: Archives, key: str, *, offset: int = 0) -> bytes:
    """The archive from an offset on."""
    return b"".join([data async for data in await archives.open(key, offset=offset)])
