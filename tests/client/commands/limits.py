"""`limits`: the sizes that process types can have (cli.md 10.11)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from client.commands.config import read_config, write_config
from client.commands.patterns import matched
from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import LIMIT, Flag, anything, at_least
from client.model.console import shown
from client.model.failures import ClientPanic

_LIMIT: Final = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*=[-.a-zA-Z0-9]+$")
_NONE: Final = "Could not find any limit spec."
_CPU: Final = ("name", "clock", "boost", "cores", "threads")
_VERSION: Final = Flag("version", "v", 0)


@dataclass(frozen=True)
class Spec:
    """A kind of machine."""

    id: str
    cpu: dict[str, object]
    features: dict[str, object]

    @property
    def gpu(self) -> str:
        """Name and memory of its graphics processor, which the program takes for granted."""
        gpu = _inside(self.features, "gpu")
        return f"{shown(_known(gpu, 'name'))} {shown(_known(_inside(gpu, 'memory'), 'size'))}"


@dataclass(frozen=True)
class Plan:
    """A size on a kind of machine."""

    id: str
    cpu: int
    memory: int
    features: dict[str, object]
    spec: Spec

    @property
    def described(self) -> str:
        """What it has besides processors and memory."""
        return f"{self.spec.gpu} * {shown(_known(self.features, 'gpu'))}"


def _known(values: Mapping[str, object], name: str) -> object:
    if name not in values:
        raise ClientPanic(f"{name} is not there")
    return values[name]


def _inside(values: Mapping[str, object], name: str) -> Mapping[str, object]:
    inner = _known(values, name)
    if not isinstance(inner, dict):
        raise ClientPanic(f"interface conversion: {name} is not map[string]interface {{}}")
    return inner


@TREE.command("limits list", anything, _VERSION)
async def list_limits(call: Call) -> None:
    """The plans of the process types."""
    limits = (await read_config(call)).limits
    if not limits:
        call.console.print(f"No limits found in {await call.app()} app.")
        return
    plans: dict[str, Plan] = {}
    rows = []
    for ptype, value in sorted(limits.items()):
        name = shown(value)
        if name not in plans:
            path = f"/v2/limits/plans/{name}/"
            plans[name] = await call.api.read("GET", path, Plan, mismatch=OnMismatch.FAIL)
        plan = plans[name]
        rows.append((ptype, name, str(plan.cpu), f"{plan.memory} GiB", plan.described))
    call.console.table(("PTYPE", "PLAN", "VCPUS", "MEMORY", "FEATURES"), rows)


@TREE.command("limits set", at_least(1))
async def set_limits(call: Call) -> None:
    """Give process types other plans."""
    complaint = "{} doesn't fit format type=#unit or type=#\nExamples: web=std1.large.c1m1"
    await _change(call, dict(matched(_LIMIT, call.arguments, "=", complaint)))


@TREE.command("limits unset", at_least(1))
async def unset_limits(call: Call) -> None:
    """Give process types the usual plan."""
    await _change(call, dict.fromkeys(call.arguments))


async def _change(call: Call, limits: Mapping[str, str | None]) -> None:
    await write_config(call, "Applying limits", {"limits": dict(sorted(limits.items()))})
    await list_limits(call)


@TREE.command("limits specs", anything, LIMIT, Flag("keywords", "k"), for_app=False)
async def list_specs(call: Call) -> None:
    """The kinds of machines."""
    keywords = call.text("keywords")
    path = "/v2/limits/specs/" + (f"?keywords={keywords}" if keywords else "")
    page = await call.api.list(path, Spec, call.limit)
    if page.is_empty:
        call.console.print(_NONE)
        return
    rows = [
        (each.id, *(shown(each.cpu.get(name)) for name in _CPU), shown(each.features.get("network")), each.gpu)
        for each in page.items
    ]
    call.console.table(("ID", "CPU", "CLOCK", "BOOST", "CORES", "THREADS", "NETWORK", "FEATURES"), rows)


@TREE.command(
    "limits plans",
    anything,
    LIMIT,
    Flag("cpu", default=0),
    Flag("memory", "m", 0),
    Flag("spec-id"),
    for_app=False,
)
async def list_plans(call: Call) -> None:
    """The sizes."""
    wanted = (("cpu", call.number("cpu")), ("memory", call.number("memory")), ("spec-id", call.text("spec-id")))
    query = "&".join(f"{name}={value}" for name, value in wanted if value)
    path = "/v2/limits/plans/" + (f"?{query}" if query else "")
    page = await call.api.list(path, Plan, call.limit)
    if page.is_empty:
        call.console.print(_NONE)
        return
    rows = [
        (
            each.id,
            each.spec.id,
            shown(each.spec.cpu.get("name")),
            str(each.cpu),
            f"{each.memory} GiB",
            each.described,
        )
        for each in page.items
    ]
    call.console.table(("ID", "SPEC", "CPU", "VCPUS", "MEMORY", "FEATURES"), rows)
