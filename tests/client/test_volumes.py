"""`volumes` and their files against the suite (cli.md 10.17)."""

from __future__ import annotations

import json
import re

import pytest

from client.world import App, until

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
NO_VOLUME = '"No Volume matches the given query."'
RESTART = "The pods should be restart, please check the pods up or not.\n"


async def test_volumes(deployed: App) -> None:
    name = deployed.name
    assert (await deployed.ok("volumes")).stdout == "Could not find any volume.\n"
    added = await deployed.ok("volumes", "add", "data", "5g")
    assert added.stdout == f"Creating data to {name}... done\n"
    assert added.requests == [f'POST /v2/apps/{name}/volumes/ {{"name":"data","size":"5g","type":"csi"}}']
    listed = await deployed.ok("volumes", "list")
    assert listed.lines[0].split() == ["NAME", "OWNER", "TYPE", "PTYPE", "PATH", "SIZE"]
    assert listed.lines[1].split() == ["data", "ana", "csi", "5G"]
    expanded = await deployed.ok("volumes", "expand", "data", "10G")
    assert expanded.stdout == f"Expand data to {name}... done\n"
    assert expanded.requests == [f'PATCH /v2/apps/{name}/volumes/data/ {{"name":"data","size":"10G"}}']
    mounted = await deployed.ok("volumes", "mount", "data", "web=/data", "worker=/srv/jobs/")
    assert mounted.stdout == f"Mounting volume... done\n{RESTART}"
    assert mounted.requests == [
        f'PATCH /v2/apps/{name}/volumes/data/path/ {{"path":{{"web":"/data","worker":"/srv/jobs/"}}}}'
    ]

    async def is_mounted() -> bool:
        return len((await deployed.ok("volumes")).lines) == 3

    await until(is_mounted)
    rows = [line.split() for line in (await deployed.ok("volumes")).lines[1:]]
    assert rows == [
        ["data", "ana", "csi", "web", "/data", "10G"],
        ["data", "ana", "csi", "worker", "/srv/jobs", "10G"],
    ]
    assert "/data from data" in (await deployed.ok("pts", "describe", "web")).stdout
    unmounted = await deployed.ok("volumes", "unmount", "data", "web", "worker")
    assert unmounted.stdout == f"Unmounting volume... done\n{RESTART}"
    assert json.loads(unmounted.exchanges[0].body) == {"path": {"web": None, "worker": None}}
    shown = await deployed.ok("volumes", "info", "data")
    facts = dict(re.split(r":\s+", line, maxsplit=1) for line in shown.lines)
    assert (facts["Name"], facts["Owner"], facts["Type"], facts["Path"], facts["Parameters"]) == (
        "data",
        "ana",
        "csi",
        "{}",
        "{}",
    )
    assert re.fullmatch(TIME, facts["Created"])
    removed = await deployed.ok("volumes", "remove", "data")
    assert removed.stdout == f"Deleting data from {name}... done\n"
    assert removed.requests == [f"DELETE /v2/apps/{name}/volumes/data/"]
    for words in (("info", "data"), ("expand", "data", "20G"), ("remove", "data"), ("mount", "data", "web=/x")):
        assert await deployed.refused("volumes", *words) == NO_VOLUME


@pytest.mark.parametrize(
    ("kind", "flags", "parameters"),
    [
        ("nfs", ("--nfs-server=10.0.0.1", "--nfs-path=/export"), {"server": "10.0.0.1", "path": "/export"}),
        (
            "oss",
            ("--oss-server=s3", "--oss-bucket=b", "--oss-access-key=a", "--oss-secret-key=s"),
            {"server": "s3", "bucket": "b", "access_key": "a", "secret_key": "s"},
        ),
    ],
)
async def test_other_types(app: App, kind: str, flags: tuple[str, ...], parameters: dict[str, str]) -> None:
    added = await app.ok("volumes", "add", "data", "5G", "-t", kind, *flags)
    assert json.loads(added.exchanges[0].body)["parameters"] == {kind: parameters}
    assert (await app.ok("volumes")).lines[1].split() == ["data", "ana", kind, "5G"]
    shown = (await app.ok("volumes", "info", "data")).stdout
    assert re.search(rf"^Type: +{kind} +$", shown, re.M)
    assert "server: " in shown
    expand = await app.refused("volumes", "expand", "data", "10G")
    assert expand == f'Unknown Error (400): {{"detail":"{kind} volume is not support expand."}}'


