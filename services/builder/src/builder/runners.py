"""Picks the runner that the settings name."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx

from builder.domain.builders import Reference
from builder.domain.images import is_below
from builder.registry.client import Account, RegistryClient
from builder.registry.images import RegistryImages
from builder.runner.kubernetes.config import KubernetesRunnerConfig
from builder.runner.kubernetes.tokens import docker_auth
from builder.runner.local.config import LocalRunnerConfig
from builder.runner.local.runner import LocalRunner
from builder.runner.port import Runner
from builder.settings import Settings
from builder.storage.settings import storage_of
from shared.http import create_client
from shared.settings import SettingsError

if TYPE_CHECKING:
    from builder.runner.kubernetes.sources import Sources


@dataclass(frozen=True)
class SourceDoor:
    """Where builds in a cluster fetch their source, and the key of the tokens with which they do."""

    sources: Sources
    token_key: bytes = field(repr=False)


@dataclass(frozen=True)
class Running:
    """A runner that has been started; `door` is None for one whose builds need none, and `images` for one that has no
    registry."""

    runner: Runner
    door: SourceDoor | None = None
    images: RegistryImages | None = None


@asynccontextmanager
async def running_runner(settings: Settings) -> AsyncIterator[Running]:
    """The runner of this installation, during the block.

    Raises:
        SettingsError: something that it needs is not set.
        InvalidInputError, ClusterError: the cluster cannot be reached, or not by us.
    """
    if settings.runner == "local":
        yield Running(_local(settings))
        return
    # Loaded only where it is used: the libraries of the cluster and of storage are large.
    from builder.runner.kubernetes.runner import KubernetesRunner  # noqa: PLC0415
    from builder.runner.kubernetes.sources import Sources  # noqa: PLC0415
    from builder.storage.archives import Archives  # noqa: PLC0415
    from shared.kubernetes.transport import InCluster, Kubeconfig  # noqa: PLC0415

    config = _kubernetes(settings)
    storage = storage_of(settings)
    if storage is None:
        raise SettingsError("BUILDER_STORAGE_URL: is required by the kubernetes runner; it keeps the source of builds")
    sources = Sources(Archives(storage), max_bytes=settings.build_disk_bytes)
    access = Kubeconfig(settings.kubeconfig, settings.kube_context) if settings.kubeconfig else InCluster()
    runner = KubernetesRunner(access, config, sources)
    try:
        await runner.start()
        async with create_client(base_url=f"https://{settings.registry}") as client:
            yield Running(runner, SourceDoor(sources, config.source_token_key), _images(settings, client))
    finally:
        await runner.close()


def _images(settings: Settings, client: httpx.AsyncClient) -> RegistryImages:
    host, password = settings.registry, settings.registry_password
    account = Account(settings.registry_username, password.get_secret_value()) if password is not None else None
    registry = RegistryClient(client, host=host, is_insecure=host in settings.insecure_registries, account=account)
    return RegistryImages(registry, host=host, organization=settings.registry_organization)


def _local(settings: Settings) -> Runner:
    return LocalRunner(
        LocalRunnerConfig(workspaces=settings.workspaces, caches=settings.caches, process_mark=settings.process_mark)
    )


def _kubernetes(settings: Settings) -> KubernetesRunnerConfig:
    for name in ("registry", "imagebuilder_image", "builder_image", "run_image", "source_token_key"):
        if not getattr(settings, name):
            raise SettingsError(f"BUILDER_{name.upper()}: is required by the kubernetes runner")
    _check_no_app_pushes_ours(settings)
    key = settings.source_token_key.get_secret_value() if settings.source_token_key is not None else ""
    return KubernetesRunnerConfig(
        namespace=settings.build_namespace,
        registry=settings.registry,
        organization=settings.registry_organization,
        source_url=settings.source_url,
        imagebuilder_image=settings.imagebuilder_image,
        source_token_key=key.encode(),
        registry_auth=_registry_auth(settings),
        builder_image=settings.builder_image,
        run_image=settings.run_image,
        registry_account=_registry_account(settings),
        builder_images=tuple(settings.builder_images),
        builder_run_images=settings.builder_run_images,
        insecure_registries=tuple(settings.insecure_registries),
        registry_mirrors=settings.registry_mirrors,
        pull_policy=settings.imagebuilder_pull_policy,
        image_pull_secrets=tuple(settings.pod_image_pull_secrets),
        node_selector=settings.node_selector,
        cpu_request=settings.build_cpu_request,
        cpu_limit=settings.build_cpu_limit,
        memory_request=settings.build_memory_request,
        memory_limit=settings.build_memory_limit,
        start_timeout=settings.build_start_timeout,
        ttl=settings.build_ttl,
    )


def _check_no_app_pushes_ours(settings: Settings) -> None:
    """Below an organization an app may be called like an image of ours, whose tags its builds could set then."""
    for name in ("imagebuilder_image", "builder_image", "run_image"):
        try:
            image = Reference.parse(getattr(settings, name))
        except ValueError:  # a name that the cluster will not like either
            continue
        if image.host == settings.registry and is_below(settings.registry_organization, image.path):
            place = f"{settings.registry}/{settings.registry_organization}"
            raise SettingsError(
                f"BUILDER_{name.upper()}: {image.repository} is where an app of that name would have its images; "
                f"choose a name that no app can have, e.g. {place}/workflow_images"
            )


def _registry_account(settings: Settings) -> tuple[str, str] | None:
    """The account with which we read at our registry."""
    if settings.registry_password is None:
        return None
    return settings.registry_username, settings.registry_password.get_secret_value()


def _registry_auth(settings: Settings) -> str | None:
    """The docker auth file with which all builds push; None where each has its own."""
    if settings.registry_token_key is not None:
        return None
    if settings.registry_password is None:
        return json.dumps({"auths": {}})
    return docker_auth(settings.registry, settings.registry_username, settings.registry_password.get_secret_value())
