"""SQL for the reconciler: an app with its settings and its rollout in one query."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import aliased

from controller.domain.apps import App, AppSettings
from controller.domain.releases import ACTIVE_STATES, Rollout
from controller.repositories.apps import REMARK, STRUCTURE
from controller.repositories.rows import Shape, to_app, to_rollout, to_settings
from controller.schema.accounts import UserRow
from controller.schema.apps import AppRow, AppSettingsRow, RolloutRow
from controller.schema.base import table_of
from shared.db import DbSession

_SettingsOwner, _Newer = aliased(UserRow), aliased(AppSettingsRow)
_PARTS = Shape(*map(table_of, (AppRow, AppSettingsRow, RolloutRow)))
_NEWEST_SETTINGS = (
    select(_Newer.uuid)
    .where(_Newer.app_uuid == AppRow.uuid)
    .order_by(_Newer.created.desc(), _Newer.uuid.desc())
    .limit(1)
    .correlate(AppRow)
    .scalar_subquery()
)
_ACTIVE = and_(RolloutRow.app_uuid == AppRow.uuid, RolloutRow.state.in_([state.value for state in ACTIVE_STATES]))
_BY_NAME = (
    select(*_PARTS.columns, UserRow.username, STRUCTURE, REMARK, _SettingsOwner.username)
    .select_from(AppRow)
    .join(UserRow, UserRow.id == AppRow.owner_id)
    .join(AppSettingsRow, AppSettingsRow.uuid == _NEWEST_SETTINGS)
    .join(_SettingsOwner, _SettingsOwner.id == AppSettingsRow.owner_id)
    .outerjoin(RolloutRow, _ACTIVE)
    .where(AppRow.name == bindparam("name"), AppRow.deleted_at.is_(None))
)


class WholeAppRepository:
    """Apps with what decides about their rollouts."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def find(self, name: str) -> tuple[App, AppSettings, Rollout | None] | None:
        """The app of that name, its settings and the rollout under way."""
        row = (await self._session.execute(_BY_NAME, {"name": name})).one_or_none()
        if row is None:
            return None
        app, settings, rollout, owner, structure, remark, settings_owner = _PARTS.split(row)
        return (
            to_app(app, owner, structure, blocked=remark),
            to_settings(settings, app=name, owner=settings_owner),
            None if rollout is None else to_rollout(rollout, app=name),
        )
