"""Command lines, configuration files, app and git remotes as the program understands them (cli.md 1 to 3)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.canned import Bench
from client.commands import TREE
from client.model.profile import locate
from support import require_tool


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("rollback", 'unknown command "rollback" for "drycc"\nRun \'drycc --help\' for usage.'),
        ("apps transfer", "accepts 1 arg(s), received 0"),
        ("apps transfer a b", "accepts 1 arg(s), received 2"),
        ("config set", "requires at least 1 arg(s), only received 0"),
        ("apps create a b", "accepts at most 1 arg(s), received 2"),
        ("ps list x", 'unknown command "x" for "drycc ps list"'),
        ("apps list --foo", "unknown flag: --foo"),
        ("apps info -x", "unknown shorthand flag: 'x' in -x"),
        ("apps info -a", "flag needs an argument: 'a' in -a"),
        ("apps info --app", "flag needs an argument: --app"),
        (
            "apps list -l abc",
            'invalid argument "abc" for "-l, --limit" flag: strconv.ParseInt: parsing "abc": invalid syntax',
        ),
        ("gateways add gw", 'required flag(s) "port", "protocol" not set'),
        ("autoscale set web", 'required flag(s) "min", "max", "cpu-percent" not set'),
        (
            "config set A=1 -p web --group g",
            "if any flags in the group [ptype group] are set none of the others can be; [group ptype] were all set",
        ),
        (
            "volumes add data 1G -t nfs --nfs-server s",
            "if any flags in the group [nfs-server nfs-path] are set they must all be set; missing [nfs-path]",
        ),
        ("logs -a shop pod", "unknown shorthand flag: 'a' in -a"),
        ("gateways add gw --foo", "unknown flag: --foo"),
        (
            "gateways add --port x",
            'invalid argument "x" for "--port" flag: strconv.ParseInt: parsing "x": invalid syntax',
        ),
    ],
)
async def test_command_lines_that_are_refused(client: Bench, words: str, error: str) -> None:
    done = await client.session.run(*words.split())
    assert (done.status, done.stdout, done.error, done.exchanges) == (1, "", error, ())


async def test_groups_run_their_default_command(client: Bench) -> None:
    for words, command in (
        ("apps", "apps list"),
        ("apps bogus", "apps list"),
        ("autodeploy", "autodeploy info"),
        ("builds -a shop", "builds info"),
        ("healthchecks", "healthchecks list"),
        ("routing", "routing info"),
        ("tls", "tls info"),
        ("auth", "auth"),
        ("git bogus", "git"),
        ("volumes client", "volumes client"),
    ):
        client.server.only({})
        assert (await client.session.run(*words.split())).command == command
    assert (await client.session.run()).status == 0
    assert (await client.session.run("apps", "info", "--help")).exchanges == ()


def test_shortcuts() -> None:
    assert {name: TREE.shortcuts[name] for name in sorted(TREE.shortcuts)} == {
        "create": "apps create",
        "destroy": "apps destroy",
        "exec": "ps exec",
        "info": "apps info",
        "login": "auth login",
        "logout": "auth logout",
        "logs": "ps logs",
        "open": "apps open",
        "pull": "builds create",
        "run": "apps run",
        "scale": "pts scale",
        "whoami": "auth whoami",
    }


@pytest.mark.parametrize(
    ("value", "file"),
    [
        ("~/.drycc/client.json", "{home}/.drycc/client.json"),
        ("work", "{home}/.drycc/work.json"),
        ("./x.json", "{home}/.drycc/x.json.json"),
        ("/etc/x.json", "/etc/x.json"),
        ("$HOME/a/../b.json", "{home}/b.json"),
        ("${DRYCC_PROFILE}", "{home}/.drycc/other.json"),
        ("", "{home}/.drycc/other.json"),
    ],
)
def test_where_the_configuration_file_is(tmp_path: Path, value: str, file: str) -> None:
    environment = {"HOME": str(tmp_path), "DRYCC_PROFILE": "other"}
    assert str(locate(value, environment)) == file.format(home=tmp_path)


async def test_nobody_is_logged_in(client: Bench) -> None:
    file = client.session.home / ".drycc" / "client.json"
    file.unlink()
    done = await client.session.run("apps", "list")
    assert (done.status, done.error) == (
        1,
        f"client configuration file not found at: {file}\n"
        "Are you logged in? Use 'drycc login' or 'drycc register' to get started",
    )
    assert (await client.session.run("logout")).stdout == "Logged out\n"
    assert (await client.session.run("version")).stdout == "v1.10.2\n"
    assert (await client.run("certs", "remove", "c")).status == 2


async def test_the_page_size_of_the_profile(client: Bench) -> None:
    file = client.session.home / ".drycc" / "client.json"
    client.server.add({"results": [], "count": 0})
    assert (await client.session.run("keys")).requests == ["GET /v2/keys/?limit=100"]
    file.write_text(json.dumps({**json.loads(file.read_text()), "response_limit": 7, "unknown": 1}))
    assert (await client.session.run("-c", str(file), "keys")).requests == ["GET /v2/keys/?limit=7"]
    assert (await client.session.run("tokens", "list", "-l3")).requests == ["GET /v2/tokens/?limit=3"]
    file.write_text("{")
    assert (await client.session.run("keys")).error == "unexpected EOF"


async def test_which_app_is_meant(client: Bench) -> None:
    require_tool("git")
    client.server.add({"results": [], "count": 0})
    session = client.session

    async def app() -> str:
        done = await session.run("domains")
        return done.requests[0].split("/")[3]

    session.directory = session.home / "My-Shop"
    session.directory.mkdir()
    assert await app() == "my-shop"
    session.environment["DRYCC_APP"] = "from-environment"
    assert await app() == "from-environment"
    git = ("init", "-q"), ("remote", "add", "drycc", "ssh://git@127-builder.0.0.1:2222/from-remote.git")
    for words in git:
        await _git(client, *words)
    assert await app() == "from-remote"
    assert (await session.run("domains", "--app=named")).requests[0].startswith("GET /v2/apps/named/")
    session.environment["PATH"] = str(session.home)
    assert (await session.run("domains")).status == 2


async def _git(client: Bench, *words: str) -> str:
    from client.model.git import Git

    return await Git(client.session.directory, client.session.environment).run(*words)


async def test_git_remotes(client: Bench) -> None:
    require_tool("git")
    await _git(client, "init", "-q")
    url = "ssh://git@127-builder.0.0.1:2222/shop.git"
    added = await client.run("git", "remote")
    assert added.stdout == "Git remote drycc successfully created for app shop.\n"
    again = await client.run("git", "remote")
    assert again.stdout == "Remote drycc already exists and is correctly configured for app shop.\n"
    other = await client.session.run("git", "remote", "-a", "other")
    assert (other.status, other.error) == (
        1,
        "Remote drycc already exists, please run 'drycc git remote -f' to overwrite\n"
        f"Existing remote URL: {url}\n"
        "When forced, will overwrite with: ssh://git@127-builder.0.0.1:2222/other.git",
    )
    forced = await client.session.run("git", "remote", "-f", "-a", "other")
    assert forced.stdout == "Deleting git remote drycc.\nGit remote drycc successfully created for app other.\n"
    absent = await client.run("git", "remove")
    assert (absent.status, absent.error) == (1, "Could not find remote matching app in 'git remote -v'")
    gone = await client.session.run("git", "remove", "-a", "other")
    assert gone.stdout == "Git remotes for app other removed.\n"
    assert await _git(client, "remote") == ""
    assert [done.exchanges for done in (added, again, other, forced, absent, gone)] == [()] * 6


async def test_git_that_fails(client: Bench) -> None:
    require_tool("git")
    done = await client.run("git", "remote")
    assert done.status == 1
    assert done.error.startswith("Error when running 'git remote -v'\nfatal: not a git repository")
