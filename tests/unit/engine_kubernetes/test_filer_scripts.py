"""What runs in a filer, run here on a directory: by the shell and programs of Debian, and by those of busybox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from pathlib import Path

import pytest

from controller.engine.kubernetes.filer_scripts import (
    CHUNK_BYTES,
    Head,
    parse_entries,
    parse_head,
    problem_of,
    writing,
)
from controller.engine.kubernetes.filer_talk import LostError, Talk
from controller.engine.kubernetes.pod_files import AT_A_TIME, PodFiles
from shared.errors import InvalidInputError, NotFoundError, UnavailableError
from shared.testing.wait import eventually
from support.tools import require_tool

ODD_NAMES = (
    "with space",
    "-rf",
    "--",
    "line\nfeed",
    "feed at the end\n",
    "$(touch here)`touch here`",
    "'quotes\"",
    "*",
    "\\n",
    ".hidden",
    "..more",
    "ümläut",
    "%s",
    "tab\t",
)


class ProcessSession:
    """A command as the engine port has it, as a process of this machine."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._outputs: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(4)
        self._pumps = [asyncio.create_task(self._pump(1)), asyncio.create_task(self._pump(2))]

    async def read(self) -> tuple[int, bytes] | None:
        while not all(pump.done() for pump in self._pumps) or not self._outputs.empty():
            output = await self._outputs.get()
            if output is not None:
                return output
        return None

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        try:
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return

    async def resize(self, *, height: int, width: int) -> None:
        raise NotImplementedError

    async def wait(self) -> int:
        return await self._process.wait()

    async def close(self) -> None:
        """What the end of the connection does: no more input, and nobody hears the output."""
        if self._process.stdin is not None:
            self._process.stdin.close()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await self._process.stdin.wait_closed()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        await self._process.communicate()

    async def _pump(self, stream: int) -> None:
        reader = self._process.stdout if stream == 1 else self._process.stderr
        assert reader is not None
        while data := await reader.read(65536):
            await self._outputs.put((stream, data))
        await self._outputs.put(None)


class Shell:
    """Opens scripts with programs of one kind, in a directory."""

    def __init__(self, root: Path, path: str) -> None:
        self.root = root
        self.path = path
        self.started: list[asyncio.subprocess.Process] = []

    async def __call__(self, command: Sequence[str], *, stdin: bool = False) -> tuple[Talk, Head]:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": self.path, "LANG": "C.UTF-8"},
            cwd="/",
        )
        self.started.append(process)
        talk = Talk(ProcessSession(process))
        return talk, await talk.head()


