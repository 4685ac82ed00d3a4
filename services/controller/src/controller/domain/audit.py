"""The audit trail: who did what, from where, and what it was before and after. No secret is ever in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from controller.domain.releases import ConfigData, ConfigValue

HIDDEN: Final = "***"
_FIELDS: Final = (
    "values", "values_refs", "registry", "lifecycle_post_start", "lifecycle_pre_stop", "tags", "limits", "healthcheck",
    "termination_grace_period",
)  # fmt: skip
_SECRET: Final = frozenset({"password", "command", "args", "httpHeaders"})


@dataclass(frozen=True)
class Origin:
    """Where a change came from: `source` is api, builder, manager, command or worker; `address` that of the client, if
    there was one."""

    source: str = "worker"
    address: str | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class AuditEntry:
    """One act. `action` is `<object>.<verb>`, `target` names the object within the app; `before` and `after` hold what
    changed, None where there was or is nothing."""

    uuid: UUID
    at: datetime
    app: str | None
    actor: str
    action: str
    target: str
    origin: Origin
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None


@dataclass(frozen=True)
class AuditFilter:
    """Which entries are wanted, newest first: `before` continues after the last one of an earlier answer, `since`
    leaves out what is older."""

    app: str | None = None
    actor: str | None = None
    action: str | None = None
    since: datetime | None = None
    before: UUID | None = None
    limit: int = 100


def config_facts(before: ConfigData, after: ConfigData) -> tuple[dict[str, object], dict[str, object]]:
    """The parts of two configs that differ, without what may be secret: of variables only the names of those that were
    changed, of registries no password, of probes and lifecycle handlers no command and no header."""
    names = [name for name in _FIELDS if getattr(before, name) != getattr(after, name)]
    sides: tuple[dict[str, object], dict[str, object]] = ({}, {})
    for name in names:
        for side, shown in zip(sides, _shown(name, before, after), strict=True):
            side[name] = shown
    return sides


def _shown(name: str, before: ConfigData, after: ConfigData) -> tuple[object, object]:
    if name == "values":
        return _changed_names(before.values, after.values), _changed_names(after.values, before.values)
    return _without_secrets(getattr(before, name)), _without_secrets(getattr(after, name))


def _changed_names(values: Sequence[ConfigValue], others: Sequence[ConfigValue]) -> dict[str, str]:
    return {_scoped(value): HIDDEN for value in values if value not in others}


def _scoped(value: ConfigValue) -> str:
    return f"{value.name} ({value.ptype})" if value.group is None else f"{value.name} (group {value.group})"


def _without_secrets(value: object, key: str = "") -> object:
    if key in _SECRET:
        return HIDDEN
    if isinstance(value, Mapping):
        return {name: _without_secrets(item, str(name)) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return value
