"""`users` and `perms` (cli.md 10.3 and 10.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from client.commands.registry import TREE
from client.model.call import Call
from client.model.cobra import LIMIT, Flag, anything, at_least, exactly
from client.model.console import shown

_TEMPORARY: Final = "This modification is only temporary and will be reverted when the user login again."


@dataclass(frozen=True)
class User:
    """An account, as administrators see it."""

    username: str
    email: str
    is_superuser: bool
    is_staff: bool
    is_active: bool
    date_joined: str


@dataclass(frozen=True)
class Permission:
    """What somebody may do with an app."""

    username: str
    permissions: list[str]


@TREE.command("users list", anything, LIMIT, for_app=False)
async def users_list(call: Call) -> None:
    """All accounts."""
    page = await call.api.list("/v2/users/", User, call.limit)
    call.console.table(
        ("USERNAME", "EMAIL", "ADMIN", "STAFF", "ACTIVE", "DATE-JOIN"),
        [
            (
                each.username,
                each.email,
                shown(each.is_superuser),
                shown(each.is_staff),
                shown(each.is_active),
                each.date_joined,
            )
            for each in page.items
        ],
    )


@TREE.command("users enable", exactly(1), for_app=False)
async def users_enable(call: Call) -> None:
    """Let somebody in again."""
    await _switch(call, "enable", "Enabling")


@TREE.command("users disable", exactly(1), for_app=False)
async def users_disable(call: Call) -> None:
    """Shut somebody out."""
    await _switch(call, "disable", "Disabling")


async def _switch(call: Call, action: str, doing: str) -> None:
    (name,) = call.arguments
    call.console.print(f"{doing} user {name}... ", end="")
    await call.api.do("PATCH", f"/v2/users/{name}/{action}/")
    call.console.print("done")
    call.console.print(_TEMPORARY)


@TREE.command("perms list", anything, Flag("limit", "l", -1))
async def perms_list(call: Call) -> None:
    """Who may do what."""
    page = await call.api.list(await call.path("perms/"), Permission, call.number("limit"))
    rows = [(each.username, ",".join(each.permissions)) for each in page.items]
    call.console.table(("USERNAME", "PERMISSIONS"), rows)


@TREE.command("perms add", at_least(2))
async def perms_add(call: Call) -> None:
    """Let somebody do more."""
    await _grant(call, "POST", "Adding", await call.path("perms/"))


@TREE.command("perms update", at_least(2))
async def perms_update(call: Call) -> None:
    """Let somebody do this and nothing else."""
    await _grant(call, "PUT", "Updating", await call.path(f"perms/{call.arguments[0]}/"))


async def _grant(call: Call, method: str, doing: str, path: str) -> None:
    name, *permissions = call.arguments
    joined = ",".join(permissions)
    call.console.print(f"{doing} user {name} as a collaborator for {joined}... ", end="")
    await call.api.do(method, path, {"username": name, "permissions": joined})
    call.console.print("done")


@TREE.command("perms remove", exactly(1))
async def perms_remove(call: Call) -> None:
    """Let somebody do nothing any more."""
    call.console.print("Removing user permission... ", end="")
    await call.api.do("DELETE", await call.path(f"perms/{call.arguments[0]}/"))
    call.console.print("done")
