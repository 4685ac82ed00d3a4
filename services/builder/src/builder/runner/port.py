"""The port between the push pipeline and whatever really builds: values, failures and the runner itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable
from uuid import UUID

BuildFailureCode = Literal[
    "no-procfile",
    "bad-procfile",
    "bad-dryccfile",
    "bad-builder",
    "nothing-recognised",
    "build-failed",
    "build-timeout",
    "disk-limit",
    "disk-full",
    "container-tool-missing",
    "not-started",
    "storage-unavailable",
    "cancelled",
    "interrupted",
    "internal",
]


@dataclass(frozen=True)
class ConfigValue:
    """One config variable as the controller stores it: bound to a group or to a process type, never to both."""

    name: str
    value: str = field(repr=False)
    group: str | None = None
    ptype: str | None = None


@dataclass(frozen=True)
class AppConfig:
    """The app's configuration at the time of the push. Values are secrets: never print them."""

    values: tuple[ConfigValue, ...] = ()

    def group(self, name: str) -> dict[str, str]:
        """Variables of one group; `global` is what builds see."""
        return {value.name: value.value for value in self.values if value.group == name}

    @property
    def deploy_branch(self) -> str | None:
        """The branch whose pushes deploy, where the variable DRYCC_DEPLOY_BRANCH names one."""
        return self.group("global").get("DRYCC_DEPLOY_BRANCH")


@dataclass(frozen=True)
class BuildLimits:
    """How long a build may take and how many bytes its workspace and new caches may hold."""

    timeout: timedelta
    disk_bytes: int


@dataclass(frozen=True)
class BuildSpec:
    """What to build, for whom and within which limits. `options` are git push options (`-o name=value`)."""

    build_id: UUID
    app: str
    number: int
    sha: str
    branch: str
    actor: str
    config: AppConfig
    options: Mapping[str, str]
    limits: BuildLimits

    @property
    def stack(self) -> str | None:
        """The stack asked for with `git push -o stack=...`, else with the config variable DRYCC_STACK."""
        return self.options.get("stack") or self.config.group("global").get("DRYCC_STACK") or None


@dataclass(frozen=True)
class BuildResult:
    """What the controller makes a release of. `image` is a reference that the engine understands; `images` are all that
    were made, where there may be others."""

    image: str
    stack: str
    procfile: dict[str, str]
    dryccfile: dict[str, object]
    dockerfile: str
    images: tuple[str, ...] = ()

    @property
    def references(self) -> list[str]:
        """All that were made, each once."""
        return list(dict.fromkeys((self.image, *self.images)))


@dataclass(frozen=True)
class ChosenBuilder:
    """A builder image that the app asks for, in the place of the platform's own.

    `name` is as the app wrote it, completed; `image` and `run_image` are pinned to digests. The build runs as `user`
    and `group`, which the image wants.
    """

    name: str
    image: str
    run_image: str
    user: int
    group: int


@dataclass(frozen=True)
class Plan:
    """Outcome of the early checks: all that is known of the result before anything was built.

    `kind` names what the runner recognised (`python`, `node`, ...), `stack` what the controller is told
    (`buildpack` or `container`). `builder` is None for the platform's own. `arguments` are those of `.build-arg`;
    `is_fresh` asks for a build without what earlier ones left (`.clear-cache`). `notes` are told at its start.
    """

    stack: str
    kind: str
    procfile: dict[str, str]
    dryccfile: dict[str, object]
    dockerfile: str
    builder: ChosenBuilder | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    is_fresh: bool = False
    notes: Sequence[str] = ()

    @classmethod
    def restored(cls, stored: Mapping[str, Any]) -> Plan:
        """The plan that `dataclasses.asdict` made `stored` of, perhaps by way of JSON."""
        chosen, notes = stored.get("builder"), tuple(stored.get("notes", ()))
        return cls(**{**stored, "builder": ChosenBuilder(**chosen) if chosen else None, "notes": notes})


class BuildFailedError(Exception):
    """A build that did not come about, explained for the person who pushed.

    `log` holds the last lines of output (none for early checks), `hint` says what to do next.
    """

    def __init__(self, code: BuildFailureCode, message: str, *, log: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message)
        self.code: BuildFailureCode = code
        self.message = message
        self.log = log
        self.hint = hint


class Log(Protocol):
    """Where build output goes: to the stored log and to the pusher."""

    @property
    def position(self) -> str:
        """What the last writer noted, perhaps in an earlier process; empty when nobody has."""

    async def write(self, text: str, *, position: str | None = None) -> None:
        """Append text (whole lines or parts of lines). Never raises for a pusher who has gone away.

        `position` is noted with it: how far a runner has come that can go on after a crash.
        """


class Tree(Protocol):
    """The pushed commit, read out of the repository that received it."""

    async def read(self, path: str) -> bytes | None:
        """Content of a regular file; None when there is none at that path or it is larger than 1 MiB."""

    async def list(self, directory: str = "") -> list[str]:
        """Names of the direct entries, sorted; directories end in `/`. Empty when there is no such directory."""

    async def extract(self, destination: Path, *, max_bytes: int) -> int:
        """Write all files below the existing, empty directory; returns the bytes written.

        Raises:
            BuildFailedError: disk-limit, disk-full, or build-failed for a tree that would reach outside.
        """

    def archive(self) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """All files as a tar.gz, as it is made; it is complete when the iterator has come to its end.

        Raises:
            BuildFailedError: internal, at any time.
        """


class Runner(Protocol):
    """Builds apps; one instance serves all builds at the same time."""

    async def check(self, tree: Tree, spec: BuildSpec) -> Plan:
        """Early checks, before anything is stored: Procfile, .drycc, stack, something recognisable.

        Raises:
            BuildFailedError: with everything that the pusher needs to put it right.
        """

    async def build(self, source: Path | Tree, spec: BuildSpec, plan: Plan, log: Log) -> BuildResult:
        """Build completely; nothing is left behind after a failure or a cancellation.

        Raises:
            BuildFailedError: the build ended without a result.
        """

    async def discard(self, app: str, keep: set[UUID] | None) -> None:
        """Remove what is not needed any more: all of a deleted app (None), or all but `keep` and the newest builds."""


@runtime_checkable
class LastingRunner(Runner, Protocol):
    """A runner whose builds go on when this process ends. Cancelling `build` or `resume` stops neither: `end` does."""

    async def resume(self, spec: BuildSpec, plan: Plan, log: Log) -> BuildResult:
        """Bring a build to its end that an earlier process has begun.

        Raises:
            BuildFailedError: the build ended without a result.
        """

    async def end(self, spec: BuildSpec) -> None:
        """The build's end is recorded: stop what still runs, and remove all but the result. Again is no error."""
