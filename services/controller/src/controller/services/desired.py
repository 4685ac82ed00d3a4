"""Reads everything that the reconciler needs to know of one app, and ends the life of deleted ones."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from controller.domain.apps import App
from controller.domain.releases import ReleaseBundle, Rollout
from controller.domain.render import AppState
from controller.repositories.ingress import IngressRepository
from controller.repositories.volumes import VolumeRepository
from controller.repositories.whole import WholeAppRepository
from controller.services.base import AppService
from shared.events import AppDeleted
from shared.logging import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class Snapshot:
    """An app as it was at one moment; `bundle` is the release of the rollout under way."""

    state: AppState
    rollout: Rollout | None
    bundle: ReleaseBundle | None

    @property
    def app(self) -> App:
        """The app."""
        return self.state.app


@dataclass(frozen=True)
class Deletion:
    """An app that was destroyed: what it runs has to go, then its rows."""

    name: str
    uuid: UUID
    actor: str


class Desired(AppService):
    """What apps should be, as stored."""

    async def read(self, name: str) -> Snapshot | Deletion | None:
        """The app, or its deletion, or None for a name that no app has.

        The app's generation is read first: whatever is read after it is at least that new.
        """
        whole = await WholeAppRepository(self._uow.session).find(name)
        if whole is None:
            gone = await self._apps.deletion(name)
            return None if gone is None else Deletion(name, *gone)
        app, settings, rollout = whole
        targets = await self._processes.list(app)
        versions = {target.release for target in targets if target.release is not None}
        if rollout is not None:
            versions.add(rollout.version)
        bundles = await self._releases.bundles(app, versions)
        volumes = await VolumeRepository(self._uow.session, self._uow.cipher).list_all(app)
        ingress = await IngressRepository(self._uow.session, self._uow.cipher).read_with_keys(app)
        state = AppState(app, settings, targets, bundles, volumes=volumes, ingress=ingress)
        return Snapshot(state, rollout, None if rollout is None else bundles[rollout.version])

    async def lock_same(self, snapshot: Snapshot) -> bool:
        """Lock the app; whether everything is still as the snapshot has it."""
        if not await self._apps.lock_generation(snapshot.app):
            return False
        # Steps of another reconciler, which may have held the advisory lock too long, leave the generation alone.
        return await self._rollouts.active(snapshot.app) == snapshot.rollout

    async def mark_reconciled(self, app: App) -> None:
        """Note that the engine was told this generation."""
        await self._apps.mark_reconciled(app.uuid, app.generation)

    async def names(self, *, unreconciled: bool) -> tuple[str, ...]:
        """The names of all apps, or of those that the engine was not told the newest of."""
        return await self._apps.names(unreconciled=unreconciled)

    async def under_way(self) -> tuple[str, ...]:
        """The names of apps with a rollout under way."""
        return await self._rollouts.under_way()

    async def finish(self, deletion: Deletion) -> None:
        """Nothing of the app runs any more: remove its rows and free its name."""
        if await self._apps.delete(deletion.uuid):
            await self._uow.outbox.add(AppDeleted(app=deletion.name, actor=deletion.actor))
            log.info("app_deleted", app=deletion.name, actor=deletion.actor)
