"""Making, finding, handing over and destroying apps."""

from __future__ import annotations

from sqlalchemy import update

from controller.domain.apps import TAKEN_MESSAGE, Actor, App, check_name, generate_name
from controller.domain.configs import initial_config
from controller.domain.errors import InvalidFieldsError
from controller.domain.page import Page
from controller.domain.summaries import initial_summary
from controller.schema.apps import AppSettingsRow, BuildRow, ConfigRow, ReleaseRow
from controller.services.base import AppService
from controller.services.rollouts import Rollouts
from shared.events import AppCreated, ReleaseCreated
from shared.logging import get_logger

log = get_logger(__name__)


class Apps(AppService):
    """Apps as a whole."""

    async def create(self, *, owner: Actor, name: object | None) -> App:
        """A new app with its first config, settings and release v1; without a name it gets a random one.

        Raises:
            InvalidFieldsError: the name is malformed, reserved or taken (an app on its way out still has its name).
        """
        checked = await self._free_name() if name is None else await self._checked_name(name)
        now = self._uow.now()
        app = await self._apps.add(checked, owner=owner, now=now)
        facts = {"routable": True, "autodeploy": True, "autorollback": True, "autoscale": {}, "label": {}}
        await self._settings.add(app, owner=owner, facts=facts, now=now)
        config = await self._releases.add_config(app, initial_config(), owner=owner, now=now)
        summary = initial_summary(owner.username)
        await self._releases.add(app, config=config, build=None, owner=owner, summary=summary, now=now)
        await self._uow.outbox.add(
            AppCreated(app=app.name, owner=owner.username),
            ReleaseCreated(app=app.name, version=1, sha="", actor=owner.username, summary=summary, deploys=False),
        )
        log.info("app_created", app=app.name, actor=owner.username)
        return app

    async def find(self, app: str) -> App | None:
        """The app of that name, if there is one."""
        return await self._apps.find(app)

    async def get(self, app: str) -> App:
        """The app of that name.

        Raises:
            AppNotFoundError: there is none.
        """
        return await self._apps.get(app)

    async def list_visible(
        self, *, viewer: Actor, everything: bool, search: str = "", limit: int = 100, offset: int = 0
    ) -> Page[App]:
        """Apps by name: all of them, or those that `viewer` owns or may view. `search` is a prefix of the name."""
        return await self._apps.list_visible(
            viewer=viewer, everything=everything, search=search, limit=limit, offset=offset
        )

    async def transfer(self, app: str, *, to: Actor) -> None:
        """Give the app, and what its owner has made of it, to another person. It is true when this commits.

        Raises:
            AppNotFoundError: no such app.
        """
        locked = await self._apps.lock(app)
        await self._apps.set_owner(locked, to, now=self._uow.now())
        for row in (AppSettingsRow, BuildRow, ConfigRow, ReleaseRow):
            mine = update(row).where(row.app_uuid == locked.uuid, row.owner_id == locked.owner.id)
            await self._uow.session.execute(mine.values(owner_id=to.id))
        log.info("app_transferred", app=app, to=to.username)

    async def delete(self, app: str, *, actor: Actor) -> None:
        """Make the app invisible at once; what it runs, then the app itself, is removed in the background.

        Raises:
            AppNotFoundError: no such app.
        """
        locked = await self._apps.lock(app)
        await Rollouts(self._uow).abandon(locked)
        await self._apps.mark_deleted(locked, by=actor.username, now=self._uow.now())
        await self._uow.wake_reconciler()
        log.info("app_delete_requested", app=app, actor=actor.username)

    async def _checked_name(self, name: object) -> str:
        checked = check_name(name, reserved=self._uow.policy.reserved_names)
        if await self._apps.is_taken(checked):
            raise InvalidFieldsError.of("id", TAKEN_MESSAGE)
        return checked

    async def _free_name(self) -> str:
        name = generate_name()
        while await self._apps.is_taken(name):
            name = generate_name()
        return name
