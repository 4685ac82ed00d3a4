"""`volumes client`: the files of a volume (cli.md 10.17)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote_plus

from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import exactly
from client.model.failures import ClientError

_ADDRESS: Final = re.compile(r"vol://(?P<volume>[^/]+)/(?P<path>.*)")
_MOST: Final = 3000


@dataclass(frozen=True)
class Entry:
    """A file or directory; all of it is text."""

    name: str
    path: str
    size: str
    type: str
    timestamp: str


@dataclass(frozen=True)
class Address:
    """A place in a volume."""

    volume: str
    path: str


def address(text: str) -> Address:
    """The place that `vol://<volume>/<path>` names."""
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ClientError(f"vol {text} format err")
    return Address(found["volume"], found["path"])


async def _list(call: Call, place: Address) -> list[Entry]:
    path = await call.path(f"volumes/{place.volume}/client/?path={quote_plus(place.path)}")
    return (await call.api.list(path, Entry, _MOST, mismatch=OnMismatch.FAIL)).items


@TREE.command("volumes client ls", exactly(1))
async def list_files(call: Call) -> None:
    """What a directory holds."""
    for entry in await _list(call, address(call.arguments[0])):
        name = f"{entry.name}/" if entry.type == "dir" else entry.name
        call.console.print(f"[{call.console.time(entry.timestamp)}] {entry.size} {name}")


@TREE.command("volumes client rm", exactly(1))
async def remove(call: Call) -> None:
    """Remove a file or directory."""
    place = address(call.arguments[0])
    path = await call.path(f"volumes/{place.volume}/client/{place.path}")
    response, _ = await call.api.call("DELETE", path, mismatch=OnMismatch.FAIL)
    if response.status != 200:
        raise ClientError(f"incorrect http status code {response.status}")


@TREE.command("volumes client cp", exactly(2))
async def copy(call: Call) -> None:
    """Copy files between a volume and this machine; without a volume on either side nothing happens."""
    source, target = call.arguments
    if source.startswith("vol://"):
        await _download(call, address(source), call.session.directory / target)
    elif target.startswith("vol://"):
        await _upload(call, source, address(target))


async def _download(call: Call, source: Address, target: Path) -> None:
    _check_directory(target)
    entries = await _list(call, source)
    is_file = len(entries) == 1 and entries[0].type == "file"
    if not is_file and source.path and not source.path.endswith("/"):
        target = target / PurePosixPath(source.path).name
    await _download_all(call, source, target)


def _check_directory(target: Path) -> None:
    if not target.is_dir():
        raise ClientError("the local path must be an existing dir")


async def _download_all(call: Call, source: Address, target: Path) -> None:
    for entry in await _list(call, source):
        if entry.type == "dir":
            await _download_all(call, Address(source.volume, entry.path), target / entry.name)
            continue
        path = await call.path(f"volumes/{source.volume}/client/{entry.path}")
        response, _ = await call.api.call("GET", path, mismatch=OnMismatch.FAIL)
        _write(target / entry.name, response.body)


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


async def _upload(call: Call, source: str, target: Address) -> None:
    name = Path(source).name
    entries = await _list(call, target)
    last = PurePosixPath(target.path).name
    if len(entries) == 1 and entries[0].type == "file" and entries[0].name == name == last:
        raise ClientError("the volume path cannot be an existing file")
    path = await call.path(f"volumes/{target.volume}/client/")
    for file, directory in _files(call, source, target.path):
        content = (call.session.directory / file).read_bytes()
        if content:
            disposition = f"attachment;filename*=utf-8''{quote_plus(file)};filepath*=utf-8''{quote_plus(directory)}"
            headers = {"Content-Type": "filer/octet-stream", "Content-Disposition": disposition}
            await call.api.call("POST", path, content, headers=headers, mismatch=OnMismatch.FAIL)


def _files(call: Call, source: str, directory: str) -> Iterator[tuple[str, str]]:
    """Path of each file as the user would write it, and the directory that it goes to."""
    place = call.session.directory / source
    if place.is_file():
        yield source, directory
        return
    if not place.is_dir():
        raise ClientError(f"stat {source}: no such file or directory")
    for each in sorted(place.rglob("*")):
        if each.is_file():
            below = each.relative_to(place).as_posix()
            inside = PurePosixPath(directory) / place.name / PurePosixPath(below).parent
            yield f"{source.rstrip('/')}/{below}", inside.as_posix()
