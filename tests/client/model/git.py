"""The app and the git remotes of the directory that the user is in, with the real git (cli.md 3)."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from client.model.failures import ClientError, ClientPanic

PORT: Final = 2222
USER: Final = "git"


@dataclass(frozen=True)
class Git:
    """Git in one directory."""

    directory: Path
    environment: Mapping[str, str]

    async def run(self, *words: str) -> str:
        """What `git <words>` prints.

        Raises:
            ClientError: git failed.
            ClientPanic: there is no git.
        """
        try:
            done = await asyncio.to_thread(
                subprocess.run,
                ["git", *words],
                cwd=self.directory,
                env=dict(self.environment),
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise ClientPanic('exec: "git": executable file not found in $PATH') from None
        if done.returncode != 0:
            raise ClientError(f"Error when running 'git {' '.join(words)}'\n{done.stderr}")
        return done.stdout

    async def push_urls(self) -> list[tuple[str, str]]:
        """Name and push URL of each remote, in git's order."""
        lines = (line.split() for line in (await self.run("remote", "-v")).splitlines())
        return [(words[0], words[1]) for words in lines if words[2] == "(push)"]

    async def app(self, controller: str) -> str | None:
        """The app that a remote of this directory belongs to."""
        try:
            remotes = await self.push_urls()
        except ClientError:
            return None
        host = builder_host(controller)
        for _, url in remotes:
            if host in url:
                return url.rsplit("/", 1)[-1].split(".")[0]
        return None


def builder_host(controller: str) -> str:
    """Where pushes go: `-builder` at the first label of the controller's host."""
    first, dot, rest = (urlsplit(controller).hostname or "").partition(".")
    return f"{first}-builder{dot}{rest}"


def remote_url(controller: str, app: str) -> str:
    """The URL that an app is pushed to."""
    return f"ssh://{USER}@{builder_host(controller)}:{PORT}/{app}.git"
