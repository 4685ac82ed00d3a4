"""A push from the first byte to the verdict, with the real git."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from builder.runner.port import BuildFailedError, BuildSpec, Log, Tree
from integration.builder_ssh.world import World, commit, git_environment, open_world, run
from shared.events import BuildFailed, BuildSucceeded, ReleaseCreated, ReleaseFailed, ReleaseRejected
from support import eventually
from support.fixtures import MakeDatabase

MIB = 1024 * 1024


async def test_a_push_is_built_released_and_reported(world: World, ana: Path, source: Path) -> None:
    world.far_side.values = [{"name": "GREETING", "value": "hello", "group": "global"}]

    outcome = await world.push(ana, source, "shop", options=["-o", "stack=container"])

    assert outcome.status == 0, outcome.output
    assert "\x1b" not in outcome.output  # weakness 22: git's clients show control sequences as text
    said = [line.removeprefix("remote: ").rstrip() for line in outcome.output.splitlines() if "remote: " in line]
    sha = (await run("git", "-C", str(source), "rev-parse", "HEAD")).output.strip()
    assert said == [
        f"---> Build 1 of shop: main at {sha[:12]}",
        "---> Scripted build",
        "---> Build complete, making a release...",
        "---> web: 1 of 1 up",
        "---> Done, shop:v2 deployed to Workflow",
        "      http://shop.localhost:8080",
    ]
    assert world.event_types() == ["build.requested", "build.started", "build.succeeded"]
    (spec,) = world.runner.specs
    assert (spec.app, spec.number, spec.sha, spec.branch, spec.actor) == ("shop", 1, sha, "main", "ana")
    assert spec.config.group("global") == {"GREETING": "hello"}
    assert spec.stack == "container"
    assert "hello" not in repr(spec)


async def test_the_runner_reads_and_extracts_the_pushed_commit(world: World, ana: Path, source: Path) -> None:
    await commit(source, {".drycc/web.yaml": "kind: pipeline\n", "static/deep/a.txt": "a", "big.bin": bytes(2 * MIB)})
    (source / "link").symlink_to("Procfile")
    await commit(source, {"other": "x"})
    seen: dict[str, object] = {}
    target = world.path / "extracted"
    target.mkdir()

    async def script(tree: Tree, _spec: BuildSpec, _log: Log) -> None:
        seen["root"] = await tree.list()
        seen["drycc"] = await tree.list(".drycc")
        seen["none"] = await tree.list("nothing/here")
        seen["deep"] = await tree.read("static/deep/a.txt")
        seen["link"] = await tree.read("link")
        seen["big"] = await tree.read("big.bin")
        seen["bytes"] = await tree.extract(target, max_bytes=8 * MIB)

    world.runner.script = script

    assert (await world.push(ana, source, "shop")).status == 0
    assert seen["root"] == [".drycc/", "Procfile", "big.bin", "link", "other", "serve", "static/"]
    assert seen["drycc"] == ["web.yaml"]
    assert (seen["none"], seen["deep"], seen["link"], seen["big"]) == ([], b"a", None, None)
    assert (target / "static/deep/a.txt").read_text() == "a"
    assert (target / "link").readlink() == Path("Procfile")
    assert isinstance(seen["bytes"], int)
    assert seen["bytes"] > 2 * MIB


async def test_weakness_11_repositories_are_kept_between_pushes(world: World, ana: Path, source: Path) -> None:
    await world.push(ana, source, "shop")
    again = await world.push(ana, source, "shop")
    clone = await run("git", "clone", "-q", world.remote("shop"), str(world.path / "clone"),
                      environment=world.git_environment(ana))  # fmt: skip

    assert "Everything up-to-date" in again.output
    assert clone.status == 0, clone.output
    assert (world.path / "clone" / "Procfile").read_text() == "web: ./serve\n"


async def test_master_deploys_too_and_becomes_head(world: World, ana: Path) -> None:
    source = world.path / "old"
    await commit(source, {"Procfile": "web: ./serve\n"}, branch="master")

    assert "Done, shop:v2" in (await world.push(ana, source, "shop", "master")).output
    assert (world.settings.repos / "shop.git" / "HEAD").read_text() == "ref: refs/heads/master\n"


async def test_a_failing_early_check_declines_the_push_and_stores_nothing(world: World, ana: Path) -> None:
    source = world.path / "bare"
    await commit(source, {"readme": "no Procfile here"})

    outcome = await world.push(ana, source, "shop")

    assert outcome.status == 1
    assert "!     Not built (no-procfile): there is no Procfile" in outcome.output
    assert "Add one with a line such as" in outcome.output
    assert "pre-receive hook declined" in outcome.output
    assert world.events == []
    await commit(source, {"Procfile": "web: ./serve\n"})
    assert (await world.push(ana, source, "shop")).status == 0


async def test_a_failing_build_declines_the_push(world: World, ana: Path, source: Path) -> None:
    async def script(_tree: Tree, _spec: BuildSpec, log: Log) -> None:
        await log.write("ERROR: no matching distribution\n")
        raise BuildFailedError("build-failed", "pip ended with status 1", log=("ERROR: no",), hint="See above.")

    world.runner.script = script

    outcome = await world.push(ana, source, "shop")

    assert outcome.status == 1
    assert outcome.output.count("no matching distribution") == 1
    assert "!     Build failed (build-failed): pip ended with status 1" in outcome.output
    assert "!     See above." in outcome.output
    await eventually(lambda: "build.failed" in world.event_types())
    event = world.events[-1].unwrap()
    assert isinstance(event, BuildFailed)
    assert (event.code, event.log, event.hint) == ("build-failed", ("ERROR: no",), "See above.")


async def test_a_broken_runner_is_an_internal_failure_without_details(world: World, ana: Path, source: Path) -> None:
    async def script(_tree: Tree, _spec: BuildSpec, _log: Log) -> None:
        raise RuntimeError("the password is hunter2")

    world.runner.script = script

    outcome = await world.push(ana, source, "shop")

    assert outcome.status == 1
    assert "Build failed (internal)" in outcome.output
    assert "hunter2" not in outcome.output


async def test_a_build_that_fails_for_a_name_that_is_no_text_ends(world: World, ana: Path, source: Path) -> None:
    (source / os.fsdecode(b"caf\xe9")).symlink_to("/etc/passwd")
    await commit(source, {"more": "x"})

    async def script(tree: Tree, _spec: BuildSpec, _log: Log) -> None:
        (world.path / "tree").mkdir()
        try:
            await tree.extract(world.path / "tree", max_bytes=MIB)
        except BuildFailedError as exc:
            raise BuildFailedError(exc.code, exc.message + "\0", log=(exc.message,), hint=exc.message) from exc

    world.runner.script = script

    outcome = await world.push(ana, source, "shop")

    assert outcome.status == 1
    assert "the repository holds caf?, which points outside of the source" in outcome.output
    await eventually(lambda: "build.failed" in world.event_types())
    (build,) = await world.context.records.page(app="shop", before=None, limit=1)
    assert (build.state, build.message) == ("failed", "the repository holds caf?, which points outside of the source")


async def test_output_cannot_forge_the_hooks_exit_status(world: World, ana: Path, source: Path) -> None:
    async def script(_tree: Tree, _spec: BuildSpec, log: Log) -> None:
        await log.write("first\n\0000\nsecond\n")
        raise BuildFailedError("build-failed", "after all")

    world.runner.script = script

    outcome = await world.push(ana, source, "shop")

    assert outcome.status == 1
    assert "second" in outcome.output


async def test_a_failed_release_tells_why_and_declines(world: World, ana: Path, source: Path) -> None:
    world.deploys = False
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: "build.succeeded" in world.event_types())
    build_id = world.events[-1].unwrap().build_id  # type: ignore[attr-defined]
    facts = {"app": "shop", "version": 2, "build_id": build_id}
    await world.publish(ReleaseCreated(**facts, sha="", actor="ana", summary=""))
    await world.publish(
        ReleaseFailed(
            **facts,
            code="process-crashed",
            ptype="web",
            message="web ended with status 3",
            log=("\x1b[31mTraceback\x1b[0m", "\x1b[1G10 %\rKeyError: 'X'"),
            hint="Set X.",
            rolled_back_to=1,
        )
    )

    outcome = await pushing

    assert outcome.status == 1
    for line in (
        "!     Release v2 failed, process type web (process-crashed): web ended with status 3",
        "      Traceback",
        "      KeyError: 'X'",
        "!     Set X.",
        "!     shop runs v1 again.",
    ):
        assert line in outcome.output
    stored = await anext(world.context.logs.read("shop", build_id, offset=0, follow=False))
    assert b"\x1b" not in stored  # builder.md 18.22, 21.12
    build = await world.context.records.get(build_id)
    assert (build.verdict, build.verdict_code, build.release_version) == ("failed", "process-crashed", 2)


async def test_a_release_that_is_not_deployed_by_itself_ends_well(world: World, ana: Path, source: Path) -> None:
    world.deploys = False
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: "build.succeeded" in world.event_types())
    build_id = world.events[-1].unwrap().build_id  # type: ignore[attr-defined]
    await world.publish(
        ReleaseCreated(app="shop", version=2, build_id=build_id, sha="", actor="ana", summary="", deploys=False)
    )

    outcome = await pushing

    assert outcome.status == 0
    assert "shop:v2 is made and waits: automatic deployment is off" in outcome.output
    assert "drycc releases deploy -a shop" in outcome.output


async def test_a_rejected_build_tells_why(world: World, ana: Path, source: Path) -> None:
    world.deploys = False
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: "build.succeeded" in world.event_types())
    build_id = world.events[-1].unwrap().build_id  # type: ignore[attr-defined]
    await world.publish(ReleaseRejected(app="shop", build_id=build_id, code="invalid-input", message="bad ptype"))

    outcome = await pushing

    assert outcome.status == 1
    assert "!     No release was made (invalid-input): bad ptype" in outcome.output


async def test_a_shallow_clone_can_be_pushed(world: World, ana: Path, source: Path) -> None:
    for number in range(3):
        await commit(source, {"n": str(number)})
    shallow = world.path / "shallow"
    environment = git_environment(world.path)
    await run("git", "clone", "-q", "--depth", "1", f"file://{source}", str(shallow), environment=environment)

    assert (await world.push(ana, shallow, "shop")).status == 0


async def test_trap_01_fifty_megabytes_arrive_whole(world: World, ana: Path, source: Path) -> None:
    content = os.urandom(50 * MIB)
    await commit(source, {"big.bin": content})
    target = world.path / "extracted"
    target.mkdir()

    async def script(tree: Tree, _spec: BuildSpec, _log: Log) -> None:
        await tree.extract(target, max_bytes=64 * MIB)

    world.runner.script = script

    assert (await world.push(ana, source, "shop")).status == 0
    assert (target / "big.bin").read_bytes() == content


async def test_a_source_beyond_the_limit_or_outside_is_not_extracted(world: World, ana: Path, source: Path) -> None:
    await commit(source, {"big.bin": bytes(2 * MIB)})
    target = world.path / "extracted"
    target.mkdir()

    async def script(tree: Tree, _spec: BuildSpec, _log: Log) -> None:
        await tree.extract(target, max_bytes=MIB)

    world.runner.script = script
    assert "(disk-limit)" in (await world.push(ana, source, "shop")).output

    (source / "big.bin").unlink()
    (source / "out").symlink_to("/etc/passwd")
    await commit(source, {"more": "x"})
    assert "out, which points outside" in (await world.push(ana, source, "shop")).output


async def test_a_name_that_fits_no_disk_is_told_as_it_is_in_the_repository(
    world: World, ana: Path, source: Path
) -> None:
    git, name = ("git", "-C", str(source)), f"docs/{'x' * 300}"
    oid = (await run(*git, "rev-parse", "main:Procfile")).output.strip()
    await run(*git, "update-index", "--add", "--cacheinfo", f"100644,{oid},{name}")
    await run(*git, "commit", "-q", "-m", "long", environment=git_environment(world.path))
    target = world.path / "extracted"
    target.mkdir()

    async def script(tree: Tree, _spec: BuildSpec, _log: Log) -> None:
        await tree.extract(target, max_bytes=MIB)

    world.runner.script = script

    assert f"the source cannot be written: {name}: File name too long" in (await world.push(ana, source, "shop")).output


async def test_the_local_runner_builds_what_was_pushed(short_path: Path, make_database: MakeDatabase) -> None:
    async with open_world(short_path, await make_database("builder"), is_scripted=False) as world:
        ana, source = world.add_user("ana", "shop"), world.path / "source"
        await commit(source, {"Procfile": "web: ./serve --port $PORT\n", "serve": "#!/bin/sh\n"})

        outcome = await world.push(ana, source, "shop")

        assert outcome.status == 0, outcome.output
        event = world.events[-1].unwrap()
        assert isinstance(event, BuildSucceeded)
        assert event.image == f"workspace/shop:{event.build_id}"
        assert event.procfile == {"web": "./serve --port $PORT"}
        workspace = world.settings.workspaces / "shop" / str(event.build_id)
        assert (workspace / "launch.json").exists()
        assert (workspace / "source" / "serve").exists()


@pytest.mark.parametrize("service", ["push", "clone"])
async def test_nothing_is_left_behind(world: World, ana: Path, source: Path, service: str) -> None:
    await world.push(ana, source, "shop")
    if service == "clone":
        await run("git", "ls-remote", world.remote("shop"), environment=world.git_environment(ana))

    assert world.context.ssh.sessions.turns.present("shop") is None
    assert not world.processes()
    assert not list((world.settings.repos / "shop.git" / "objects").glob("tmp_objdir*"))
