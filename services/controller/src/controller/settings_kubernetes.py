"""What the operator chooses for the engine `kubernetes`. The names of before are those of kubernetes.md 3."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from cryptography.x509 import load_pem_x509_certificates
from pydantic import Field, SecretStr, field_validator, model_validator

from shared.settings import ServiceSettings, legacy

_PART = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
NAMESPACED = rf"^{_PART}/{_PART}$"


class KubernetesSettings(ServiceSettings):
    """The part of the controller's settings that only clusters have."""

    kubeconfig: Path | None = Field(
        None,
        description="kubernetes engine: the cluster and who we are there; none: those of the pod that this runs in.",
    )
    kube_context: str | None = Field(None, description="kubernetes engine: a context of kubeconfig; none: its current.")
    platform_namespace: str = Field(
        "drycc",
        description="kubernetes engine: where the platform itself runs.",
        json_schema_extra=legacy("WORKFLOW_NAMESPACE"),
    )
    worker_account: str | None = Field(
        None,
        pattern=NAMESPACED,
        description="kubernetes engine: namespace/name of the worker's service account, which gets its rights in the "
        "namespace of each app; none: it may do everything already.",
    )
    api_account: str | None = Field(
        None, pattern=NAMESPACED, description="kubernetes engine: the same for the API, when it has no worker in it."
    )
    role_prefix: str = Field(
        "workflow-controller", pattern=f"^{_PART}$", description="kubernetes engine: how our ClusterRoles begin."
    )

    gateway_class: str = Field(
        "",
        description="kubernetes engine: GatewayClass of the apps' gateways; empty: apps have none.",
        json_schema_extra=legacy("DRYCC_APP_GATEWAY_CLASS"),
    )
    gateway_listeners: Literal["listeners", "xlistenersets", "listenersets"] = Field(
        "listeners",
        description="kubernetes engine: where listeners of host names stand: in the Gateway, which has 64 at most, or "
        "in sets of their own (XListenerSet, or ListenerSet from Gateway API 1.5 on).",
    )
    gateway_namespaces: list[str] = Field(
        default=[], description="kubernetes engine: namespaces from which requests come, for network_policy."
    )
    platform_certificate: str | None = Field(
        None,
        pattern=NAMESPACED,
        description="kubernetes engine: namespace/name of a Secret with a certificate for *.<app_domain>.",
    )
    acme_ca_file: Path | None = Field(
        None,
        description="kubernetes engine: PEM certificates that ACME servers are checked with, in place of those that "
        "cert-manager trusts; for servers of your own. Read at start.",
    )

    storage_class: str = Field(
        "",
        description="kubernetes engine: StorageClass of volumes of type csi; empty: the cluster's own.",
        json_schema_extra=legacy("DRYCC_APP_STORAGE_CLASS"),
    )
    volume_access_mode: Literal["ReadWriteMany", "ReadWriteOnce"] = Field(
        "ReadWriteMany", description="kubernetes engine: access mode of volumes of type csi."
    )
    filer_image: str = Field(
        "busybox:1",
        min_length=1,
        description="kubernetes engine: image with a shell, to reach the files of volumes.",
        json_schema_extra=legacy("DRYCC_FILER_IMAGE"),
    )
    filer_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent",
        description="kubernetes engine: when that image is pulled.",
        json_schema_extra=legacy("DRYCC_FILER_IMAGE_PULL_POLICY"),
    )
    filer_duration: timedelta = Field(
        timedelta(seconds=3600),
        description="kubernetes engine: longest life of what reaches the files of a volume.",
        json_schema_extra=legacy("DRYCC_FILER_DURATION"),
    )
    filer_idle: timedelta = Field(
        timedelta(seconds=1200),
        description="kubernetes engine: it ends when nobody has used it for so long.",
        json_schema_extra=legacy("DRYCC_FILER_WAITTIME"),
    )

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent",
        description="kubernetes engine: when images of apps are pulled.",
        json_schema_extra=legacy("IMAGE_PULL_POLICY"),
    )
    deploy_batches: int = Field(
        0,
        ge=0,
        le=9999,
        description="kubernetes engine: new instances that a rollout starts at a time; 0: a quarter of them.",
        json_schema_extra=legacy("DRYCC_DEPLOY_BATCHES"),
    )
    revision_history_limit: int | None = Field(
        None,
        ge=0,
        le=9999,
        description="kubernetes engine: ReplicaSets of before that are kept; none: the cluster's default, 10.",
        json_schema_extra=legacy("KUBERNETES_DEPLOYMENTS_REVISION_HISTORY_LIMIT"),
    )
    drain_delay: timedelta = Field(
        timedelta(seconds=5),
        ge=timedelta(),
        description="kubernetes engine: between the end of requests and SIGTERM; 0 for clusters before 1.30.",
    )
    dns_policy: Literal["", "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"] = Field(
        "", description="kubernetes engine: dnsPolicy of pods.", json_schema_extra=legacy("DRYCC_APP_DNS_POLICY")
    )
    pull_secret_prefix: str = Field(
        "private-registry",
        pattern=f"^{_PART}$",
        max_length=100,
        description="kubernetes engine: how the names of Secrets with registry credentials begin.",
        json_schema_extra=legacy("DRYCC_REGISTRY_SECRET_PREFIX"),
    )
    registry_host: str = Field("", description="kubernetes engine: registry of the images of apps; empty: Docker Hub.")
    registry_username: str = Field("", description="kubernetes engine: who pulls them, where an app says nothing.")
    registry_password: SecretStr | None = Field(None, description="kubernetes engine: with this password.")

    pod_security_level: Literal["privileged", "baseline", "restricted"] = Field(
        "baseline", description="kubernetes engine: Pod Security Standard that apps are held to."
    )
    network_policy: bool = Field(
        False, description="kubernetes engine: close apps to each other; they stay open to the gateways and the world."
    )
    private_networks: list[str] = Field(
        default=["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"],
        description="kubernetes engine: what is not the world, for network_policy.",
    )

    @field_validator("acme_ca_file")
    @classmethod
    def _has_certificates(cls, value: Path | None) -> Path | None:
        if value is not None:
            read_certificates(value)
        return value

    @field_validator("private_networks")
    @classmethod
    def _private_networks(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                ip_network(value)
            except ValueError:
                raise ValueError(f"{value} is no network; write e.g. 10.0.0.0/8") from None
        return values

    @field_validator("filer_duration", "filer_idle")
    @classmethod
    def _a_second_at_least(cls, value: timedelta) -> timedelta:
        if value < timedelta(seconds=1):
            raise ValueError("must be a second at least")
        return value

    @model_validator(mode="after")
    def _registry_is_complete(self) -> KubernetesSettings:
        if bool(self.registry_username) != (self.registry_password is not None):
            raise ValueError("CONTROLLER_REGISTRY_USERNAME and CONTROLLER_REGISTRY_PASSWORD go together")
        return self


def read_certificates(path: Path) -> bytes:
    """A file with certificates, as it is.

    Raises:
        ValueError: it cannot be used; the text says why in one line.
    """
    try:
        content = path.read_bytes()
        load_pem_x509_certificates(content)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except ValueError:
        raise ValueError(f"{path} must hold certificates in PEM") from None
    return content
