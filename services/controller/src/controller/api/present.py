"""Domain values as the JSON that clients know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

from controller.api import documents, documents_accounts, documents_releases
from controller.domain.accounts import AccessToken, Account, Key
from controller.domain.apps import App, AppSettings
from controller.domain.releases import Build, Config, ConfigValue, JsonObject, Release
from controller.repositories.grants import Grant


def instant(moment: datetime) -> str:
    """UTC, whole seconds: `2025-02-03T04:05:06Z`."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")[:19] + "Z"  # five times as fast as strftime


def timestamp(moment: datetime | None) -> str | None:
    """The instant, if there is one."""
    return None if moment is None else instant(moment)


def account(person: Account) -> documents_accounts.UserDocument:
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


def token(value: AccessToken) -> documents_accounts.TokenDocument:
    """A token as lists show it."""
    return {
        "uuid": str(value.uuid),
        "owner": value.owner,
        "alias": value.alias,
        "fuzzy_key": value.fuzzy_key,
        "created": instant(value.created),
        "updated": instant(value.updated),
        "last_used": timestamp(value.last_used_at),
    }


def key(value: Key) -> documents_accounts.KeyDocument:
    """An SSH key."""
    return {
        "uuid": str(value.uuid),
        "owner": value.owner,
        "created": instant(value.created),
        "updated": instant(value.updated),
        "id": value.name,
        "public": value.public,
        "fingerprint": value.fingerprint,
    }


def keys_by_owner(keys: Mapping[str, Sequence[Key]]) -> documents_accounts.HookKeys:
    """SSH keys as builders get them."""
    return {
        username: [{"key": key.public, "fingerprint": key.fingerprint} for key in owned]
        for username, owned in keys.items()
    }


def grant(value: Grant) -> documents_accounts.GrantDocument:
    """What somebody was granted."""
    permissions = cast("list[documents_accounts.Permission]", list(value.permissions))
    return {"app": value.app, "username": value.username, "permissions": permissions}


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


def build(value: Build | None) -> documents_releases.BuildDocument | documents_releases.NoBuildDocument:
    """A build; an app without one has this empty object."""
    if value is None:
        return {
            "app": None,
            "image": "",
            "stack": "",
            "sha": "",
            "procfile": None,
            "dryccfile": None,
            "dockerfile": "",
        }
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


def config(value: Config) -> documents_releases.ConfigDocument:
    """A config. Values and registry passwords are in it: only who may view the app gets this."""
    data = value.data
    return {
        "app": value.app,
        "owner": value.owner,
        "values": [_variable(variable) for variable in data.values],
        "limits": dict(data.limits),
        "lifecycle_post_start": _entries(data.lifecycle_post_start),
        "lifecycle_pre_stop": _entries(data.lifecycle_pre_stop),
        "tags": {ptype: dict(tags) for ptype, tags in data.tags.items()},
        "registry": {ptype: dict(credentials) for ptype, credentials in data.registry.items()},
        "healthcheck": {
            # What is stored was checked against the schema of probes.
            ptype: cast("documents_releases.Probes", {name: dict(spec) for name, spec in probes.items()})
            for ptype, probes in data.healthcheck.items()
        },
        "termination_grace_period": dict(data.termination_grace_period),
        "values_refs": {ptype: list(groups) for ptype, groups in data.values_refs.items()},
        **_audit(value),
    }


def release(value: Release) -> documents_releases.ReleaseDocument:
    """A release."""
    return {
        "app": value.app,
        "owner": value.owner,
        "state": value.state,
        "version": value.version,
        "summary": value.summary,
        "failed": value.failed,
        "exception": value.exception,
        # Stored by domain.spec.Failure.as_json.
        "failure": None if value.failure is None else cast("documents_releases.FailureDocument", dict(value.failure)),
        "conditions": [_condition(condition) for condition in value.conditions],
        "deployed_ptypes": list(value.deployed_ptypes),
        "config": str(value.config),
        "build": str(value.build) if value.build else None,
        **_audit(value),
    }


def settings(value: AppSettings) -> documents_releases.SettingsDocument:
    """The settings of an app."""
    return {
        "app": value.app,
        "owner": value.owner,
        # What is stored was checked against the schema of this.
        "autoscale": cast("dict[str, documents_releases.Autoscale]", dict(value.autoscale)),
        "label": dict(value.label),
        "routable": value.routable,
        "autodeploy": value.autodeploy,
        "autorollback": value.autorollback,
        **_audit(value),
    }


def _audit(value: Build | Config | Release | AppSettings) -> documents.Created:
    return {"uuid": str(value.uuid), "created": instant(value.created), "updated": instant(value.updated)}


def _variable(variable: ConfigValue) -> documents_releases.GroupVariable | documents_releases.TypeVariable:
    if variable.group is not None:
        return {"name": variable.name, "group": variable.group, "value": variable.value}
    return {"name": variable.name, "ptype": variable.ptype or "", "value": variable.value}


def _entries(entries: JsonObject) -> dict[str, documents_releases.Handler]:
    return {ptype: dict(cast("JsonObject", handler)) for ptype, handler in entries.items()}


def _condition(condition: JsonObject) -> documents_releases.ConditionDocument:
    return cast("documents_releases.ConditionDocument", dict(condition))  # made by domain.rollouts.condition
