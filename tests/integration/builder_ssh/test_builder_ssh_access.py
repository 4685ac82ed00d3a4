"""Who gets in, what they may run, and what the others are told."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from builder.services import pushes
from builder.ssh.hostkeys import load_host_keys
from integration.builder_ssh.world import World, open_world, run
from shared.settings import SettingsError
from support import eventually
from support.fixtures import MakeDatabase


async def test_ping(world: World, ana: Path) -> None:
    outcome = await world.ssh(ana, "ping")

    assert outcome.status == 0
    assert "pong" in outcome.output


async def test_an_unknown_key_is_denied(world: World, ana: Path) -> None:
    world.far_side.keys.clear()

    outcome = await world.ssh(ana, "ping")

    assert outcome.status == 255
    assert "Permission denied (publickey)" in outcome.output


async def test_trap_07_each_key_is_looked_up_once(world: World, ana: Path) -> None:
    await asyncio.gather(*(world.ssh(ana, "ping") for _ in range(4)))

    assert len(world.far_side.questions) == 1
    assert world.far_side.questions[0].startswith("SHA256:")


async def test_weakness_02_a_foreign_app_looks_like_a_missing_one(world: World, ana: Path, source: Path) -> None:
    world.add_user("bo", "bos-app")

    foreign = await world.push(ana, source, "bos-app")
    missing = await world.push(ana, source, "no-such-app")
    part_of_a_name = await world.push(ana, source, "sho")
    reading = await run("git", "ls-remote", world.remote("bos-app"), environment=world.git_environment(ana))

    for outcome, app in ((foreign, "bos-app"), (missing, "no-such-app"), (part_of_a_name, "sho"), (reading, "bos-app")):
        assert outcome.status == 128
        assert f"remote error: {app} does not exist, or ana may not push to it" in outcome.output
    assert not (world.settings.repos / "bos-app.git").exists()


@pytest.mark.parametrize(
    "command",
    [
        "ls",
        "git-receive-pack",
        "git-receive-pack '/../etc.git'",
        "git-upload-archive '/shop.git'",
        "git-shell -c x",
        "'",
    ],
)
async def test_other_commands_are_refused_with_a_sentence(world: World, ana: Path, command: str) -> None:
    outcome = await world.ssh(ana, command)

    assert outcome.status == 1
    assert "!     " in outcome.output


async def test_trap_09_a_shell_is_refused_with_a_greeting(world: World, ana: Path) -> None:
    plain = await world.ssh(ana)
    terminal = await world.ssh(ana, options=["RequestTTY=force"])

    assert plain.status == 1
    assert "Hello ana: only git push and git fetch work here" in plain.output
    assert "PTY allocation request failed" in terminal.output


async def test_without_the_controller_nobody_is_sent_looking_at_their_keys(
    world: World, ana: Path, source: Path
) -> None:
    world.far_side.is_away = True

    outcome = await world.push(ana, source, "shop")

    assert outcome.status == 128
    assert "its controller does not answer" in outcome.output
    assert "Permission denied" not in outcome.output


async def test_the_controller_may_go_away_after_the_login(world: World, ana: Path, source: Path) -> None:
    await world.ssh(ana, "ping")
    world.far_side.is_away = True

    outcome = await world.push(ana, source, "shop")

    assert outcome.status == 128
    assert "remote error: Workflow cannot check your access right now" in outcome.output


async def test_trap_07_too_many_keys_are_cut_off(short_path: Path, make_database: MakeDatabase) -> None:
    async with open_world(short_path, await make_database("builder"), ssh_max_keys=3) as world:
        keys = [asyncssh.generate_private_key("ssh-ed25519") for _ in range(4)]
        with pytest.raises(asyncssh.DisconnectError, match="More than 3 keys"):
            await asyncssh.connect(
                "127.0.0.1", world.context.ssh.port, client_keys=keys, known_hosts=None, username="git", agent_path=None
            )
        assert len([asked for asked in world.far_side.questions if asked.startswith("SHA256:")]) == 3


async def test_weakness_04_connections_without_a_login_are_limited(
    short_path: Path, make_database: MakeDatabase
) -> None:
    limits: dict[str, Any] = {"ssh_max_unauthenticated_per_address": 2, "ssh_login_timeout": timedelta(seconds=30)}
    async with open_world(short_path, await make_database("builder"), **limits) as world:
        ana = world.add_user("ana", "shop")
        port = world.context.ssh.port
        strangers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        for reader, _ in strangers:
            assert (await reader.readline()).startswith(b"SSH-2.0")
        assert (await world.ssh(ana, "ping")).status == 255
        for _, writer in strangers:
            writer.close()

        async def gets_in() -> bool:
            return (await world.ssh(ana, "ping")).status == 0

        await eventually(gets_in)


async def test_weakness_04_a_silent_connection_is_closed(short_path: Path, make_database: MakeDatabase) -> None:
    quick: dict[str, Any] = {"ssh_login_timeout": timedelta(milliseconds=200)}
    async with open_world(short_path, await make_database("builder"), **quick) as world:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.context.ssh.port)
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
        with socket.create_connection(("127.0.0.1", world.context.ssh.port)):
            pass


async def test_weakness_03_host_keys_outlive_the_server(short_path: Path, make_database: MakeDatabase) -> None:
    url = await make_database("builder")
    seen = []
    for _ in range(2):
        async with open_world(short_path, url, host_key_dir=short_path / "fresh") as world:
            key = await asyncssh.get_server_host_key("127.0.0.1", world.context.ssh.port)
            assert key is not None
            seen.append(key.get_fingerprint())

    assert seen[0] == seen[1]
    for name in ("ed25519", "ecdsa", "rsa"):
        path = short_path / "fresh" / f"ssh_host_{name}_key"
        assert path.stat().st_mode & 0o777 == 0o600


def test_weakness_03_host_keys_of_before_are_taken_over(tmp_path: Path) -> None:
    """As Helm made them (builder.md 2.1), in the forms of OpenSSL."""
    secret = ec.generate_private_key(ec.SECP256R1())
    text = secret.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (tmp_path / "ssh_host_ecdsa_key").write_bytes(text)

    keys = load_host_keys(tmp_path)

    assert [key.get_algorithm() for key in keys] == ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"]
    public = secret.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    assert keys[1].export_public_key().split()[:2] == public.split()[:2]


async def test_what_keeps_ssh_from_starting_is_one_sentence(short_path: Path, make_database: MakeDatabase) -> None:
    url = await make_database("builder")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"BUILDER_SSH_PORT: cannot listen on 127.0.0.1:{port}: Address"):
            async with open_world(short_path, url, ssh_port=port):
                pass
    (short_path / "ssh" / "ssh_host_rsa_key").write_text("no key")
    with pytest.raises(SettingsError, match=r"BUILDER_HOST_KEY_DIR: .*ssh_host_rsa_key is no private key"):
        async with open_world(short_path, url):
            pass
    with pytest.raises(SettingsError, match=r"BUILDER_HOST_KEY_DIR: cannot be used: .*Not a directory"):
        async with open_world(short_path, url, host_key_dir=short_path / "ssh" / "ssh_host_rsa_key" / "x"):
            pass


@pytest.mark.parametrize(
    ("prefers", "options", "cipher"),
    [
        (True, (), "aes128-gcm@openssh.com"),
        (True, ("Ciphers=aes256-ctr,aes256-gcm@openssh.com",), "aes256-gcm@openssh.com"),
        (False, (), "chacha20-poly1305@openssh.com"),
        (False, ("Ciphers=aes256-ctr",), "aes256-ctr"),
    ],
)
async def test_the_cipher_of_a_connection(
    short_path: Path, make_database: MakeDatabase, prefers: bool, options: tuple[str, ...], cipher: str
) -> None:
    async with open_world(short_path, await make_database("builder"), ssh_prefer_aes=prefers) as world:
        told = await world.ssh(world.add_user("ana", "shop"), "ping", options=("LogLevel=DEBUG1", *options))
        assert f"kex: server->client cipher: {cipher} " in told.output
        assert told.status == 0


async def test_a_client_that_is_not_openssh_may_use_what_it_has(world: World, ana: Path) -> None:
    connecting = asyncssh.connect(
        *("127.0.0.1", world.context.ssh.port),
        client_keys=[str(ana)],
        known_hosts=None,
        username="git",
        config=None,
        encryption_algs=["aes192-ctr"],
    )
    async with connecting as client:
        assert (await client.run("ping")).stdout == "pong\n"


@pytest.mark.parametrize("ref", ["main", "main:try-it"])
async def test_a_right_that_was_lost_before_the_upload_pushes_nothing(
    world: World, ana: Path, source: Path, monkeypatch: pytest.MonkeyPatch, ref: str
) -> None:
    """A client may wait as long as it likes between the two: git's own hook does it here."""
    monkeypatch.setattr(pushes, "RIGHT_SECONDS", 0.0)
    hook = source / ".git" / "hooks" / "pre-push"
    hook.write_text("#!/bin/sh\ntouch waits; while [ ! -e goes ]; do sleep 0.05; done\n")
    hook.chmod(0o755)
    pushing = asyncio.create_task(world.push(ana, source, "shop", ref))
    await eventually((source / "waits").exists)
    world.far_side.grants.clear()
    (source / "goes").touch()

    outcome = await pushing

    assert outcome.status == 1
    assert "ana may not push to it" in outcome.output
    assert world.events == []
