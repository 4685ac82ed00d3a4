"""Use cases of volumes: made, grown, mounted, removed. What runs follows from the rows; no release is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from controller.domain.apps import Actor, App
from controller.domain.errors import ObjectNotFoundError
from controller.domain.page import Page
from controller.domain.spec_storage import Mount, VolumeSpec
from controller.domain.volumes import (
    SizeRange,
    Volume,
    check_volume,
    grown_size,
    job_mounts,
    parse_mounts,
    refuse_mounted,
    remounted,
    volume_spec,
)
from controller.engine.port import Engine, FileStore, NotSupportedError
from controller.repositories.volumes import VolumeRepository
from controller.services.base import AppService
from controller.uow import Uow
from shared.clock import Clock
from shared.errors import NotFoundError, UnavailableError
from shared.logging import get_logger

_NO_VOLUMES: Final = "this engine has no volumes"
_LOOKS: Final = 100
_BETWEEN_LOOKS: Final = timedelta(seconds=0.1)

log = get_logger(__name__)


class Volumes(AppService):
    """The volumes of apps."""

    def __init__(self, uow: Uow) -> None:
        super().__init__(uow)
        self._volumes = VolumeRepository(uow.session, uow.cipher)

    async def get(self, app: str, name: str) -> Volume:
        """One of them.

        Raises:
            ObjectNotFoundError: there is none of that name.
        """
        return await self._volumes.get(await self._apps.get(app), name)

    async def list(self, app: str, *, limit: int = 100, offset: int = 0) -> Page[Volume]:
        """Volumes, newest first."""
        return await self._volumes.list(await self._apps.get(app), limit=limit, offset=offset)

    def wanted(self, body: Mapping[str, object]) -> VolumeSpec:
        """What the engine would be told of the volume that a request asks for (`name`, `size`, `type`, `parameters`).

        Raises:
            InvalidFieldsError: the request is malformed.
            NotSupportedError: the engine has no volumes.
        """
        request = check_volume(body, self._sizes)
        if "volumes" not in self._uow.engine.features:
            raise NotSupportedError(f"{_NO_VOLUMES}: keep data in a database or an object store")
        return volume_spec(request)

    async def create(self, app: str, body: Mapping[str, object], *, actor: Actor) -> Volume:
        """A new volume. The engine was asked before whether it can make what is `wanted` (`Engine.check_volume`).

        Raises:
            InvalidFieldsError: the request is malformed, or the app has one of that name.
        """
        request = check_volume(body, self._sizes)
        locked = await self._apps.lock(app)
        volume = await self._volumes.add(locked, request, owner=actor, now=self._uow.now())
        await self._changed(locked)
        await self._note(locked, "created", actor, volume, after=volume)
        return volume

    async def planned(self, app: str, name: str, body: Mapping[str, object]) -> VolumeSpec:
        """What the engine would be told if the volume were expanded as the request says. Reads only.

        Raises:
            as `expand`.
        """
        volume = await self.get(app, name)
        return volume_spec(replace(volume, size=grown_size(volume, body, self._sizes)))

    async def expand(self, app: str, name: str, body: Mapping[str, object], *, actor: Actor) -> Volume:
        """Make a volume larger (`size`). The engine was asked before whether it can (`Engine.check_volume`).

        Raises:
            ObjectNotFoundError: there is no such volume.
            InvalidFieldsError, InvalidInputError: the size is none, or smaller, or the type cannot grow.
        """
        locked = await self._apps.lock(app)
        before = await self._volumes.get(locked, name)
        size = grown_size(before, body, self._sizes)
        if size == before.size:
            return before
        after = replace(before, size=size, updated=self._uow.now())
        await self._volumes.resize(before, size, now=after.updated)
        await self._changed(locked)
        await self._note(locked, "expanded", actor, after, before=before, after=after)
        return after

    async def mount(self, app: str, name: str, body: Mapping[str, object], *, actor: Actor) -> Volume:
        """Mount a volume in process types, or unmount it (`{"path": {"web": "/data", "worker": null}}`). The types that
        it concerns get new instances.

        Raises:
            ObjectNotFoundError: there is no such volume.
            InvalidInputError, InvalidFieldsError, InvalidValueError: the request is malformed, names an unknown process
                type or a place that is taken, or changes nothing.
        """
        changes = parse_mounts(body)
        locked = await self._apps.lock(app)
        everything = {volume.name: volume for volume in await self._volumes.list_all(locked)}
        before = everything.get(name)
        if before is None:
            raise ObjectNotFoundError("Volume")
        path = remounted(before, changes, others=everything.values(), structure=locked.structure)
        if path == before.path:
            return before
        after = replace(before, path=path, updated=self._uow.now())
        await self._volumes.remount(before, path, now=after.updated)
        await self._changed(locked)
        await self._note(locked, "mounted", actor, after, before=before, after=after)
        return after

    async def delete(self, app: str, name: str, *, actor: Actor) -> None:
        """Remove a volume with all that is in it.

        Raises:
            ObjectNotFoundError: there is no such volume.
            InvalidInputError: it is mounted.
        """
        locked = await self._apps.lock(app)
        volume = await self._volumes.get(locked, name)
        refuse_mounted(volume, structure=locked.structure)
        await self._volumes.delete(volume)
        await self._changed(locked)
        await self._note(locked, "deleted", actor, volume, before=volume)

    async def mounts_for_job(self, app: str, requested: Mapping[str, str]) -> tuple[Mount, ...]:
        """The volumes in a one-off: those that it asks for (name -> path), by default those of process type `run`.

        Raises:
            InvalidValueError: a name or a path is malformed.
            InvalidInputError: the app has no such volume, or two are wanted in one place.
            NotSupportedError: the engine has no volumes.
        """
        found = await self._apps.get(app)
        if requested and "volumes" not in self._uow.engine.features:
            raise NotSupportedError(f"{_NO_VOLUMES}: run the command without them")
        return job_mounts(await self._volumes.list_all(found), requested)

    async def note_files(self, app: str, name: str, *, path: str, verb: str, actor: Actor) -> None:
        """Leave a trace of a change of the files in a volume: `verb` is written or deleted."""
        found = await self._apps.get(app)
        await self._record(found, f"volume.file_{verb}", actor=actor, target=f"{name}:{path}")
        log.info("volume_file_changed", app=app, volume=name, verb=verb, actor=actor.username)

    @property
    def _sizes(self) -> SizeRange:
        policy = self._uow.policy
        return SizeRange(policy.min_volume_gib, policy.max_volume_gib)

    async def _note(
        self,
        app: App,
        verb: str,
        actor: Actor,
        volume: Volume,
        *,
        before: Volume | None = None,
        after: Volume | None = None,
    ) -> None:
        facts = {"before": _facts(before), "after": _facts(after)}
        await self._record(app, f"volume.{verb}", actor=actor, target=volume.name, **facts)
        log.info("volume_changed", app=app.name, volume=volume.name, verb=verb, actor=actor.username)


async def open_files(engine: Engine, clock: Clock, app: str, volume: str) -> FileStore:
    """The files of a volume that the app has. One that the engine is only about to make is waited for a moment.

    Raises:
        UnavailableError: it is still not there.
        NotSupportedError: the engine has no volumes.
    """
    for _ in range(_LOOKS):
        try:
            return await engine.files(app, volume)
        except NotFoundError:
            await clock.sleep(_BETWEEN_LOOKS)
    raise UnavailableError(f"volume {volume} is still being made: try again in a moment", headers={"Retry-After": "2"})


def _facts(volume: Volume | None) -> dict[str, object] | None:
    """What the audit trail keeps: everything but the parameters, which hold keys."""
    return None if volume is None else {"type": volume.type, "size": volume.size, "path": dict(volume.path)}
