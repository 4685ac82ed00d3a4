"""Settings of the registry refresher; every one comes from an environment variable prefixed REGISTRY_REFRESHER_."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """What the registry refresher needs to know. It owns no database."""

    model_config = SettingsConfigDict(env_prefix="REGISTRY_REFRESHER_")

    interval_seconds: float = Field(300, gt=0, description="Time between two passes over all apps.")
