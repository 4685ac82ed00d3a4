"""Controllers of the system before this one: MD5 fingerprints, a shared key instead of tokens, other versions."""

from __future__ import annotations

from pathlib import Path

import asyncssh
import pytest
from pydantic import SecretStr

from builder.settings import Settings
from integration.builder_ssh.world import World, commit, open_world
from support.fixtures import MakeDatabase
from support.logs import captured_log


def only_md5(world: World, path: Path, name: str) -> str:
    """Let the controller know this key by its MD5 fingerprint only; returns that."""
    key = asyncssh.read_private_key(path)
    world.far_side.keys = {known: who for known, who in world.far_side.keys.items() if who != name}
    md5 = key.get_fingerprint("md5").removeprefix("MD5:")
    world.far_side.keys[md5] = name
    return md5


async def test_weakness_03_a_controller_that_knows_only_md5_is_asked_for_that(world: World, ana: Path) -> None:
    md5 = only_md5(world, ana, "ana")
    bo = world.add_user("bo", "shop")
    bos_md5 = only_md5(world, bo, "bo")

    assert (await world.ssh(ana, "ping")).status == 0
    assert [question[:7] for question in world.far_side.questions] == ["SHA256:", md5[:7]]
    assert (await world.ssh(bo, "ping")).status == 0
    assert world.far_side.questions[2:] == [bos_md5]  # remembered


async def test_weakness_03_where_sha256_is_known_md5_is_never_asked_for(world: World, ana: Path) -> None:
    eve = world.add_user("eve")
    only_md5(world, eve, "eve")

    assert (await world.ssh(ana, "ping")).status == 0
    assert (await world.ssh(eve, "ping")).status == 255
    assert all(question.startswith("SHA256:") for question in world.far_side.questions)


async def test_the_builders_key_is_sent_instead_of_a_token(short_path: Path, make_database: MakeDatabase) -> None:
    key = SecretStr("64-random-characters")
    async with open_world(short_path, await make_database("builder"), controller_key=key) as world:
        ana, source = world.add_user("ana", "shop"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n"})
        world.far_side.builder_key = key.get_secret_value()

        assert (await world.push(ana, source, "shop")).status == 0
        assert world.far_side.agents == {"drycc-builder"}
        world.far_side.builder_key = "another"
        assert "its controller does not answer" in (await world.push(ana, source, "shop")).output


def test_the_key_comes_from_a_file(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = short_path / "builder-key"
    path.write_text("64-random-characters\n")
    monkeypatch.setenv("BUILDER_CONTROLLER_KEY_FILE", str(path))
    required = dict.fromkeys(("host_key_dir", "repos", "build_logs", "workspaces", "caches", "run_dir"), short_path)
    settings = Settings(issuer="x", client_secret=SecretStr("x"), **required)  # type: ignore[arg-type]

    assert settings.controller_key == SecretStr("64-random-characters")
    assert "64-random-characters" not in repr(settings)


@pytest.mark.parametrize(("version", "is_told"), [("2.3", 0), ("2.10", 0), ("2.2", 1), ("3.0", 1)])
async def test_weakness_23_a_version_that_may_not_fit_is_logged_once(
    world: World, ana: Path, version: str, is_told: int
) -> None:
    world.far_side.api_version = version
    with captured_log("builder") as log:
        for app in ("one", "two"):  # which ask the controller
            assert (await world.ssh(ana, f"git-upload-pack '/{app}.git'")).status == 1

    assert log.getvalue().count("controller_api_differs") == is_told
