"""The operator's choices that the rules need; made from the settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from controller.domain.plans import Catalog
from controller.domain.plans_file import shipped_catalog

DEFAULT_DEPLOY_TIMEOUT = timedelta(seconds=120)
MOST_SECONDS = 10**7
"""Longer than anybody waits, and short enough to be added to any date; what is longer counts as this."""


@dataclass(frozen=True)
class Policy:
    """`app_domain`: apps answer on `<app>.<app_domain>`, None when the engine routes nothing. `app_url_template`:
    `http://{app}.localhost:8080`, None when release events are to name no URL. `platform_hosts`: host names of the
    platform itself, which no app may have; services answer on `<service>.<app>.svc.<cluster_domain>`. `default_tags`
    are labels below every app's own; `quota` is the spec of a ResourceQuota for each app. `reject_missing_procfile` and
    `remove_missing_procfile`: what a build without a Procfile means after one that had one (controller-api.md 4.9).
    `releases_kept`: so many of an app's newest releases that did not fail can be rolled back to, None: all of them."""

    reserved_names: Collection[str] = field(default_factory=frozenset)
    deploy_timeout: timedelta = DEFAULT_DEPLOY_TIMEOUT
    pipeline_run_timeout: timedelta = timedelta(seconds=3600)
    grace_period: timedelta = timedelta(seconds=30)
    max_job_ttl: timedelta = timedelta(seconds=7200)
    max_jobs: int = 100
    max_replicas: int = 100
    min_volume_gib: int = 1
    max_volume_gib: int = 16384
    catalog: Catalog = field(default_factory=shipped_catalog)
    app_domain: str | None = None
    app_url_template: str | None = None
    platform_hosts: Collection[str] = field(default_factory=frozenset)
    cluster_domain: str = "cluster.local"
    default_tags: Mapping[str, str] = field(default_factory=dict)
    quota: Mapping[str, object] | None = None
    reject_missing_procfile: bool = False
    remove_missing_procfile: bool = True
    releases_kept: int | None = None

    def app_url(self, app: str) -> str | None:
        """Where people reach the app, if anywhere."""
        return self.app_url_template.format(app=app) if self.app_url_template else None

    def job_timeout(self, own_seconds: int | None) -> timedelta:
        """How long a command of the release phase may take."""
        return self.pipeline_run_timeout if own_seconds is None else timedelta(seconds=min(own_seconds, MOST_SECONDS))
