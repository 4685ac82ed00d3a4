"""`gateways`, `routes` and `services` (cli.md 10.16)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import yaml

from client.commands.patterns import atoi
from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import LIMIT, Flag, anything, at_least, exactly
from client.model.failures import ClientError, ClientPanic
from client.model.go_json import MayLack, encode, through_interface

_PORTS: Final = re.compile(r"^[0-9]{2,}:[0-9]{2,}$")
_PORT, _PROTOCOL = Flag("port", default=0), Flag("protocol")
_TCP: Final = Flag("protocol", default="TCP")


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


@dataclass(frozen=True)
class Reference:
    """A gateway or a service, with a port."""

    name: str
    port: MayLack[int]

    def __str__(self) -> str:
        return f"{self.name}:{self.port}"


@dataclass(frozen=True)
class Rule:
    """A rule of a route, as far as the program reads it."""

    backendRefs: list[Reference]  # noqa: N815


@dataclass(frozen=True)
class Route:
    """A route."""

    name: str
    owner: str
    kind: str
    parent_refs: list[Reference]
    rules: list[Rule]


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


@TREE.command("routes list", anything, LIMIT)
async def routes_list(call: Call) -> None:
    """The app's routes."""
    page = await call.api.list(await call.path("routes/"), Route, call.limit)
    if page.is_empty:
        call.console.print(f"No routes found in {await call.app()} app.")
        return
    rows = [
        (
            route.name,
            route.owner,
            route.kind,
            _references(route.parent_refs),
            _references(each for rule in route.rules for each in rule.backendRefs),
        )
        for route in page.items
    ]
    call.console.table(("NAME", "OWNER", "KIND", "GATEWAYS", "SERVICES"), rows)


def _references(references: Iterable[Reference]) -> str:
    named = [str(each) for each in references]
    return encode(named).decode() if named else "null"


@TREE.command("routes add", at_least(3))
async def routes_add(call: Call) -> None:
    """Make a route to services."""
    name, kind, *backends = call.arguments
    path = await call.path("routes/")
    rules = [{"backendRefs": [_backend(each) for each in backends]}]
    call.console.print(f"Adding route {name} to {await call.app()}... ", end="")
    await call.api.do("POST", path, {"name": name, "kind": kind, "rules": rules})
    call.console.print("done")


def _backend(text: str) -> dict[str, object]:
    parts = text.split(",")
    if len(parts) != 2:
        raise ClientError(f"invalid backend format {text}")
    service, colon, port = parts[0].partition(":")
    if not colon or ":" in port:
        raise ClientError("backend must be in 'service:port,weight' format")
    numbers = {"port": atoi(port), "weight": atoi(parts[1])}
    return {"kind": "Service", "name": service, **{name: number for name, number in numbers.items() if number}}


@TREE.command("routes get", exactly(1))
async def routes_get(call: Call) -> None:
    """The rules of a route."""
    path = await call.path(f"routes/{call.arguments[0]}/rules/")
    response, fits = await call.api.call("GET", path, mismatch=OnMismatch.DISCARD)
    rules = through_interface(call.api.parse(response)) if fits else None
    call.console.print(yaml.safe_dump(rules, sort_keys=True), end="")


@TREE.command("routes set", exactly(1), Flag("rules-file"), required=("rules-file",))
async def routes_set(call: Call) -> None:
    """Give a route the rules of a file. They go as text within JSON."""
    file = call.session.directory / call.text("rules-file")
    if not file.is_file():
        raise ClientError(f"open {call.text('rules-file')}: no such file or directory")
    rules = json.dumps(yaml.safe_load(file.read_text()), separators=(",", ":"), sort_keys=True)
    path = await call.path(f"routes/{call.arguments[0]}/rules/")
    call.console.print("Applying rules... ", end="")
    await call.api.do("PUT", path, rules)
    call.console.print("done")


@TREE.command("routes attach", exactly(1), Flag("gateway"), _PORT, required=("gateway", "port"))
async def routes_attach(call: Call) -> None:
    """Have a gateway use a route."""
    (route,), gateway = call.arguments, call.text("gateway")
    path = await call.path(f"routes/{route}/attach/")
    call.console.print(f"Attaching route {route} to gateway {gateway}... ", end="")
    await call.api.do("PATCH", path, {"port": call.number("port"), "gateway": gateway})
    call.console.print("done")


@TREE.command("routes detach", exactly(1), Flag("gateway"), _PORT, required=("port",))
async def routes_detach(call: Call) -> None:
    """Have a gateway use a route no more."""
    (route,), gateway = call.arguments, call.text("gateway")
    path = await call.path(f"routes/{route}/detach/")
    call.console.print(f"Detaching route {route} to gateway {gateway}... ", end="")
    body = {"port": call.number("port"), **({"gateway": gateway} if gateway else {})}
    await call.api.do("PATCH", path, body)
    call.console.print("done")


@TREE.command("routes remove", exactly(1))
async def routes_remove(call: Call) -> None:
    """Remove a route."""
    (route,) = call.arguments
    path = await call.path(f"routes/{route}/")
    call.console.print(f"Removing route {route} to {await call.app()}... ", end="")
    await call.api.do("DELETE", path)
    call.console.print("done")


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
