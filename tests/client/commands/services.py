"""`services` (cli.md 10.16)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from client.commands.patterns import atoi
from client.commands.registry import TREE
from client.model.call import Call
from client.model.cobra import Flag, anything, exactly
from client.model.failures import ClientError, ClientPanic
from client.model.go_json import through_interface

_PORTS: Final = re.compile(r"^[0-9]{2,}:[0-9]{2,}$")
_TCP: Final = Flag("protocol", default="TCP")


@dataclass(frozen=True)
class ServicePort:
    """A port of a service."""

    name: str
    port: int
    protocol: str
    targetPort: int  # noqa: N815


@dataclass(frozen=True)
class Service:
    """A service."""

    name: str
    ptype: str
    domain: str
    ports: list[ServicePort]


@TREE.command("services list", anything)
async def services_list(call: Call) -> None:
    """The app's services, a line for each port."""
    response, _ = await call.api.call("GET", await call.path("services/"))
    answer = call.api.parse(response)
    services = answer.get("services") if isinstance(answer, dict) else None
    if not isinstance(services, list):
        raise ClientPanic("interface conversion: services is not []interface {}")
    found = call.reader.read(through_interface(services), list[Service])
    if not found:
        call.console.print(f"No services found in {await call.app()} app.")
        return
    rows = [
        (each.name, each.ptype, str(port.port), port.protocol, str(port.targetPort), each.domain)
        for each in found
        for port in each.ports
    ]
    call.console.table(("NAME", "PTYPE", "PORT", "PROTOCOL", "TARGET-PORT", "DOMAIN"), rows)


@TREE.command("services add", exactly(2), _TCP)
async def services_add(call: Call) -> None:
    """Give a process type a port that others reach it by."""
    ptype, ports = call.arguments
    if not _PORTS.match(ports):
        raise ClientError(f"'{ports}' does not match the pattern 'port:targatPort', ex: 80:8000")
    port, _, target = ports.partition(":")
    path = await call.path("services/")
    call.console.print(f"Adding {ptype} ({port}) to {await call.app()}... ", end="")
    body = {"ptype": ptype, "port": int(port), "protocol": call.text("protocol"), "target_port": int(target)}
    await call.api.do("POST", path, body)
    call.console.print("done")


@TREE.command("services remove", exactly(2), _TCP)
async def services_remove(call: Call) -> None:
    """Take a port of a process type away."""
    ptype, port = call.arguments
    path = await call.path("services/")
    call.console.print(f"Removing {ptype} from {await call.app()}... ", end="")
    await call.api.do("DELETE", path, {"ptype": ptype, "port": atoi(port), "protocol": call.text("protocol")})
    call.console.print("done")
