"""Rows to spec: what an app should be, made of what is stored. Pure; the same rows give the same spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from controller.domain.apps import App, AppSettings
from controller.domain.builds import ReleaseJob, Start, start_of
from controller.domain.config_values import DEPLOY_TIMEOUT, GRACE_PERIOD, PORT, port_of, seconds_of, user_env
from controller.domain.domains import full_host
from controller.domain.ingress import IngressState
from controller.domain.names import WEB
from controller.domain.plans import Catalog
from controller.domain.policy import DEFAULT_DEPLOY_TIMEOUT, Policy
from controller.domain.probes import liveness_of, readiness_of
from controller.domain.releases import Build, ConfigData, ProcessTarget, ReleaseBundle
from controller.domain.render_network import render_network
from controller.domain.spec import AppSpec, Autoscale, ProcessSpec, RouteSpec
from controller.domain.volumes import Volume, mounts_of, volume_spec

MOST_SUMMARY_BYTES = 32 * 1024


@dataclass(frozen=True)
class AppState:
    """Everything stored about what an app should run. `bundles` holds each release that a target names."""

    app: App
    settings: AppSettings
    targets: tuple[ProcessTarget, ...]
    bundles: Mapping[int, ReleaseBundle]
    volumes: tuple[Volume, ...] = ()
    ingress: IngressState = field(default_factory=IngressState)


def render(state: AppState, policy: Policy) -> AppSpec:
    """What the engine is to make of the app. Process types without a deployed release are not in it; of a blocked app
    nothing runs, whatever is written down for the time after that."""
    processes = []
    for target in sorted(state.targets, key=lambda target: target.ptype):
        bundle = state.bundles.get(target.release) if target.release is not None else None
        if bundle is not None and bundle.build is not None:
            process = render_process(state.app.name, bundle, bundle.build, target.ptype, policy, volumes=state.volumes)
            replicas = target.replicas if state.app.blocked is None else 0
            processes.append(replace(process, replicas=replicas, restart_token=target.restart_token))
    return AppSpec(
        app=state.app.name,
        processes=tuple(processes),
        routes=_routes(state, processes, policy),
        network=render_network(state.ingress),
        volumes=tuple(sorted(map(volume_spec, state.volumes), key=lambda volume: volume.name)),
        autoscale=_autoscale(state.settings, processes),
        quota=policy.quota,
    )


def render_process(
    app: str, bundle: ReleaseBundle, build: Build, ptype: str, policy: Policy, *, volumes: Sequence[Volume] = ()
) -> ProcessSpec:
    """One process type of one release, with one replica; `volumes` are those of the app."""
    return _process(app, bundle, build, ptype, start=start_of(build, ptype), policy=policy, volumes=volumes)


def render_job(
    app: str, bundle: ReleaseBundle, build: Build, job: ReleaseJob, policy: Policy, *, volumes: Sequence[Volume] = ()
) -> ProcessSpec:
    """A command of the release phase: its own start, all else as the process type has it."""
    process = _process(app, bundle, build, job.ptype, start=job.start, policy=policy, volumes=volumes)
    return replace(process, readiness=None, liveness=None, must_listen=False)


def platform_env(app: str, bundle: ReleaseBundle) -> dict[str, str]:
    """The variables that every process is told about itself; a user's own win over them (4.6)."""
    release = bundle.release
    return {
        "DRYCC_APP": app,
        "WORKFLOW_RELEASE": f"v{release.version}",
        "WORKFLOW_RELEASE_SUMMARY": _cut(release.summary or ""),
        "WORKFLOW_RELEASE_CREATED_AT": _timestamp(release.created),
        "SOURCE_VERSION": bundle.build.sha if bundle.build else "",
    }


def is_changed(before: ReleaseBundle, after: ReleaseBundle, ptype: str, catalog: Catalog) -> bool:
    """Whether `ptype` differs between two releases: its config, its variables or its start (4.13)."""
    if _entries(before.config.data, ptype, catalog) != _entries(after.config.data, ptype, catalog):
        return True
    if user_env(before.config.data, ptype) != user_env(after.config.data, ptype):
        return True
    return _start(before.build, ptype) != _start(after.build, ptype)


def deploy_budget(process: ProcessSpec, policy: Policy) -> timedelta:
    """How long a rollout may go without progress on this type: DRYCC_DEPLOY_TIMEOUT and what its probes allow."""
    own = seconds_of(process.env, DEPLOY_TIMEOUT)
    base = timedelta(seconds=own) if own is not None else policy.deploy_timeout
    return base + max((probe.budget for probe in (process.readiness, process.liveness) if probe), default=timedelta(0))


