"""The page of all settings, made of the classes that read them: `python tests/support/settings_table.py` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from builder.settings import Settings as Builder
from controller.settings import Settings as Controller
from hooks.settings import Settings as Hooks
from passport.settings import Settings as Passport
from registry_refresher.settings import Settings as RegistryRefresher
from shared.settings import ServiceSettings, legacy_name

PAGE: Final = Path(__file__).parents[2] / "docs" / "settings.md"
SERVICES: Final[dict[str, type[ServiceSettings]]] = {
    "Controller": Controller,
    "Passport": Passport,
    "Builder": Builder,
    "Hooks": Hooks,
    "Registry refresher": RegistryRefresher,
}
_HEAD: Final = """# Settings for operators

Made from the code by `python tests/support/settings_table.py`; a test keeps both together.

Every service reads its settings once, at start, from the environment. Each can also stand in a file: `<NAME>_FILE`
is its path. Names in the column *also as* are those of the system that Workflow is compatible with; our own name wins
over them. Durations are numbers of seconds (or ISO 8601), lists and objects are JSON unless the text says otherwise.
What is wrong is told at start, all at once.

Standalone sets what its services need by itself; the rest can be set for it as well.

Some choices can be made per app besides, with `drycc config set`: `DRYCC_DEPLOY_TIMEOUT` (seconds that a rollout may
take), `KUBERNETES_POD_TERMINATION_GRACE_PERIOD_SECONDS`, and `PORT`, which the process is told to listen on; on
Kubernetes also `DRYCC_DEPLOY_BATCHES`, `IMAGE_PULL_POLICY` and `KUBERNETES_DEPLOYMENTS_REVISION_HISTORY_LIMIT`. What an
app says wins over the platform, and a process type's own variables over those of the app.
"""


def render() -> str:
    """The whole page."""
    parts = [_HEAD, "## Every service\n\nWith the prefix of the service: `CONTROLLER_`, `PASSPORT_` and so on.\n"]
    parts.append(_table(_rows(ServiceSettings, prefix="", inherited=())))
    for title, cls in SERVICES.items():
        prefix = str(cls.model_config.get("env_prefix") or "")
        inherited = tuple(
            name for name, field in ServiceSettings.model_fields.items() if _same(field, cls.model_fields[name])
        )
        parts.append(f"## {title}\n\n{_table(_rows(cls, prefix=prefix, inherited=inherited))}")
    return "\n".join(parts)


def _same(one: FieldInfo, other: FieldInfo) -> bool:
    return (one.default, one.description) == (other.default, other.description)


def _rows(cls: type[ServiceSettings], *, prefix: str, inherited: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for name, field in cls.model_fields.items():
        if name not in inherited:
            old = legacy_name(field)
            also = f"`{old}`" if old else ""
            yield f"`{prefix}{name}`".upper(), _default(field), also, _meaning(field)


def _meaning(field: FieldInfo) -> str:
    text = (field.description or "").replace("|", "\\|").replace("<", "&lt;")
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return f"{text} One of: {', '.join(choices)}." if choices else text


def _table(rows: Iterator[tuple[str, ...]]) -> str:
    head = "| name | default | also as | meaning |\n|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True) if field.default_factory is None else ()
    if value is PydanticUndefined:
        return "required"
    if value is None or isinstance(value, SecretStr) or value in ((), [], {}, ""):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