@pytest.fixture(params=["debian", "busybox"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    """A volume in a directory, and something beside it that is none of its business."""
    root, outside = tmp_path / "volume", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("no")
    if request.param == "debian":
        return Shell(root, os.defpath)
    busybox, programs = require_tool("busybox"), tmp_path / "programs"
    programs.mkdir()
    listed = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True, timeout=10)
    for name in listed.stdout.split():
        (programs / name).symlink_to(busybox)
    return Shell(root, str(programs))


@pytest.fixture
def files(shell: Shell) -> PodFiles:
    return PodFiles(shell, root=str(shell.root))


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def content(files: PodFiles, path: str) -> bytes:
    size, stream = await files.read(path)
    received = b"".join([piece async for piece in stream])
    assert len(received) == size
    return received


async def test_a_file_comes_back_byte_for_byte(files: PodFiles) -> None:
    data = random.Random(1).randbytes(3 * CHUNK_BYTES + 17)
    await files.write("dir/deep er/file.bin", pieces(data[:5], data[5:CHUNK_BYTES], b"", data[CHUNK_BYTES:]))
    assert await content(files, "dir/deep er/file.bin") == data
    (entry,) = await files.list("dir/deep er/file.bin")
    assert (entry.name, entry.path, entry.size, entry.is_dir) == (
        "file.bin", "dir/deep er/file.bin", len(data), False,
    )  # fmt: skip


async def test_an_empty_file(files: PodFiles) -> None:
    await files.write("empty", pieces())
    assert await content(files, "empty") == b""


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_names_are_names_like_others(files: PodFiles, shell: Shell, name: str) -> None:
    for path in (name, f"dir/{name}/{name}"):
        if path == name and name == "-rf":
            (shell.root / "other").write_text("stays")
        await files.write(f"{path}.d/{name}", pieces(name.encode()))
        assert (shell.root / f"{path}.d" / name).read_bytes() == name.encode()
        assert await content(files, f"{path}.d/{name}") == name.encode()
        (entry,) = await files.list(f"{path}.d")
        assert (entry.name, entry.path) == (name, f"{path}.d/{name}")
        await files.delete(f"{path}.d/{name}")
        assert await files.list(f"{path}.d") == []
        await files.delete(f"{path}.d")
    assert not (shell.root / "here").exists()
    assert name != "-rf" or (shell.root / "other").exists()


async def test_lists_have_directories_first_and_all_names(files: PodFiles, shell: Shell) -> None:
    for name in ODD_NAMES:
        (shell.root / name).write_text("x" * 3)
    (shell.root / "zz").mkdir()
    (shell.root / "zz" / "below").write_text("")
    (shell.root / os.fsdecode(b"b\xffd")).write_text("")
    (shell.root / ".drycc-upload-0000").write_text("half")
    os.utime(shell.root / "zz", (0, 1738558645))
    listed = await files.list("")
    assert [entry.name for entry in listed] == ["zz", *sorted([*ODD_NAMES, "b�d"])]
    assert {entry.size for entry in listed if entry.name in ODD_NAMES} == {3}
    assert (listed[0].is_dir, listed[0].size, listed[0].modified) == (True, 0, "2025-02-03T04:57:25Z")
    assert [entry.path for entry in await files.list("zz")] == ["zz/below"]


async def test_many_files_are_listed(files: PodFiles, shell: Shell) -> None:
    for number in range(5000):
        (shell.root / f"{number:0200}").touch()
    assert len(await files.list("")) == 5000


async def test_what_is_not_there(files: PodFiles, shell: Shell) -> None:
    (shell.root / "file").write_text("")
    for path in ("no", "no/more", "file/below", "file/far/below"):
        for asked in (files.list(path), files.read(path), files.delete(path)):
            with pytest.raises(NotFoundError, match=f"there is no {path} in this volume"):
                await asked


async def test_directories_are_no_files(files: PodFiles, shell: Shell) -> None:
    (shell.root / "dir").mkdir()
    (shell.root / "file").write_text("")
    for asked in (files.read("dir"), files.write("dir", pieces(b"x"))):
        with pytest.raises(InvalidInputError, match="dir is a directory: name a file"):
            await asked
    for asked in (files.read(""), files.write("/", pieces(b"x"))):
        with pytest.raises(InvalidInputError, match="/ is a directory: name a file"):
            await asked
    with pytest.raises(InvalidInputError, match="file is a file, not a directory"):
        await files.write("file/below", pieces(b"x"))
    with pytest.raises(InvalidInputError, match="the volume itself stays"):
        await files.delete("")
    os.mkfifo(shell.root / "pipe")
    with pytest.raises(InvalidInputError, match="pipe is neither a file nor a directory"):
        await files.read("pipe")


@pytest.mark.parametrize("path", ["out", "out/secret", "up/outside/secret", "link", "a/b/out/secret"])
async def test_what_leads_out_of_the_volume_is_refused(files: PodFiles, shell: Shell, path: str) -> None:
    outside = shell.root.parent / "outside"
    (shell.root / "a" / "b").mkdir(parents=True)
    (shell.root / "out").symlink_to(outside)
    (shell.root / "a" / "b" / "out").symlink_to("../../../outside")
    (shell.root / "up").symlink_to("..")
    (shell.root / "link").symlink_to(outside / "secret")
    asked: list[Awaitable[object]] = [files.write(f"{path}/new", pieces(b"x"))]
    if path.endswith("secret"):
        asked += [files.list(path), files.delete(path), files.write(path, pieces(b"x"))]
    asked.append(files.list(path) if path == "out" else files.read(path))
    for one in asked:
        with pytest.raises(InvalidInputError, match=r"leads out of this volume|is a file, not a directory"):
            await one
    assert (outside / "secret").read_text() == "no"
    assert list(outside.iterdir()) == [outside / "secret"]
    if path == "link":  # of a file outside nothing is told but the link itself
        (entry,) = await files.list("link")
        assert entry.size == len(str(outside / "secret"))


async def test_nothing_leads_upwards(files: PodFiles) -> None:
    for asked in (files.list(".."), files.read("../outside/secret"), files.delete("a/../../outside/secret")):
        with pytest.raises(InvalidInputError, match="without"):
            await asked


async def test_links_within_the_volume(files: PodFiles, shell: Shell) -> None:
    (shell.root / "real").mkdir()
    (shell.root / "real" / "file").write_text("inside")
    (shell.root / "dir").symlink_to("real")
    (shell.root / "file").symlink_to("real/file")
    (shell.root / "self").symlink_to(".")
    (shell.root / "nowhere").symlink_to("gone")
    assert await content(files, "file") == b"inside"
    assert await content(files, "self/dir/file") == b"inside"
    listed = {entry.name: (entry.is_dir, entry.size) for entry in await files.list("")}
    assert listed == {
        "real": (True, 0), "dir": (True, 0), "self": (True, 0), "file": (False, 6), "nowhere": (False, 4),
    }  # fmt: skip
    for asked in (files.read("nowhere"), files.read("nowhere/below")):
        with pytest.raises(NotFoundError, match="nowhere is a link that leads nowhere"):
            await asked
    await files.delete("dir")
    await files.write("file", pieces(b"new"))
    assert not (shell.root / "file").is_symlink()
    assert (shell.root / "real" / "file").read_text() == "inside"


async def test_directories_go_with_all_that_is_in_them(files: PodFiles, shell: Shell) -> None:
    await files.write("dir/sub/file", pieces(b"x"))
    (shell.root / "dir" / "out").symlink_to(shell.root.parent / "outside")
    await files.delete("dir")
    assert list(shell.root.iterdir()) == []
    assert (shell.root.parent / "outside" / "secret").exists()


async def test_a_file_keeps_its_mode_and_a_new_one_can_be_read_by_the_app(files: PodFiles, shell: Shell) -> None:
    await files.write("tool", pieces(b"1"))
    assert (shell.root / "tool").stat().st_mode & 0o777 == 0o664
    (shell.root / "tool").chmod(0o750)
    await files.write("tool", pieces(b"2"))
    assert (shell.root / "tool").stat().st_mode & 0o777 == 0o750


async def test_a_broken_upload_leaves_nothing_and_the_old_file(files: PodFiles, shell: Shell) -> None:
    (shell.root / "old").write_text("before")

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        raise InvalidInputError("the upload ended before the file was complete")

    for path in ("old", "new", "dir/new"):
        with pytest.raises(InvalidInputError, match="before the file was complete"):
            await files.write(path, broken())
    assert [entry.name for entry in shell.root.iterdir()] == ["old"]
    assert (shell.root / "old").read_text() == "before"


async def test_a_connection_that_breaks_within_a_piece_leaves_nothing(shell: Shell) -> None:
    talk, head = await shell(writing(str(shell.root), "dir/file", token="t"), stdin=True)
    assert head.is_ok
    await talk.send(b"100\nonly this")
    await eventually(lambda: list(shell.root.iterdir()))
    await talk.close()
    assert list(shell.root.iterdir()) == []


async def test_a_filer_that_ends_takes_half_files_away(shell: Shell) -> None:
    talk, _ = await shell(writing(str(shell.root), "file", token="t"), stdin=True)
    await talk.send(b"9\ncomplete\n")
    assert (await talk.head()).is_ok
    (process,) = shell.started
    process.terminate()
    with pytest.raises(LostError):
        await talk.head()
    assert list(shell.root.iterdir()) == []
    await talk.close()


async def test_a_full_volume_says_so(files: PodFiles, shell: Shell) -> None:
    shell.root.chmod(0o755)
    small = shell.root / "small"
    small.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=2m", "none", str(small))
    if (await asyncio.to_thread(subprocess.run, mount, capture_output=True, check=False, timeout=10)).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(InvalidInputError, match="could not write small/file: No space left on device"):
            await files.write("small/file", pieces(*[bytes(CHUNK_BYTES)] * 4))
        assert list(small.iterdir()) == []
    finally:
        await asyncio.to_thread(subprocess.run, ("umount", str(small)), check=True, timeout=10)


async def test_a_file_that_grows_is_given_as_long_as_it_was(files: PodFiles, shell: Shell) -> None:
    path = shell.root / "log"
    path.write_bytes(b"x" * 5_000_000)
    size, stream = await files.read("log")
    with path.open("ab") as opened:
        opened.write(b"y" * 1000)
    assert len(b"".join([piece async for piece in stream])) == size == 5_000_000


async def test_a_file_that_shrinks_is_no_whole_file(files: PodFiles, shell: Shell) -> None:
    path = shell.root / "log"
    path.write_bytes(b"x" * 50_000_000)
    size, stream = await files.read("log")
    os.truncate(path, 100)
    with pytest.raises(UnavailableError, match="log broke off"):
        assert sum([len(piece) async for piece in stream]) < size


async def test_a_download_that_nobody_wants_any_more_ends(files: PodFiles, shell: Shell) -> None:
    (shell.root / "large").write_bytes(bytes(2_000_000))
    for _ in range(AT_A_TIME + 1):  # more than can be under way at a time
        _, stream = await files.read("large")
        await anext(stream)
        assert isinstance(stream, AsyncGenerator)
        await stream.aclose()
    _, unread = await files.read("large")
    del unread
    await eventually(lambda: all(process.returncode is not None for process in shell.started))


async def test_old_half_files_go(files: PodFiles, shell: Shell) -> None:
    for age in (0, 172_800):
        half = shell.root / f".drycc-upload-{age}"
        half.write_text("half")
        changed = half.stat().st_mtime - age
        os.utime(half, (changed, changed))
    await files.write("file", pieces(b"x"))
    assert sorted(path.name for path in shell.root.iterdir()) == [".drycc-upload-0", "file"]


async def test_concurrent_writers_of_one_file(files: PodFiles, shell: Shell) -> None:
    contents = [bytes([number]) * 200_000 for number in range(8)]
    await asyncio.gather(*(files.write("dir/file", pieces(data[:999], data[999:])) for data in contents))
    assert await content(files, "dir/file") in contents
    assert len(list((shell.root / "dir").iterdir())) == 1


def test_answers_of_others_are_not_taken() -> None:
    assert parse_head(b"OCI runtime exec failed") is None
    assert parse_head(b"ok 12") == Head("ok", 12)
    assert parse_head(b"\xff") is None
    for answer in (b"", b"/81a4 1 1 ./a", b"/81a4 1 1 ./a\n"):
        with pytest.raises(UnavailableError):
            parse_entries("", answer, is_file=False)
    assert parse_entries("", b"/81a4 1 1 ./a\n/\n", is_file=False)[0].modified == "1970-01-01T00:00:01Z"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("rm: can't remove './a': Permission denied\n", "could not delete a: Permission denied"),
        ("", "could not delete a: it did not work"),
        ("x: " + "y" * 999, "could not delete a: " + "y" * 200),
    ],
)
def test_programs_are_quoted_in_short(said: str, expected: str) -> None:
    assert problem_of(Head("failed", 1), "a", doing="delete", words=said).detail == expected
    assert problem_of(Head("denied"), "", doing="list", words="").detail == "could not list /: Permission denied"
