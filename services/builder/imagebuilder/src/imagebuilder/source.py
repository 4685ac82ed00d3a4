"""The pushed source: fetched from the builder as tar.gz, unpacked while it arrives, nothing written outside."""

from __future__ import annotations

import errno
import gzip
import http.client
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from imagebuilder.result import BuildFailed

PATIENCE_SECONDS: Final = 120.0
_READ_SECONDS: Final = 60.0
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 8.0
_CHUNK: Final = 64 * 1024
_DENIED = (401, 403, 404, 410)


class _InterruptedError(Exception):
    """The transfer broke off or could not begin: worth another try."""


def fetch(
    url: str,
    token: str,
    destination: Path,
    *,
    max_bytes: int,
    patience_seconds: float = PATIENCE_SECONDS,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Unpack the archive into the directory `destination`, which is emptied first; returns its files' bytes.

    What may pass (5xx, refused or broken connections) is tried again, with growing pauses, for `patience_seconds`.

    Raises:
        BuildFailed: disk-limit, disk-full, build-failed for files that would reach outside, internal for the rest.
    """
    give_up = time.monotonic() + patience_seconds
    wait = _FIRST_PAUSE
    while True:
        _clear(destination)
        try:
            return _fetch_once(url, token, destination, max_bytes)
        except _InterruptedError as error:
            if time.monotonic() + wait > give_up:
                raise BuildFailed(
                    "internal",
                    f"the source could not be fetched from the builder: {error}",
                    "Push again in some minutes.",
                ) from error
            pause(wait)
            wait = min(wait * 2, _LONGEST_PAUSE)


def _fetch_once(url: str, token: str, destination: Path, max_bytes: int) -> int:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310  # the builder's own
    try:
        with urllib.request.urlopen(request, timeout=_READ_SECONDS) as answer:  # noqa: S310
            return _unpack(answer, destination, max_bytes)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _DENIED:
            raise BuildFailed(
                "internal",
                f"the builder does not give out the source: {error.code} {error.reason}",
                "The build may have been given up meanwhile. Push again.",
            ) from error
        raise _InterruptedError(f"it answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _InterruptedError(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _clear(directory: Path) -> None:
    """Make the directory, or empty it: it may be a volume, which cannot be removed."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _unpack(stream: IO[bytes], destination: Path, max_bytes: int) -> int:
    """As the data arrives. The end of the gzip stream is waited for: a tar file that breaks off may look complete."""
    written = 0
    try:
        with gzip.GzipFile(fileobj=stream) as content, tarfile.open(fileobj=content, mode="r|") as archive:
            for member in archive:
                written += member.size
                if written > max_bytes:
                    raise BuildFailed(
                        "disk-limit",
                        f"the source is larger than the {max_bytes // 1024**2} MiB that a build may use",
                        "Keep large files out of the repository, or ask for a higher limit.",
                    )
                archive.extract(member, destination, filter="data")
            while content.read(_CHUNK):
                pass
    except tarfile.FilterError as error:
        raise BuildFailed(
            "build-failed",
            f"the repository holds {error.tarinfo.name}, which points outside of the source",
            "Remove it, or make it a relative link inside the repository.",
        ) from error
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _InterruptedError(f"the archive broke off or is damaged: {error}") from error
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise _InterruptedError(str(error)) from error  # of the connection, not of the disk
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BuildFailed(
                "disk-full",
                "the disk is full: the source could not be unpacked",
                "Push again later, or ask for more room.",
            ) from error
        raise BuildFailed(
            "build-failed", f"the source cannot be written: {error.strerror}: {error.filename}"
        ) from error
    return written
