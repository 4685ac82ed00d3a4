"""`certs` and `tls` (cli.md 10.15)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import LIMIT, Flag, anything, exactly
from client.model.console import Row, cut, or_none, shown, wrapped
from client.model.failures import ClientError, ClientPanic, DecodeError

_SHOWN_BYTES: Final = 32
_FORMATS: Final = ("%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%Z", "%Y-%m-%dT%H:%M:%S")


@dataclass(frozen=True)
class CertTime:
    """When a certificate starts or ends to count; absent, but never null."""

    text: str = ""

    @classmethod
    def unmarshal(cls, value: object) -> CertTime:
        """RFC 3339, or with the letters of a zone, or without a zone; raises DecodeError."""
        shown_value = "null" if value is None else str(value)
        if not isinstance(value, str):
            raise DecodeError(f'parsing time "{shown_value}" as "2006-01-02T15:04:05": cannot parse')
        for form in _FORMATS:
            try:
                datetime.strptime(value, form)
            except ValueError:
                continue
            return cls(value)
        raise DecodeError(f'parsing time "{value}" as "2006-01-02T15:04:05": cannot parse')

    @property
    def date(self) -> str:
        """As lists show it."""
        if not self.text:
            return "<none>"
        moment = datetime.fromisoformat(self.text[:19])
        return f"{moment.day} {moment:%b %Y}"


@dataclass(frozen=True)
class Cert:
    """A certificate; its key never comes back."""

    id: int
    name: str
    common_name: str
    expires: CertTime
    starts: CertTime
    fingerprint: str
    issuer: str
    subject: str
    san: list[str]
    domains: list[str]
    owner: str
    created: str
    updated: str


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


@TREE.command("certs list", anything, LIMIT)
async def list_certs(call: Call) -> None:
    """The app's certificates."""
    page = await call.api.list(await call.path("certs/"), Cert, call.limit)
    if not page.items:
        call.console.print("No certs")
        return
    rows = [
        (each.name, each.common_name, each.expires.date, _joined(each.san), _joined(each.domains))
        for each in page.items
    ]
    call.console.table(("NAME", "COMMON-NAME", "EXPIRES", "SAN", "DOMAINS"), rows)


def _joined(names: list[str]) -> str:
    return or_none(cut(",".join(names), _SHOWN_BYTES))


@TREE.command("certs add", exactly(3))
async def add(call: Call) -> None:
    """Upload a certificate and its key."""
    name, *files = call.arguments
    certificate, private = (_content(call, file) for file in files)
    path = await call.path("certs/")
    call.console.print("Adding SSL endpoint... ", end="")
    await call.api.read("POST", path, Cert, {"certificate": certificate, "key": private, "name": name})
    call.console.print("done")


def _content(call: Call, file: str) -> str:
    path = call.session.directory / Path(file)
    if not path.is_file():
        raise ClientError(f"open {file}: no such file or directory")
    return path.read_text()


@TREE.command("certs info", exactly(1))
async def info(call: Call) -> None:
    """One certificate."""
    path = await call.path(f"certs/{call.arguments[0]}")
    cert = await call.api.read("GET", path, Cert, mismatch=OnMismatch.DISCARD)
    when = call.console.time
    call.console.facts(
        [
            ("Name:", cert.name),
            ("Common Name(s):", cert.common_name),
            ("Expires At:", or_none(when(cert.expires.text))),
            ("Starts At:", or_none(when(cert.starts.text))),
            ("Fingerprint:", cert.fingerprint),
            ("Subject Alt Name:", or_none(",".join(cert.san))),
            ("Issuer:", cert.issuer),
            ("Subject:", cert.subject),
            ("",),
            ("Connected Domains:", or_none(",".join(cert.domains))),
            ("Owner:", cert.owner),
            ("Created:", when(cert.created)),
            ("Updated:", when(cert.updated)),
        ]
    )


@TREE.command("certs attach", exactly(2))
async def attach(call: Call) -> None:
    """Have a domain use a certificate."""
    name, domain = call.arguments
    path = await call.path(f"certs/{name}/domain/")
    call.console.print(f"Attaching certificate {name} to domain {domain}... ", end="")
    response, _ = await call.api.call("POST", path, {"domain": domain})
    call.console.print("done")
    call.api.check_version(response, OnMismatch.FAIL)


@TREE.command("certs detach", exactly(2))
async def detach(call: Call) -> None:
    """Have a domain use a certificate no more."""
    name, domain = call.arguments
    path = await call.path(f"certs/{name}/domain/{domain}")
    call.console.print(f"Detaching certificate {name} from domain {domain}... ", end="")
    await call.api.do("DELETE", path)
    call.console.print("done")


@TREE.command("certs remove", exactly(1))
async def remove(call: Call) -> None:
    """Forget a certificate. Without a session the program panics."""
    (name,) = call.arguments
    if not call.profile_path.exists():
        raise ClientPanic("invalid memory address or nil pointer dereference")
    path = await call.path(f"certs/{name}")
    call.console.print(f"Removing {name}... ", end="")
    await call.api.do("DELETE", path)
    call.console.print("done")


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
