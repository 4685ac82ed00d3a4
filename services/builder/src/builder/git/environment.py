"""The environment of git processes: what they see is listed here and nothing else is inherited."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# The values that git's clients send: `version=2`, later perhaps with more `key=value` parts (gitprotocol-v2).
_PROTOCOL = re.compile(r"[a-z]+=[A-Za-z0-9.-]+(:[a-z]+=[A-Za-z0-9.-]+){0,7}")
# What old versions of git and of importers wrote into histories that nobody can change any more (git-fsck(1)).
_OLD_FAULTS = ("badTimezone", "missingSpaceBeforeDate", "zeroPaddedFilemode")


@dataclass(frozen=True)
class GitEnvironment:
    """Makes environments for git: no user or system configuration, our hook, our limits.

    `mark` is the value of WORKFLOW_HOME_ID, by which a keeper finds processes that outlived their platform.
    """

    hooks_dir: Path
    hook_socket: Path
    max_push_bytes: int
    mark: str | None = None

    def plain(self) -> dict[str, str]:
        """For commands that only read."""
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
        }
        if self.mark:
            environment["WORKFLOW_HOME_ID"] = self.mark
        return environment | _configuration({"safe.directory": "*"})

    def serving(self, *, token: str | None, protocol: str | None) -> dict[str, str]:
        """For receive-pack (with the token that its hook identifies itself by) and upload-pack (without one)."""
        settings = {
            "safe.directory": "*",
            "core.hooksPath": str(self.hooks_dir),
            # Without it git runs the hook, builds and then refuses the push of a shallow clone.
            "receive.shallowUpdate": "true",
            "receive.advertisePushOptions": "true",
            "receive.fsckObjects": "true",
            **{f"receive.fsck.{fault}": "ignore" for fault in _OLD_FAULTS},
            "receive.maxInputSize": str(self.max_push_bytes),
            "receive.autogc": "false",
            # The quarantine borrows from the repository itself: git need not list its refs once more in a process.
            "core.alternateRefsCommand": "true",
            "gc.auto": "0",
        }
        environment = self.plain() | _configuration(settings)
        if protocol and _PROTOCOL.fullmatch(protocol):
            environment["GIT_PROTOCOL"] = protocol
        if token:
            environment |= {"BUILDER_SOCKET": str(self.hook_socket), "BUILDER_TOKEN": token}
        return environment

    def quarantined(self, repository: Path, quarantine: Path | None) -> dict[str, str]:
        """For reading objects that a running push has sent but git has not accepted yet."""
        environment = self.plain() | {"GIT_DIR": str(repository)}
        if quarantine is not None:
            environment["GIT_OBJECT_DIRECTORY"] = str(quarantine)
            environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(repository / "objects")
        return environment


def _configuration(settings: Mapping[str, str]) -> dict[str, str]:
    """git-config(1), GIT_CONFIG_COUNT: configuration that no file needs to hold."""
    environment = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment
