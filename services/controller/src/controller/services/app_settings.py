"""Settings of apps: routing, automatic deploys and rollbacks, autoscaling, labels."""

from __future__ import annotations

from collections.abc import Mapping

from controller.domain.app_settings import changed_names, merge_settings, wants_autoscale
from controller.domain.apps import Actor, AppSettings
from controller.domain.errors import NothingChangedError
from controller.engine.port import NotSupportedError
from controller.services.base import AppService
from controller.services.ingress import Ingress
from shared.logging import get_logger

log = get_logger(__name__)


class AppSettingsService(AppService):
    """The settings of apps; every change is a new version."""

    async def get(self, app: str) -> AppSettings:
        """The settings that count now."""
        return await self._settings.get(await self._apps.get(app))

    async def change(self, app: str, patch: Mapping[str, object], *, actor: Actor) -> AppSettings:
        """Merge a request into the settings.

        Raises:
            InvalidFieldsError, InvalidInputError: it is malformed.
            MissingKeyError: it removes what is not there.
            NothingChangedError: it changes nothing.
            NotSupportedError: the engine cannot scale by itself.
        """
        locked = await self._apps.lock(app)
        before = await self._settings.get(locked)
        facts = merge_settings(before, patch, most=self._uow.policy.max_replicas)
        changed = changed_names(before, facts)
        if not changed:
            raise NothingChangedError(f"{actor.username} changed nothing")
        if wants_autoscale(patch) and "autoscale" not in self._uow.engine.features:
            raise NotSupportedError("this engine cannot scale by itself: use `drycc pts scale`")
        after = await self._settings.add(locked, owner=actor, facts=facts, now=self._uow.now())
        if after.routable != before.routable:
            await Ingress(self._uow).set_routable(locked, routable=after.routable)
        await self._changed(locked)
        old, new = ({name: getattr(each, name) for name in changed} for each in (before, after))
        await self._record(locked, "settings.changed", actor=actor, before=old, after=new)
        log.info("app_settings_changed", app=app, actor=actor.username, changed=changed)
        return after
