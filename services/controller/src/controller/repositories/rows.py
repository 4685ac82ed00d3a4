"""Rows to domain values and back, for the tables of an app. A `row` is whatever has the columns of its table."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, FromClause

from controller.domain.apps import App, AppSettings, Person
from controller.domain.releases import (
    Build,
    BuildRequest,
    Config,
    ConfigData,
    ConfigValue,
    Landing,
    ProcessTarget,
    Release,
    ReleaseState,
    Rollout,
    RolloutState,
)
from controller.domain.spec import Failure
from controller.repositories.cipher import Cipher

_PLAIN_FIELDS = ("tags", "limits", "termination_grace_period")
_HANDLERS = ("healthcheck", "lifecycle_post_start", "lifecycle_pre_stop")


class Shape:
    """Rows that hold all columns of several tables, one after the other: objects of the mapped classes, which their
    session tracks, cost as much again as the query."""

    def __init__(self, *tables: FromClause) -> None:
        self.columns: tuple[ColumnElement[Any], ...] = tuple(column for table in tables for column in table.c)
        self._width = len(self.columns)
        self._parts: list[tuple[int, int, Callable[[Iterable[Any]], Any]]] = []
        start = 0
        for table in tables:
            stop = start + len(table.c)
            columns = namedtuple("Columns", table.c.keys())  # type: ignore[misc]
            self._parts.append((start, stop, columns._make))
            start = stop

    def split(self, row: Sequence[Any]) -> list[Any]:
        """One object per table, None where an outer join has found nothing; then what the row holds besides."""
        # Each table begins with its key, which is never null.
        found = [None if row[start] is None else make(row[start:stop]) for start, stop, make in self._parts]
        return [*found, *row[self._width :]]


def to_app(row: Any, owner: str, structure: Mapping[str, int] | None, *, blocked: str | None) -> App:
    """The app of a row."""
    return App(
        uuid=row.uuid,
        name=row.name,
        owner=Person(row.owner_id, owner),
        structure=structure or {},
        generation=row.generation,
        created=row.created,
        updated=row.updated,
        blocked=blocked,
    )


def to_settings(row: Any, *, app: str, owner: str) -> AppSettings:
    """The settings of a row."""
    return AppSettings(
        uuid=row.uuid,
        app=app,
        owner=owner,
        created=row.created,
        updated=row.updated,
        routable=row.routable,
        autodeploy=row.autodeploy,
        autorollback=row.autorollback,
        autoscale=row.autoscale,
        label=row.label,
    )


def to_config(row: Any, *, app: str, owner: str, cipher: Cipher) -> Config:
    """The config of a row, deciphered."""
    values = cast("list[dict[str, Any]]", cipher.open(row.sealed_values))
    data = ConfigData(
        values=tuple(
            ConfigValue(item["name"], item["value"], group=item.get("group"), ptype=item.get("ptype"))
            for item in values
        ),
        values_refs={ptype: tuple(groups) for ptype, groups in row.values_refs.items()},
        registry=cast("Mapping[str, Mapping[str, str]]", cipher.open(row.sealed_registry)),
        **{name: getattr(row, name) for name in _PLAIN_FIELDS},
        **_opened(row, "sealed_handlers", _HANDLERS, cipher),
    )
    return Config(row.uuid, app, owner, row.created, row.updated, data)


def config_columns(data: ConfigData, cipher: Cipher) -> dict[str, Any]:
    """The columns that hold the data, the secret ones as ciphertext."""
    return {
        "sealed_values": cipher.seal([value.as_json() for value in data.values]),
        "sealed_registry": cipher.seal(dict(data.registry)),
        "values_refs": {ptype: list(groups) for ptype, groups in data.values_refs.items()},
        **{name: dict(getattr(data, name)) for name in _PLAIN_FIELDS},
        **_sealed("sealed_handlers", {name: getattr(data, name) for name in _HANDLERS}, cipher),
    }


def build_columns(request: BuildRequest, cipher: Cipher) -> dict[str, Any]:
    """The columns that hold what a build is made of, what may be secret as ciphertext."""
    return {
        "image": request.image,
        "stack": request.stack,
        "sha": request.sha,
        "procfile": dict(request.procfile),
        "dockerfile": request.dockerfile,
        **_sealed("sealed_dryccfile", {"dryccfile": request.dryccfile}, cipher),
    }


def _sealed(column: str, fields: Mapping[str, Mapping[str, Any]], cipher: Cipher) -> dict[str, Any]:
    """The columns of what is sealed in one text: nothing in clear, and no text when there is nothing to seal."""
    filled = {name: dict(value) for name, value in fields.items() if value}
    return {column: cipher.seal(filled) if filled else None, **{name: {} for name in fields}}


def _opened(row: Any, column: str, fields: Sequence[str], cipher: Cipher) -> dict[str, Any]:
    """What `_sealed` was given; rows of earlier versions have it in clear."""
    sealed = getattr(row, column)
    if sealed is None:
        return {name: getattr(row, name) for name in fields}
    opened = cast("dict[str, Any]", cipher.open(sealed))
    return {name: opened.get(name, {}) for name in fields}


def to_build(row: Any, *, app: str, owner: str, cipher: Cipher) -> Build:
    """The build of a row, deciphered."""
    return Build(
        uuid=row.uuid,
        app=app,
        owner=owner,
        created=row.created,
        updated=row.updated,
        image=row.image,
        stack=row.stack,
        sha=row.sha,
        procfile=row.procfile,
        dockerfile=row.dockerfile,
        **_opened(row, "sealed_dryccfile", ("dryccfile",), cipher),
    )


def to_release(row: Any, *, app: str, owner: str) -> Release:
    """The release of a row."""
    return Release(
        uuid=row.uuid,
        app=app,
        owner=owner,
        created=row.created,
        updated=row.updated,
        version=row.version,
        config=row.config_uuid,
        build=row.build_uuid,
        state=cast("ReleaseState", row.state),
        failed=row.failed,
        summary=row.summary,
        exception=row.exception,
        conditions=tuple(row.conditions),
        deployed_ptypes=tuple(row.deployed_ptypes),
    )


def to_target(row: Any) -> ProcessTarget:
    """What a process type should be, out of its row."""
    return ProcessTarget(row.ptype, row.replicas, row.release, row.restart_token, row.created)


def to_rollout(row: Any, *, app: str) -> Rollout:
    """The rollout of a row."""
    return Rollout(
        uuid=row.uuid,
        app=app,
        version=row.version,
        state=RolloutState(row.state),
        ptypes=tuple(row.ptypes),
        restart_token=row.restart_token,
        previous={ptype: Landing(**landing) for ptype, landing in row.previous.items()},
        step=row.step,
        progress=row.progress,
        deadline_at=row.deadline_at,
        failure=to_failure(row.failure),
        created=row.created,
    )


def to_failure(stored: Mapping[str, Any] | None) -> Failure | None:
    """The failure in a JSON column."""
    return None if stored is None else Failure(**{**stored, "log": tuple(stored["log"])})


def previous_column(previous: Mapping[str, Landing]) -> dict[str, dict[str, Any]]:
    """The column that holds where each process type came from."""
    return {
        ptype: {"release": landing.release, "restart_token": landing.restart_token}
        for ptype, landing in previous.items()
    }
