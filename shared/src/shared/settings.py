"""Typed settings, read once from the environment at start. A value may also stand in a file: `<NAME>_FILE`.

A field that was known under a name without our prefix says so: `Field(..., json_schema_extra=legacy("OLD_NAME"))`.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, JsonValue, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared.errors import SuiteError

S = TypeVar("S", bound="ServiceSettings")
_LEGACY = "legacy_name"
_NUMBER = re.compile(r"\d+(\.\d+)?")


class SettingsError(SuiteError):
    """The process cannot start: its settings are missing or wrong. One line for each thing that is wrong."""

    code = "invalid-settings"
    status = 500
    title = "The settings are not usable"


class ServiceSettings(BaseSettings):
    """What every service needs to know. Subclasses set `model_config = SettingsConfigDict(env_prefix="BUILDER_")`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_ignore_empty=True, hide_input_in_errors=True)

    database_url: str | None = Field(
        None,
        repr=False,
        description="postgresql+asyncpg://user@/name?host=/socket/dir or postgresql+asyncpg://user:password@host/name",
    )
    bus_url: str = Field("memory://", repr=False, description="memory:// (one process) or amqp://user:password@host/")
    bind_host: str = Field("127.0.0.1", description="Address to listen on.")
    bind_port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    bind_socket: Path | None = Field(None, description="Unix socket to listen on instead of host and port.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: Literal["json", "console"] = Field("json", description="json for machines, console for people.")
    database_pool_size: int = Field(10, ge=1, le=100, description="Most database connections, opened as needed.")

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
            raise ValueError("use DEBUG, INFO, WARNING, ERROR or CRITICAL")
        return value.upper()

    @field_validator("database_url")
    @classmethod
    def _known_driver(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("postgresql+asyncpg://"):
            raise ValueError("must start with postgresql+asyncpg://")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _seconds(cls, value: object, info: ValidationInfo) -> object:
        """Durations may stand in the environment as a number of seconds; pydantic itself takes ISO 8601 only."""
        field = cls.model_fields.get(info.field_name or "")
        if field is not None and field.annotation is timedelta and isinstance(value, str) and _NUMBER.fullmatch(value):
            return float(value)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic-settings passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic-settings passes it by name
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, _FileSource(settings_cls), _LegacySource(settings_cls))


class _FileSource(PydanticBaseSettingsSource):
    """Reads `<PREFIX><FIELD>_FILE`: the path of a file, a mounted secret, with the value; a last newline is cut."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        prefix = self.config.get("env_prefix") or ""
        path = os.environ.get(f"{prefix}{field_name}_FILE".upper())
        if not path:
            return None, field_name, False
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as exc:
            raise SettingsError(f"{prefix}{field_name}_FILE".upper() + f": cannot read {path}: {exc.strerror}") from exc
        return text.removesuffix("\n"), field_name, self.field_is_complex(field)

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            raw, key, is_complex = self.get_field_value(field, name)
            if raw is not None:
                told = f"{self.config.get('env_prefix') or ''}{name}_FILE".upper()
                values[key] = _prepared(self, name, field, raw, is_complex, told=told)
        return values


class _LegacySource(PydanticBaseSettingsSource):
    """Reads the names without our prefix that some fields have besides; an empty value counts as none."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = legacy_name(field)
        return (os.environ.get(name) or None) if name else None, field_name, self.field_is_complex(field)

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            raw, key, is_complex = self.get_field_value(field, name)
            if raw is not None:
                values[key] = _prepared(self, name, field, raw, is_complex, told=str(legacy_name(field)))
        return values


def _prepared(
    source: PydanticBaseSettingsSource, name: str, field: FieldInfo, raw: Any, is_complex: bool, *, told: str
) -> Any:
    try:
        return source.prepare_field_value(name, field, raw, is_complex)
    except ValueError:
        raise SettingsError(f"{told}: must be JSON") from None


def legacy(name: str) -> dict[str, JsonValue]:
    """What a field says of the name that it had before, which works as well."""
    return {_LEGACY: name}


def legacy_name(field: FieldInfo) -> str | None:
    """The name that a field had before, if it had one."""
    extra = field.json_schema_extra
    return str(extra[_LEGACY]) if isinstance(extra, dict) and _LEGACY in extra else None


def load_settings(cls: type[S], **overrides: Any) -> S:
    """The settings of a service from `overrides`, the environment and files, in this order of precedence.

    Raises:
        SettingsError: with one line for each thing that is wrong; values are not repeated in it.
    """
    try:
        return cls(**overrides)
    except ValidationError as exc:
        prefix = str(cls.model_config.get("env_prefix") or "")
        lines = [_explain(cls, error, prefix) for error in exc.errors(include_input=False, include_url=False)]
        raise SettingsError("\n".join(lines)) from None
    except ValueError as exc:  # an environment variable that should be JSON and is not
        raise SettingsError(str(exc)) from None


def _explain(cls: type[ServiceSettings], error: ErrorDetails, prefix: str) -> str:
    path = [str(part) for part in error["loc"]] or ["settings"]
    name = _name_in_use(cls, path[0], prefix) + "".join(f".{part}" for part in path[1:])
    if error["type"] == "missing":
        return f"{name}: is required; set it in the environment, or {name}_FILE to a file that holds it"
    if error["type"] == "extra_forbidden":
        return f"{name}: there is no such setting"
    return f"{name}: {error['msg'].removeprefix('Value error, ')}"


def _name_in_use(cls: type[ServiceSettings], field_name: str, prefix: str) -> str:
    """The name under which the environment gives this field, our own when none does."""
    own = f"{prefix}{field_name}".upper()
    field = cls.model_fields.get(field_name)
    old = None if field is None else legacy_name(field)
    is_old = old is not None and os.environ.get(old) and not (os.environ.get(own) or os.environ.get(f"{own}_FILE"))
    return old if old is not None and is_old else own