async def test_volumes_that_are_refused(app: App) -> None:
    for size in ("200M", "0G", "5", "G", "-1G"):
        done = await app.owner.run("volumes", "add", "-a", app.name, "--", "data", size)
        assert done.error == f"{size} doesn't fit format #unit\nExamples: 2G 2g"
    named = {
        "v1": '{"name":["The length of name must be between 3 and 63"]}',
    }
    for name, body in named.items():
        assert await app.refused("volumes", "add", name, "5G") == f"Unknown Error (400): {body}"
    upper = await app.refused("volumes", "add", "V_1x", "5G")
    assert upper == "name can only contain a-z (lowercase), 0-9 and hyphens"
    large = await app.refused("volumes", "add", "data", "99999G")
    assert large.startswith('Unknown Error (400): {"size":["Volume size limit format: <number><unit>')
    kind = await app.refused("volumes", "add", "data", "5G", "-t", "foo")
    assert kind == r'Unknown Error (400): {"type":["\"foo\" is not a valid choice."]}'
    empty = await app.refused("volumes", "add", "data", "5G", "-t", "nfs")
    assert empty.startswith("Unknown Error (400): {")
    await app.ok("volumes", "add", "data", "5G")
    again = await app.refused("volumes", "add", "data", "5G")
    assert again == 'Unknown Error (400): {"non_field_errors":["The fields app, name must make a unique set."]}'
    shrunk = await app.refused("volumes", "expand", "data", "4G")
    assert shrunk == 'Unknown Error (400): {"detail":"Shrink volume is not supported."}'


async def test_mounts_that_are_refused(deployed: App) -> None:
    for name in ("data", "more"):
        await deployed.ok("volumes", "add", name, "1G")
    for pair in ("web", "web=", "web=/a.b", "=/x"):
        error = await deployed.refused("volumes", "mount", "data", pair)
        assert error == f"'{pair}' does not match the pattern 'key=var', ex: MODE=test"
    relative = await deployed.refused("volumes", "mount", "data", "web=data")
    assert relative == 'Unknown Error (400): ["Volume path format: /path"]'
    unknown = await deployed.refused("volumes", "mount", "data", "nope=/data")
    assert unknown == 'Unknown Error (400): {"detail":"process type nope is not included in procfile"}'
    await deployed.ok("volumes", "mount", "data", "web=/data")
    same = await deployed.refused("volumes", "mount", "data", "web=/data")
    assert same == 'Unknown Error (400): {"detail":"mount path not changed"}'
    clash = await deployed.refused("volumes", "mount", "more", "web=/data")
    assert clash == 'Unknown Error (400): {"detail":"path /data is used by another volume"}'
    busy = await deployed.refused("volumes", "remove", "data")
    assert busy == 'Unknown Error (400): {"detail":"this volume is mounting"}'


