"""Who may do what with an app: one table, asked by every endpoint, every stream and every consumer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from controller.domain.accounts import Account
from controller.domain.apps import App
from controller.domain.errors import AppNotFoundError
from controller.repositories.accounts import UserRepository
from controller.repositories.apps import AppRepository
from controller.repositories.grants import GrantRepository
from controller.uow import Uow
from shared.errors import ForbiddenError


class Role(StrEnum):
    """What somebody is to an app, besides what they were granted."""

    SUPERUSER = "superuser"
    OWNER = "owner"
    STAFF = "staff"
    OTHER = "other"


class Action(StrEnum):
    """What can be done with an app."""

    VIEW = "view"
    EXEC = "exec"
    CHANGE = "change"
    DELETE = "delete"
    TRANSFER = "transfer"
    SHARE = "share"


@dataclass(frozen=True)
class Rule:
    """Allowed for these roles, and for whoever was granted that permission."""

    roles: frozenset[Role]
    permission: str | None = None


_HANDS_ON: Final = frozenset({Role.SUPERUSER, Role.OWNER, Role.STAFF})
_IN_CHARGE: Final = frozenset({Role.SUPERUSER, Role.OWNER})

POLICY: Final[Mapping[Action, Rule]] = {
    Action.VIEW: Rule(_HANDS_ON, "view"),
    Action.EXEC: Rule(_HANDS_ON, "view"),  # the contract's choice: who sees the config may look inside as well
    Action.CHANGE: Rule(_HANDS_ON, "change"),
    Action.DELETE: Rule(_HANDS_ON, "delete"),
    Action.TRANSFER: Rule(_IN_CHARGE),
    Action.SHARE: Rule(_IN_CHARGE),
}


class User(Protocol):
    """What the policy needs to know of somebody."""

    @property
    def id(self) -> int: ...
    @property
    def is_superuser(self) -> bool: ...
    @property
    def is_staff(self) -> bool: ...
    @property
    def is_active(self) -> bool: ...


def role_of(user: User, app: App) -> Role:
    """What the user is to the app; the first that fits."""
    if user.is_superuser:
        return Role.SUPERUSER
    if app.owner.id == user.id:
        return Role.OWNER
    return Role.STAFF if user.is_staff else Role.OTHER


def is_allowed(action: Action, role: Role, permissions: Collection[str]) -> bool:
    """The table, applied."""
    rule = POLICY[action]
    return role in rule.roles or (rule.permission is not None and rule.permission in permissions)


class Access:
    """The policy on the apps of one transaction."""

    def __init__(self, uow: Uow) -> None:
        self._users = UserRepository(uow.session)
        self._apps = AppRepository(uow.session)
        self._grants = GrantRepository(uow.session)

    async def app(self, name: str, user: User, action: Action) -> App:
        """The app, if the user may do this with it.

        Raises:
            AppNotFoundError: there is no such app, or none that the user may know of.
            ForbiddenError: the user may know of it but not do this.
        """
        app = await self._apps.get(name)
        role = role_of(user, app)
        permissions = await self._grants.permissions_of(app, user.id) if role is Role.OTHER else frozenset()
        if is_allowed(action, role, permissions):
            return app
        if role is Role.OTHER and not permissions:
            raise AppNotFoundError
        raise ForbiddenError(f"your rights on {name} do not include to {action} it")

    async def changer(self, app: App, username: str) -> Account:
        """The person who asked for a change of the app some time ago, if they may change it now.

        Raises:
            ForbiddenError: they may not, or not any more.
        """
        user = await self._users.find(username)
        if user is not None and user.is_active:
            try:
                await self.app(app.name, user, Action.CHANGE)
            except AppNotFoundError:
                user = None
        if user is None or not user.is_active:
            raise ForbiddenError(f"{username} may not change {app.name}")
        return user

    async def pushable(self, user: User) -> list[str]:
        """The names of the apps that the user owns or was granted to change."""
        return list(await self._grants.apps_of(user.id, "change"))
