"""`releases` (cli.md 10.8)."""

from __future__ import annotations

from dataclasses import dataclass

from client.commands.patterns import atoi, version_number
from client.commands.ptypes import confirm_all, wait
from client.commands.registry import TREE
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import CONFIRM, LIMIT, Flag, anything, at_least, exactly
from client.model.console import Row, cut, or_none, wrapped
from client.model.failures import ClientError, ClientPanic
from client.model.go_json import MayLack

_SUMMARY_BYTES = 64


@dataclass(frozen=True)
class Condition:
    """What became of one attempt to roll a release out."""

    created: str
    state: str
    action: str
    ptypes: list[str]
    exception: MayLack[str]


@dataclass(frozen=True)
class Release:
    """A release."""

    app: str
    uuid: str
    state: str
    owner: str
    build: str
    config: str
    created: str
    updated: str
    summary: str
    exception: str
    version: int
    conditions: list[Condition]


@dataclass(frozen=True)
class RolledBack:
    """What a rollback made."""

    version: int


@TREE.command("releases list", anything, LIMIT)
async def list_releases(call: Call) -> None:
    """The releases, the newest first; with process types those that deployed all of them."""
    query = f"?ptypes={','.join(call.arguments)}" if call.arguments else ""
    page = await call.api.list(await call.path(f"releases/{query}"), Release, call.limit)
    if page.is_empty:
        call.console.print(f"No releases found in {await call.app()} app.")
        return
    rows = [
        (
            each.owner,
            each.state,
            f"v{each.version}",
            call.console.time(each.created),
            cut(each.summary, _SUMMARY_BYTES),
        )
        for each in page.items
    ]
    call.console.table(("OWNER", "STATE", "VERSION", "CREATED", "SUMMARY"), rows)


@TREE.command("releases info", exactly(1))
async def info(call: Call) -> None:
    """One release and how it went."""
    try:
        version = version_number(call.arguments[0])
    except ClientError as error:
        raise ClientError(f"invalid version format: {error}") from None
    release = await call.api.read("GET", await call.path(f"releases/v{version}/"), Release)
    when = call.console.time
    rows: list[Row] = [
        ("App:", release.app),
        ("UUID:", release.uuid),
        ("State:", release.state),
        ("Owner:", release.owner),
        ("Build:", release.build),
        ("Config:", release.config),
        ("Created:", when(release.created)),
        ("Updated:", when(release.updated)),
        ("Summary:", wrapped(release.summary)),
    ]
    rows += [("Exception:", wrapped(release.exception))] if release.exception else []
    rows += [("Version:", f"v{release.version}"), ("Conditions:",)]
    for condition in release.conditions:
        rows += [
            ("  - created:", when(condition.created)),
            ("    state:", condition.state),
            ("    action:", condition.action),
            ("    ptypes:", wrapped(",".join(condition.ptypes))),
            ("    exception:", wrapped(or_none(condition.exception))),
        ]
    call.console.facts(rows)


@TREE.command("releases deploy", anything, Flag("force", "f", False), CONFIRM)
async def deploy(call: Call) -> None:
    """Roll the newest release out again."""
    confirm_all(call, "deploy")
    body = {"force": call.is_set("force"), "ptypes": ",".join(call.arguments)}
    await wait(call, "Deploying", await call.path("releases/deploy/"), body, OnMismatch.FAIL)


@TREE.command("releases rollback", at_least(1))
async def roll_back(call: Call) -> None:
    """A new release that repeats an older one. With one argument the program panics."""
    if len(call.arguments) == 1:
        raise ClientPanic("slice bounds out of range [:-1]")
    *ptypes, last = call.arguments
    version = atoi(last.removeprefix("v"))
    body = {"version": version, "ptypes": ",".join(ptypes)}
    path = await call.path("releases/rollback/")
    target = "one release" if version == -1 else f"to v{version}"
    call.console.print(f"Rolling back {target}... ", end="")
    made = await call.api.read("POST", path, RolledBack, None if version == -1 else body)
    call.console.print(f"done, v{made.version}")
