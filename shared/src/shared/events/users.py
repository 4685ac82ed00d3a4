"""Events about people, published by passport."""

from __future__ import annotations

from typing import ClassVar

from shared.events.base import Event


class UserChanged(Event):
    """An account was created or changed; the event holds all of what others may know about it."""

    type: ClassVar[str] = "user.changed"
    user_id: int
    username: str
    email: str
    first_name: str = ""
    last_name: str = ""
    is_active: bool
    is_staff: bool
    is_superuser: bool

    def subject(self) -> str:
        return f"users/{self.user_id}"
