"""`routes` (cli.md 10.16)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import yaml

from client.commands.patterns import atoi
from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import LIMIT, Flag, anything, at_least, exactly
from client.model.failures import ClientError
from client.model.go_json import MayLack, encode, through_interface

_PORT = Flag("port", default=0)


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
    call.console.print(yaml.safe_dump(rules, sort_keys=True).removesuffix("...\n"), end="")


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
