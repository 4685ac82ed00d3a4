"""SQL of one-off commands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from controller.domain.apps import Actor, App
from controller.domain.jobs import Command, Job
from controller.domain.page import Page
from controller.domain.spec import JobPhase
from controller.domain.spec_storage import Mount
from controller.repositories.cipher import Cipher
from controller.schema.accounts import UserRow
from controller.schema.apps import AppRow
from controller.schema.base import table_of
from controller.schema.jobs import JobRow
from shared.db import DbSession

UNFINISHED = ("starting", "up")


class JobRepository:
    """One-offs by app and name."""

    def __init__(self, session: DbSession, cipher: Cipher) -> None:
        self._session = session
        self._cipher = cipher

    async def add(self, app: App, job: Job, *, owner: Actor) -> bool:
        """A new one; whether its name was free."""
        row = {
            "uuid": job.uuid, "app_uuid": app.uuid, "owner_id": owner.id, "name": job.name, "ptype": job.ptype,
            "release": job.release, "sealed_command": self._cipher.seal(_sealed(job)),
            "options": _options(job), "created": job.created, **_progress(job),
        }  # fmt: skip
        statement = insert(JobRow).values(row).on_conflict_do_nothing(index_elements=["app_uuid", "name"])
        added = await self._session.scalar(statement.returning(JobRow.uuid))
        return added is not None

    async def find(self, app: App, name: str) -> Job | None:
        """The one of that name."""
        found = (await self._session.execute(_jobs(app).where(JobRow.name == name))).one_or_none()
        return None if found is None else self._job(app, found)

    async def list(self, app: App, *, limit: int, offset: int) -> Page[Job]:
        """One page of an app's, the newest first."""
        total = await self._session.scalar(select(func.count()).where(JobRow.app_uuid == app.uuid))
        query = _jobs(app).order_by(JobRow.created.desc(), JobRow.uuid.desc()).limit(limit).offset(offset)
        rows = await self._session.execute(query)
        return Page(tuple(self._job(app, row) for row in rows), total or 0)

    async def unfinished(self, app: App) -> tuple[Job, ...]:
        """Those of an app that have not ended, the oldest first."""
        query = _jobs(app).where(JobRow.state.in_(UNFINISHED)).order_by(JobRow.created)
        return tuple(self._job(app, row) for row in await self._session.execute(query))

    async def count_unfinished(self, app: App) -> int:
        """How many of an app's have not ended."""
        query = select(func.count()).where(JobRow.app_uuid == app.uuid, JobRow.state.in_(UNFINISHED))
        return (await self._session.execute(query)).scalar_one()

    async def busy_apps(self) -> tuple[str, ...]:
        """The names of the apps that have one which has not ended; apps on their way out are none."""
        query = (
            select(AppRow.name)
            .join(JobRow, JobRow.app_uuid == AppRow.uuid)
            .where(JobRow.state.in_(UNFINISHED), AppRow.deleted_at.is_(None))
            .distinct()
        )
        return tuple((await self._session.scalars(query)).all())

    async def save(self, job: Job, *, now: datetime) -> bool:
        """Write where it stands, unless its end is written already; whether its app is still there."""
        columns = {**_progress(job), "updated": now}
        statement = update(JobRow).where(JobRow.uuid == job.uuid, JobRow.state.in_(UNFINISHED))
        await self._session.execute(statement.values(**columns))
        query = select(JobRow.uuid).join(AppRow, AppRow.uuid == JobRow.app_uuid)
        return await self._session.scalar(query.where(JobRow.uuid == job.uuid, AppRow.deleted_at.is_(None))) is not None

    async def request_stop(self, job: Job, *, now: datetime) -> None:
        """Note that it is to be stopped."""
        statement = update(JobRow).where(JobRow.uuid == job.uuid)
        await self._session.execute(statement.values(options=_options(job, stop_requested=True), updated=now))

    async def prune(self, *, now: datetime) -> int:
        """Forget those whose time has come; how many they were."""
        gone = await self._session.scalars(delete(JobRow).where(JobRow.expires_at < now).returning(JobRow.uuid))
        return len(gone.all())

    def _job(self, app: App, row: Any) -> Job:
        sealed = cast("Mapping[str, Any]", self._cipher.open(row.sealed_command))
        options = row.options
        return Job(
            uuid=row.uuid,
            app=app.name,
            owner=row.username,
            name=row.name,
            ptype=row.ptype,
            release=row.release,
            command=Command(tuple(sealed["words"]), is_line=sealed["is_line"]),
            is_shell=options["shell"],
            mounts=tuple(Mount(**mount) for mount in options["mounts"]),
            timeout=timedelta(seconds=options["timeout_seconds"]),
            ttl=timedelta(seconds=options["ttl_seconds"]),
            stop_requested=options["stop_requested"],
            state=cast("JobPhase", row.state),
            exit_code=row.exit_code,
            reason=row.reason,
            log=tuple(row.log),
            started_at=row.started_at,
            finished_at=row.finished_at,
            expires_at=row.expires_at,
            created=row.created,
            updated=row.updated,
        )


def _jobs(app: App) -> Select[Any]:
    query = select(*table_of(JobRow).c, UserRow.username).join(UserRow, UserRow.id == JobRow.owner_id)
    return query.where(JobRow.app_uuid == app.uuid)


def _sealed(job: Job) -> dict[str, Any]:
    return {"words": list(job.command.words), "is_line": job.command.is_line}


def _options(job: Job, *, stop_requested: bool = False) -> dict[str, Any]:
    return {
        "shell": job.is_shell,
        "mounts": [{"volume": mount.volume, "path": mount.path} for mount in job.mounts],
        "timeout_seconds": job.timeout.total_seconds(),
        "ttl_seconds": job.ttl.total_seconds(),
        "stop_requested": stop_requested or job.stop_requested,
    }


def _progress(job: Job) -> dict[str, Any]:
    return {
        "state": job.state,
        "exit_code": job.exit_code,
        "reason": job.reason,
        "log": list(job.log),
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "expires_at": job.expires_at,
        "updated": job.updated,
    }
