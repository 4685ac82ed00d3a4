"""`apps` against the suite (cli.md 10.6)."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from client.model.git import Git
from client.model.session import Session
from client.suite import Suite
from client.world import App, fail, succeed, until
from controller.domain.blocks import BlockKind, Target
from controller.services.blocklist import Blocklist
from support import require_tool

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
NO_APP = '"No App matches the given query."'
FORBIDDEN = "you do not have permission to perform this action"
NAME_RULE = (
    "App name must start with an alphabetic character, cannot end with a hyphen and can only contain a-z "
    "(lowercase), 0-9 and hyphens."
)
SLUG_RULE = r"Enter a valid \"slug\" consisting of letters, numbers, underscores or hyphens."


async def test_create_in_a_git_repository(suite: Suite, ana: Session) -> None:
    require_tool("git")
    name = suite.new_name()
    git = Git(ana.directory, ana.environment)
    await git.run("init", "-q")
    created = await succeed(ana, "apps", "create", name)
    assert created.stdout == (
        f"Creating Application... done, created {name}\nGit remote drycc successfully created for app {name}.\n"
    )
    assert created.requests == [f'POST /v2/apps/ {{"id":"{name}"}}']
    assert f"ssh://git@127-builder.0.0.1:2222/{name}.git (push)" in await git.run("remote", "-v")
    assert (await succeed(ana, "ps")).stdout == f"No processes found in {name} app.\n"  # found by the remote
    again = await succeed(ana, "git", "remote")
    assert again.stdout == f"Remote drycc already exists and is correctly configured for app {name}.\n"
    second = suite.new_name()
    clash = await ana.run("create", second)
    assert (clash.status, clash.stdout) == (1, f"Creating Application... done, created {second}\n")
    assert clash.error == (
        "A git remote with the name drycc already exists. To overwrite this remote run:\n"
        f"drycc git remote --force --remote drycc --app {second}"
    )
    third = suite.new_name()
    await succeed(ana, "create", third, "--remote", "other")
    removed = await succeed(ana, "git", "remove", "-a", third)
    assert removed.stdout == f"Git remotes for app {third} removed.\n"
    destroyed = await succeed(ana, "destroy", f"--confirm={name}")
    assert re.fullmatch(
        rf"Destroying {name}\.\.\.\ndone in \d+s\nGit remotes for app {name} removed\.\n", destroyed.stdout
    )


async def test_create_with_a_generated_name(ana: Session) -> None:
    created = await succeed(ana, "create", "--no-remote")
    (exchange,) = created.exchanges
    assert (exchange.line, exchange.headers["Content-Length"]) == ("POST /v2/apps/", "0")
    found = re.fullmatch(
        r"Creating Application\.\.\. done, created (?P<name>[a-z]{6}-[a-z]{8})\n"
        r"If you want to add a git remote for this app later, use `drycc git remote -a (?P=name)`\n",
        created.stdout,
    )
    assert found is not None, created.stdout


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("a" * 64, "Ensure this field has no more than 63 characters."),
        ("Foo", NAME_RULE),
        ("a_b", NAME_RULE),
        ("1abc", NAME_RULE),
        ("abc-", NAME_RULE),
        ("a b", f'{NAME_RULE}","{SLUG_RULE}'),
        ("drycc", "drycc is a reserved name."),
    ],
)
async def test_names_that_are_refused(ana: Session, name: str, messages: str) -> None:
    error = await fail(ana, "create", "--no-remote", "--", name)
    assert error == f'Unknown Error (400): {{"id":["{messages}"]}}'


async def test_names_that_the_client_has_words_for(still: App, bo: Session) -> None:
    assert await fail(bo, "create", "--no-remote", "") == "An id is required"
    assert await fail(bo, "create", "--no-remote", still.name) == "Application with this id already exists."


async def test_list(still: App, bo: Session) -> None:
    listed = await succeed(still.owner, "apps", "list", "--limit=1000")
    assert listed.lines[0].split() == ["ID", "OWNER", "CREATED", "UPDATED"]
    row = next(line for line in listed.lines if line.startswith(f"{still.name} "))
    assert re.fullmatch(rf"{still.name} +ana +{TIME} +{TIME}", row)
    assert (await succeed(still.owner, "apps")).requests == ["GET /v2/apps/?limit=0"]
    assert len((await succeed(still.owner, "apps", "-l", "1")).lines) == 2
    assert still.name not in (await succeed(bo, "apps", "-l", "1000")).stdout


async def test_list_of_nobody(suite: Suite, tmp_path: Path) -> None:
    newcomer = await suite.session(suite.new_name("newcomer"), tmp_path)
    assert (await succeed(newcomer, "apps")).stdout == "No apps found.\n"


async def test_info(app: App) -> None:
    fresh = await app.ok("info")
    assert fresh.requests == [
        f"GET /v2/apps/{app.name}/",
        f"GET /v2/apps/{app.name}/domains/?limit=1",
        f"GET /v2/apps/{app.name}/pods/?limit=-1",
        f"GET /v2/apps/{app.name}/domains/?limit=-1",
        f"GET /v2/apps/{app.name}/settings/",
    ]
    facts = dict(line.split(maxsplit=1) for line in fresh.lines if " " in line)
    assert (facts["App:"], facts["Owner:"]) == (app.name, "ana")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", facts["UUID:"])
    assert [facts[name] for name in ("Processes:", "Domains:", "Labels:")] == ["<none>"] * 3
    await app.deploy()
    await app.ok("labels", "set", "team=shop", "stage=live")
    await app.ok("domains", "add", f"{app.name}.example.org", "-p", "web")
    words = (await app.ok("info")).stdout.split()
    (pod,) = await app.pods()
    position = words.index("Name:")
    assert words[position : position + 8] == ["Name:", pod, "Release:", "v2", "State:", "up", "Ptype:", "web"]
    assert words[words.index("URL:") + 1] == f"{app.name}.example.org"
    assert words[words.index("Domain:") + 1] == f"{app.name}.example.org"
    assert words[words.index("Labels:") + 1 :] == ["Key:", "stage", "Value:", "live", "Key:", "team", "Value:", "shop"]


async def test_open(app: App) -> None:
    assert await app.refused("open") == f"no domain assigned to {app.name}"
    opened: list[str] = []

    async def browser(url: str) -> None:
        opened.append(url)

    app.owner.browser = browser
    await app.ok("domains", "add", f"{app.name}.example.org", "-p", "web")
    done = await app.ok("open")
    assert done.requests == [f"GET /v2/apps/{app.name}/domains/?limit=1"]
    assert opened == [f"http://{app.name}.example.org"]


async def test_apps_of_others_do_not_exist(still: App, bo: Session) -> None:
    for words in (
        ("info",),
        ("open",),
        ("config",),
        ("config", "unset", "A"),
        ("releases",),
        ("ps",),
        ("pts",),
        ("run", "ls"),
        ("apps", "transfer", "bo"),
        ("builds",),
        ("pull", "image"),
        ("perms",),
        ("domains",),
        ("certs",),
        ("tls",),
        ("gateways",),
        ("routes",),
        ("services",),
        ("volumes",),
        ("volumes", "info", "data"),
        ("resources",),
        ("resources", "describe", "db"),
        ("limits",),
        ("healthchecks",),
        ("autoscale",),
        ("labels",),
    ):
        for name in (still.name, "nowhere"):
            assert await fail(bo, *words, "-a", name) == NO_APP, words
    for name in (still.name, "nowhere"):
        assert await fail(bo, "destroy", "-a", name, "--confirm", name) == NO_APP


async def test_run(suite: Suite, deployed: App) -> None:
    name = deployed.name
    suite.engine.script_jobs(0, "migrated")
    done = await deployed.owner.run("run", "-a", name, "-t", "60", "-e", "0", "--", "rake", "db:migrate", "-v")
    assert (done.status, done.stdout) == (0, "Running 'rake db:migrate -v'...\n")
    assert done.requests == [f'POST /v2/apps/{name}/run {{"command":"rake db:migrate -v","timeout":60}}']
    for volume in ("data", "logs", "more"):
        await deployed.ok("volumes", "add", volume, "1G")
    mounted = await deployed.ok("run", "-m", "data:/data,logs:/logs", "--mount", "more:/more", "ls")
    body = json.loads(mounted.exchanges[0].body)
    assert body["volumes"] == {"data": "/data", "logs": "/logs", "more": "/more"}
    assert (body["timeout"], body["expires"]) == (3600, 3600)

    async def is_in_the_log() -> bool:
        return "rake db:migrate -v" in (await deployed.ok("apps", "logs")).stdout

    await until(is_in_the_log)


async def test_apps_that_are_blocked(suite: Suite, deployed: App, admin: Session) -> None:
    target = Target(BlockKind.APPS, deployed.name)
    async with suite.context.unit_of_work() as uow:
        await Blocklist(uow).block(target, remark="not paid")
    for words in (("config",), ("ps",), ("config", "set", "A=1"), ("destroy", f"--confirm={deployed.name}")):
        for session in (deployed.owner, admin):
            assert await fail(session, *words, "-a", deployed.name) == FORBIDDEN
    assert f"{deployed.name} " in (await succeed(deployed.owner, "apps", "-l", "1000")).stdout
    async with suite.context.unit_of_work() as uow:
        await Blocklist(uow).unblock(target)
    await deployed.ok("config")


async def test_names_that_no_app_can_have(ana: Session) -> None:
    error = await fail(ana, "config", "-a", "UPPER")
    assert error.startswith("<!doctype html>")  # the path is not known, and the client shows what came


async def test_runs_that_are_refused(app: App) -> None:
    assert await app.refused("run", "ls") == (
        'Unknown Error (400): {"detail":"no build available, please deploy a release"}'
    )
    assert await app.refused("run", "") == (
        'Unknown Error (400): {"detail":"command is a required field, or it can be defined in Procfile"}'
    )
    await app.deploy()
    for mount, error in (
        ("my-vol:/x", "'my-vol:/x' does not match the pattern 'key:var', ex: MODE:test"),
        ("v1:/data", 'Unknown Error (400): ["The length of ptype must be between 3 and 63"]'),
        ("vol1:data", 'Unknown Error (400): ["Volume path format: /path"]'),
    ):
        assert await app.refused("run", "-m", mount, "ls") == error
    assert await app.refused("run", "-t", "-1", "ls") == (
        'invalid argument "-1" for "-t, --timeout" flag: strconv.ParseUint: parsing "-1": invalid syntax'
    )


async def test_transfer(app: App, bo: Session) -> None:
    assert await app.refused("apps", "transfer", "nobody-at-all") == '"No User matches the given query."'
    done = await app.ok("apps", "transfer", "bo")
    assert done.stdout == f"Transferring {app.name} to bo... done\n"
    assert done.requests == [f'POST /v2/apps/{app.name}/ {{"owner":"bo"}}']
    assert await app.refused("config") == NO_APP
    assert f"{app.name} " in (await succeed(bo, "apps", "-l", "1000")).stdout
    await succeed(bo, "perms", "add", "ana", "view", "change", "-a", app.name)
    assert await app.refused("apps", "transfer", "ana") == FORBIDDEN
    await succeed(bo, "apps", "transfer", "ana", "-a", app.name)
    await app.ok("config")


async def test_destroy(deployed: App) -> None:
    name = deployed.name
    asked = await deployed.drycc("destroy", typed=("nope",))
    assert (asked.status, asked.error) == (1, f"app {name} does not match confirm nope, aborting")
    assert asked.exchanges == ()
    done = await deployed.drycc("destroy", typed=(name,))
    assert done.status == 0
    assert re.search(rf"Destroying {name}\.\.\.\ndone in \d+s\n$", done.stdout)
    assert await deployed.refused("info") == NO_APP

    async def is_free() -> bool:
        return (await deployed.owner.run("create", name, "--no-remote")).status == 0

    await until(is_free)


async def test_destroy_without_remotes_fails_after_it_succeeded(app: App) -> None:
    require_tool("git")
    await Git(app.owner.directory, app.owner.environment).run("init", "-q")
    done = await app.owner.run("destroy", "--confirm", app.name)
    assert (done.status, done.error) == (1, "Could not find remote matching app in 'git remote -v'")
    assert await app.refused("info") == NO_APP
