"""Domain values as the JSON that clients know."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from controller.api import documents
from controller.domain.accounts import AccessToken, Account, Key
from controller.domain.apps import App, AppSettings
from controller.domain.releases import Build, Config, Release

Json = dict[str, object]


def instant(moment: datetime) -> str:
    """UTC, whole seconds: `2025-02-03T04:05:06Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def timestamp(moment: datetime | None) -> str | None:
    """The instant, if there is one."""
    return None if moment is None else instant(moment)


def account(person: Account) -> Json:
    """A user object."""
    return {
        "id": person.id,
        "email": person.email,
        "username": person.username,
        "first_name": person.first_name,
        "last_name": person.last_name,
        "is_superuser": person.is_superuser,
        "is_staff": person.is_staff,
        "groups": [],
        "user_permissions": [],
        "last_login": timestamp(person.last_login),
        "date_joined": timestamp(person.date_joined),
        "is_active": person.is_active,
    }


def token(value: AccessToken) -> Json:
    """A token as lists show it."""
    return {
        "uuid": str(value.uuid),
        "owner": value.owner,
        "alias": value.alias,
        "fuzzy_key": value.fuzzy_key,
        "created": timestamp(value.created),
        "updated": timestamp(value.updated),
        "last_used": timestamp(value.last_used_at),
    }


def key(value: Key) -> Json:
    """An SSH key."""
    return {
        "uuid": str(value.uuid),
        "owner": value.owner,
        "created": timestamp(value.created),
        "updated": timestamp(value.updated),
        "id": value.name,
        "public": value.public,
        "fingerprint": value.fingerprint,
    }


def app(value: App) -> documents.AppDocument:
    """An app."""
    return {
        "uuid": str(value.uuid),
        "id": value.name,
        "owner": value.owner.username,
        "structure": dict(value.structure),
        "created": instant(value.created),
        "updated": instant(value.updated),
    }


def build(value: Build | None) -> Json:
    """A build; an app without one has this empty object."""
    if value is None:
        names = {"image": "", "stack": "", "sha": "", "procfile": None, "dryccfile": None, "dockerfile": ""}
        return {"app": None, **names}
    return {
        "owner": value.owner,
        "app": value.app,
        "image": value.image,
        "stack": value.stack,
        "sha": value.sha,
        "procfile": dict(value.procfile),
        "dryccfile": dict(value.dryccfile),
        "dockerfile": value.dockerfile,
        **_audit(value),
    }


def config(value: Config) -> Json:
    """A config. Values and registry passwords are in it: only who may view the app gets this."""
    data = value.data
    return {
        "uuid": str(value.uuid),
        "app": value.app,
        "owner": value.owner,
        "values": [variable.as_json() for variable in data.values],
        "limits": dict(data.limits),
        "lifecycle_post_start": dict(data.lifecycle_post_start),
        "lifecycle_pre_stop": dict(data.lifecycle_pre_stop),
        "tags": _nested(data.tags),
        "registry": _nested(data.registry),
        "healthcheck": _nested(data.healthcheck),
        "termination_grace_period": dict(data.termination_grace_period),
        "values_refs": {ptype: list(groups) for ptype, groups in data.values_refs.items()},
        "created": timestamp(value.created),
        "updated": timestamp(value.updated),
    }


def release(value: Release) -> Json:
    """A release."""
    return {
        "app": value.app,
        "owner": value.owner,
        "state": value.state,
        "version": value.version,
        "summary": value.summary,
        "failed": value.failed,
        "exception": value.exception,
        "conditions": [dict(condition) for condition in value.conditions],
        "deployed_ptypes": list(value.deployed_ptypes),
        "config": str(value.config),
        "build": str(value.build) if value.build else None,
        **_audit(value),
    }


def settings(value: AppSettings) -> Json:
    """The settings of an app."""
    return {
        "app": value.app,
        "owner": value.owner,
        "autoscale": dict(value.autoscale),
        "label": dict(value.label),
        "routable": value.routable,
        "autodeploy": value.autodeploy,
        "autorollback": value.autorollback,
        **_audit(value),
    }


def _audit(value: Build | Release | AppSettings) -> Json:
    return {"uuid": str(value.uuid), "created": timestamp(value.created), "updated": timestamp(value.updated)}


def _nested(value: object) -> object:
    return {name: _nested(item) for name, item in value.items()} if isinstance(value, Mapping) else value
