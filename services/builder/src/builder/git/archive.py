"""Streams `git archive` into a directory: no temporary file, nothing written outside, a limit on what it may hold."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

from builder.runner.port import BuildFailedError

_PADDING_BYTES = 64 * 1024


async def unpack_archive(commit: str, destination: Path, *, environment: Mapping[str, str], max_bytes: int) -> int:
    """Write the files of `commit` below the empty directory `destination`; returns how many bytes they hold.

    Raises:
        BuildFailedError: disk-limit, disk-full, or build-failed for a tree that cannot be written safely.
    """
    read_end, write_end = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *("git", "archive", "--format=tar", commit),
            env=dict(environment),
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_end,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    unpacking = asyncio.ensure_future(asyncio.to_thread(_unpack, read_end, destination, max_bytes))
    try:
        written = await asyncio.shield(unpacking)
        # An archive that breaks off between two files looks complete.
        if await process.wait() != 0:
            raise BuildFailedError("internal", "git could not read the pushed commit")
        return written
    finally:
        # Without its writer the thread comes to an end by itself; it must have, before the directory is removed.
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.wait({unpacking})
        await process.wait()
        if not unpacking.cancelled():
            unpacking.exception()  # seen, when the caller was cancelled meanwhile


def _unpack(read_end: int, destination: Path, max_bytes: int) -> int:
    written = 0
    with os.fdopen(read_end, "rb") as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    written += member.size
                    if written > max_bytes:
                        raise BuildFailedError(
                            "disk-limit",
                            f"the source is larger than the {max_bytes // 1024**2} MiB that a build may use",
                            hint="Keep large files out of the repository, or ask for a higher limit.",
                        )
                    archive.extract(member, destination, set_attrs=True, filter="data")
            while stream.read(_PADDING_BYTES):  # else git ends of a broken pipe
                pass
        except tarfile.FilterError as exc:
            raise BuildFailedError(
                "build-failed",
                f"the repository holds {exc.tarinfo.name}, which points outside of the source",
                hint="Remove it, or make it a relative link inside the repository.",
            ) from exc
        except tarfile.TarError as exc:
            raise BuildFailedError("internal", "git could not read the pushed commit") from exc
        except OSError as exc:
            raise _disk_error(exc) from exc
    return written


def _disk_error(exc: OSError) -> BuildFailedError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return BuildFailedError("disk-full", "the platform's disk is full", hint="Free some space and push again.")
    return BuildFailedError("build-failed", f"the source cannot be written: {exc.strerror}: {exc.filename}")
