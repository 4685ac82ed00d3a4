"""Making, finding, handing over and destroying apps."""

from __future__ import annotations

from controller.domain.apps import TAKEN_MESSAGE, Actor, App, check_name, generate_name
from controller.domain.configs import initial_config
from controller.domain.errors import InvalidFieldsError
from controller.domain.page import Page
from controller.domain.summaries import initial_summary
from controller.repositories.domains import DomainRepository
from controller.repositories.ownership import OwnershipRepository
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
        config = await self._releases.add_config(app, initial_config(self._uow.policy.catalog), owner=owner, now=now)
        summary = initial_summary(owner.username)
        await self._releases.add(app, config=config, build=None, owner=owner, summary=summary, now=now)
        await self._uow.outbox.add(
            AppCreated(app=app.name, owner=owner.username),
            ReleaseCreated(app=app.name, version=1, sha="", actor=owner.username, summary=summary, deploys=False),
        )
        await self._record(app, "app.created", actor=owner, after={"owner": owner.username})
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

    async def transfer(self, app: str, *, to: Actor, actor: Actor) -> None:
        """Give the app, and what its owner has made of it, to another person. It is true when this commits.

        Raises:
            AppNotFoundError: no such app.
        """
        locked = await self._apps.lock(app)
        await self._apps.set_owner(locked, to, now=self._uow.now())
        await OwnershipRepository(self._uow.session).hand_over(locked, to)
        owners = {"owner": locked.owner.username}, {"owner": to.username}
        await self._record(locked, "app.transferred", actor=actor, before=owners[0], after=owners[1])
        log.info("app_transferred", app=app, actor=actor.username, to=to.username)

    async def delete(self, app: str, *, actor: Actor) -> None:
        """Make the app invisible at once; what it runs, then the app itself, is removed in the background.

        Raises:
            AppNotFoundError: no such app.
        """
        locked = await self._apps.lock(app)
        await Rollouts(self._uow).abandon(locked)
        await self._apps.mark_deleted(locked, by=actor.username, now=self._uow.now())
        await self._uow.wake_reconciler()
        await self._record(locked, "app.deleted", actor=actor, before={"owner": locked.owner.username})
        log.info("app_delete_requested", app=app, actor=actor.username)

    async def _checked_name(self, name: object) -> str:
        checked = check_name(name, reserved=self._uow.policy.reserved_names)
        if await self._is_taken(checked):
            raise InvalidFieldsError.of("id", TAKEN_MESSAGE)
        return checked

    async def _free_name(self) -> str:
        name = generate_name()
        while await self._is_taken(name):
            name = generate_name()
        return name

    async def _is_taken(self, name: str) -> bool:
        """Whether an app has the name, or a domain of some app the host that goes with it."""
        domains = DomainRepository(self._uow.session)
        await domains.lock_label(name)
        return await self._apps.is_taken(name) or await domains.has_host_of(name, self._uow.policy.app_domain)
