"""`builds` and `releases` against the suite (cli.md 10.7 and 10.8)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from client.model.session import Session
from client.suite import Suite
from client.world import App, succeed, until

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
NO_RELEASE = '"No Release matches the given query."'
PIPELINE = {"kind": "pipeline", "ptype": "web", "deploy": {"command": ["bash", "-c"], "args": ["./serve"]}}


def facts(lines: list[str]) -> dict[str, str]:
    """A view of labels and values."""
    split = [re.split(r":\s+", line, maxsplit=1) for line in lines if re.search(r":\s+\S", line)]
    return {label.strip(): value for label, value in split}


async def test_build_of_an_image(app: App) -> None:
    (app.owner.directory / "Procfile").write_text("web: ./serve\nworker: ./jobs --all\n")
    done = await app.ok("builds", "create", "registry.example.org/shop:1", "--stack=container")
    assert done.stdout == "Creating build... done\n"
    assert done.requests == [
        f"GET /v2/apps/{app.name}/build/",
        f'POST /v2/apps/{app.name}/build/ {{"image":"registry.example.org/shop:1","stack":"container",'
        '"procfile":{"web":"./serve","worker":"./jobs --all"}}',
    ]
    shown = await app.ok("builds", "info")
    found = facts(shown.lines)
    assert (found["App"], found["Owner"], found["Image"], found["Stack"]) == (
        app.name,
        "ana",
        "registry.example.org/shop:1",
        "container",
    )
    assert re.fullmatch(UUID, found["UUID"])
    assert re.fullmatch(TIME, found["Created"])
    versioned = await app.ok("builds", "info", "--version", "2")
    assert versioned.requests == [f"GET /v2/apps/{app.name}/build/?version=v2"]
    assert versioned.stdout == shown.stdout
    assert await app.refused("builds", "info", "-v", "99") == NO_RELEASE


async def test_no_build_yet(still: App) -> None:
    assert facts((await still.ok("builds")).lines) == {}
    assert (await still.ok("builds", "fetch")).stdout == ""


async def test_build_with_a_pipeline(app: App) -> None:
    directory = app.owner.directory / ".drycc"
    (directory / "config").mkdir(parents=True)
    (directory / "config" / "jobs").write_text("# how\nDEBUG=1\nEMPTY=\n")
    (directory / "web.yaml").write_text(yaml.safe_dump(PIPELINE))
    (directory / "notes.txt").write_text("not read")
    done = await app.ok("pull", "registry.example.org/shop:1")
    body = json.loads(done.exchanges[-1].body)
    assert "procfile" not in body
    assert body["dryccfile"] == {"config": {"jobs": {"DEBUG": "1", "EMPTY": ""}}, "pipeline": {"web.yaml": PIPELINE}}
    fetched = await app.ok("builds", "fetch")
    assert "---\n# Source: .drycc/config/jobs\nDEBUG=1\n" in fetched.stdout
    source = fetched.stdout.partition("# Source: .drycc/web.yaml\n")[2]
    assert yaml.safe_load(source) == PIPELINE
    assert "DEBUG=1" in (await app.ok("config", "-g", "jobs")).stdout


async def test_fetch_to_files(running: App) -> None:
    procfile = running.owner.directory / "Procfile"
    cancelled = await running.drycc("builds", "fetch", "--save", typed=("no",))
    assert (cancelled.status, cancelled.error) == (1, "cancel the build fetch action")
    assert not procfile.exists()
    saved = await running.ok("builds", "fetch", "--save", "--confirm=yes", "-v", "2")
    assert saved.stdout == "done\n"
    assert yaml.safe_load(procfile.read_text()) == {"web": "python web.py", "worker": "python worker.py"}


async def test_build_without_the_procfile_of_before(deployed: App) -> None:
    (deployed.owner.directory / "Procfile").unlink()
    cancelled = await deployed.drycc("pull", "registry.example.org/shop:2")
    assert (cancelled.status, cancelled.error) == (1, "cancel the build create action")
    assert len(cancelled.exchanges) == 1
    assert (await deployed.drycc("pull", "registry.example.org/shop:2", typed=("yes",))).status == 0
    await deployed.settled()
    await deployed.ok("pull", "registry.example.org/shop:3", "--confirm=yes")


@pytest.mark.parametrize(
    ("image", "stack", "error"),
    [
        ("", "container", "The given image is invalid"),
        ("shop", "s" * 33, '{"stack":["Ensure this field has no more than 32 characters."]}'),
        ("shop", "", '{"stack":["This field may not be blank."]}'),
        ("localhost/a/b", "container", '{"detail":"image must not use the loopback address"}'),
        ("127.0.0.1:5000/a", "container", '{"detail":"image must not use the loopback address"}'),
    ],
)
async def test_builds_that_are_refused(still: App, image: str, stack: str, error: str) -> None:
    expected = error if image == "" else f"Unknown Error (400): {error}"
    assert await still.refused("pull", image, "-s", stack) == expected
    assert facts((await still.ok("builds")).lines) == {}


TYPE_RULE = r"Process types can only supports: ^(?P<type>[a-z0-9]+(\\-[a-z0-9]+)*)$"


@pytest.mark.parametrize(
    ("procfile", "message"),
    [
        ({"web": ""}, "Command can't be empty for process type"),
        ({"we": "x"}, "The length of ptype must be between 3 and 63"),
        ({"w" * 64: "x"}, "The length of ptype must be between 3 and 63"),
        *(({name: "x"}, TYPE_RULE) for name in ("web_x", "Worker-1", "worker-", "-worker")),
    ],
)
async def test_procfiles_that_are_refused(still: App, procfile: Mapping[str, str], message: str) -> None:
    (still.owner.directory / "Procfile").write_text(yaml.safe_dump(procfile))
    error = await still.refused("pull", "registry.example.org/shop:1")
    assert error == f'Unknown Error (400): {{"procfile":["{message}"]}}'


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"web.yaml": {"kind": "pipeline", "ptype": "web"}}, "'deploy' is a required property"),
        ({"web.yaml": PIPELINE | {"kind": "x"}}, "'x' does not match '^pipeline$'"),
        (
            {"web.yaml": PIPELINE | {"deploy": {"foo": 1}}},
            "Additional properties are not allowed ('foo' was unexpected)",
        ),
        ({"web.yaml": PIPELINE | {"env": {"A": 1}}}, "'***' is not of type 'string'"),
        ({"web.yaml": PIPELINE, "two.yaml": PIPELINE}, "Pipeline's ptype must be unique"),
        ({"web.yaml": PIPELINE | {"ptype": "w"}}, "The length of ptype must be between 3 and 63"),
        ({"my web.yaml": PIPELINE}, ""),
    ],
)
async def test_pipelines_that_are_refused(still: App, files: Mapping[str, Any], problem: str) -> None:
    (still.owner.directory / ".drycc").mkdir()
    for name, content in files.items():
        (still.owner.directory / ".drycc" / name).write_text(yaml.safe_dump(content))
    error = await still.refused("pull", "registry.example.org/shop:1")
    assert error.startswith('Unknown Error (400): {"dryccfile":["')
    assert error.endswith(f'{problem}"]}}')


async def test_list(deployed: App) -> None:
    await deployed.ok("config", "set", "A=1", "LONG_NAME_OF_A_VARIABLE=2", "ANOTHER_LONG_NAME_OF_A_VARIABLE=3")
    await deployed.settled()
    listed = await deployed.ok("releases", "list")
    assert listed.lines[0].split() == ["OWNER", "STATE", "VERSION", "CREATED", "SUMMARY"]
    third, second, first = listed.lines[1:]
    assert re.fullmatch(rf"ana +succeed +v3 +{TIME} +ana added values .{{47}}\[\.\.\.\]", third)
    assert re.fullmatch(rf"ana +succeed +v2 +{TIME} +ana deployed registry.example.org/shop:1", second)
    assert re.fullmatch(rf"ana +created +v1 +{TIME} +ana created initial release", first)
    limited = await deployed.ok("releases", "-l", "1")
    assert limited.requests == [f"GET /v2/apps/{deployed.name}/releases/?limit=1"]
    assert (len(limited.lines), "v3" in limited.lines[1]) == (2, True)
    filtered = await deployed.ok("releases", "list", "web", "worker")
    assert filtered.requests == [f"GET /v2/apps/{deployed.name}/releases/?ptypes=web,worker&limit=100"]
    assert len(filtered.lines) == 3
    assert (await deployed.ok("releases", "list", "nope")).stdout == f"No releases found in {deployed.name} app.\n"


async def test_info(running: App) -> None:
    for word in ("2", "v2"):
        shown = await running.ok("releases", "info", word)
        assert shown.requests == [f"GET /v2/apps/{running.name}/releases/v2/"]
    found = facts(shown.lines)
    assert (found["App"], found["State"], found["Owner"], found["Version"]) == (running.name, "succeed", "ana", "v2")
    assert re.fullmatch(UUID, found["Build"])
    assert re.fullmatch(UUID, found["Config"])
    assert re.fullmatch(TIME, found["- created"])
    assert (found["state"], found["action"], found["exception"]) == ("succeed", "pipeline", "<none>")
    assert set(found["ptypes"].split(",")) <= {"web", "worker"}
    initial = facts((await running.ok("releases", "info", "v1")).lines)
    assert "Build" not in initial
    assert await running.refused("releases", "info", "99") == NO_RELEASE
    assert await running.refused("releases", "info", "0") == NO_RELEASE
    for word, error in (
        ("abc", 'invalid version format: strconv.Atoi: parsing "abc": invalid syntax'),
        ("v", "invalid version format: v is not in the form 'v#'"),
    ):
        assert await running.refused("releases", "info", word) == error


async def test_a_release_that_fails_explains_itself(suite: Suite, deployed: App) -> None:
    suite.engine.fail(deployed.name, "web")
    await deployed.ok("config", "set", "A=1")
    await deployed.settled()
    found = facts((await deployed.ok("releases", "info", "3")).lines)
    assert (found["State"], found["state"]) == ("crashed", "crashed")
    assert "web" in found["exception"]
    refused = await deployed.refused("releases", "rollback", "", "v3")
    assert refused == 'Unknown Error (400): {"detail":"Cannot roll back to failed release."}'


async def test_deploy(deployed: App) -> None:
    (before,) = await deployed.pods()
    cancelled = await deployed.drycc("releases", "deploy", typed=("no",))
    assert (cancelled.status, cancelled.error) == (1, "cancel the deploy action")
    done = await deployed.ok("releases", "deploy", "-f", "--confirm=yes")
    assert re.fullmatch(r"Deploying process types\.\.\. but first, coffee!\ndone in \d+s\n", done.stdout)
    assert done.requests == [f'POST /v2/apps/{deployed.name}/releases/deploy/ {{"force":true,"ptypes":""}}']

    async def is_replaced() -> bool:
        return await deployed.pods() not in ([], [before])

    await until(is_replaced)
    deployed.owner.environment["DRYCC_DRINK_OF_CHOICE"] = "tea"
    some = await deployed.ok("releases", "deploy", "web", "worker")
    assert some.requests == [f'POST /v2/apps/{deployed.name}/releases/deploy/ {{"force":false,"ptypes":"web,worker"}}']
    assert some.lines[0] == "Deploying process types... but first, tea!"


async def test_deploys_that_are_refused(app: App) -> None:
    none = 'Unknown Error (400): {"detail":"there are no builds available for deploy"}'
    assert await app.refused("releases", "deploy", "--confirm=yes") == none
    await app.deploy()
    unknown = 'Unknown Error (400): {"detail":"process type nope is not exists"}'
    assert await app.refused("releases", "deploy", "nope") == unknown


async def test_rollback(deployed: App) -> None:
    await deployed.ok("config", "set", "A=1")
    await deployed.settled()
    name = deployed.name
    one = await deployed.ok("releases", "rollback", "web", "v2")
    assert one.stdout == "Rolling back to v2... done, v4\n"
    assert one.requests == [f'POST /v2/apps/{name}/releases/rollback/ {{"version":2,"ptypes":"web"}}']
    await deployed.settled()
    every = await deployed.ok("releases", "rollback", "", "3")
    assert every.requests == [f'POST /v2/apps/{name}/releases/rollback/ {{"version":3,"ptypes":""}}']
    assert every.stdout == "Rolling back to v3... done, v5\n"
    await deployed.settled()
    assert "A=1" in (await deployed.ok("config")).stdout
    before = await succeed(deployed.owner, "releases", "rollback", "-a", name, "--", "web", "-1")
    (exchange,) = before.exchanges
    assert (exchange.body, before.stdout) == (b"", "Rolling back one release... done, v6\n")
    assert "rolled back to v4" in (await deployed.ok("releases")).stdout


async def test_rollbacks_that_are_refused(running: App) -> None:
    panicked = await running.drycc("releases", "rollback", "v2")
    assert (panicked.status, panicked.exchanges) == (2, ())
    for version, error in (
        ("0", "The given version is invalid"),
        ("1", 'Unknown Error (400): {"detail":"Cannot roll back to initial release."}'),
        ("999", 'Unknown Error (400): {"detail":"Release matching query does not exist."}'),
        ("abc", 'strconv.Atoi: parsing "abc": invalid syntax'),
    ):
        assert await running.refused("releases", "rollback", "", version) == error
    error = await running.refused("releases", "rollback", "nope", "2")
    assert error == 'Unknown Error (400): {"detail":"process type nope is not included in procfile"}'


async def test_the_first_release_cannot_be_rolled_back(still: App) -> None:
    done = await still.owner.run("releases", "rollback", "-a", still.name, "--", "", "-1")
    assert (done.status, done.error) == (1, "The given version is invalid")


async def test_several_changes_at_once(deployed: App, bo: Session) -> None:
    for number in range(4):
        await deployed.ok("config", "set", f"A={number}")
    await deployed.settled()
    versions = [line.split()[2] for line in (await deployed.ok("releases")).lines[1:]]
    assert versions == ["v6", "v5", "v4", "v3", "v2", "v1"]
