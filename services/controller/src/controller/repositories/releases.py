"""SQL of configs, builds and releases."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, bindparam, func, insert, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from controller.domain.apps import Actor, App
from controller.domain.errors import ReleaseNotFoundError
from controller.domain.page import Page
from controller.domain.releases import Build, BuildRequest, Config, ConfigData, Release, ReleaseBundle
from controller.repositories.cipher import Cipher
from controller.repositories.kept import OLDEST_GOOD
from controller.repositories.rows import Shape, build_columns, config_columns, to_build, to_config, to_release
from controller.schema.accounts import UserRow
from controller.schema.apps import BuildRow, ConfigRow, ReleaseRow
from controller.schema.base import table_of
from shared.db import DbSession, uuid7

_RELEASES = table_of(ReleaseRow)
_USERS = table_of(UserRow)
_CONFIGS = table_of(ConfigRow)
_BUILDS = table_of(BuildRow)

_ReleaseOwner, _ConfigOwner, _BuildOwner = _USERS.alias(), _USERS.alias(), _USERS.alias()
_BundleQuery = Select[Any]


class ReleaseRepository:
    """Releases and what they consist of."""

    def __init__(self, session: DbSession, cipher: Cipher) -> None:
        self._session = session
        self._cipher = cipher

    async def list(self, app: App, *, ptypes: Sequence[str], limit: int, offset: int) -> Page[Release]:
        """Releases, newest first; with `ptypes` only those that were deployed to all of them."""
        found = {"app": app.uuid, "ptypes": list(ptypes)}
        total = await self._session.scalar(_COUNT, found)
        rows = await self._session.execute(_LIST, {**found, "limit": limit, "offset": offset})
        releases = tuple(to_release(row, app=app.name, owner=row.username) for row in rows)
        return Page(releases, total or 0)

    async def find(self, app: App, version: int) -> ReleaseBundle | None:
        """The release of that version."""
        return await self._first(app, _BY_VERSION, version=version)

    async def get(self, app: App, version: int) -> ReleaseBundle:
        """The release of that version.

        Raises:
            ReleaseNotFoundError: there is none.
        """
        bundle = await self.find(app, version)
        if bundle is None:
            raise ReleaseNotFoundError
        return bundle

    async def newest(self, app: App, *, usable: bool = False) -> ReleaseBundle:
        """The release with the highest version; with `usable` the highest that has not failed.

        Raises:
            ReleaseNotFoundError: there is none, which no app comes to: version 1 never fails.
        """
        bundle = await self._first(app, _NEWEST_USABLE if usable else _NEWEST)
        if bundle is None:
            raise ReleaseNotFoundError
        return bundle

    async def bundles(self, app: App, versions: Collection[int]) -> dict[int, ReleaseBundle]:
        """The releases of these versions, by version."""
        if not versions:
            return {}
        wanted = {"app": app.uuid, "versions": list(versions)}
        found = [self._bundle(app, row) for row in await self._session.execute(_BY_VERSIONS, wanted)]
        return {bundle.release.version: bundle for bundle in found}

    async def succeeded(self, app: App, *, up_to: int, kept: int | None, most: int = 20) -> tuple[ReleaseBundle, ...]:
        """The last releases with a build that were rolled out well, newest first, up to that version; of the newest
        `kept` ones that did not fail only, because what others were built from may be gone."""
        facts = {"app": app.uuid, "version": up_to, "most": most, "newest": kept}
        rows = await self._session.execute(_SUCCEEDED, facts)
        return tuple(self._bundle(app, row) for row in rows)

    async def of_build(self, app: App, build: UUID) -> Release | None:
        """The first release that was made of a build."""
        query = (
            select(_RELEASES, _USERS.c.username)
            .join(_USERS, _USERS.c.id == _RELEASES.c.owner_id)
            .where(_RELEASES.c.app_uuid == app.uuid, _RELEASES.c.build_uuid == build)
            .order_by(_RELEASES.c.version)
            .limit(1)
        )
        found = (await self._session.execute(query)).one_or_none()
        return None if found is None else to_release(found, app=app.name, owner=found.username)

    async def add(
        self,
        app: App,
        *,
        config: Config,
        build: Build | None,
        owner: Actor,
        summary: str,
        now: datetime,
        ptypes: Sequence[str] = (),
    ) -> ReleaseBundle:
        """The next release, to be deployed to `ptypes`. The app's row lock must be held: it keeps versions without
        gaps."""
        uuid = uuid7()
        row = {
            "uuid": uuid, "app": app.uuid, "owner": owner.id, "summary": summary, "now": now,
            "config": config.uuid, "build": None if build is None else build.uuid, "ptypes": list(ptypes),
        }  # fmt: skip
        version = (await self._session.execute(_ADD, row)).scalar_one()
        release = Release(
            uuid,
            app.name,
            owner.username,
            now,
            now,
            version=version,
            config=config.uuid,
            build=None if build is None else build.uuid,
            summary=summary,
            deployed_ptypes=tuple(ptypes),
        )
        return ReleaseBundle(release, config, build)

    async def add_config(self, app: App, data: ConfigData, *, owner: Actor, now: datetime) -> Config:
        """A new version of the config."""
        uuid = uuid7()
        columns = config_columns(data, self._cipher)
        row = {"uuid": uuid, "app_uuid": app.uuid, "owner_id": owner.id, "created": now, "updated": now, **columns}
        await self._session.execute(_ADD_CONFIG, row)
        return Config(uuid, app.name, owner.username, now, now, data)

    async def add_build(self, app: App, request: BuildRequest, *, uuid: UUID, owner: Actor, now: datetime) -> Build:
        """A new build."""
        columns = build_columns(request, self._cipher)
        await self._session.execute(
            insert(_BUILDS).values(uuid=uuid, app_uuid=app.uuid, owner_id=owner.id, created=now, updated=now, **columns)
        )
        return Build(uuid, app.name, owner.username, now, now, **vars(request))

    async def mark_deployed(self, release: Release, ptypes: Sequence[str]) -> None:
        """Remember that the release was to be deployed to these process types too."""
        merged = list(dict.fromkeys((*release.deployed_ptypes, *ptypes)))
        if merged != list(release.deployed_ptypes):
            await self._update(release, {"deployed_ptypes": merged})

    async def record(
        self,
        release: Release,
        condition: Mapping[str, Any],
        *,
        now: datetime,
        failed: bool | None = None,
        exception: str | None = None,
    ) -> None:
        """Put the end of a rollout before the release's conditions; `failed` None leaves its state as it is, else
        `exception` says why it failed."""
        columns: dict[str, Any] = {"conditions": [dict(condition), *release.conditions], "updated": now}
        if failed is not None:
            columns |= {"failed": failed, "state": "crashed" if failed else "succeed", "exception": exception}
        await self._update(release, columns)

    async def _update(self, release: Release, columns: Mapping[str, Any]) -> None:
        # The same names of columns make the same statement, which is compiled once.
        await self._session.execute(update(_RELEASES).where(_RELEASES.c.uuid == release.uuid).values(**columns))

    async def _first(self, app: App, query: _BundleQuery, **facts: object) -> ReleaseBundle | None:
        row = (await self._session.execute(query, {"app": app.uuid, **facts})).one_or_none()
        return None if row is None else self._bundle(app, row)

    def _bundle(self, app: App, found: Any) -> ReleaseBundle:
        release, config, build, release_owner, config_owner, build_owner = _PARTS.split(found)
        return ReleaseBundle(
            release=to_release(release, app=app.name, owner=release_owner),
            config=to_config(config, app=app.name, owner=config_owner, cipher=self._cipher),
            build=None if build is None else to_build(build, app=app.name, owner=build_owner, cipher=self._cipher),
        )


_PARTS = Shape(_RELEASES, _CONFIGS, _BUILDS)
_OF_APP = _RELEASES.c.app_uuid == bindparam("app")
_BUNDLES: _BundleQuery = (
    select(*_PARTS.columns, _ReleaseOwner.c.username, _ConfigOwner.c.username, _BuildOwner.c.username)
    .select_from(_RELEASES)
    .join(_ReleaseOwner, _ReleaseOwner.c.id == _RELEASES.c.owner_id)
    .join(_CONFIGS, _CONFIGS.c.uuid == _RELEASES.c.config_uuid)
    .join(_ConfigOwner, _ConfigOwner.c.id == _CONFIGS.c.owner_id)
    .outerjoin(_BUILDS, _BUILDS.c.uuid == _RELEASES.c.build_uuid)
    .outerjoin(_BuildOwner, _BuildOwner.c.id == _BUILDS.c.owner_id)
    .where(_OF_APP)
)
_BY_VERSION = _BUNDLES.where(_RELEASES.c.version == bindparam("version"))
_BY_VERSIONS = _BUNDLES.where(_RELEASES.c.version.in_(bindparam("versions", expanding=True)))
_NEWEST = _BUNDLES.order_by(_RELEASES.c.version.desc()).limit(1)
_NEWEST_USABLE = _BUNDLES.where(_RELEASES.c.failed.is_(False)).order_by(_RELEASES.c.version.desc()).limit(1)
_SUCCEEDED = (
    _BUNDLES.where(
        _RELEASES.c.state == "succeed",
        _RELEASES.c.failed.is_(False),
        _RELEASES.c.build_uuid.is_not(None),
        _RELEASES.c.version <= bindparam("version"),
        _RELEASES.c.version >= OLDEST_GOOD,
    )
    .order_by(_RELEASES.c.version.desc())
    .limit(bindparam("most"))
)

# Every array contains the empty one, so that the same statement lists with and without a filter.
_LISTED = (_OF_APP, _RELEASES.c.deployed_ptypes.contains(bindparam("ptypes", type_=ARRAY(Text))))
_COUNT = select(func.count()).select_from(_RELEASES).where(*_LISTED)
_LIST = (
    select(_RELEASES, _USERS.c.username)
    .join(_USERS, _USERS.c.id == _RELEASES.c.owner_id)
    .where(*_LISTED)
    .order_by(_RELEASES.c.version.desc())
    .limit(bindparam("limit"))
    .offset(bindparam("offset"))
)

_ADD_CONFIG = insert(_CONFIGS)
_ADD = (
    insert(_RELEASES)
    .values(
        uuid=bindparam("uuid"),
        app_uuid=bindparam("app"),
        owner_id=bindparam("owner"),
        version=select(func.coalesce(func.max(_RELEASES.c.version), 0) + 1)
        .where(_RELEASES.c.app_uuid == bindparam("app"))
        .scalar_subquery(),
        state="created",
        failed=False,
        summary=bindparam("summary"),
        conditions=[],
        deployed_ptypes=bindparam("ptypes"),
        config_uuid=bindparam("config"),
        build_uuid=bindparam("build"),
        created=bindparam("now"),
        updated=bindparam("now"),
    )
    .returning(_RELEASES.c.version)
)
