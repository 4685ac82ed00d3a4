"""Streams `git archive`, packed or into a directory: no temporary file, nothing written outside, limits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import tarfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from builder.runner.port import BuildFailedError

_PADDING_BYTES = 64 * 1024
_CHUNK_BYTES = 256 * 1024
# Level 1 is as fast on what cannot be packed as the others, and several times as fast on text.
_GZIP_LEVEL = 1
# git prints nothing for so long only when it is stuck, in reading from a dead disk for instance.
ARCHIVE_IDLE_SECONDS = 60.0


@asynccontextmanager
async def packed_archive(commit: str, *, environment: Mapping[str, str]) -> AsyncIterator[AsyncIterator[bytes]]:
    """The files of `commit` as a tar.gz, in chunks of at most 256 KiB, as git makes it; the same commit gives the
    same bytes.

    git is stopped when the block is left. Iterating to the end means that the archive is complete.

    Raises:
        BuildFailedError: internal: git cannot read the commit, or has stopped doing so.
    """
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb", buffering=0) as pipe:
        try:
            with contextlib.suppress(OSError):
                fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, 2 * _CHUNK_BYTES)
            process = await asyncio.create_subprocess_exec(
                *("git", "archive", "--format=tar.gz", f"-{_GZIP_LEVEL}", commit),
                env=dict(environment),
                cwd="/",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # older versions of git start gzip
            )
        finally:
            os.close(write_end)
        reader = asyncio.StreamReader(limit=_CHUNK_BYTES)
        transport: asyncio.ReadTransport | None = None
        try:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(reader), pipe
            )
            yield _chunks(reader, process)
        finally:
            if transport is not None:
                transport.close()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _chunks(reader: asyncio.StreamReader, process: asyncio.subprocess.Process) -> AsyncIterator[bytes]:
    try:
        while data := await asyncio.wait_for(reader.read(_CHUNK_BYTES), ARCHIVE_IDLE_SECONDS):
            yield data
        status = await asyncio.wait_for(process.wait(), ARCHIVE_IDLE_SECONDS)
    except TimeoutError:
        raise BuildFailedError("internal", "git stopped reading the pushed commit") from None
    # An archive that breaks off between two blocks looks complete.
    if status != 0:
        raise BuildFailedError("internal", "git could not read the pushed commit")


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
            raise _disk_error(exc, destination) from exc
    return written


def _disk_error(exc: OSError, destination: Path) -> BuildFailedError:
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return BuildFailedError("disk-full", "the platform's disk is full", hint="Free some space and push again.")
    # Where this machine keeps it is nobody's business.
    name = os.path.relpath(os.fsdecode(exc.filename), destination) if exc.filename else "a file"
    return BuildFailedError("build-failed", f"the source cannot be written: {name}: {exc.strerror}")
