"""What stands in the config by process type: `tags`, `timeouts`, `registry` (cli.md 10.12)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from client.commands.config import read_config, write_config
from client.commands.patterns import labels, matched
from client.commands.registry import TREE
from client.model.call import Call
from client.model.cobra import Flag, anything, at_least, exactly
from client.model.console import shown

_PTYPE, _VERSION = Flag("ptype", "p"), Flag("version", "v", 0)
_TAG_EXAMPLES: Final = "rack=1 evironment=production"
_TIMEOUT: Final = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*=[0-9]+$")


@TREE.command("tags list", anything, _PTYPE, _VERSION)
async def tags_list(call: Call) -> None:
    """Where the instances may run."""
    await _print_tags(call, call.text("ptype"))


async def _print_tags(call: Call, only: str = "") -> None:
    tags = (await read_config(call)).tags
    rows = [
        (ptype, name, shown(value))
        for ptype in sorted(tags, key=lambda ptype: (ptype != "web", ptype))
        if only in ("", ptype)
        for name, value in sorted(tags[ptype].items())
    ]
    if not rows:
        call.console.print(f"No tags found in {await call.app()} app.")
        return
    call.console.table(("PTYPE", "KEY", "VALUE"), rows)


@TREE.command("tags set", at_least(1), _PTYPE, required=("ptype",))
async def tags_set(call: Call) -> None:
    """Have instances run on machines with these labels."""
    await _tags(call, dict(labels(call.arguments, _TAG_EXAMPLES)))


@TREE.command("tags unset", at_least(1), _PTYPE, required=("ptype",))
async def tags_unset(call: Call) -> None:
    """Have instances run anywhere again."""
    await _tags(call, dict.fromkeys(call.arguments))


async def _tags(call: Call, tags: Mapping[str, str | None]) -> None:
    body = {"tags": {call.text("ptype"): dict(sorted(tags.items()))}}
    await write_config(call, "Applying tags", body)
    await _print_tags(call)


@TREE.command("timeouts list", anything, _VERSION)
async def timeouts_list(call: Call) -> None:
    """How long instances may take to end."""
    timeouts = (await read_config(call)).termination_grace_period
    if not timeouts:
        call.console.print("Default (30 sec) or controlled by drycc controller.")
        return
    call.console.table(("PTYPE", "TIMEOUT"), [(name, shown(value)) for name, value in sorted(timeouts.items())])


@TREE.command("timeouts set", at_least(1))
async def timeouts_set(call: Call) -> None:
    """Give instances more time to end, or less."""
    complaint = "{} doesn't fit format type=#\nExamples: web=30 worker=300"
    await _timeouts(call, dict(matched(_TIMEOUT, call.arguments, "=", complaint)))


@TREE.command("timeouts unset", at_least(1))
async def timeouts_unset(call: Call) -> None:
    """Give instances the usual time to end."""
    await _timeouts(call, dict.fromkeys(call.arguments))


async def _timeouts(call: Call, timeouts: Mapping[str, str | None]) -> None:
    body = {"termination_grace_period": dict(sorted(timeouts.items()))}
    await write_config(call, "Applying timeouts", body)
    await timeouts_list(call)


@TREE.command("registry list", anything, _PTYPE, _VERSION)
async def registry_list(call: Call) -> None:
    """Credentials for images."""
    registry, only = (await read_config(call)).registry, call.text("ptype")
    rows = [
        (ptype, shown(entry["username"]), shown(entry.get("password")))
        for ptype, entry in sorted(registry.items())
        if only in ("", ptype) and entry.get("username") is not None
    ]
    if not rows:
        call.console.print(f"No registrys found in {await call.app()} app.")
        return
    call.console.table(("PTYPE", "USERNAME", "PASSWORD"), rows)


@TREE.command("registry set", exactly(2), _PTYPE, required=("ptype",))
async def registry_set(call: Call) -> None:
    """Pull images of a process type with these credentials."""
    username, password = call.arguments
    await _registry(call, {"username": username, "password": password})
    await registry_list(call)


@TREE.command("registry unset", anything, _PTYPE, required=("ptype",))
async def registry_unset(call: Call) -> None:
    """Pull images of a process type without credentials."""
    await _registry(call, {"username": None, "password": None})


async def _registry(call: Call, entry: Mapping[str, str | None]) -> None:
    body = {"registry": {call.text("ptype"): entry}}
    await write_config(call, "Applying registry information", body)
