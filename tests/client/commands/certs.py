"""`certs` (cli.md 10.15)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import LIMIT, anything, exactly
from client.model.console import cut, or_none
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
