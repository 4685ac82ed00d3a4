"""Builds: every one becomes a release."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from controller.domain.apps import Actor
from controller.domain.audit import config_facts
from controller.domain.builds import after_procfile, check_owner
from controller.domain.configs import config_from_build
from controller.domain.releases import Build, BuildRequest, Release
from controller.domain.summaries import build_summary
from controller.repositories.kept import KeptBuild
from controller.services.base import AppService
from controller.services.releases import Releases
from shared.db import uuid7

SPARE = 2
"""How many releases can fail without a new one being made: the one that is rolled out now, and the newest one. Older
releases can then be rolled back to that could not before, and so their builds must still be there."""


class Builds(AppService):
    """The builds of apps."""

    async def kept(self, app: str) -> Sequence[KeptBuild]:
        """The builds that what made them must keep, now and until it asks again: those of releases that can be rolled
        back to, and of what runs.

        Raises:
            AppNotFoundError: no such app.
        """
        newest = self._uow.policy.releases_kept
        found = await self._apps.get(app)
        return await self._kept.builds(found, newest=None if newest is None else newest + SPARE)

    async def find(self, app: str, *, version: int | None = None) -> Build | None:
        """The build of that release, or of the latest usable one; None when it has none.

        Raises:
            AppNotFoundError, ReleaseNotFoundError: there is no such app or release.
        """
        found = await self._apps.get(app)
        bundle = await (self._usable(found) if version is None else self._releases.get(found, version))
        return bundle.build

    async def create(self, app: str, request: BuildRequest, *, actor: Actor, build_id: UUID | None = None) -> Release:
        """Make a release of a build, on the config of the newest release that has not failed, and roll it out if the
        app deploys by itself. A `build_id` that came before gives the release that it became then.

        Raises:
            AppNotFoundError: no such app.
            InvalidInputError: it is another app's.
            ConflictError: it lacks a Procfile, and the operator wants such builds refused.
            NotSupportedError: the engine cannot run it.
        """
        locked = await self._apps.lock(app)
        check_owner(request, app)
        if build_id is not None and (known := await self._releases.of_build(locked, build_id)) is not None:
            return known
        now = self._uow.now()
        settings = await self._settings.get(locked)
        base = await self._releases.newest(locked, usable=True)
        request = after_procfile(
            request,
            base.build,
            reject_missing=self._uow.policy.reject_missing_procfile,
            remove_missing=self._uow.policy.remove_missing_procfile,
        )
        build = await self._releases.add_build(locked, request, uuid=build_id or uuid7(), owner=actor, now=now)
        data = config_from_build(base.config.data, build)
        config = base.config
        if data != config.data:
            config = await self._releases.add_config(locked, data, owner=actor, now=now)
        summary = build_summary(actor.username, build)
        bundle = await Releases(self._uow).publish(
            locked, settings, config=config, build=build, summary=summary, actor=actor
        )
        before, after = config_facts(base.config.data, data)
        facts = {"build": str(build.uuid), "image": build.image, "sha": build.sha, "stack": build.stack, **after}
        target = f"v{bundle.release.version}"
        await self._record(locked, "build.created", actor=actor, target=target, before=before or None, after=facts)
        return bundle.release
