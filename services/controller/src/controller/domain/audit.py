"""The audit trail: who did what, from where, and what it was before and after. No secret is ever in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from controller.domain.releases import ConfigData

HIDDEN: Final = "***"


@dataclass(frozen=True)
class Origin:
    """Where a change came from: `source` is api, builder or worker; `address` that of the client, if there was one."""

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


def config_facts(before: ConfigData, after: ConfigData) -> tuple[dict[str, object], dict[str, object]]:
    """The parts of two configs that differ, values and registry passwords hidden."""
    old, new = _visible(before), _visible(after)
    changed = [name for name in new if old[name] != new[name]]
    hidden = {name for name in ("values", "registry") if getattr(before, name) != getattr(after, name)}
    names = sorted({*changed, *hidden})
    return {name: old[name] for name in names}, {name: new[name] for name in names}


def _visible(data: ConfigData) -> dict[str, object]:
    plain = (
        "values_refs", "lifecycle_post_start", "lifecycle_pre_stop", "tags", "limits", "healthcheck",
        "termination_grace_period",
    )  # fmt: skip
    return {
        "values": {_scoped(value.name, value.group, value.ptype): HIDDEN for value in data.values},
        "registry": {
            ptype: {key: text if key == "username" else HIDDEN for key, text in entry.items()}
            for ptype, entry in data.registry.items()
        },
        **{name: getattr(data, name) for name in plain},
    }


def _scoped(name: str, group: str | None, ptype: str | None) -> str:
    return f"{name} ({ptype})" if group is None else f"{name} (group {group})"
