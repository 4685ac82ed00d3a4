"""What the HTTP interface answers with."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from builder.domain.builds import BuildState, Verdict


class BuildOut(BaseModel):
    """One build. `code` and `message` explain an end without a result, the `verdict_*` ones a release that failed."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    app: str
    number: int
    actor: str
    sha: str
    branch: str
    state: BuildState
    requested_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    code: str | None
    message: str | None
    release_version: int | None
    verdict: Verdict | None
    verdict_code: str | None
    verdict_message: str | None
    deployed_at: datetime | None


class BuildList(BaseModel):
    """Builds, newest first; `next` is the `before` of the next page, null on the last one."""

    builds: list[BuildOut]
    next: UUID | None