def _process(
    app: str,
    bundle: ReleaseBundle,
    build: Build,
    ptype: str,
    *,
    start: Start,
    policy: Policy,
    volumes: Sequence[Volume],
) -> ProcessSpec:
    config = bundle.config.data
    plan = policy.catalog.plan_of(config.limits.get(ptype))
    env = {**platform_env(app, bundle), **user_env(config, ptype)}
    port = port_of(env)
    healthcheck = config.healthcheck.get(ptype, {})
    return ProcessSpec(
        ptype=ptype,
        replicas=1,
        release=bundle.release.version,
        image=start.image,
        stack=build.stack,
        command=start.command,
        args=start.args,
        shell=start.shell,
        env={**env, PORT: str(port)},
        port=port,
        readiness=readiness_of(healthcheck),
        liveness=liveness_of(healthcheck),
        memory_bytes=plan.memory_bytes,
        grace_period=_grace_period(config, ptype, env, policy),
        must_listen=ptype == WEB,
        start_deadline=_start_deadline(env, policy),
        plan=plan.id,
        tags={**policy.default_tags, **config.tags.get(ptype, {})},
        mounts=mounts_of(volumes, ptype),
        post_start=_handler(config.lifecycle_post_start, ptype),
        pre_stop=_handler(config.lifecycle_pre_stop, ptype),
        registry=config.registry.get(ptype) or None,
        healthcheck=healthcheck,
    )


def _handler(handlers: Mapping[str, object], ptype: str) -> Mapping[str, object] | None:
    entry = handlers.get(ptype)
    return entry if isinstance(entry, Mapping) and entry else None


def _autoscale(settings: AppSettings, processes: Sequence[ProcessSpec]) -> tuple[Autoscale, ...]:
    """The rules for what is deployed; nobody checked that `min` is not above `max` (4.18)."""
    rules = []
    for process in processes:
        entry = settings.autoscale.get(process.ptype)
        if isinstance(entry, Mapping):
            least, most = sorted(max(1, int(entry[bound])) for bound in ("min", "max"))
            rules.append(Autoscale(process.ptype, least, most, int(entry["cpu_percent"])))
    return tuple(rules)


def _start_deadline(env: Mapping[str, str], policy: Policy) -> timedelta | None:
    """What the user or else the operator says; the engine's own where neither says anything."""
    if seconds := seconds_of(env, DEPLOY_TIMEOUT):
        return timedelta(seconds=seconds)
    return None if policy.deploy_timeout == DEFAULT_DEPLOY_TIMEOUT else policy.deploy_timeout


def _grace_period(config: ConfigData, ptype: str, env: Mapping[str, str], policy: Policy) -> timedelta:
    text = config.termination_grace_period.get(ptype)
    seconds = int(text) if text else seconds_of(env, GRACE_PERIOD)
    return policy.grace_period if seconds is None else timedelta(seconds=seconds)


def _routes(state: AppState, processes: list[ProcessSpec], policy: Policy) -> tuple[RouteSpec, ...]:
    """Hosts for an edge that goes by whole names: the app's own, and its domains whose process type is deployed."""
    deployed = {process.ptype for process in processes}
    if policy.app_domain is None or not state.settings.routable:
        return ()
    hosts = {f"{state.app.name}.{policy.app_domain}": WEB}
    for domain in state.ingress.domains:
        if "*" not in domain.domain:
            hosts[full_host(domain.domain, policy.app_domain)] = domain.ptype
    return tuple(RouteSpec(host, ptype) for host, ptype in hosts.items() if ptype in deployed)


def _entries(config: ConfigData, ptype: str, catalog: Catalog) -> tuple[object, ...]:
    """All that is configured for one type; an empty entry counts as none, a missing plan as the default."""
    others = (config.tags, config.registry, config.healthcheck, config.termination_grace_period)
    lifecycle = (config.lifecycle_post_start, config.lifecycle_pre_stop)
    entries = tuple(dict(field).get(ptype) or None for field in (*others, *lifecycle))
    return (*entries, catalog.plan_of(config.limits.get(ptype)).id)


def _start(build: Build | None, ptype: str) -> Start | None:
    return start_of(build, ptype) if build is not None else None


def _cut(text: str) -> str:
    """As much of it as can stand in one variable of an environment beside all others."""
    return text.encode()[:MOST_SUMMARY_BYTES].decode(errors="ignore")


def _timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
