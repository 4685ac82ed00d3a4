"""`volumes` (cli.md 10.17); their files are in `volume_files`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import yaml

from client.commands.patterns import matched
from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import LIMIT, Flag, anything, at_least, exactly
from client.model.console import Row
from client.model.failures import ClientError

_SIZE: Final = re.compile(r"^[1-9][0-9]*[gG]$")
_MOUNT: Final = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*=[\w/-]+$")
_NFS: Final = ("nfs-server", "nfs-path")
_OSS: Final = ("oss-server", "oss-bucket", "oss-access-key", "oss-secret-key")
_RESTART: Final = "The pods should be restart, please check the pods up or not."


@dataclass(frozen=True)
class Volume:
    """A volume."""

    uuid: str
    name: str
    owner: str
    type: str
    size: str
    path: dict[str, str]
    parameters: dict[str, object]
    created: str
    updated: str


@TREE.command("volumes list", anything, LIMIT)
async def list_volumes(call: Call) -> None:
    """The app's volumes, a line for each mount."""
    page = await call.api.list(await call.path("volumes/"), Volume, call.limit)
    if page.is_empty:
        call.console.print("Could not find any volume.")
        return
    rows = [
        (each.name, each.owner, each.type, ptype, path, each.size)
        for each in page.items
        for ptype, path in sorted(each.path.items()) or [("", "")]
    ]
    call.console.table(("NAME", "OWNER", "TYPE", "PTYPE", "PATH", "SIZE"), rows)


@TREE.command(
    "volumes add",
    exactly(2),
    Flag("type", "t", "csi"),
    *(Flag(name) for name in (*_NFS, *_OSS)),
    together=(_NFS, _OSS),
)
async def add(call: Call) -> None:
    """Make a volume."""
    name, size = call.arguments
    _check_size(size)
    path = await call.path("volumes/")
    body: dict[str, object] = {"name": name, "size": size, "type": call.text("type")}
    parameters = _parameters(call)
    body |= {"parameters": parameters} if parameters else {}
    await _write(call, f"Creating {name} to {await call.app()}", "POST", path, body)


def _parameters(call: Call) -> Mapping[str, object]:
    kind = call.text("type")
    names = {"nfs": _NFS, "oss": _OSS}.get(kind, ())
    values = {name.removeprefix(f"{kind}-").replace("-", "_"): call.text(name) for name in names}
    return {kind: values} if values else {}


def _check_size(size: str) -> None:
    if not _SIZE.match(size):
        raise ClientError(f"{size} doesn't fit format #unit\nExamples: 2G 2g")


@TREE.command("volumes expand", exactly(2))
async def expand(call: Call) -> None:
    """Make a volume larger."""
    name, size = call.arguments
    _check_size(size)
    path = await call.path(f"volumes/{name}/")
    await _write(call, f"Expand {name} to {await call.app()}", "PATCH", path, {"name": name, "size": size})


@TREE.command("volumes info", exactly(1))
async def info(call: Call) -> None:
    """One volume."""
    volume = await call.api.read("GET", await call.path(f"volumes/{call.arguments[0]}/"), Volume)
    rows: list[Row] = [
        ("UUID:", volume.uuid),
        ("Name:", volume.name),
        ("Owner:", volume.owner),
        ("Type:", volume.type),
        ("Path:", yaml.safe_dump(volume.path).rstrip()),
        ("Parameters:", yaml.safe_dump(volume.parameters).rstrip()),
        ("Created:", call.console.time(volume.created)),
        ("Updated:", call.console.time(volume.updated)),
    ]
    call.console.facts(rows)


@TREE.command("volumes remove", exactly(1))
async def remove(call: Call) -> None:
    """Remove a volume and what is in it."""
    (name,) = call.arguments
    path = await call.path(f"volumes/{name}/")
    call.console.print(f"Deleting {name} from {await call.app()}... ", end="")
    await call.api.do("DELETE", path)
    call.console.print("done")


@TREE.command("volumes mount", at_least(2))
async def mount(call: Call) -> None:
    """Show a volume to process types."""
    name, *pairs = call.arguments
    paths = matched(_MOUNT, pairs, "=", "'{}' does not match the pattern 'key=var', ex: MODE=test")
    await _mount(call, "Mounting", name, dict(paths))


@TREE.command("volumes unmount", at_least(2))
async def unmount(call: Call) -> None:
    """Hide a volume from process types."""
    name, *ptypes = call.arguments
    await _mount(call, "Unmounting", name, dict.fromkeys(ptypes))


async def _mount(call: Call, doing: str, name: str, paths: Mapping[str, str | None]) -> None:
    path = await call.path(f"volumes/{name}/path/")
    await _write(call, f"{doing} volume", "PATCH", path, {"path": dict(sorted(paths.items()))})
    call.console.print(_RESTART)


async def _write(call: Call, saying: str, method: str, path: str, body: Mapping[str, object]) -> None:
    call.console.print(f"{saying}... ", end="")
    await call.api.read(method, path, Volume, body, mismatch=OnMismatch.DISCARD)
    call.console.print("done")
