"""Which refs deploy, and what is said about the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from integration.builder_ssh.world import World, commit, git_environment, run


async def test_weakness_12_a_feature_branch_is_stored_and_not_deployed(world: World, ana: Path, source: Path) -> None:
    outcome = await world.push(ana, source, "shop", "main:feature")

    assert outcome.status == 0
    assert "branch feature stored, nothing is deployed: only main or master deploys." in outcome.output
    assert "git push <remote> feature:main" in outcome.output
    assert world.events == []


async def test_weakness_12_a_tag_is_stored_and_not_deployed(world: World, ana: Path, source: Path) -> None:
    environment = git_environment(world.path)
    await run("git", "-C", str(source), "tag", "-a", "v1", "-m", "one", environment=environment)

    outcome = await world.push(ana, source, "shop", "v1")

    assert outcome.status == 0
    assert "tag v1 stored, nothing is deployed" in outcome.output
    assert "v1^{}:main" in outcome.output
    assert world.events == []
    assert (await world.push(ana, source, "shop", "v1^{}:refs/heads/main")).status == 0
    assert "build.succeeded" in world.event_types()


async def test_weakness_12_of_several_refs_only_the_deploy_branch_is_built(
    world: World, ana: Path, source: Path
) -> None:
    outcome = await world.push(ana, source, "shop", "main", "main:feature", "main:master")

    assert outcome.status == 0
    assert "branch feature, branch master stored" in outcome.output
    assert [spec.branch for spec in world.runner.specs] == ["main"]


async def test_the_deploy_branch_cannot_be_deleted_but_others_can(world: World, ana: Path, source: Path) -> None:
    await world.push(ana, source, "shop", "main", "main:feature")

    refused = await world.push(ana, source, "shop", ":main")
    removed = await world.push(ana, source, "shop", ":feature")

    assert refused.status == 1
    assert "main is the deploy branch and cannot be deleted" in refused.output
    assert removed.status == 0, removed.output
    assert "branch feature removed" in removed.output


async def test_history_may_be_rewritten_with_force(world: World, ana: Path, source: Path) -> None:
    await world.push(ana, source, "shop")
    environment = git_environment(world.path)
    await run("git", "-C", str(source), "commit", "-q", "--amend", "-m", "other", environment=environment)
    await commit(source, {"more": "x"})

    assert (await world.push(ana, source, "shop")).status == 1
    assert (await world.push(ana, source, "shop", options=["--force"])).status == 0


async def test_branch_names_may_hold_any_bytes_that_git_allows(world: World, ana: Path, source: Path) -> None:
    # No-break space, line separator and Latin-1: to Python's str these are white space, a line end and an error.
    sha = (await run("git", "-C", str(source), "rev-parse", "HEAD")).output.strip()
    forged = f"refs/heads/x\u2028{'0' * 40}\u00a0{sha}\u00a0refs/heads/main"
    for ref in (b"refs/heads/caf\xe9", "refs/heads/two\u00a0words".encode(), forged.encode()):
        outcome = await world.push(ana, source, "shop", "main:" + os.fsdecode(ref))

        assert outcome.status == 0, outcome.output
        assert "stored, nothing is deployed" in outcome.output
    assert world.events == []


async def test_weakness_12_the_branch_that_the_app_names_deploys(world: World, ana: Path, source: Path) -> None:
    world.far_side.values = [{"name": "DRYCC_DEPLOY_BRANCH", "value": "live", "group": "global"}]
    stored = await world.push(ana, source, "shop")
    assert stored.status == 0
    assert "branch main stored, nothing is deployed: only live deploys" in stored.output
    deployed = await world.push(ana, source, "shop", "main:live")
    assert deployed.status == 0
    assert "shop:v2 deployed" in deployed.output
    assert (world.settings.repos / "shop.git" / "HEAD").read_text() == "ref: refs/heads/live\n"


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize(("there", "wanted"), [("main/x", "main"), ("release", "release/prod")])
async def test_a_branch_that_git_cannot_make_is_refused_before_it_is_built(
    world: World, ana: Path, source: Path, there: str, wanted: str, *, is_packed: bool
) -> None:
    world.far_side.values = [{"name": "DRYCC_DEPLOY_BRANCH", "value": wanted, "group": "global"}]
    assert (await world.push(ana, source, "shop", f"main:{there}")).status == 0
    if is_packed:
        await run("git", "-C", str(world.settings.repos / "shop.git"), "pack-refs", "--all")

    refused = await world.push(ana, source, "shop", f"main:{wanted}")

    assert refused.status == 1
    assert f"git cannot keep {wanted} beside {there}, which is there already; nothing was changed" in refused.output
    assert world.events == []
    assert (await world.push(ana, source, "shop", f":{there}")).status == 0
    assert (await world.push(ana, source, "shop", f"main:{wanted}")).status == 0


async def test_packed_names_that_are_no_text_keep_nobody_from_pushing(world: World, ana: Path, source: Path) -> None:
    await world.push(ana, source, "shop", "main:" + os.fsdecode(b"refs/heads/caf\xe9"))
    for change in ("1", "2"):
        await run("git", "-C", str(world.settings.repos / "shop.git"), "pack-refs", "--all")
        await commit(source, {"change": change})

        outcome = await world.push(ana, source, "shop")

        assert outcome.status == 0, outcome.output
        assert "Build " + change in outcome.output
