"""`domains` (cli.md 10.15)."""

from __future__ import annotations

from dataclasses import dataclass

from client.commands.registry import TREE
from client.model.call import Call
from client.model.cobra import LIMIT, Flag, anything, exactly


@dataclass(frozen=True)
class Domain:
    """A host name that leads to a process type."""

    app: str
    owner: str
    ptype: str
    created: str
    updated: str
    domain: str


@TREE.command("domains list", anything, LIMIT)
async def list_domains(call: Call) -> None:
    """The app's domains."""
    page = await call.api.list(await call.path("domains/"), Domain, call.limit)
    if page.is_empty:
        call.console.print(f"No domains found in {await call.app()} app.")
        return
    when = call.console.time
    rows = [
        (each.app, each.owner, each.ptype, when(each.created), when(each.updated), each.domain) for each in page.items
    ]
    call.console.table(("APP", "OWNER", "PTYPE", "CREATED", "UPDATED", "DOMAIN"), rows)


@TREE.command("domains add", exactly(1), Flag("ptype", "p"), required=("ptype",))
async def add(call: Call) -> None:
    """Lead a domain to a process type."""
    path, (domain,) = await call.path("domains/"), call.arguments
    call.console.print(f"Adding {domain} to {await call.app()}... ", end="")
    await call.api.read("POST", path, Domain, {"domain": domain, "ptype": call.text("ptype")})
    call.console.print("done")


@TREE.command("domains remove", exactly(1))
async def remove(call: Call) -> None:
    """Lead a domain nowhere."""
    path, (domain,) = await call.path(f"domains/{call.arguments[0]}"), call.arguments
    call.console.print(f"Removing {domain} from {await call.app()}... ", end="")
    await call.api.do("DELETE", path)
    call.console.print("done")
