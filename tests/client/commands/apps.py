"""`apps` (cli.md 10.6), and the settings that several groups read."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from client.commands import keys, streams
from client.commands.domains import Domain
from client.commands.patterns import matched
from client.commands.processes import Pod
from client.commands.registry import TREE
from client.commands.settings import AppSettings
from client.model.api import OnMismatch
from client.model.call import Call
from client.model.cobra import CONFIRM, Flag, anything, at_least, at_most, exactly
from client.model.console import Row, shown
from client.model.failures import ClientError

_MOUNT: Final = re.compile(r"^[A-z_][A-z0-9_]*:")


@dataclass(frozen=True)
class App:
    """An app."""

    id: str
    uuid: str
    owner: str
    created: str
    updated: str


@TREE.command("apps create", at_most(1), Flag("remote", "r", "drycc"), Flag("no-remote", default=False), for_app=False)
async def create(call: Call) -> None:
    """Make an app and, in a git repository, the remote that it is pushed to."""
    api = call.api
    call.console.print("Creating Application... ", end="")
    app = await api.read("POST", "/v2/apps/", App, {"id": call.arguments[0]} if call.arguments else None)
    call.console.print(f"done, created {app.id}")
    if call.is_set("no-remote"):
        call.console.print(f"If you want to add a git remote for this app later, use `drycc git remote -a {app.id}`")
        return
    remote = call.text("remote")
    if remote in dict(await call.git.push_urls()):
        raise ClientError(
            f"A git remote with the name {remote} already exists. To overwrite this remote run:\n"
            f"drycc git remote --force --remote {remote} --app {app.id}"
        )
    await keys.add_remote(call, remote, app.id)


@TREE.command("apps list", anything, Flag("limit", "l", 0), for_app=False)
async def list_apps(call: Call) -> None:
    """The apps that the caller may see."""
    page = await call.api.list("/v2/apps/", App, call.number("limit"))
    if page.is_empty:
        call.console.print("No apps found.")
        return
    when = call.console.time
    rows = [(each.id, each.owner, when(each.created), when(each.updated)) for each in page.items]
    call.console.table(("ID", "OWNER", "CREATED", "UPDATED"), rows)


@TREE.command("apps info", anything)
async def info(call: Call) -> None:
    """One app, with what runs and where it answers."""
    path, when = await call.path(), call.console.time
    app = await call.api.read("GET", path, App)
    url = await _url(call, path)
    pods = (await call.api.list(f"{path}pods/", Pod, -1)).items
    domains = (await call.api.list(f"{path}domains/", Domain, -1)).items
    settings = await call.api.read("GET", f"{path}settings/", AppSettings, mismatch=OnMismatch.DISCARD)
    rows: list[Row] = [
        ("App:", app.id),
        ("URL:", url or ""),
        ("UUID:", app.uuid),
        ("Owner:", app.owner),
        ("Created:", when(app.created)),
        ("Updated:", when(app.updated)),
    ]
    rows += _nested("Processes:", [_pod_rows(call, pod) for pod in pods])
    rows += _nested(
        "Domains:",
        [
            [("Domain:", each.domain), ("Created:", when(each.created)), ("Updated:", when(each.updated))]
            for each in domains
        ],
    )
    labels = sorted(settings.label.items())
    rows += _nested("Labels:", [[("Key:", name), ("Value:", shown(value))] for name, value in labels])
    call.console.facts(rows)


def _pod_rows(call: Call, pod: Pod) -> list[tuple[str, str]]:
    return [
        ("Name:", pod.name),
        ("Release:", pod.release),
        ("State:", pod.state),
        ("Ptype:", pod.type),
        ("Started:", call.console.time(pod.started)),
    ]


def _nested(label: str, items: list[list[tuple[str, str]]]) -> list[Row]:
    if not items:
        return [(label, "<none>")]
    rows: list[Row] = [(label,)]
    for number, item in enumerate(items):
        rows += [("",)] if number else []
        rows += [("", *pair) for pair in item]
    return rows


async def _url(call: Call, path: str) -> str | None:
    """Where the app answers: a domain without a dot stands for the first label of the controller's host."""
    domains = (await call.api.list(f"{path}domains/", Domain, 1)).items
    if not domains:
        return None
    domain = domains[0].domain
    if "." in domain:
        return domain
    _, dot, rest = (urlsplit(call.profile.controller).hostname or "").partition(".")
    return f"{domain}{dot}{rest}"


@TREE.command("apps open", anything)
async def open_app(call: Call) -> None:
    """Open the app in a browser."""
    url = await _url(call, await call.path())
    if url is None:
        raise ClientError(f"no domain assigned to {await call.app()}")
    if call.session.browser is None:
        raise ClientError('exec: "xdg-open": executable file not found in $PATH')
    await call.session.browser(f"http://{url}")


@TREE.command("apps logs", anything, Flag("lines", "n", 300), Flag("follow", "f", False), Flag("timeout", "t", 300))
async def logs(call: Call) -> None:
    """What the app's processes and the platform say."""
    request = {"lines": call.number("lines"), "follow": call.is_set("follow"), "timeout": call.number("timeout")}
    await streams.print_logs(call, await call.path("logs"), request)


@TREE.command(
    "apps run",
    at_least(1),
    Flag("mount", "m", []),
    Flag("timeout", "t", 3600, unsigned=True),
    Flag("expires", "e", 3600, unsigned=True),
)
async def run(call: Call) -> None:
    """Start a one-off; its output is in the logs."""
    command = " ".join(call.arguments)
    volumes = matched(_MOUNT, call.many("mount"), ":", "'{}' does not match the pattern 'key:var', ex: MODE:test")
    body: dict[str, object] = {
        "command": command,
        "volumes": dict(sorted(volumes.items())),
        "timeout": call.number("timeout"),
        "expires": call.number("expires"),
    }
    path = await call.path("run")
    call.console.print(f"Running '{command}'...")
    await call.api.do("POST", path, {name: value for name, value in body.items() if value})


@TREE.command("apps destroy", anything, CONFIRM)
async def destroy(call: Call) -> None:
    """Destroy the app, and its git remotes when it was not named."""
    path, app = await call.path(), await call.app()
    confirmed = call.text("confirm") or call.console.ask("> ")
    if confirmed != app:
        raise ClientError(f"app {app} does not match confirm {confirmed}, aborting")
    call.console.print(f"Destroying {app}...")
    started = time.monotonic()
    await call.api.do("DELETE", path)
    call.console.print(f"done in {int(time.monotonic() - started)}s")
    if not call.text("app"):
        await keys.remove_remotes(call, app)


@TREE.command("apps transfer", exactly(1))
async def transfer(call: Call) -> None:
    """Hand the app over."""
    path, (owner,) = await call.path(), call.arguments
    call.console.print(f"Transferring {await call.app()} to {owner}... ", end="")
    await call.api.do("POST", path, {"owner": owner})
    call.console.print("done")
