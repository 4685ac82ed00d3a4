"""What the operator chooses for apps on Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from controller.domain.plans import Catalog
from controller.domain.plans_file import shipped_catalog

PodSecurityLevel = Literal["privileged", "baseline", "restricted"]
GatewayListeners = Literal["listeners", "xlistenersets", "listenersets"]
"""Where listeners with a host name stand: in the Gateway, which has 64 at most, or in sets of their own, one for each
host name, of the experimental channel (Gateway API 1.3 and 1.4) or of the standard one (from 1.5 on)."""


@dataclass(frozen=True)
class RegistryCredentials:
    """Who may pull from a registry. `host` as images name it; empty means Docker Hub."""

    host: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Account:
    """A service account of the platform: who a process of the controller is in the cluster."""

    namespace: str
    name: str


@dataclass(frozen=True)
class PlatformCertificate:
    """A Secret of type `kubernetes.io/tls` with the operator's certificate for `*.<app_domain>`. A ReferenceGrant in
    its namespace has to let Gateways of the apps' namespaces use it."""

    namespace: str
    name: str


@dataclass(frozen=True)
class KubernetesConfig:
    """Everything has a default that works on a plain cluster; names of settings are those of kubernetes.md 3.

    `gateway_class` and `storage_class` empty: no gateways are made, the cluster's default class counts. `dns_policy`
    empty: the cluster's. `revision_history_limit` and `deploy_batches` None: 10 and a surge of 25 %; an app's own
    variables win over these two and over `image_pull_policy`. `registry` is for every image of an app without
    credentials of its own. `app_domain`: apps answer on `<app>.<app_domain>`, and the gateways of all apps share one
    entry, so that no route of an app takes requests for every host; with `platform_certificate` over HTTPS as well.
    `acme_ca_bundle`: base64 of the PEM certificates that the servers of automatic certificates are checked with; empty:
    those that cert-manager trusts. `gateway_namespaces` and `platform_namespace` may reach every app when
    `network_policy` is on, and so may all
    addresses but `private_networks`. `start_deadline` is how long new instances may take beyond what their probes
    allow, where the app says nothing. What takes requests is told to stop `drain_delay` after it was taken out of the
    routing, so that none is lost; 0 for clusters before 1.30.

    `worker_account` gets its rights in the namespace of each app (see `rbac`), and `api_account` those of a process of
    the API beside it; without the latter the worker gets both, as it is the API then. Neither: nobody gets any, which
    is for who may do everything already. `role_prefix` begins the names of the ClusterRoles.
    `is_worker` false: this process leaves writing apps to another one, and knows no Secrets.

    `filer_image` reaches the files of volumes for users: any with a POSIX shell and the usual small programs (`dd`,
    `find`, `head`, `stat`). It runs as `filer_user`, user and group, and ends when it has not been used for
    `filer_idle`; one in constant use makes way for another after `filer_duration`.
    """

    gateway_class: str = ""
    storage_class: str = ""
    volume_access_mode: Literal["ReadWriteMany", "ReadWriteOnce"] = "ReadWriteMany"
    oss_driver: str = "s3.csi.aws.com"
    dns_policy: str = ""
    image_pull_policy: str = "IfNotPresent"
    revision_history_limit: int | None = None
    deploy_batches: int | None = None
    start_deadline: timedelta = timedelta(seconds=120)
    drain_delay: timedelta = timedelta(seconds=5)
    pull_secret_prefix: str = "private-registry"  # noqa: S105 - a name
    registry: RegistryCredentials | None = None
    cluster_domain: str = "cluster.local"
    app_domain: str | None = None
    exec_timeout: timedelta = timedelta(hours=1)
    catalog: Catalog = field(default_factory=shipped_catalog)
    pod_security_level: PodSecurityLevel = "baseline"
    limit_range: bool = True
    network_policy: bool = False
    platform_namespace: str = "drycc"
    gateway_namespaces: tuple[str, ...] = ()
    private_networks: tuple[str, ...] = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
    gateway_listeners: GatewayListeners = "listeners"
    platform_certificate: PlatformCertificate | None = None
    acme_ca_bundle: str = ""
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    worker_account: Account | None = None
    api_account: Account | None = None
    role_prefix: str = "workflow-controller"
    is_worker: bool = True
    filer_image: str = "busybox:1"
    filer_pull_policy: str = "IfNotPresent"
    filer_user: int = 1001
    filer_duration: timedelta = timedelta(hours=1)
    filer_idle: timedelta = timedelta(minutes=20)
