"""`tls` (cli.md 10.15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import Flag, anything, exactly
from client.model.console import Row, shown, wrapped
from client.model.failures import ClientError


@dataclass(frozen=True)
class Issuer:
    """Who issues certificates for an app."""

    email: str
    server: str
    key_id: str
    key_secret: str


@dataclass(frozen=True)
class Tls:
    """How an app does TLS."""

    uuid: str
    owner: str
    certs_auto_enabled: bool | None
    https_enforced: bool | None
    issuer: Issuer
    events: list[dict[str, str]]


@TREE.command("tls info", anything)
async def tls_info(call: Call) -> None:
    """How the app does TLS and how that fares."""
    tls = await call.api.read("GET", await call.path("tls/"), Tls, mismatch=OnMismatch.DISCARD)
    rows: list[Row] = [
        ("UUID:", tls.uuid),
        ("Owner:", tls.owner),
        ("CertsAuto:", shown(bool(tls.certs_auto_enabled))),
        ("HTTPSEnforced:", shown(bool(tls.https_enforced))),
        ("Issuer:",),
        ("", "Email:", tls.issuer.email),
        ("", "Server:", tls.issuer.server),
        ("Events:",),
    ]
    for event in tls.events:
        for label, key in (("Name:", "name"), ("Kind:", "kind"), ("Time:", "time"), ("Type:", "type")):
            rows.append(("", label, event.get(key, "")))
        rows += [("", "Status:", event.get("status", "")), ("", "Message:", wrapped(event.get("message", "")))]
    call.console.facts(rows)


@TREE.command("tls force", exactly(1))
async def tls_force(call: Call) -> None:
    """Send people from HTTP to HTTPS, or not."""
    await _switch(call, "https-only", "https_enforced")


@TREE.command("tls auto", exactly(1))
async def tls_auto(call: Call) -> None:
    """Have certificates issued, or not."""
    await _switch(call, "certs-auto", "certs_auto_enabled")


async def _switch(call: Call, what: str, field: str) -> None:
    (action,) = call.arguments
    if action not in ("enable", "disable"):
        raise ClientError(f"invalid action: {action}, please use 'enable' or 'disable'")
    doing = "Enabling" if action == "enable" else "Disabling"
    await _write(call, f"{doing} {what} requests for {await call.app()}", {field: action == "enable"})


async def _write(call: Call, saying: str, body: Mapping[str, object]) -> None:
    path = await call.path("tls/")
    call.console.print(f"{saying}... ", end="")
    await call.api.read("POST", path, Tls, body, mismatch=OnMismatch.DISCARD)
    call.console.print("done")


@TREE.command(
    "tls issuer",
    anything,
    Flag("email"),
    Flag("server"),
    Flag("key-id"),
    Flag("key-secret"),
    required=("email", "key-id", "key-secret", "server"),
)
async def tls_issuer(call: Call) -> None:
    """Say who issues certificates."""
    issuer = {
        "email": call.text("email"),
        "server": call.text("server"),
        "key_id": call.text("key-id"),
        "key_secret": call.text("key-secret"),
    }
    await _write(call, f"Adding issuer requests for {await call.app()}", {"issuer": issuer})