async def test_files(app: App) -> None:
    directory = app.owner.directory
    await app.with_volume("data")
    assert (await app.ok("volumes", "client", "ls", "vol://data/")).stdout == ""
    content = bytes(range(256)) * 1000
    (directory / "a file, 50% #1.bin").write_bytes(content)
    (directory / "empty").write_bytes(b"")
    uploaded = await app.ok("volumes", "client", "cp", "a file, 50% #1.bin", "vol://data/")
    exchange = uploaded.exchanges[-1]
    assert (exchange.method, exchange.target) == ("POST", f"/v2/apps/{app.name}/volumes/data/client/")
    assert exchange.headers["Content-Type"] == "filer/octet-stream"
    assert exchange.headers["Content-Length"] == str(len(content))
    assert exchange.headers["Content-Disposition"] == (
        "attachment;filename*=utf-8''a+file%2C+50%25+%231.bin;filepath*=utf-8''"
    )
    await app.ok("volumes", "client", "cp", "empty", "vol://data/")
    listed = await app.ok("volumes", "client", "ls", "vol://data/")
    assert listed.requests == [f"GET /v2/apps/{app.name}/volumes/data/client/?path=&limit=3000"]
    (line,) = listed.lines
    assert re.fullmatch(rf"\[{TIME}\] {len(content)} a file, 50% #1\.bin", line)
    (directory / "there").mkdir()
    downloaded = await app.ok("volumes", "client", "cp", "vol://data/a file, 50% #1.bin", "there")
    assert downloaded.requests[-1] == f"GET /v2/apps/{app.name}/volumes/data/client/a%20file,%2050%25%20%231.bin"
    assert (directory / "there" / "a file, 50% #1.bin").read_bytes() == content
    assert (await app.ok("volumes", "client", "cp", "a", "b")).exchanges == ()
    removed = await app.ok("volumes", "client", "rm", "vol://data/a file, 50% #1.bin")
    assert (removed.stdout, removed.exchanges[0].response.status) == ("", 200)
    assert (await app.ok("volumes", "client", "ls", "vol://data/")).stdout == ""


async def test_directories(app: App) -> None:
    directory = app.owner.directory
    await app.with_volume("data")
    (directory / "tree" / "sub dir").mkdir(parents=True)
    (directory / "tree" / "one.txt").write_text("one")
    (directory / "tree" / "sub dir" / "two.txt").write_text("two")
    await app.ok("volumes", "client", "cp", "tree", "vol://data/")
    root = await app.ok("volumes", "client", "ls", "vol://data/")
    assert [line.split("] ")[1].split(" ", 1)[1] for line in root.lines] == ["tree/"]
    names = [line.rsplit(" ", 1)[-1] for line in (await app.ok("volumes", "client", "ls", "vol://data/tree")).lines]
    assert sorted(names) == ["dir/", "one.txt"]
    (single,) = (await app.ok("volumes", "client", "ls", "vol://data/tree/one.txt")).lines
    assert single.endswith("] 3 one.txt")
    (directory / "back").mkdir()
    await app.ok("volumes", "client", "cp", "vol://data/tree", "back")
    assert (directory / "back" / "tree" / "one.txt").read_text() == "one"
    assert (directory / "back" / "tree" / "sub dir" / "two.txt").read_text() == "two"
    (directory / "flat").mkdir()
    await app.ok("volumes", "client", "cp", "vol://data/tree/", "flat")
    assert (directory / "flat" / "one.txt").read_text() == "one"
    await app.ok("volumes", "client", "rm", "vol://data/tree")
    assert (await app.ok("volumes", "client", "ls", "vol://data/")).stdout == ""


async def test_files_that_are_refused(app: App) -> None:
    directory = app.owner.directory
    await app.with_volume("data")
    (directory / "f.txt").write_text("f")
    await app.ok("volumes", "client", "cp", "f.txt", "vol://data/")
    for word in ("data/f", "vol://data", "vol:///f"):
        assert await app.refused("volumes", "client", "ls", word) == f"vol {word} format err"
    clash = await app.refused("volumes", "client", "cp", "f.txt", "vol://data/f.txt")
    assert clash == "the volume path cannot be an existing file"
    local = await app.refused("volumes", "client", "cp", "vol://data/f.txt", "nowhere")
    assert local == "the local path must be an existing dir"
    for words in (("ls", "vol://data/nope"), ("rm", "vol://data/nope"), ("cp", "vol://data/nope", ".")):
        done = await app.drycc("volumes", "client", *words)
        assert done.status == 1
        assert done.exchanges[-1].response.status == 404
    assert await app.refused("volumes", "client", "ls", "vol://nope/") == NO_VOLUME
    for path in ("../../etc/passwd", "a/../../x"):
        done = await app.drycc("volumes", "client", "rm", f"vol://data/{path}")
        assert (done.status, done.exchanges[-1].response.status in (400, 404)) == (1, True)
