"""Events about releases, published by the controller. `build_id` is None for a release that no push made."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from shared.events.apps import AppEvent


class ReleaseEvent(AppEvent):
    """What every event of one release tells."""

    version: int
    build_id: UUID | None = None


class ReleaseCreated(ReleaseEvent):
    """There is a new release. `deploys`: its rollout begins; otherwise it waits for somebody to deploy it."""

    type: ClassVar[str] = "release.created"
    sha: str
    actor: str
    summary: str
    deploys: bool = True


class ReleaseRejected(AppEvent):
    """A build that ended well of which no release could be made."""

    type: ClassVar[str] = "release.rejected"
    build_id: UUID
    code: str
    message: str
    hint: str = ""


class ReleaseProgress(ReleaseEvent):
    """A line about the rollout for the one who waits for it."""

    type: ClassVar[str] = "release.progress"
    message: str


class ReleaseDeployed(ReleaseEvent):
    """Every process type of the release runs and the old ones are gone."""

    type: ClassVar[str] = "release.deployed"
    sha: str
    actor: str
    summary: str
    ptypes: tuple[str, ...] = ()
    url: str | None = None


class ReleaseFailed(ReleaseEvent):
    """The rollout failed. `log` holds the last lines of the process that failed."""

    type: ClassVar[str] = "release.failed"
    code: str
    ptype: str
    message: str
    log: tuple[str, ...] = ()
    hint: str = ""
    rolled_back_to: int | None = None
