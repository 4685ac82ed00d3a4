"""Grants: what people may do with apps that are not theirs."""

from __future__ import annotations

from collections.abc import Collection

from controller.domain.apps import Actor, App
from controller.repositories.apps import AppRepository
from controller.repositories.grants import Grant, GrantRepository
from controller.services.audit import AuditTrail
from controller.uow import Uow
from shared.errors import InvalidInputError
from shared.logging import get_logger

PERMISSIONS = ("view", "change", "delete")

log = get_logger(__name__)


class Grants:
    """Grants of apps, in the transaction of `uow`. `app` arguments are names of apps."""

    def __init__(self, uow: Uow) -> None:
        self._trail = AuditTrail(uow)
        self._apps = AppRepository(uow.session, uow.known_apps)
        self._grants = GrantRepository(uow.session)

    async def list(self, app: str) -> tuple[Grant, ...]:
        """All grants, by username."""
        return await self._grants.list(await self._apps.get(app))

    async def grant(self, app: str, user: Actor, permissions: Collection[str], *, actor: Actor) -> None:
        """Add to what this person may do."""
        checked = _checked(permissions)
        locked = await self._apps.lock(app)
        had = await self._grants.permissions_of(locked, user.id)
        await self._grants.add(locked, user.id, checked)
        await self._record(locked, "grant.added", user, had=had, has=had.union(checked), actor=actor)
        log.info("access_granted", app=app, user=user.username, permissions=sorted(permissions))

    async def replace(self, app: str, user: Actor, permissions: Collection[str], *, actor: Actor) -> None:
        """Let this person do exactly this."""
        checked = _checked(permissions)
        locked = await self._apps.lock(app)
        had = await self._grants.permissions_of(locked, user.id)
        await self._grants.remove(locked, user.id)
        await self._grants.add(locked, user.id, checked)
        await self._record(locked, "grant.replaced", user, had=had, has=checked, actor=actor)
        log.info("access_replaced", app=app, user=user.username, permissions=sorted(permissions))

    async def revoke(self, app: str, user: Actor, *, actor: Actor) -> None:
        """Let this person do nothing any more; nothing to take back is fine."""
        locked = await self._apps.lock(app)
        had = await self._grants.permissions_of(locked, user.id)
        await self._grants.remove(locked, user.id)
        await self._record(locked, "grant.revoked", user, had=had, has=(), actor=actor)
        log.info("access_revoked", app=app, user=user.username)

    async def _record(
        self, app: App, action: str, user: Actor, *, had: Collection[str], has: Collection[str], actor: Actor
    ) -> None:
        if set(had) == set(has):
            return
        before, after = ({"permissions": sorted(each)} for each in (had, has))
        await self._trail.record(
            action, actor=actor.username, app=app.name, target=user.username, before=before, after=after
        )


def _checked(permissions: Collection[str]) -> tuple[str, ...]:
    if not permissions or not set(permissions) <= set(PERMISSIONS):
        raise InvalidInputError(f"The permissions field is required and has a value range of: {','.join(PERMISSIONS)}")
    return tuple(dict.fromkeys(permissions))
