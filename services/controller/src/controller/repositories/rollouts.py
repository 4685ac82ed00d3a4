"""SQL of what should run: process rows and rollouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Text, all_, bindparam, delete, select, update
from sqlalchemy.dialects.postgresql import ARRAY, insert

from controller.domain.apps import App
from controller.domain.releases import ACTIVE_STATES, ProcessTarget, Rollout, RolloutState
from controller.domain.spec import Failure
from controller.repositories.rows import previous_column, to_rollout, to_target
from controller.schema.apps import AppRow, ProcessRow, RolloutRow
from controller.schema.base import table_of
from shared.db import DbSession


class ProcessRepository:
    """What each process type of an app should be."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def list(self, app: App) -> tuple[ProcessTarget, ...]:
        """All of them, by name."""
        return tuple(map(to_target, await self._session.execute(_PROCESSES, {"app": app.uuid})))

    async def replace(self, app: App, targets: Mapping[str, ProcessTarget], *, now: datetime) -> None:
        """Have exactly these."""
        await self._session.execute(_REMOVE_OTHERS, {"app": app.uuid, "kept": list(targets)})
        if targets:
            await self._write(app, list(targets.values()), now=now)

    async def put(self, app: App, *targets: ProcessTarget, now: datetime) -> None:
        """Add these or change those that are there."""
        if targets:
            await self._write(app, list(targets), now=now)

    async def _write(self, app: App, targets: Sequence[ProcessTarget], *, now: datetime) -> None:
        rows: list[dict[str, Any]] = [
            {
                "app_uuid": app.uuid,
                "ptype": target.ptype,
                "replicas": target.replicas,
                "release": target.release,
                "restart_token": target.restart_token,
                "created": target.created,
                "updated": now,
            }
            for target in targets
        ]
        await self._session.execute(_WRITE, rows)


class RolloutRepository:
    """Attempts to bring an app to a release."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def active(self, app: App) -> Rollout | None:
        """The one that is under way."""
        row = (await self._session.execute(_ACTIVE, {"app": app.uuid})).one_or_none()
        return None if row is None else to_rollout(row, app=app.name)

    async def list(self, app: App, *, most: int = 50) -> tuple[Rollout, ...]:
        """The last ones, newest first."""
        rows = await self._session.execute(_LAST, {"app": app.uuid, "most": most})
        return tuple(to_rollout(row, app=app.name) for row in rows)

    async def under_way(self) -> tuple[str, ...]:
        """Names of the apps with one under way."""
        return tuple(await self._session.scalars(_UNDER_WAY))

    async def add(self, app: App, rollout: Rollout) -> None:
        """A new one; none may be under way."""
        row = {
            "uuid": rollout.uuid,
            "app_uuid": app.uuid,
            "version": rollout.version,
            "state": rollout.state.value,
            "ptypes": list(rollout.ptypes),
            "restart_token": rollout.restart_token,
            "previous": previous_column(rollout.previous),
            "step": rollout.step,
            "progress": rollout.progress,
            "deadline_at": rollout.deadline_at,
            "created": rollout.created,
            "updated": rollout.created,
        }
        await self._session.execute(_ADD, row)

    async def change(self, rollout: Rollout, *, now: datetime, **columns: Any) -> None:
        """Write some columns (`state`, `step`, `progress`, `deadline_at`)."""
        statement = update(_ROLLOUTS).where(_ROLLOUTS.c.uuid == rollout.uuid)
        await self._session.execute(statement.values(updated=now, **columns))

    async def finish(
        self, rollout: Rollout, state: RolloutState, *, now: datetime, failure: Failure | None = None
    ) -> None:
        """Write the end."""
        stored = None if failure is None else failure.as_json()
        row = {"rollout": rollout.uuid, "end": state.value, "reason": stored, "now": now}
        await self._session.execute(_FINISH, row)


_APPS, _PROCESS_TABLE, _ROLLOUTS = table_of(AppRow), table_of(ProcessRow), table_of(RolloutRow)
_PROCESSES = (
    select(_PROCESS_TABLE).where(_PROCESS_TABLE.c.app_uuid == bindparam("app")).order_by(_PROCESS_TABLE.c.ptype)
)
_REMOVE_OTHERS = delete(_PROCESS_TABLE).where(
    _PROCESS_TABLE.c.app_uuid == bindparam("app"),
    _PROCESS_TABLE.c.ptype != all_(bindparam("kept", type_=ARRAY(Text))),
)
_INSERT = insert(_PROCESS_TABLE)
_WRITE = _INSERT.on_conflict_do_update(
    index_elements=["app_uuid", "ptype"],
    set_={name: _INSERT.excluded[name] for name in ("replicas", "release", "restart_token", "updated")},
)
_OF_APP = _ROLLOUTS.c.app_uuid == bindparam("app")
_IS_ACTIVE = _ROLLOUTS.c.state.in_([state.value for state in ACTIVE_STATES])
_ACTIVE = select(_ROLLOUTS).where(_OF_APP, _IS_ACTIVE)
_UNDER_WAY = select(_APPS.c.name).join(_ROLLOUTS, _ROLLOUTS.c.app_uuid == _APPS.c.uuid).where(_IS_ACTIVE)
_LAST = select(_ROLLOUTS).where(_OF_APP).order_by(_ROLLOUTS.c.created.desc()).limit(bindparam("most"))
_FINISH = (
    update(_ROLLOUTS)
    .where(_ROLLOUTS.c.uuid == bindparam("rollout"))
    .values(state=bindparam("end"), failure=bindparam("reason"), finished_at=bindparam("now"), updated=bindparam("now"))
)
_ADD = insert(_ROLLOUTS)
