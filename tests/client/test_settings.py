"""`autoscale`, `autodeploy`, `autorollback`, `routing` and `labels` against the suite (cli.md 10.12 and 10.14)."""

from __future__ import annotations

import json

import pytest

from client.world import App

NOTHING = 'Unknown Error (409): {"detail":"ana changed nothing"}'


@pytest.mark.parametrize(
    ("group", "field", "word"),
    [
        ("autodeploy", "autodeploy", "Autodeploy"),
        ("autorollback", "autorollback", "Autorollback"),
        ("routing", "routable", "Routing"),
    ],
)
async def test_switches(app: App, group: str, field: str, word: str) -> None:
    assert (await app.ok(group)).stdout == f"{word} is enabled.\n"
    disabled = await app.ok(group, "disable")
    assert disabled.stdout == f"Disabling {group} for {app.name}... done\n"
    assert disabled.requests == [f'POST /v2/apps/{app.name}/settings/ {{"{field}":false}}']
    assert (await app.ok(group, "info")).stdout == f"{word} is disabled.\n"
    assert await app.refused(group, "disable") == NOTHING
    enabled = await app.ok(group, "enable")
    assert enabled.stdout == f"Enabling {group} for {app.name}... done\n"
    assert (await app.ok(group, "info")).stdout == f"{word} is enabled.\n"


async def test_without_autodeploy_nothing_is_rolled_out(deployed: App) -> None:
    await deployed.ok("autodeploy", "disable")
    await deployed.ok("config", "set", "A=1")
    pods = await deployed.ok("ps")
    assert {line.split()[1] for line in pods.lines[1:]} == {"v2"}
    await deployed.ok("releases", "deploy", "--confirm=yes")
    await deployed.settled()
    assert {line.split()[1] for line in (await deployed.ok("ps")).lines[1:]} == {"v3"}


async def test_labels(app: App) -> None:
    none = f"No labels found in {app.name} app.\n"
    assert (await app.ok("labels")).stdout == none
    done = await app.ok("labels", "set", "team=shop", "git_version=v1.0")
    assert done.stdout == f"Applying labels on {app.name}... done\n"
    assert done.requests == [f'POST /v2/apps/{app.name}/settings/ {{"label":{{"git_version":"v1.0","team":"shop"}}}}']
    rows = [line.split() for line in (await app.ok("labels", "list")).lines]
    assert rows == [["OWNER", "KEY", "VALUE"], ["ana", "git_version", "v1.0"], ["ana", "team", "shop"]]
    assert await app.refused("labels", "set", "team=shop") == NOTHING
    unset = await app.ok("labels", "unset", "team", "git_version")
    assert unset.stdout == f"Removing labels on {app.name}... done\n"
    assert json.loads(unset.exchanges[0].body) == {"label": {"git_version": None, "team": None}}
    assert (await app.ok("labels")).stdout == none
    missing = "Unable to process your request: nope does not exist under label"
    assert await app.refused("labels", "unset", "nope") == missing
    for word in ("a", "a=", "=b", "a=b=c"):
        error = await app.refused("labels", "set", word)
        assert error.startswith(f"{word} is invalid, Must be in format key=value\nExamples: ")


async def test_autoscale(app: App) -> None:
    listed = await app.ok("autoscale")
    assert [line.split() for line in listed.lines] == [["PTYPE", "PERCENT", "MIN", "MAX"]]  # {} and not null
    done = await app.ok("autoscale", "set", "web", "--min", "1", "--max=5", "--cpu-percent", "150")
    assert done.stdout == f"Applying autoscale settings for process type web on {app.name}... done\n"
    assert done.requests == [
        f'POST /v2/apps/{app.name}/settings/ {{"autoscale":{{"web":{{"min":1,"max":5,"cpu_percent":150}}}}}}'
    ]
    assert (await app.ok("autoscale", "list")).lines[1].split() == ["web", "150", "1", "5"]
    unset = await app.ok("autoscale", "unset", "web")
    assert unset.stdout == f"Removing autoscale for process type web on {app.name}... done\n"
    assert unset.requests == [f'POST /v2/apps/{app.name}/settings/ {{"autoscale":{{"web":null}}}}']
    assert len((await app.ok("autoscale", "list")).lines) == 1


async def test_autoscale_that_is_refused(still: App) -> None:
    assert await still.refused("autoscale", "set", "web") == 'required flag(s) "min", "max", "cpu-percent" not set'
    rule = ("--min", "1", "--max", "5", "--cpu-percent", "50")
    reserved = 'Unknown Error (400): {"detail":"Cannot set autoscale for reserved types, procfile type is: run"}'
    assert await still.refused("autoscale", "set", "run", *rule) == reserved
    short = await still.refused("autoscale", "set", "w", *rule)
    assert short == 'Unknown Error (400): {"autoscale":["The length of ptype must be between 3 and 63"]}'
    missing = await still.refused("autoscale", "unset", "web")
    assert missing == "Unable to process your request: web does not exist under autoscale"
