"""What the operator decides about builds in a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal


@dataclass(frozen=True)
class KubernetesRunnerConfig:
    """`namespace` is that of the build Jobs; `registry` is `host[:port]` as the build and the cluster's machines reach
    it, `organization` what the names of apps' repositories begin with there, if anything; `imagebuilder_image` runs our
    own steps, `builder_image` has the buildpacks, and apps built by these run on `run_image`; `source_url` is this
    builder's own HTTP interface as pods reach it; `registry_auth` is the docker auth file of all builds (JSON, a
    secret), None where each has an account of its own; `source_token_key` is what the tokens with which builds fetch
    their source are made of, and the passwords of those accounts.

    Apps may choose builder images that fit `builder_images` (patterns of `domain.builders`); `builder_run_images` says
    by such patterns what these run on, else the image does. `registry_account`, name and password, is our own there.
    `image_pull_secrets` are names of Secrets of the namespace, with which machines pull the images of containers.

    `insecure_registries` speak plain HTTP; `registry_mirrors` says where images of a registry are looked up first, as
    in `{"docker.io": "mirror.example.org"}`. Quantities (`cpu`, `memory`) are Kubernetes' own; requests are what a
    build gets for certain, limits the most.
    """

    namespace: str
    registry: str
    source_url: str
    imagebuilder_image: str
    builder_image: str
    run_image: str
    source_token_key: bytes = field(repr=False)
    organization: str = ""
    registry_auth: str | None = field(default='{"auths": {}}', repr=False)
    registry_account: tuple[str, str] | None = field(default=None, repr=False)
    builder_images: tuple[str, ...] = ()
    builder_run_images: Mapping[str, str] = field(default_factory=dict)
    insecure_registries: tuple[str, ...] = ()
    registry_mirrors: Mapping[str, str] = field(default_factory=dict)
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    node_selector: Mapping[str, str] = field(default_factory=dict)
    cpu_request: str = "100m"
    cpu_limit: str = "2"
    memory_request: str = "256Mi"
    memory_limit: str = "2Gi"
    start_timeout: timedelta = timedelta(minutes=15)
    ttl: timedelta = timedelta(hours=6)
