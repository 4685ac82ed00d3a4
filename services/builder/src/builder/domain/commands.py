"""Reads the one line that an SSH client asks to be run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Literal

from builder.domain.errors import RepositoryNameError, UnknownCommandError

# The controller's rule for app ids; whatever else stands in a path is never looked at.
APP_ID = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")
USAGE = "only git push and git fetch work here (and `ping`); nothing else can be run"

GitService = Literal["git-receive-pack", "git-upload-pack"]


@dataclass(frozen=True)
class Ping:
    """Asks whether key and server work."""


@dataclass(frozen=True)
class GitCommand:
    """One of the two git services for one app."""

    service: GitService
    app: str

    @property
    def is_push(self) -> bool:
        return self.service == "git-receive-pack"


def parse_command(line: str) -> Ping | GitCommand:
    """Read an SSH command line.

    Raises:
        UnknownCommandError: it is not one of ours.
        RepositoryNameError: the repository path does not name an app.
    """
    try:
        words = shlex.split(line)
    except ValueError:
        raise UnknownCommandError(USAGE) from None
    if words == ["ping"]:
        return Ping()
    match words:
        case [("git-receive-pack" | "git-upload-pack") as service, path]:
            return GitCommand(service, _app_of(path))
        case ["git", ("receive-pack" | "upload-pack") as verb, path]:
            return GitCommand("git-receive-pack" if verb == "receive-pack" else "git-upload-pack", _app_of(path))
        case ["git-receive-pack" | "git-upload-pack", *_]:
            raise RepositoryNameError("No repo given: the remote should end in /<app>.git")
    raise UnknownCommandError(USAGE)


def _app_of(path: str) -> str:
    name = path.removeprefix("/").removesuffix("/").removesuffix(".git")
    if not APP_ID.fullmatch(name):
        raise RepositoryNameError("the remote's path does not name an app; it should end in /<app>.git")
    return name
