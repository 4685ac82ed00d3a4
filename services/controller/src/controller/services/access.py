"""Who may do what with an app: one table, asked by every endpoint, every stream and every consumer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Protocol

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
    AUDIT = "audit"


class PlatformAction(StrEnum):
    """What can be done with the platform as a whole."""

    MANAGE_USERS = "manage the users of"
    AUDIT = "read the audit trail of"


@dataclass(frozen=True)
class Rule:
    """Allowed for these roles, and for whoever was granted that permission; `despite_block` while the app or its owner
    is blocked as well."""

    roles: frozenset[Role]
    permission: str | None = None
    despite_block: bool = False


_HANDS_ON: Final = frozenset({Role.SUPERUSER, Role.OWNER, Role.STAFF})
_IN_CHARGE: Final = frozenset({Role.SUPERUSER, Role.OWNER})

POLICY: Final[Mapping[Action, Rule]] = {
    Action.VIEW: Rule(_HANDS_ON, "view"),
    Action.EXEC: Rule(_HANDS_ON, "view"),  # the contract's choice: who sees the config may look inside as well
    Action.CHANGE: Rule(_HANDS_ON, "change"),
    Action.DELETE: Rule(_HANDS_ON, "delete"),
    Action.TRANSFER: Rule(_IN_CHARGE),
    Action.SHARE: Rule(_IN_CHARGE, despite_block=True),
    Action.AUDIT: Rule(_IN_CHARGE, despite_block=True),
}


PLATFORM_POLICY: Final[Mapping[PlatformAction, Collection[Role]]] = {
    PlatformAction.MANAGE_USERS: {Role.SUPERUSER},
    PlatformAction.AUDIT: {Role.SUPERUSER},
}


_READING: Final = frozenset({Action.VIEW, Action.EXEC, Action.AUDIT})


class BlockedError(ForbiddenError):
    """The app, or its owner, is blocked by the billing manager: nobody may use it. The detail is the remark."""

    code: ClassVar[str] = "blocked"


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


def require_platform(user: User, action: PlatformAction) -> None:
    """Let the user do this with the platform.

    Raises:
        ForbiddenError: they may not.
    """
    role = Role.SUPERUSER if user.is_superuser else Role.STAFF if user.is_staff else Role.OTHER
    if role not in PLATFORM_POLICY[action]:
        raise ForbiddenError(f"your rights do not include to {action} the platform")


class Access:
    """The policy on the apps of one transaction."""

    def __init__(self, uow: Uow) -> None:
        self._standing = uow.standing
        self._users = UserRepository(uow.session)
        self._apps = AppRepository(uow.session, uow.known_apps)
        self._grants = GrantRepository(uow.session)

    async def app(self, name: str, user: User, action: Action) -> App:
        """The app, if the user may do this with it (controller-api.md 1.10); locked, if that is to change it.

        Raises:
            AppNotFoundError: there is no such app, or none that the user may know of.
            ForbiddenError: the user may know of it but not do this.
            BlockedError: nobody may, because the app or its owner is blocked.
        """
        app = await (self._apps.get(name) if action in _READING else self._apps.lock(name))
        role = role_of(user, app)
        permissions = await self._grants.permissions_of(app, user.id) if role is Role.OTHER else frozenset()
        if is_allowed(action, role, permissions):
            if not POLICY[action].despite_block:
                self._refuse_blocked(app)
            return app
        if role is Role.OTHER and not permissions:
            raise AppNotFoundError
        raise ForbiddenError(f"your rights on {name} do not include to {action} it")

    async def changer(self, app: App, username: str) -> Account:
        """The person who asked for a change of the app some time ago, if they may change it now.

        Raises:
            ForbiddenError: they may not, or not any more; a BlockedError says why nobody may.
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

    def _refuse_blocked(self, app: App) -> None:
        remark = app.blocked if app.blocked is not None else self._standing.inactive(app.owner.id)
        if remark is not None:
            raise BlockedError(remark)
