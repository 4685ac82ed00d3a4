"""`config`: variables of an app, for all process types or some (cli.md 10.10)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from client.commands.patterns import variables
from client.commands.probes import Probe
from client.commands.registry import TREE
from client.commands.settings import AppSettings
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import CONFIRM, Flag, anything, at_least
from client.model.console import shown
from client.model.failures import ClientError
from client.model.go_json import MayLack

GLOBAL: Final = "global"
_PTYPE, _GROUP, _VERSION = Flag("ptype", "p"), Flag("group", "g"), Flag("version", "v", 0)
_PATH: Final = Flag("path", default=".env")
_EITHER: Final = (("ptype", "group"),)


@dataclass(frozen=True)
class Variable:
    """One value, of a group or of a process type."""

    name: str
    value: object
    ptype: MayLack[str]
    group: MayLack[str]


@dataclass(frozen=True)
class Config:
    """What an app is told."""

    app: str
    owner: str
    uuid: str
    created: str
    updated: str
    values: list[Variable]
    values_refs: dict[str, list[str]]
    limits: dict[str, object]
    tags: dict[str, dict[str, object]]
    termination_grace_period: dict[str, object]
    registry: dict[str, dict[str, object]]
    healthcheck: dict[str, dict[str, Probe | None] | None]


async def read_config(call: Call, *, mismatch: OnMismatch = OnMismatch.DISCARD) -> Config:
    """The config, of the release that `--version` names where a command has that flag."""
    version = call.parsed.values.get("version", 0)
    path = await call.path("config/") + (f"?version=v{version}" if version else "")
    return await call.api.read("GET", path, Config, mismatch=mismatch)


async def write_config(call: Call, saying: str, body: Mapping[str, object]) -> None:
    """Merge into the config and say so."""
    path = await call.path("config/")
    call.console.print(f"{saying}... ", end="")
    await call.api.read("POST", path, Config, body, mismatch=OnMismatch.DISCARD)
    call.console.print("done\n")


@TREE.command("config info", anything, _PTYPE, _GROUP, _VERSION)
async def info(call: Call) -> None:
    """The variables by group and process type."""
    config = await read_config(call)
    ptype, group = call.text("ptype"), call.text("group")
    blocks = []
    if not ptype:
        groups = sorted({each.group for each in config.values if each.group})
        blocks += [_group_block(config, name) for name in groups if group in ("", name)]
    if not group:
        named = {each.ptype for each in config.values if each.ptype} | set(config.values_refs)
        blocks += [_ptype_block(config, name) for name in sorted(named) if ptype in ("", name)]
    call.console.print("\n".join(blocks))


def _group_block(config: Config, name: str) -> str:
    lines = [f"{each.name}={shown(each.value)}" for each in config.values if each.group == name]
    return "\n".join(["---", f"# Group: {name}", *lines, ""])


def _ptype_block(config: Config, name: str) -> str:
    lines = [f"{each.name}={shown(each.value)}" for each in config.values if each.ptype == name]
    groups = list(config.values_refs.get(name, ()))
    groups += [GLOBAL] if any(each.group == GLOBAL for each in config.values) else []
    refs = [f"- {group}" for group in groups]
    return "\n".join(["---", f"# Ptype {name} config", "## env", *lines, "", "## ref", *refs, ""])


@TREE.command("config set", at_least(1), _PTYPE, _GROUP, CONFIRM, exclusive=_EITHER)
async def set_values(call: Call) -> None:
    """Set variables."""
    await _look_at_settings(call)
    await _set(call, variables(call.arguments))


@TREE.command("config unset", at_least(1), _PTYPE, _GROUP, CONFIRM, exclusive=_EITHER)
async def unset_values(call: Call) -> None:
    """Remove variables."""
    await _look_at_settings(call)
    await write_config(call, "Removing config", _values(call, dict.fromkeys(call.arguments)))


@TREE.command(
    "config pull",
    anything,
    _PTYPE,
    _GROUP,
    _VERSION,
    _PATH,
    Flag("interactive", "i", False),
    Flag("overwrite", "o", False),
    exclusive=_EITHER,
)
async def pull(call: Call) -> None:
    """Write the variables of one group or process type to a file, or through a pipe."""
    call.parsed.values["version"] = 0  # the flag is accepted and ignored
    config = await read_config(call)
    scope, name = _scope(call)
    found = [each for each in config.values if getattr(each, scope) == name]
    lines = [f"{each.name}={shown(each.value)}" for each in sorted(found, key=lambda each: each.name.lower())]
    text = "".join(f"{line}\n" for line in lines)
    if not call.at_terminal:
        call.console.print(text, end="")
        return
    file = call.session.directory / call.text("path")
    if file.exists() and not call.is_set("overwrite"):
        raise ClientError(f"{call.text('path')} already exists, pass -o to overwrite")
    file.write_text(text)


@TREE.command("config push", anything, _PTYPE, _GROUP, _PATH, CONFIRM, exclusive=_EITHER)
async def push(call: Call) -> None:
    """Set the variables that a file has."""
    await _look_at_settings(call)
    if call.piped is not None:
        raise ClientError("open /dev/tty: no such device or address")
    file = call.session.directory / call.text("path")
    if not file.is_file():
        raise ClientError(f"open {call.text('path')}: no such file or directory")
    await _look_at_settings(call)
    await _set(call, variables(line for line in file.read_text().splitlines() if line.strip()))


async def _look_at_settings(call: Call) -> None:
    try:
        await call.api.read("GET", await call.path("settings/"), AppSettings, mismatch=OnMismatch.DISCARD)
    except ClientError:
        return  # whatever it is, the client goes on


async def _set(call: Call, values: Mapping[str, str]) -> None:
    await write_config(call, "Creating config", _values(call, values))


def _values(call: Call, values: Mapping[str, str | None]) -> Mapping[str, object]:
    scope, name = _scope(call)
    items = [{scope: name, "name": each, "value": value} for each, value in values.items()]
    return {"values": items} if items else {}


def _scope(call: Call) -> tuple[str, str]:
    if call.text("ptype"):
        return "ptype", call.text("ptype")
    return "group", call.text("group") or GLOBAL


@TREE.command("config attach", at_least(2))
async def attach(call: Call) -> None:
    """Have a process type see groups."""
    ptype, *groups = call.arguments
    await write_config(call, "Attach config", _references(ptype, groups))


@TREE.command("config detach", at_least(2))
async def detach(call: Call) -> None:
    """Have a process type see groups no more."""
    path, (ptype, *groups) = await call.path("config/"), call.arguments
    call.console.print("Detach config... ", end="")
    await call.api.do("DELETE", path, _references(ptype, groups), mismatch=OnMismatch.DISCARD)
    call.console.print("done\n")


def _references(ptype: str, groups: Iterable[str]) -> Mapping[str, object]:
    return {"values_refs": {ptype: list(groups)}}
