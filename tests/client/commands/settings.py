"""What stands in the settings: `autoscale`, `autodeploy`, `autorollback`, `routing`, `labels` (cli.md 10.12, 10.14)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from client.commands.patterns import labels
from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import Flag, anything, at_least, exactly
from client.model.console import shown
from client.model.failures import ClientPanic
from client.model.go_json import MayLack

_EXAMPLES: Final = "git_version=v1.0 group=web"


@dataclass(frozen=True)
class Autoscale:
    """Bounds of a process type that scales by itself."""

    min: int
    max: int
    cpu_percent: int


@dataclass(frozen=True)
class AppSettings:
    """The settings of an app."""

    uuid: str
    app: str
    owner: str
    created: str
    updated: str
    routable: bool | None
    autodeploy: bool | None
    autorollback: bool | None
    autoscale: dict[str, Autoscale | None] | None
    label: dict[str, object]
    allowlist: MayLack[list[str]]


async def read_settings(call: Call) -> AppSettings:
    """The settings; empty when the server speaks another version."""
    return await call.api.read("GET", await call.path("settings/"), AppSettings, mismatch=OnMismatch.DISCARD)


async def _write(call: Call, saying: str, body: Mapping[str, object]) -> None:
    path = await call.path("settings/")
    call.console.print(f"{saying}... ", end="")
    await call.api.read("POST", path, AppSettings, body, mismatch=OnMismatch.FAIL)
    call.console.print("done")


@TREE.command("autoscale list", anything)
async def autoscale_list(call: Call) -> None:
    """The rules by process type."""
    rules = (await read_settings(call)).autoscale
    if rules is None:
        call.console.print("No autoscale rules found.")
        return
    rows = []
    for ptype, rule in rules.items():
        if rule is None:
            raise ClientPanic("invalid memory address or nil pointer dereference")
        rows.append((ptype, str(rule.cpu_percent), str(rule.min), str(rule.max)))
    call.console.table(("PTYPE", "PERCENT", "MIN", "MAX"), rows)


@TREE.command(
    "autoscale set",
    exactly(1),
    Flag("min", default=0),
    Flag("max", default=0),
    Flag("cpu-percent", default=0),
    required=("min", "max", "cpu-percent"),
)
async def autoscale_set(call: Call) -> None:
    """Have a process type scale by itself."""
    (ptype,) = call.arguments
    rule = {"min": call.number("min"), "max": call.number("max"), "cpu_percent": call.number("cpu-percent")}
    saying = f"Applying autoscale settings for process type {ptype} on {await call.app()}"
    await _write(call, saying, {"autoscale": {ptype: rule}})


@TREE.command("autoscale unset", exactly(1))
async def autoscale_unset(call: Call) -> None:
    """Have a process type keep its count."""
    (ptype,) = call.arguments
    saying = f"Removing autoscale for process type {ptype} on {await call.app()}"
    await _write(call, saying, {"autoscale": {ptype: None}})


def _switch(group: str, word: str, field: str) -> None:
    """Register `<group> info`, `enable` and `disable` of one boolean; absent reads as enabled."""

    @TREE.command(f"{group} info", anything)
    async def info(call: Call) -> None:
        is_on = getattr(await read_settings(call), field) is not False
        call.console.print(f"{word.capitalize()} is {'enabled' if is_on else 'disabled'}.")

    @TREE.command(f"{group} enable", anything)
    async def enable(call: Call) -> None:
        await _write(call, f"Enabling {word} for {await call.app()}", {field: True})

    @TREE.command(f"{group} disable", anything)
    async def disable(call: Call) -> None:
        await _write(call, f"Disabling {word} for {await call.app()}", {field: False})


_switch("autodeploy", "autodeploy", "autodeploy")
_switch("autorollback", "autorollback", "autorollback")
_switch("routing", "routing", "routable")


@TREE.command("labels list", anything)
async def labels_list(call: Call) -> None:
    """Notes about the app."""
    settings = await read_settings(call)
    if not settings.label:
        call.console.print(f"No labels found in {await call.app()} app.")
        return
    rows = [(settings.owner, name, shown(value)) for name, value in sorted(settings.label.items())]
    call.console.table(("OWNER", "KEY", "VALUE"), rows)


@TREE.command("labels set", at_least(1))
async def labels_set(call: Call) -> None:
    """Add or change notes."""
    given = labels(call.arguments, _EXAMPLES)
    await _write(call, f"Applying labels on {await call.app()}", {"label": dict(sorted(given.items()))})


@TREE.command("labels unset", at_least(1))
async def labels_unset(call: Call) -> None:
    """Remove notes."""
    given = dict.fromkeys(sorted(call.arguments))
    await _write(call, f"Removing labels on {await call.app()}", {"label": given})
