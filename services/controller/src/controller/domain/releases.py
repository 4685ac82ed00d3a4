"""Builds, configs, releases and rollouts as values, and how a release describes itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from controller.domain.spec import Failure

ReleaseState = Literal["created", "crashed", "succeed"]
JsonObject = Mapping[str, object]


@dataclass(frozen=True)
class ConfigValue:
    """One variable. It belongs to a group or to a process type, never to both."""

    name: str
    value: str = field(repr=False)
    group: str | None = None
    ptype: str | None = None

    @property
    def key(self) -> tuple[str, str | None, str | None]:
        """What makes it the same variable."""
        return (self.name, self.ptype, self.group)

    def as_json(self) -> dict[str, str]:
        """The form of the API."""
        scope = {"group": self.group} if self.group is not None else {"ptype": self.ptype or ""}
        return {"name": self.name, **scope, "value": self.value}


@dataclass(frozen=True)
class ConfigData:
    """What is configured, without who and when. All but `values` are keyed by process type."""

    values: tuple[ConfigValue, ...] = ()
    values_refs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lifecycle_post_start: JsonObject = field(default_factory=dict)
    lifecycle_pre_stop: JsonObject = field(default_factory=dict)
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    registry: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    healthcheck: Mapping[str, Mapping[str, JsonObject]] = field(default_factory=dict)
    termination_grace_period: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    """One immutable version of an app's configuration."""

    uuid: UUID
    app: str
    owner: str
    created: datetime
    updated: datetime
    data: ConfigData


@dataclass(frozen=True)
class BuildRequest:
    """What a build is made of, checked by `domain.builds.check_build`."""

    image: str
    stack: str
    sha: str = ""
    procfile: Mapping[str, str] = field(default_factory=dict)
    dryccfile: JsonObject = field(default_factory=dict)
    dockerfile: str = ""


@dataclass(frozen=True)
class Build:
    """Something that can run."""

    uuid: UUID
    app: str
    owner: str
    created: datetime
    updated: datetime
    image: str
    stack: str
    sha: str = ""
    procfile: Mapping[str, str] = field(default_factory=dict)
    dryccfile: JsonObject = field(default_factory=dict)
    dockerfile: str = ""


@dataclass(frozen=True)
class Release:
    """A build and a config under a number. `conditions` are the ends of its rollouts, newest first."""

    uuid: UUID
    app: str
    owner: str
    created: datetime
    updated: datetime
    version: int
    config: UUID
    build: UUID | None = None
    state: ReleaseState = "created"
    failed: bool = False
    summary: str | None = None
    exception: str | None = None
    conditions: tuple[JsonObject, ...] = ()
    deployed_ptypes: tuple[str, ...] = ()

    @property
    def failure(self) -> JsonObject | None:
        """Why it failed (`Failure.as_json`); None when it has not."""
        found = (condition.get("failure") for condition in self.conditions) if self.failed else ()
        return next((failure for failure in found if isinstance(failure, Mapping)), None)


@dataclass(frozen=True)
class ReleaseBundle:
    """A release with what it consists of: everything that rendering needs to know of it."""

    release: Release
    config: Config
    build: Build | None


class RolloutState(StrEnum):
    """pending -> release_phase -> rolling -> succeeded | failed; a newer one supersedes any that is not at an end."""

    PENDING = "pending"
    RELEASE_PHASE = "release_phase"
    ROLLING = "rolling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"


ACTIVE_STATES = (RolloutState.PENDING, RolloutState.RELEASE_PHASE, RolloutState.ROLLING)


@dataclass(frozen=True)
class Landing:
    """What a process type ran before a rollout: going back to exactly this restarts nothing that still runs it."""

    release: int
    restart_token: str


@dataclass(frozen=True)
class Rollout:
    """One attempt to bring process types to a release. Times are UTC instants.

    `step` counts the finished commands of the release phase. `previous` is what each process type ran when the
    attempt began (no entry: nothing): where an automatic rollback goes to. `restart_token` is set when processes are
    to be replaced even where nothing about them changed.
    `progress` is the most instances of the new spec seen ready; each new one moves `deadline_at`.
    """

    uuid: UUID
    app: str
    version: int
    state: RolloutState
    ptypes: tuple[str, ...]
    restart_token: str
    previous: Mapping[str, Landing]
    step: int
    progress: int
    deadline_at: datetime | None
    failure: Failure | None
    created: datetime


@dataclass(frozen=True)
class ProcessTarget:
    """What one process type should be: how many, of which release (None: not deployed yet)."""

    ptype: str
    replicas: int
    release: int | None
    restart_token: str
    created: datetime


def parse_version(text: str | None) -> int | None:
    """`v3` or `3` as a number; anything else means the latest and gives None (GET build and config)."""
    digits = (text or "").removeprefix("v")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
