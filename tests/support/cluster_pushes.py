"""The whole platform as a pusher meets it: passport, controller and builder at work, a cluster behind them, git before.

All three are real and speak as they do elsewhere: events on one bus, hooks over HTTP with tokens that passport has
signed, builds as Jobs, releases as pods.
"""

from __future__ import annotations

import gzip
import json
import re
import shlex
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncssh
import httpx
from cryptography.fernet import Fernet
from pydantic import SecretStr

from builder.context import Context
from builder.main import create_app as create_builder
from builder.settings import Settings as BuilderSettings
from builder.ssh.hostkeys import load_host_keys
from integration.builder_ssh.world import Outcome, commit, git_environment, run
from passport.main import create_app as create_passport
from passport.settings import Settings as PassportSettings
from shared.bus import Bus
from shared.settings import load_settings
from shared.web import serving
from support.builder_cluster import BuildPlace, build_settings
from support.cluster_image import REGISTRY, REGISTRY_OF_PODS
from support.cluster_platform import Platform, PlatformApp
from support.controller_api import ISSUER
from support.tools import free_port

SECONDS: Final = 300.0
"""The longest that a push may take."""
_SECRET: Final = "secret-of-the-builder-of-these-tests"
_CLIENT: Final = {
    "client_id": "builder",
    "client_secret": _SECRET,
    "name": "Workflow builder",
    "grants": ["client_credentials"],
    "scopes": ["controller:hook"],
    "audiences": ["controller"],
}
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_REFERENCE: Final = re.compile(rf"{re.escape(REGISTRY_OF_PODS)}/(?P<name>[^:@]+)[:@](?P<version>.+)")
_GZIP: Final = b"\x1f\x8b"


@dataclass
class Pusher:
    """Somebody with apps, a key and git."""

    platform: Platform
    builder: Context
    path: Path
    key: Path

    async def commit(self, app: PlatformApp, files: Mapping[str, str | bytes]) -> str:
        """Commit these files to the app's repository; the id of the commit."""
        return await commit(self.path / app.name, dict(files))

    async def push(self, app: PlatformApp, files: Mapping[str, str | bytes], *options: str) -> Outcome:
        """Commit these files and push; exit status and output of `git push`."""
        await self.commit(app, files)
        remote = f"ssh://git@127.0.0.1:{self.builder.ssh.port}/{app.name}.git"
        command = ("git", "-C", str(self.path / app.name), "push", *options, remote, "main")
        return await run(*command, environment=self._environment(), seconds=SECONDS)

    def _environment(self) -> dict[str, str]:
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "BatchMode=yes")
        ssh = ["ssh", "-F", "/dev/null", "-i", str(self.key), *(word for one in options for word in ("-o", one))]
        return git_environment(self.path) | {"GIT_SSH_COMMAND": shlex.join(ssh)}


@asynccontextmanager
async def running_passport(database_url: str, bus: Bus) -> AsyncIterator[str]:
    """A passport that knows the builder; its URL."""
    settings = load_settings(
        PassportSettings,
        database_url=database_url,
        issuer=ISSUER,
        allow_http=True,
        encryption_keys=[Fernet.generate_key().decode()],
        clients=[_CLIENT],
        bind_port=0,
    )
    async with serving(create_passport(settings, bus=bus), settings) as address:
        yield address.base_url


@asynccontextmanager
async def running_builder(
    path: Path, database_url: str, *, place: BuildPlace, images: Mapping[str, str], platform: Platform, passport: str
) -> AsyncIterator[Context]:
    """A builder of that platform, everything that it keeps below `path`."""
    assert platform.api.address is not None
    load_host_keys(path / "ssh")
    port = free_port()
    settings = load_settings(
        BuilderSettings,
        **build_settings(place, images, storage=path / "storage", port=port),
        database_url=database_url,
        bind_host="0.0.0.0",
        bind_port=port,
        controller_url=platform.api.address.base_url,
        passport_url=passport,
        issuer=ISSUER,
        client_id="builder",
        client_secret=SecretStr(_SECRET),
        ssh_host="127.0.0.1",
        ssh_port=0,
        host_key_dir=path / "ssh",
        repos=path / "repos",
        build_logs=path / "build-logs",
        workspaces=path / "workspaces",
        caches=path / "caches",
        run_dir=path / "run",
        process_mark=str(path),
        drain_seconds=0.0,
    )
    app = create_builder(settings, bus=platform.api.bus)
    async with serving(app, settings):
        yield app.state.context


async def make_pusher(platform: Platform, builder: Context, path: Path, owner: str = "ana") -> Pusher:
    """The owner of the platform's apps, with a new key that the controller is told of."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    private = path / f"key-{owner}"
    key.write_private_key(private)
    private.chmod(0o600)
    person = await platform.api.person(owner)
    body = {"id": "laptop", "public": key.export_public_key().decode().strip()}
    response = await person.client.post("/v2/keys/", json=body)
    assert response.status_code == 201, response.text
    return Pusher(platform, builder, path, private)


class Image:
    """An image in the cluster's registry, by the name with tag or digest that pods pull."""

    def __init__(self, reference: str) -> None:
        match = _REFERENCE.fullmatch(reference)
        assert match, reference
        self._registry, self._version = f"http://{REGISTRY}/v2/{match['name']}", match["version"]

    async def everything(self) -> bytes:
        """Manifest, config (which has the history) and the unpacked layers, one after another.

        Raises:
            AssertionError: the registry does not have all of it.
        """
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            manifest = await self._read(client, f"manifests/{self._version}")
            told: dict[str, Any] = json.loads(manifest)
            parts = [manifest, await self._read(client, f"blobs/{told['config']['digest']}")]
            for layer in told["layers"]:
                content = await self._read(client, f"blobs/{layer['digest']}")
                parts.append(gzip.decompress(content) if content[:2] == _GZIP else content)
        return b"\n".join(parts)

    async def _read(self, client: httpx.AsyncClient, path: str) -> bytes:
        answer = await client.get(f"{self._registry}/{path}", headers={"Accept": ", ".join(_MANIFESTS)})
        assert answer.status_code == httpx.codes.OK, f"{path}: {answer.status_code}"
        return answer.content


async def images_in(repository: str) -> list[Image]:
    """All images of a repository of the cluster's registry."""
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        answer = await client.get(f"http://{REGISTRY}/v2/{repository}/tags/list")
    assert answer.status_code == httpx.codes.OK, answer.text
    return [Image(f"{REGISTRY_OF_PODS}/{repository}:{tag}") for tag in answer.json()["tags"]]
