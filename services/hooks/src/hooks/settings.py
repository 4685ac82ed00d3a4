"""Settings of the hooks service; every one comes from an environment variable with the prefix HOOKS_."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from hooks.domain.delivery import Target
from shared.settings import ServiceSettings, legacy


class Settings(ServiceSettings):
    """What the hooks service needs to know. URLs count as secrets: many receivers put a token into theirs."""

    model_config = SettingsConfigDict(env_prefix="HOOKS_")

    urls: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="Where to send deploy hooks: URLs separated by commas, or a JSON list of them.",
        json_schema_extra=legacy("DRYCC_DEPLOY_HOOK_URLS"),
    )
    secret: SecretStr | None = Field(
        None,
        description="Key of the signatures; without it hooks go out unsigned.",
        json_schema_extra=legacy("DRYCC_DEPLOY_HOOK_SECRET_KEY"),
    )
    connect_timeout_seconds: float = Field(5, gt=0, description="Limit for reaching a receiver.")
    timeout_seconds: float = Field(15, gt=0, le=600, description="Limit for one whole attempt.")
    give_up_after_seconds: float = Field(86_400, gt=0, description="Keep trying for this long.")
    keep_days: int = Field(30, ge=1, description="Keep the record of finished deliveries for this long.")
    concurrency: int = Field(16, ge=1, le=200, description="Deliveries sent at the same time.")
    passport_url: str = Field(description="Base URL under which passport is reached, for its public keys.")
    passport_socket: Path | None = Field(None, description="Unix socket of passport, instead of its host and port.")
    issuer: str = Field(description="Issuer of the access tokens that the API accepts.")

    @property
    def targets(self) -> tuple[Target, ...]:
        """The configured receivers, each once."""
        return tuple(dict.fromkeys(Target(url.get_secret_value()) for url in self.urls))

    @field_validator("urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if not value.lstrip().startswith("["):
            return [part.strip() for part in value.split(",") if part.strip()]
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            raise ValueError("begins like a JSON list but is none; URLs separated by commas will do") from None

    @field_validator("urls")
    @classmethod
    def _are_http_urls(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for number, url in enumerate(urls, start=1):
            if problem := _problem_with(url.get_secret_value()):
                raise ValueError(f"URL number {number} {problem}")
        return urls

    @field_validator("secret")
    @classmethod
    def _one_authorization_header(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        urls: tuple[SecretStr, ...] = info.data.get("urls", ())
        if secret is not None and any("@" in urlsplit(url.get_secret_value()).netloc for url in urls):
            raise ValueError(
                "the signature takes the Authorization header, so no URL in HOOKS_URLS can hold a user name and a "
                "password as well; take one of the two away"
            )
        return secret


def _problem_with(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        reachable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        reachable = False
    if not reachable or not url.isascii() or any(character.isspace() for character in url):
        return "is not an http:// or https:// URL with a host, in ASCII and without blanks"
    if parts.fragment or url.endswith("#"):
        return "has a fragment (#...), which is never sent; take it out"
    return None
