"""Picks the engine that the settings name."""

from __future__ import annotations

from base64 import b64encode
from typing import get_args

from controller.engine.memory import MemoryEngine
from controller.engine.port import Engine, Feature
from controller.settings import Settings, read_limits
from controller.settings_kubernetes import read_certificates


def make_engine(settings: Settings, *, is_worker: bool = True) -> Engine:
    """The engine of this installation, not started yet. `is_worker`: this process tells it what apps should be."""
    if settings.engine == "memory":
        return MemoryEngine(features=frozenset(get_args(Feature)))
    return _kubernetes(settings, is_worker) if settings.engine == "kubernetes" else _local(settings)


def _local(settings: Settings) -> Engine:
    """The engine that runs processes of this machine.

    Raises:
        ValueError: something that it needs is not set; `Settings` refuses that before.
    """
    # Loaded only where it is used: what it needs of the machine and of libraries, the other engines do not.
    from controller.engine.local import LocalEngine, LocalEngineConfig  # noqa: PLC0415

    mark, workspaces, logs, run_dir = settings.process_mark, settings.workspaces, settings.logs, settings.run_dir
    if mark is None or workspaces is None or logs is None or run_dir is None:
        raise ValueError("the local engine needs process_mark, workspaces, logs and run_dir")
    config = LocalEngineConfig(
        mark=mark,
        workspaces=workspaces,
        logs=logs,
        run_dir=run_dir,
        edge_dir=settings.edge_dir,
        app_domain=settings.app_domain or LocalEngineConfig.app_domain,
    )
    return LocalEngine(config)


def _kubernetes(settings: Settings, is_worker: bool) -> Engine:
    """The engine that runs apps in a cluster."""
    from controller.engine.kubernetes.config import (  # noqa: PLC0415 - as above
        Account,
        KubernetesConfig,
        PlatformCertificate,
        RegistryCredentials,
    )
    from controller.engine.kubernetes.engine import KubernetesEngine  # noqa: PLC0415
    from shared.kubernetes.transport import InCluster, Kubeconfig  # noqa: PLC0415

    password = settings.registry_password
    registry = None
    if password is not None:
        registry = RegistryCredentials(settings.registry_host, settings.registry_username, password.get_secret_value())
    worker, api = settings.worker_account, settings.api_account
    certificate, ca_file = settings.platform_certificate, settings.acme_ca_file
    config = KubernetesConfig(
        gateway_class=settings.gateway_class,
        gateway_listeners=settings.gateway_listeners,
        gateway_namespaces=tuple(settings.gateway_namespaces),
        acme_ca_bundle="" if ca_file is None else b64encode(read_certificates(ca_file)).decode(),
        platform_certificate=None if certificate is None else PlatformCertificate(*certificate.split("/")),
        storage_class=settings.storage_class,
        volume_access_mode=settings.volume_access_mode,
        filer_image=settings.filer_image,
        filer_pull_policy=settings.filer_pull_policy,
        filer_duration=settings.filer_duration,
        filer_idle=settings.filer_idle,
        dns_policy=settings.dns_policy,
        image_pull_policy=settings.image_pull_policy,
        revision_history_limit=settings.revision_history_limit,
        deploy_batches=settings.deploy_batches or None,
        start_deadline=settings.deploy_timeout,
        drain_delay=settings.drain_delay,
        pull_secret_prefix=settings.pull_secret_prefix,
        registry=registry,
        cluster_domain=settings.cluster_domain,
        app_domain=settings.app_domain,
        exec_timeout=settings.exec_timeout,
        catalog=read_limits(settings.limits_file),
        pod_security_level=settings.pod_security_level,
        network_policy=settings.network_policy,
        private_networks=tuple(settings.private_networks),
        platform_namespace=settings.platform_namespace,
        worker_account=None if worker is None else Account(*worker.split("/")),
        api_account=None if api is None else Account(*api.split("/")),
        role_prefix=settings.role_prefix,
        is_worker=is_worker,
    )
    kubeconfig = settings.kubeconfig
    access = InCluster() if kubeconfig is None else Kubeconfig(kubeconfig, settings.kube_context)
    return KubernetesEngine(access, config)
