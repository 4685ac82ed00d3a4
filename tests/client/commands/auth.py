"""`auth` and `tokens` (cli.md 10.1 and 10.2)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

from client.commands.registry import TREE
from client.model import profile
from client.model.api import Api, OnMismatch
from client.model.call import Call
from client.model.cobra import CONFIRM, LIMIT, Flag, anything, exactly
from client.model.console import or_none
from client.model.failures import ClientError, ClientPanic
from client.model.http import Request
from client.model.profile import Profile

TRIES: Final = 121
LOGIN_ALIAS: Final = "workflow-cli"
_USERNAME, _PASSWORD = Flag("username", "u"), Flag("password", "p")


@dataclass(frozen=True)
class LoginKey:
    """What a login with a password begins with."""

    key: str


@dataclass(frozen=True)
class Issued:
    """What a login ends with."""

    token: str
    username: str


@dataclass(frozen=True)
class User:
    """The caller."""

    id: int
    username: str
    email: str
    first_name: str
    last_name: str
    last_login: str
    is_superuser: bool
    is_staff: bool
    is_active: bool
    date_joined: str


@dataclass(frozen=True)
class Token:
    """A token of the caller."""

    uuid: str
    owner: str
    alias: str
    fuzzy_key: str
    created: str
    updated: str


@TREE.command("auth login", exactly(1), _USERNAME, _PASSWORD, Flag("ssl-verify", default=True), for_app=False)
async def login(call: Call) -> None:
    """Log in with a password or in a browser; write the configuration file."""
    controller = profile.as_url(call.arguments[0])
    api = call.api_at(controller)
    await _probe(api)
    key = await _start(call, api)
    issued = await _poll(call, api, key, LOGIN_ALIAS)
    if issued is None or issued.token == "fail":
        raise ClientError("logged fail")
    made = Profile(issued.username, call.is_set("ssl-verify"), controller, issued.token, response_limit=0)
    profile.save(call.profile_path, made)
    call.console.print(f"Logged in as {issued.username}")
    call.console.print(f"Configuration file written to {call.profile_path}")


async def _probe(api: Api) -> None:
    response = await api.transport.send(Request("GET", f"{api.controller}/v2/", {}))
    if response.status != 401:
        raise ClientError(
            f"{api.controller} does not appear to be a valid Drycc controller.\n"
            "Make sure that the Controller URI is correct, the server is running and\n"
            "your drycc version is correct."
        )
    api.check_version(response, OnMismatch.WORK)


async def _start(call: Call, api: Api) -> str:
    """The key of a login that has begun."""
    username, password = call.text("username"), call.text("password")
    path = "/v2/auth/login/"
    if username and password:
        body = {"username": username, "password": password}
        response, _ = await api.call("POST", path, body, follow=False)
        return api.reader.read(api.parse(response), LoginKey).key
    response, _ = await api.call("POST", path, mismatch=OnMismatch.FAIL, follow=False)
    url = response.headers.get("location", "")
    keys = parse_qs(urlsplit(url).query).get("key")
    if not keys:
        raise ClientPanic("index out of range [0] with length 0")
    call.console.print(f"Opening browser to {url}")
    call.console.print("Waiting for login... ", end="")
    if call.session.browser is None:
        call.console.print("Cannot open browser, please visit the website in yourself")
    else:
        await call.session.browser(url)
    return keys[0]


async def _poll(call: Call, api: Api, key: str, alias: str) -> Issued | None:
    """What became of a login; None when nothing became of it in time."""
    for _ in range(TRIES):
        issued = None
        try:
            issued = await api.read("GET", f"/v2/auth/token/{key}/?alias={alias}", Issued)
        except ClientError:
            issued = None  # not yet
        await asyncio.sleep(call.session.pause_seconds)
        if issued is not None and issued.token and issued.username:
            return issued
    return None


@TREE.command("auth logout", anything, for_app=False)
async def logout(call: Call) -> None:
    """Forget the token."""
    call.profile_path.unlink(missing_ok=True)
    call.console.print("Logged out")


@TREE.command("auth whoami", anything, Flag("all", "a", False), for_app=False)
async def whoami(call: Call) -> None:
    """Say who is logged in."""
    login = call.profile
    if not call.is_set("all"):
        call.console.print(f"You are {login.username} at {login.controller}")
        return
    me = await call.api.read("GET", "/v2/auth/whoami/", User, mismatch=OnMismatch.FAIL)
    for label, value in (
        ("ID", str(me.id)),
        ("Username", me.username),
        ("Email", me.email),
        ("First Name", me.first_name),
        ("Last Name", me.last_name),
        ("Last Login", call.console.time(me.last_login)),
        ("Is Superuser", str(me.is_superuser).lower()),
        ("Is Staff", str(me.is_staff).lower()),
        ("Is Active", str(me.is_active).lower()),
        ("Date Joined", call.console.time(me.date_joined)),
    ):
        call.console.print(f"{label}: {value}")


@TREE.command("tokens list", anything, LIMIT, for_app=False)
async def tokens_list(call: Call) -> None:
    """The caller's tokens."""
    page = await call.api.list("/v2/tokens/", Token, call.limit)
    time = call.console.time
    call.console.table(
        ("UUID", "OWNER", "ALIAS", "KEY", "CREATE", "UPDATED"),
        [
            (each.uuid, each.owner, or_none(each.alias), each.fuzzy_key, time(each.created), time(each.updated))
            for each in page.items
        ],
    )


@TREE.command("tokens add", exactly(1), _USERNAME, _PASSWORD, for_app=False, required=("password", "username"))
async def tokens_add(call: Call) -> None:
    """Another token, by password."""
    username = call.text("username")
    if call.console.ask("> ") != "yes":
        raise ClientError(f"cancel the creation of {username}'s token, aborting")
    key = await _start(call, call.api)
    issued = await _poll(call, call.api, key, call.arguments[0])
    if issued is None:
        raise ClientPanic("invalid memory address or nil pointer dereference")
    call.console.table(("USERNAME", "TOKEN"), [(issued.username, issued.token)])


@TREE.command("tokens remove", exactly(1), CONFIRM, for_app=False)
async def tokens_remove(call: Call) -> None:
    """End a token."""
    answer = call.text("confirm") or call.console.ask("> ")
    if answer != "yes":
        call.console.print("skip")
        return
    await call.api.do("DELETE", f"/v2/tokens/{call.arguments[0]}/", mismatch=OnMismatch.FAIL)
    call.console.print("done")
