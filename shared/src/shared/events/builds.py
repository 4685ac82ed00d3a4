"""Events about builds, published by the builder."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from pydantic import Field, JsonValue

from shared.events.apps import AppEvent


class BuildEvent(AppEvent):
    """What every event of one build tells. `number` counts the builds of the application from 1."""

    build_id: UUID
    number: int
    actor: str
    sha: str
    branch: str


class BuildRequested(BuildEvent):
    """A push was accepted and waits for its build."""

    type: ClassVar[str] = "build.requested"


class BuildStarted(BuildEvent):
    """The build runs."""

    type: ClassVar[str] = "build.started"


class BuildSucceeded(BuildEvent):
    """There is an image. `image` is an OCI reference or `workspace/<app>:<build id>`."""

    type: ClassVar[str] = "build.succeeded"
    image: str
    stack: str
    procfile: dict[str, str] = Field(default_factory=dict)
    dryccfile: dict[str, JsonValue] = Field(default_factory=dict)
    dockerfile: str = ""


class BuildFailed(BuildEvent):
    """The build ended without an image. `log` holds its last lines."""

    type: ClassVar[str] = "build.failed"
    code: str
    message: str
    log: tuple[str, ...] = ()
    hint: str = ""


class BuildCancelled(BuildEvent):
    """Someone, or a newer push, stopped the build."""

    type: ClassVar[str] = "build.cancelled"
    code: str
    message: str
    log: tuple[str, ...] = ()
    hint: str = ""
