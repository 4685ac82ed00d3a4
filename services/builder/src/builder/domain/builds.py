"""The record of one build: values and states, no storage."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


class BuildState(enum.StrEnum):
    REQUESTED = "requested"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (BuildState.SUCCEEDED, BuildState.FAILED, BuildState.CANCELLED)


class Verdict(enum.StrEnum):
    """What became of the release that was made of a succeeded build."""

    DEPLOYED = "deployed"
    FAILED = "failed"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Build:
    """One build of one app. `number` counts from 1 per app; `id` is the same in builder and controller.

    `code` and `message` explain a build that failed or was cancelled; `verdict_code` and `verdict_message` a release
    that did.
    """

    id: UUID
    app: str
    number: int
    actor: str
    sha: str
    branch: str
    state: BuildState
    requested_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    code: str | None = None
    message: str | None = None
    release_version: int | None = None
    verdict: Verdict | None = None
    verdict_code: str | None = None
    verdict_message: str | None = None
    deployed_at: datetime | None = None


def number_after(newest: Build | None) -> int:
    """The number of the app's next build."""
    return 1 if newest is None else newest.number + 1


class BuildCancelledError(Exception):
    """Somebody ended a running build on purpose; `reason` is one sentence that names who and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
