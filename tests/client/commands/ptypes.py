"""`pts`: process types (cli.md 10.9)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from client.commands.patterns import matched
from client.commands.probes import Probe
from client.commands.processes import MOST, print_events
from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import CONFIRM, anything, at_least, exactly
from client.model.console import Row, shown
from client.model.failures import ClientError
from client.model.go_json import MayLack

_SCALE: Final = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*=[0-9]+$")


@dataclass(frozen=True)
class Ptype:
    """A process type."""

    name: str
    release: str
    ready: str
    up_to_date: int
    available_replicas: int
    started: str
    garbage: bool


@dataclass(frozen=True)
class Mount:
    """A volume in a process type."""

    name: str
    mountPath: str  # noqa: N815  the key of the JSON


@dataclass(frozen=True)
class PtypeContainer:
    """What the instances of a process type consist of."""

    container: str
    image: str
    command: list[str]
    args: list[str]
    liveness_probe: Probe
    readiness_probe: Probe
    limits: dict[str, str]
    volume_mounts: list[Mount]
    node_selector: dict[str, str]
    startup_probe: MayLack[Probe]


@TREE.command("pts list", anything)
async def list_ptypes(call: Call) -> None:
    """The app's process types."""
    page = await call.api.list(await call.path("ptypes/"), Ptype, MOST)
    if not page.items:
        call.console.print(f"No processes found in {await call.app()} app.")
        return
    rows = [
        (
            each.name,
            each.release,
            each.ready,
            str(each.up_to_date),
            str(each.available_replicas),
            call.console.time(each.started),
            shown(each.garbage),
        )
        for each in sorted(page.items, key=lambda each: each.name)
    ]
    call.console.table(("NAME", "RELEASE", "READY", "UP-TO-DATE", "AVAILABLE", "STARTED", "GARBAGE"), rows)


@TREE.command("pts describe", exactly(1))
async def describe(call: Call) -> None:
    """One process type in detail."""
    path, name = await call.path(), f"{await call.app()}-{call.arguments[0]}"
    containers = await call.api.list(f"{path}ptypes/{name}/describe/", PtypeContainer, MOST)
    rows: list[Row] = []
    for number, container in enumerate(containers.items):
        rows += [("",)] if number else []
        rows += _container_rows(container)
    call.console.facts(rows)
    await print_events(call, f"{path}events/?ptype={name}")


def _container_rows(container: PtypeContainer) -> list[Row]:
    rows: list[Row] = [("Container:", container.container), ("Image:", container.image)]
    rows += [("Command:", " ".join(container.command))] if container.command else []
    rows += [("Args:", " ".join(container.args))] if container.args else []
    rows += _pairs("Limits:", container.limits)
    rows += _titled("Mounts:", [("", f"{each.mountPath} from {each.name}") for each in container.volume_mounts])
    for label, probe in (
        ("Startup:", container.startup_probe),
        ("Liveness:", container.liveness_probe),
        ("Readiness:", container.readiness_probe),
    ):
        rows += [(label, probe.described)] if probe.described else []
    return rows + _pairs("Node-Selectors:", container.node_selector)


def _pairs(label: str, values: Mapping[str, str]) -> list[Row]:
    return _titled(label, [("", name, value) for name, value in sorted(values.items())])


def _titled(label: str, rows: Sequence[Row]) -> list[Row]:
    return [(label,), *rows] if rows else []


@TREE.command("pts scale", at_least(1))
async def scale(call: Call) -> None:
    """Change how many instances there should be."""
    complaint = "'{}' does not match the pattern 'ptype=num', ex: web=2"
    counts = {name: int(count) for name, count in matched(_SCALE, call.arguments, "=", complaint).items()}
    await _work(call, "Scaling", "scale", dict(sorted(counts.items())), OnMismatch.WORK)


@TREE.command("pts restart", anything, CONFIRM)
async def restart(call: Call) -> None:
    """Replace instances one after the other."""
    confirm_all(call, "restart")
    await _work(call, "Restarting", "restart", {"ptypes": ",".join(call.arguments)}, OnMismatch.FAIL)


@TREE.command("pts clean", at_least(1))
async def clean(call: Call) -> None:
    """Forget process types that no release has any more."""
    await _work(call, "Cleaning", "clean", {"ptypes": ",".join(call.arguments)}, OnMismatch.FAIL)


def confirm_all(call: Call, action: str) -> None:
    """Have the user confirm what concerns all process types."""
    if call.arguments or call.text("confirm") == "yes":
        return
    if call.console.ask("> ") != "yes":
        raise ClientError(f"cancel the {action} action")


async def _work(call: Call, doing: str, action: str, body: Mapping[str, object], mismatch: OnMismatch) -> None:
    path = await call.path(f"ptypes/{action}/")
    await wait(call, doing, path, body, mismatch)


async def wait(call: Call, doing: str, path: str, body: Mapping[str, object], mismatch: OnMismatch) -> None:
    """A call that takes as long as it takes, with something to drink."""
    drink = call.session.environment.get("DRYCC_DRINK_OF_CHOICE", "coffee")
    call.console.print(f"{doing} process types... but first, {drink}!")
    started = time.monotonic()
    await call.api.do("POST", path, body, mismatch=mismatch)
    call.console.print(f"done in {int(time.monotonic() - started)}s")
