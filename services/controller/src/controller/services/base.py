"""What the use cases about apps have in common."""

from __future__ import annotations

from collections.abc import Mapping

from controller.domain.apps import Actor, App, AppSettings
from controller.domain.releases import ReleaseBundle
from controller.repositories.apps import AppRepository, AppSettingsRepository
from controller.repositories.kept import KeptReleases
from controller.repositories.releases import ReleaseRepository
from controller.repositories.rollouts import ProcessRepository, RolloutRepository
from controller.services.audit import AuditTrail
from controller.uow import Uow


class AppService:
    """Use cases about one app, in the transaction of `uow`. `app` arguments are names of apps."""

    def __init__(self, uow: Uow) -> None:
        self._uow = uow
        self._apps = AppRepository(uow.session, uow.known_apps)
        self._settings = AppSettingsRepository(uow.session)
        self._releases = ReleaseRepository(uow.session, uow.cipher)
        self._kept = KeptReleases(uow.session)
        self._processes = ProcessRepository(uow.session)
        self._rollouts = RolloutRepository(uow.session)

    async def _usable(self, app: App, settings: AppSettings | None = None) -> ReleaseBundle:
        """The release that changes are made from: the newest one, and with autorollback one that has not failed."""
        settings = settings or await self._settings.get(app)
        return await self._releases.newest(app, usable=settings.autorollback)

    async def _changed(self, app: App) -> None:
        """What the app should be has changed: note it and have the reconciler look."""
        await self._apps.bump(app, now=self._uow.now())
        await self._uow.wake_reconciler()

    async def _record(
        self,
        app: App,
        action: str,
        *,
        actor: Actor,
        target: str = "",
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> None:
        """Leave an entry in the audit trail; the caller takes the secrets out of `before` and `after`."""
        await AuditTrail(self._uow).record(
            action, actor=actor.username, app=app.name, target=target, before=before, after=after
        )
