"""The operator's choices that the rules need; made from the settings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

MOST_SECONDS = 10**7
"""Longer than anybody waits, and short enough to be added to any date; what is longer counts as this."""


@dataclass(frozen=True)
class Policy:
    """`app_domain`: apps answer on `<app>.<app_domain>`, None when the engine routes nothing. `app_url_template`:
    `http://{app}.localhost:8080`, None when release events are to name no URL."""

    reserved_names: Collection[str] = field(default_factory=frozenset)
    deploy_timeout: timedelta = timedelta(seconds=120)
    pipeline_run_timeout: timedelta = timedelta(seconds=3600)
    grace_period: timedelta = timedelta(seconds=30)
    max_job_ttl: timedelta = timedelta(seconds=7200)
    max_replicas: int = 100
    app_domain: str | None = None
    app_url_template: str | None = None

    def app_url(self, app: str) -> str | None:
        """Where people reach the app, if anywhere."""
        return self.app_url_template.format(app=app) if self.app_url_template else None

    def job_timeout(self, own_seconds: int | None) -> timedelta:
        """How long a command of the release phase may take."""
        return self.pipeline_run_timeout if own_seconds is None else timedelta(seconds=min(own_seconds, MOST_SECONDS))
