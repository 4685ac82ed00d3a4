"""`builds` (cli.md 10.7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from client.commands.patterns import variables
from client.commands.registry import TREE
from client.model.call import Call
from client.model.cobra import CONFIRM, Flag, anything, exactly
from client.model.failures import ClientError
from client.model.go_json import MayLack

_PROCFILE, _DRYCC = Flag("procfile", "p", "Procfile"), Flag("dryccpath", "d", ".drycc")
_VERSION = Flag("version", "v", 0)


@dataclass(frozen=True)
class Build:
    """What an app is made of. All is empty before the first one."""

    app: str
    image: str
    stack: str
    sha: str
    procfile: dict[str, str]
    dryccfile: dict[str, object]
    uuid: MayLack[str]
    owner: MayLack[str]
    created: MayLack[str]
    updated: MayLack[str]


async def _read(call: Call, path: str) -> Build:
    version = call.number("version")
    return await call.api.read("GET", path + (f"?version=v{version}" if version else ""), Build)


@TREE.command("builds info", anything, _VERSION)
async def info(call: Call) -> None:
    """The build of a release, by default of the latest."""
    build = await _read(call, await call.path("build/"))
    call.console.facts(
        [
            ("App:", build.app),
            ("Sha:", build.sha),
            ("UUID:", build.uuid),
            ("Owner:", build.owner),
            ("Image:", build.image),
            ("Stack:", build.stack),
            ("Created:", build.created),
            ("Updated:", build.updated),
        ]
    )


@TREE.command("builds create", exactly(1), Flag("stack", "s", "container"), _PROCFILE, _DRYCC, CONFIRM)
async def create(call: Call) -> None:
    """A release of an image."""
    path = await call.path("build/")
    procfile, dryccfile = _procfile(call), _dryccfile(call)
    try:
        before = await call.api.read("GET", path, Build)
    except ClientError:
        before = None
    if before is not None and call.text("confirm") != "yes":
        loses_procfile = bool(before.procfile) and not procfile
        loses_config = bool(before.dryccfile.get("config")) and not dryccfile.get("config")
        if (loses_procfile or loses_config) and call.console.ask("> ") != "yes":
            raise ClientError("cancel the build create action")
    body: dict[str, object] = {"image": call.arguments[0], "stack": call.text("stack")}
    body |= {"procfile": procfile} if procfile else {}
    body |= {"dryccfile": dryccfile} if dryccfile else {}
    call.console.print("Creating build... ", end="")
    await call.api.read("POST", path, Build, body)
    call.console.print("done")


def _procfile(call: Call) -> dict[str, str]:
    file = call.session.directory / call.text("procfile")
    if not file.is_file():
        return {}
    found = yaml.safe_load(file.read_text()) or {}
    return {str(name): str(command) for name, command in sorted(found.items())}


def _dryccfile(call: Call) -> dict[str, object]:
    directory = call.session.directory / call.text("dryccpath")
    config = {
        file.name: dict(sorted(variables(filter(None, file.read_text().splitlines())).items()))
        for file in sorted(directory.glob("config/*"))
        if file.is_file()
    }
    pipeline = {
        file.name: yaml.safe_load(file.read_text())
        for file in sorted(directory.glob("*.y*ml"))
        if file.suffix in (".yaml", ".yml")
    }
    return {**({"config": config} if config else {}), **({"pipeline": pipeline} if pipeline else {})}


@TREE.command("builds fetch", anything, _VERSION, _PROCFILE, _DRYCC, Flag("save", default=False), CONFIRM)
async def fetch(call: Call) -> None:
    """The files that a build was made with."""
    build = await _read(call, await call.path("build/"))
    files = dict(_files(call, build))
    if not call.is_set("save"):
        for path, content in files.items():
            call.console.print(f"---\n# Source: {path}\n{content}", end="")
        return
    if call.text("confirm") != "yes" and call.console.ask("> ") != "yes":
        raise ClientError("cancel the build fetch action")
    for path, content in files.items():
        file = call.session.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    call.console.print("done")


def _files(call: Call, build: Build) -> Iterator[tuple[Path, str]]:
    if build.procfile:
        yield Path(call.text("procfile")), yaml.safe_dump(build.procfile)
    base = Path(call.text("dryccpath"))
    for name, values in sorted(_mapping(build.dryccfile.get("config")).items()):
        yield base / "config" / name, "".join(f"{each}={value}\n" for each, value in _mapping(values).items())
    for name, pipeline in sorted(_mapping(build.dryccfile.get("pipeline")).items()):
        yield base / name, yaml.safe_dump(pipeline)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
