"""The source of a build on its way from git into storage: nothing on disk in between, little in memory."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from builder.git.archive import packed_archive
from builder.git.environment import GitEnvironment
from builder.runner.port import BuildFailedError
from integration.builder_storage.places import UNLIMITED, Place, whole
from support import eventually
from support.s3_server import ACCESS_KEY, BUILD_SECONDS, SECRET_KEY, S3Server
from support.tools import require_tool

pytestmark = pytest.mark.timeout(BUILD_SECONDS)
MIB = 1024 * 1024


@dataclass(frozen=True)
class Repository:
    """A bare repository with one commit, still in quarantine."""

    path: Path
    commit: str
    environment: dict[str, str]


def _repository(directory: Path, files: dict[str, bytes]) -> Repository:
    """The objects of the commit are where receive-pack has them until the hook has ended."""
    git = GitEnvironment(hooks_dir=directory, hook_socket=directory / "s", max_push_bytes=0)
    bare, work = directory / "shop.git", directory / "work"
    for name, content in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content)

    def run(*arguments: str, **more: str) -> str:
        who = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = git.quarantined(bare, quarantine if quarantine.exists() else None) | who | more
        command = (str(require_tool("git")), "-c", "core.compression=0", *arguments)
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    quarantine = bare / "objects" / "tmp_objdir-incoming-Ab12Cd"
    run("init", "--quiet", "--bare", str(bare))
    quarantine.mkdir()
    index = {"GIT_INDEX_FILE": str(directory / "index"), "GIT_WORK_TREE": str(work)}
    run("-C", str(work), "add", "--all", **index)
    commit = run("commit-tree", "-m", "pushed", run("write-tree", **index))
    return Repository(bare, commit, git.quarantined(bare, quarantine))


async def test_the_source_of_a_quarantined_commit_is_stored(place: Place, tmp_path: Path) -> None:
    files = {"Procfile": b"web: ./run\n", "src/data": os.urandom(3 * MIB)}
    pushed = _repository(tmp_path / "git", files)

    async with packed_archive(pushed.commit, environment=pushed.environment) as chunks:
        stored = await place.archives.put("shop", uuid4(), pushed.commit, chunks, max_bytes=UNLIMITED)

    with tarfile.open(fileobj=io.BytesIO(await whole(place.archives, stored.key)), mode="r:gz") as archive:
        members = {each.name: archive.extractfile(each) for each in archive if each.isfile()}
        assert {name: each.read() for name, each in members.items() if each is not None} == files


async def test_the_same_commit_makes_the_same_archive(tmp_path: Path) -> None:
    pushed = _repository(tmp_path / "git", {"Procfile": b"web: ./run\n"})
    made = []
    for _ in range(2):
        async with packed_archive(pushed.commit, environment=pushed.environment) as chunks:
            made.append(b"".join([chunk async for chunk in chunks]))
    assert made[0] == made[1]


async def test_a_commit_that_is_not_there_stores_nothing(place: Place, tmp_path: Path) -> None:
    pushed = _repository(tmp_path / "git", {"Procfile": b"web: ./run\n"})
    with pytest.raises(BuildFailedError, match="git could not read the pushed commit"):
        async with packed_archive("1" * 40, environment=pushed.environment) as chunks:
            await place.archives.put("shop", uuid4(), "1" * 40, chunks, max_bytes=UNLIMITED)
    assert (place.stored(), place.unfinished()) == ([], [])


def _git_processes() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if each.name() == "git"]


async def test_git_killed_in_the_middle_stores_nothing(place: Place, tmp_path: Path) -> None:
    pushed = _repository(tmp_path / "git", {"data": os.urandom(40 * MIB)})
    async with packed_archive(pushed.commit, environment=pushed.environment) as chunks:
        await anext(chunks)
        for git in _git_processes():
            git.send_signal(signal.SIGKILL)
        with pytest.raises(BuildFailedError, match="git could not read the pushed commit"):
            await place.archives.put("shop", uuid4(), pushed.commit, chunks, max_bytes=UNLIMITED)
    assert (place.stored(), place.unfinished()) == ([], [])


async def test_git_ends_with_the_block(tmp_path: Path) -> None:
    pushed = _repository(tmp_path / "git", {"data": os.urandom(40 * MIB)})

    async def begin() -> None:
        async with packed_archive(pushed.commit, environment=pushed.environment) as chunks:
            await anext(chunks)
            begun.set()
            await asyncio.Event().wait()

    begun = asyncio.Event()
    task = asyncio.create_task(begin())
    await begun.wait()
    assert _git_processes()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: not _git_processes())


_MEASURE = """
import asyncio, json, sys
from uuid import uuid4
from builder.git.archive import packed_archive
from builder.storage.archives import Archives
from builder.storage.config import StorageConfig

def memory(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) // 1024

async def warm():
    yield b"x"

async def main(told):
    archives = Archives(StorageConfig(**told["storage"]))
    await archives.put("warm", uuid4(), told["commit"], warm(), max_bytes=1)
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")  # proc(5): the highest resident size counts from now on
    before = memory("VmRSS")
    async with packed_archive(told["commit"], environment=told["environment"]) as chunks:
        stored = await archives.put("shop", uuid4(), told["commit"], chunks, max_bytes=2**30)
    put = memory("VmHWM") - before
    async for _ in await archives.open(stored.key):
        pass
    print(json.dumps({"size": stored.size, "put": put, "open": memory("VmHWM") - before}))

asyncio.run(main(json.load(sys.stdin)))
"""


@pytest.mark.parametrize("kind", ["directory", "s3"])
async def test_weakness_10_a_large_archive_is_never_held_in_memory(
    kind: str, s3_server: S3Server, tmp_path: Path
) -> None:
    pushed = _repository(tmp_path / "git", {f"data{number}": os.urandom(10 * MIB) for number in range(20)})
    storage: dict[str, object] = {"url": (tmp_path / "storage").as_uri()}
    if kind == "s3":
        s3_server.make_bucket("large")
        storage = {"url": "s3://large", "endpoint": s3_server.endpoint}
        storage |= {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    told = {"storage": storage, "commit": pushed.commit, "environment": pushed.environment}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _MEASURE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(json.dumps(told).encode())
    measured = json.loads(output)
    assert measured["size"] > 200 * MIB
    assert measured["put"] < 20
    assert measured["open"] < 40  # 9 to 16; on a busy machine more threads of the library keep a piece each
