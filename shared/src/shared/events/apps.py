"""Events about applications, published by the controller."""

from __future__ import annotations

from typing import ClassVar

from shared.events.base import Event


class AppEvent(Event):
    """Anything that happened to one application."""

    app: str

    def subject(self) -> str:
        return f"apps/{self.app}"


class AppCreated(AppEvent):
    """There is a new application."""

    type: ClassVar[str] = "app.created"
    owner: str


class AppDeleted(AppEvent):
    """The application is gone, and so is everything that it ran."""

    type: ClassVar[str] = "app.deleted"
    actor: str
