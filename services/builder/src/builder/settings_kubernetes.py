"""What the operator chooses for builds in a cluster. The names of before are those of builder.md 11."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from builder.domain.builders import check_pattern
from builder.domain.images import is_organization
from shared.settings import ServiceSettings, legacy

_LABEL = re.compile(r"(?P<key>[A-Za-z0-9][A-Za-z0-9_./-]*):(?P<value>[A-Za-z0-9_.-]*)")

# Of Secrets (RFC 1123, subdomain).
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


class KubernetesSettings(ServiceSettings):
    """The part of the builder's settings that only clusters have."""

    kubeconfig: Path | None = Field(
        None,
        description="kubernetes runner: the cluster and who we are there; none: those of the pod that this runs in.",
    )
    kube_context: str | None = Field(None, description="kubernetes runner: a context of kubeconfig; none: its current.")
    build_namespace: str = Field("workflow-builds", description="kubernetes runner: where build Jobs run.")
    registry: str = Field(
        "",
        description="kubernetes runner: host[:port] of the registry, as builds and the cluster's machines reach it.",
        json_schema_extra=legacy("DRYCC_REGISTRY_HOST"),
    )
    registry_organization: str = Field(
        "",
        description="kubernetes runner: where in the registry the platform may push, as my-team or project/images: "
        "images of apps are <registry>/<organization>/<app> then; empty: <registry>/<app>/<app>.",
        json_schema_extra=legacy("DRYCC_REGISTRY_ORGANIZATION"),
    )
    registry_username: str = Field(
        "",
        description="kubernetes runner: account that pushes images; empty: the registry asks for none.",
        json_schema_extra=legacy("DRYCC_REGISTRY_USERNAME"),
    )
    registry_password: SecretStr | None = Field(
        None, description="kubernetes runner: its password.", json_schema_extra=legacy("DRYCC_REGISTRY_PASSWORD")
    )
    registry_token_key: SecretStr | None = Field(
        None,
        description="kubernetes runner: with this key (PEM, EC P-256) we sign the tokens of a registry with token "
        "authentication, and each build gets an account of its own; none: builds push with the account above.",
    )
    registry_token_certificate: str = Field(
        "", description="kubernetes runner: its certificate (PEM), which the registry has in rootcertbundle."
    )
    registry_token_issuer: str = Field(
        "workflow-builder", description="kubernetes runner: issuer of these tokens, as in the registry's configuration."
    )
    registry_token_service: str = Field(
        "registry", description="kubernetes runner: service of these tokens, as in the registry's configuration."
    )
    registry_shared: Annotated[list[str], NoDecode] = Field(
        default=["library/", "workflow/"],
        description="kubernetes runner: with such tokens, what the names of repositories begin with that all builds "
        "may pull, with commas between.",
    )
    registry_pull_username: str = Field(
        "", description="kubernetes runner: with such tokens, account of machines, which pulls everything."
    )
    registry_pull_password: SecretStr | None = Field(
        None, description="kubernetes runner: its password; none: there is no such account."
    )
    insecure_registries: list[str] = Field(
        default=[], description="kubernetes runner: registries that speak plain HTTP, host:port each."
    )
    registry_mirrors: dict[str, str] = Field(
        default={},
        description="kubernetes runner: where images of a registry are looked up first, as JSON: "
        '{"docker.io": "mirror.example.org:5000"}.',
    )
    imagebuilder_image: str = Field("", description="kubernetes runner: the image that builds images.")
    imagebuilder_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent",
        description="kubernetes runner: when machines pull that image.",
        json_schema_extra=legacy("IMAGEBUILDER_IMAGE_PULL_POLICY"),
    )
    pod_image_pull_secrets: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="kubernetes runner: names of Secrets in the namespace of builds (kubernetes.io/dockerconfigjson) "
        "with which machines pull the images that builds run in, with commas between.",
    )
    builder_image: str = Field(
        "", description="kubernetes runner: image of the buildpacks, for apps without Dockerfile."
    )
    run_image: str = Field("", description="kubernetes runner: image that these run on.")
    builder_images: Annotated[list[str], NoDecode] = Field(
        default=[],
        description="kubernetes runner: builder images that apps may choose (.packbuilder, project.toml), with commas "
        "between; * is anything but /, * alone any image: docker.io/paketobuildpacks/*. None: only the platform's own.",
    )
    builder_run_images: dict[str, str] = Field(
        default={},
        description="kubernetes runner: on what apps of chosen builder images run, by such a pattern, as JSON; for "
        "others what the image itself names.",
    )
    source_url: str = Field(
        "http://builder:8092", description="kubernetes runner: this service's HTTP interface, as builds reach it."
    )
    source_token_key: SecretStr | None = Field(
        None,
        min_length=32,
        description="kubernetes runner: makes the tokens with which builds fetch their source, and the passwords of "
        "accounts of their own; the same in all processes and after a new start.",
    )
    pod_node_selector: str = Field(
        "", description="kubernetes runner: labels of machines that builds run on: pool:testing,disk:magnetic."
    )
    build_cpu_request: str = Field("100m", description="kubernetes runner: CPU that a build gets for certain.")
    build_cpu_limit: str = Field("2", description="kubernetes runner: CPU that a build gets at most.")
    build_memory_request: str = Field("256Mi", description="kubernetes runner: memory that a build gets for certain.")
    build_memory_limit: str = Field("2Gi", description="kubernetes runner: memory that a build gets at most.")
    build_start_timeout: timedelta = Field(
        timedelta(minutes=15), description="kubernetes runner: a build that has not started by then has failed."
    )
    build_ttl: timedelta = Field(
        timedelta(hours=6),
        description="kubernetes runner: Jobs of builds stay so long at most when they have ended.",
        json_schema_extra=legacy("TTL_SECONDS_AFTER_FINISHED"),
    )

    @field_validator("pod_node_selector")
    @classmethod
    def _is_readable(cls, value: str) -> str:
        _labels(value)
        return value

    @field_validator("registry_organization")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if value and not is_organization(value):
            raise ValueError(
                f"{value!r} is no path of repositories (lower case, at most 128 characters); write e.g. my-team or "
                "project/images"
            )
        return value

    @field_validator("registry_shared", "builder_images", "pod_image_pull_secrets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [word for part in value.split(",") if (word := part.strip())] if isinstance(value, str) else value

    @field_validator("pod_image_pull_secrets")
    @classmethod
    def _are_names(cls, value: list[str]) -> list[str]:
        for name in value:
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"{name!r} is no name of a Secret; write e.g. registry-one,registry-two")
        return value

    @field_validator("builder_images", "builder_run_images")
    @classmethod
    def _can_fit(cls, value: list[str] | dict[str, str]) -> list[str] | dict[str, str]:
        for pattern in value:
            check_pattern(pattern)
        return value

    @property
    def node_selector(self) -> Mapping[str, str]:
        """The labels of `pod_node_selector`."""
        return _labels(self.pod_node_selector)


def _labels(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _LABEL.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is not of the form key:value; write e.g. pool:testing,disk:magnetic")
        found[match["key"]] = match["value"]
    return found
