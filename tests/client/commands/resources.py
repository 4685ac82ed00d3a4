"""`resources`: services of others that an app is bound to (cli.md 10.18)."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import yaml

from client.commands.patterns import variables
from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import CONFIRM, LIMIT, Flag, anything, at_least, exactly
from client.model.console import Row, shown, wrapped
from client.model.failures import ClientError
from client.model.go_json import MayLack

_VALUES = Flag("values", "f")


@dataclass(frozen=True)
class ServiceClass:
    """A kind of service."""

    id: str
    name: str
    updateable: bool


@dataclass(frozen=True)
class ServicePlan:
    """A size of a kind of service."""

    id: str
    name: str
    description: str


@dataclass(frozen=True)
class Resource:
    """A service that an app has."""

    app: str
    uuid: str
    name: str
    plan: str
    owner: str
    status: str
    binding: str
    data: dict[str, object]
    options: dict[str, object]
    created: str
    updated: str
    message: MayLack[str]


@TREE.command("resources services", anything, LIMIT, for_app=False)
async def list_classes(call: Call) -> None:
    """What there is."""
    page = await call.api.list("/v2/resources/services/", ServiceClass, call.limit)
    if page.is_empty:
        call.console.print("Could not find any services")
        return
    rows = [(each.id, each.name, shown(each.updateable)) for each in page.items]
    call.console.table(("ID", "NAME", "UPDATEABLE"), rows)


@TREE.command("resources plans", exactly(1), LIMIT, for_app=False)
async def list_plans(call: Call) -> None:
    """The sizes of one kind."""
    (name,) = call.arguments
    page = await call.api.list(f"/v2/resources/services/{name}/plans/", ServicePlan, call.limit)
    if page.is_empty:
        call.console.print(f"Could not find any plans in {name} service.")
        return
    call.console.table(("ID", "NAME", "DESCRIPTION"), [(each.id, each.name, each.description) for each in page.items])


@TREE.command("resources create", at_least(3), _VALUES)
async def create(call: Call) -> None:
    """Have one made."""
    name, service, plan, *pairs = call.arguments
    path = await call.path("resources/")
    body = {"name": name, "plan": f"{service}:{plan}", "options": _options(call, pairs)}
    await _write(call, f"Creating {name} to {await call.app()}", "POST", path, body)


def _options(call: Call, pairs: Iterable[str]) -> Mapping[str, str]:
    given = dict(sorted(variables(pairs).items()))
    if not call.text("values"):
        return given
    file = call.session.directory / call.text("values")
    if not file.is_file():
        raise ClientError(f"open {call.text('values')}: no such file or directory")
    content = file.read_bytes()
    if not content:
        raise ClientError(f"{call.text('values')} is empty")
    try:
        yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ClientError(str(error)) from None
    return {"rawValues": base64.b64encode(content).decode()}


@TREE.command("resources list", anything, LIMIT)
async def list_resources(call: Call) -> None:
    """What the app has."""
    page = await call.api.list(await call.path("resources/"), Resource, call.limit)
    if page.is_empty:
        call.console.print(f"No resources found in {await call.app()} app.")
        return
    rows = [(each.name, each.owner, each.plan, call.console.time(each.updated)) for each in page.items]
    call.console.table(("NAME", "OWNER", "PLAN", "UPDATED"), rows)


@TREE.command("resources describe", exactly(1), Flag("details", default=False))
async def describe(call: Call) -> None:
    """One of them."""
    path = await call.path(f"resources/{call.arguments[0]}/")
    resource = await call.api.read("GET", path, Resource, mismatch=OnMismatch.DISCARD)
    rows: list[Row] = [
        ("App:", resource.app),
        ("UUID:", resource.uuid),
        ("Name:", resource.name),
        ("Plan:", resource.plan),
        ("Owner:", resource.owner),
        ("Status:", resource.status),
        ("Binding:", resource.binding),
        ("Data:",),
        *_pairs(resource.data),
    ]
    if call.is_set("details"):
        rows += [("Options:",), *_pairs(resource.options), ("Message:", wrapped(resource.message))]
    rows += [("Created:", call.console.time(resource.created)), ("Updated:", call.console.time(resource.updated))]
    call.console.facts(rows)


def _pairs(values: Mapping[str, object]) -> list[Row]:
    return [("", f"{name}:", _text(value)) for name, value in sorted(values.items())]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return f"%!s({'float64' if isinstance(value, int | float) else type(value).__name__}={shown(value)})"


@TREE.command("resources update", at_least(3), _VALUES)
async def update(call: Call) -> None:
    """Change its size or options. Without a file the program takes the plan for an option and refuses it."""
    name, service, plan, *_ = call.arguments
    pairs = () if call.text("values") else call.arguments[2:]
    path = await call.path(f"resources/{name}/")
    body = {"plan": f"{service}:{plan}", "options": _options(call, pairs)}
    await _write(call, f"Updating {name} to {await call.app()}", "PUT", path, body)


@TREE.command("resources bind", exactly(1))
async def bind(call: Call) -> None:
    """Get credentials for it."""
    await _bind(call, "bind", "Binding")


@TREE.command("resources unbind", exactly(1))
async def unbind(call: Call) -> None:
    """Give credentials back."""
    await _bind(call, "unbind", "Unbinding")


async def _bind(call: Call, action: str, doing: str) -> None:
    path = await call.path(f"resources/{call.arguments[0]}/binding/")
    await _write(call, f"{doing} resource", "PATCH", path, {"bind_action": action})


async def _write(call: Call, saying: str, method: str, path: str, body: Mapping[str, object]) -> None:
    call.console.print(f"{saying}... ", end="")
    await call.api.read(method, path, Resource, body, mismatch=OnMismatch.DISCARD)
    call.console.print("done")


@TREE.command("resources destroy", exactly(1), CONFIRM)
async def destroy(call: Call) -> None:
    """Give it up."""
    (name,) = call.arguments
    path = await call.path(f"resources/{name}/")
    confirmed = call.text("confirm") or call.console.ask("> ")
    if confirmed != name:
        raise ClientError(f"resource {name} does not match confirm {confirmed}, aborting")
    call.console.print(f"Destroying {name}...")
    await call.api.do("DELETE", path)
    call.console.print("done")
