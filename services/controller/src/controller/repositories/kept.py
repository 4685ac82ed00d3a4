"""SQL of what must stay: the releases that can be rolled back to, and the builds that they are made of.

Each question is one statement: it sees rollouts, process types and releases as they were at one moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import JSON, Integer, bindparam, column, func, or_, select, true

from controller.domain.apps import App
from controller.domain.releases import ACTIVE_STATES
from controller.schema.apps import BuildRow, ProcessRow, ReleaseRow, RolloutRow
from controller.schema.base import table_of
from shared.db import DbSession

_RELEASES, _BUILDS = table_of(ReleaseRow), table_of(BuildRow)
_PROCESSES, _ROLLOUTS = table_of(ProcessRow), table_of(RolloutRow)


@dataclass(frozen=True)
class KeptBuild:
    """A build that something may run (again)."""

    uuid: UUID
    image: str


class KeptReleases:
    """What stays of an app's releases: the `newest` ones that did not fail (None: all), and what is in use."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def builds(self, app: App, *, newest: int | None) -> Sequence[KeptBuild]:
        """The builds of these releases."""
        rows = await self._session.execute(_KEPT_BUILDS, {"app": app.uuid, "newest": newest})
        return tuple(KeptBuild(row.uuid, row.image) for row in rows)

    async def has(self, app: App, version: int, *, newest: int, with_build: bool) -> tuple[bool, int | None]:
        """Whether one of these is of that version, and the oldest version that can be rolled back to; `with_build`
        counts only releases that have one."""
        facts = {"app": app.uuid, "newest": newest, "version": version, "with_build": with_build}
        row = (await self._session.execute(_KEPT_VERSION, facts)).one()
        return bool(row[0]), row[1]


_OF_APP = _RELEASES.c.app_uuid == bindparam("app")
_GOOD = (
    select(_RELEASES.c.version)
    .where(_OF_APP, _RELEASES.c.failed.is_(False))
    .order_by(_RELEASES.c.version.desc())
    .limit(bindparam("newest", type_=Integer))  # NULL is no limit
    .subquery()
)
OLDEST_GOOD = select(func.min(_GOOD.c.version)).scalar_subquery()
"""The version of the oldest of the `newest` releases of `app` that did not fail; both are parameters."""

_ACTIVE = (_ROLLOUTS.c.app_uuid == bindparam("app"), _ROLLOUTS.c.state.in_([state.value for state in ACTIVE_STATES]))
_LANDINGS = func.json_each(_ROLLOUTS.c.previous).table_valued("key", column("value", JSON)).render_derived()
# The newest one is what changes are made from, also when it has failed.
_IN_USE = or_(
    _RELEASES.c.version.in_(select(_PROCESSES.c.release).where(_PROCESSES.c.app_uuid == bindparam("app"))),
    _RELEASES.c.version.in_(select(_ROLLOUTS.c.version).where(*_ACTIVE)),
    _RELEASES.c.version.in_(
        select(_LANDINGS.c.value["release"].as_integer()).select_from(_ROLLOUTS).join(_LANDINGS, true()).where(*_ACTIVE)
    ),
    _RELEASES.c.version == select(func.max(_RELEASES.c.version)).where(_OF_APP).correlate(None).scalar_subquery(),
)
_KEPT = or_(_RELEASES.c.failed.is_(False) & (_RELEASES.c.version >= OLDEST_GOOD), _IN_USE)
_KEPT_BUILDS = (
    select(_BUILDS.c.uuid, _BUILDS.c.image)
    .join(_RELEASES, _RELEASES.c.build_uuid == _BUILDS.c.uuid)
    .where(_OF_APP, _KEPT)
    .distinct()
    .order_by(_BUILDS.c.uuid)
)
_KEPT_VERSION = select(func.bool_or(_RELEASES.c.version == bindparam("version")), func.min(_RELEASES.c.version)).where(
    _OF_APP,
    _KEPT,
    _RELEASES.c.failed.is_(False),
    _RELEASES.c.version > 1,
    or_(bindparam("with_build").is_(False), _RELEASES.c.build_uuid.is_not(None)),
)
