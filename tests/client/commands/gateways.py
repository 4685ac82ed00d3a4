"""`gateways` (cli.md 10.16)."""

from __future__ import annotations

from dataclasses import dataclass

from client.commands.registry import TREE
from client.model.call import Call
from client.model.cobra import LIMIT, Flag, anything, exactly

_PORT, _PROTOCOL = Flag("port", default=0), Flag("protocol")


@dataclass(frozen=True)
class Listener:
    """A port of a gateway, of one domain or of all."""

    name: str
    port: int
    protocol: str
    allowedRoutes: object  # noqa: N815  the key of the JSON


@dataclass(frozen=True)
class Address:
    """Where a gateway answers."""

    type: str
    value: str


@dataclass(frozen=True)
class Gateway:
    """A gateway."""

    name: str
    listeners: list[Listener]
    addresses: list[Address]


@TREE.command("gateways list", anything, LIMIT)
async def gateways_list(call: Call) -> None:
    """The app's gateways, a line for each listener."""
    page = await call.api.list(await call.path("gateways/"), Gateway, call.limit)
    if page.is_empty:
        call.console.print(f"No gateways found in {await call.app()} app.")
        return
    rows = [
        (gateway.name, each.name, str(each.port), each.protocol, ",".join(one.value for one in gateway.addresses))
        for gateway in page.items
        for each in gateway.listeners
    ]
    call.console.table(("NAME", "LISENTER", "PORT", "PROTOCOL", "ADDRESSES"), rows)


@TREE.command("gateways add", exactly(1), _PORT, _PROTOCOL, required=("port", "protocol"))
async def gateways_add(call: Call) -> None:
    """Open a port of a gateway, which is made when it is not there."""
    call.console.print(f"Adding gateway {call.arguments[0]} to {await call.app()}... ", end="")
    await _listener(call, "POST")


@TREE.command("gateways remove", exactly(1), _PORT, _PROTOCOL, required=("port", "protocol"))
async def gateways_remove(call: Call) -> None:
    """Close a port of a gateway, which goes with its last one."""
    call.console.print(f"Removing gateway {call.arguments[0]} to {await call.app()}... ", end="")
    await _listener(call, "DELETE")


async def _listener(call: Call, method: str) -> None:
    body = {"name": call.arguments[0], "port": call.number("port"), "protocol": call.text("protocol")}
    await call.api.do(method, await call.path("gateways/"), body)
    call.console.print("done")
