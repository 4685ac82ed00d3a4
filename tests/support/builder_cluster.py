"""Builders whose builds run in the cluster, under exactly the rights that `rbac` gives them there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pydantic import SecretStr

from builder.runner.kubernetes.rbac import render_namespace, render_rights
from controller.engine.kubernetes.config import Account
from support.build_source import address_of_machine
from support.buildpack_images import builder_image, run_image
from support.cluster_image import REGISTRY_OF_PODS
from support.cluster_rights import write_account_kubeconfig
from support.imagebuilder_image import imagebuilder_image
from support.kubectl import Kubectl

_NAME: Final = "builder"


@dataclass(frozen=True)
class BuildPlace:
    """A namespace of builds, and the file that says which cluster and that we are the builder that has rights there."""

    namespace: str
    kubeconfig: Path


@contextmanager
def build_place(kubectl: Kubectl, directory: Path) -> Iterator[BuildPlace]:
    """One that is gone afterwards; its kubeconfig is in `directory`. The account has a namespace of its own."""
    namespace = f"hi-builds-{uuid4().hex[:8]}"
    account = Account(f"{namespace}-account", _NAME)
    rights = render_rights(_NAME, namespace, account=account.name, account_namespace=account.namespace)
    place = BuildPlace(namespace, directory / "builder-kubeconfig")
    try:
        kubectl("create", "namespace", account.namespace)
        kubectl("create", "serviceaccount", account.name, "-n", account.namespace)
        for manifest in (render_namespace(namespace), *rights):
            kubectl("create", "-f", "-", stdin=json.dumps(manifest))
        write_account_kubeconfig(kubectl, account, place.kubeconfig)
        yield place
    finally:
        kubectl("delete", "namespace", namespace, account.namespace, "--wait=false", "--ignore-not-found")


def build_images() -> dict[str, str]:
    """What builds run, as settings of the builder; made when the registry does not have them."""
    return {"imagebuilder_image": imagebuilder_image(), "builder_image": builder_image(), "run_image": run_image()}


def build_settings(place: BuildPlace, images: Mapping[str, str], *, storage: Path, port: int) -> dict[str, Any]:
    """Settings of a builder whose HTTP interface its builds find at that port of this machine."""
    storage.mkdir(parents=True, exist_ok=True)
    return {
        "runner": "kubernetes",
        "kubeconfig": place.kubeconfig,
        "build_namespace": place.namespace,
        "registry": REGISTRY_OF_PODS,
        "insecure_registries": [REGISTRY_OF_PODS],
        "registry_mirrors": {"docker.io": REGISTRY_OF_PODS},
        **images,
        "source_url": f"http://{address_of_machine()}:{port}",
        "source_token_key": SecretStr("k" * 32),
        "storage_url": f"file://{storage}",
        "build_memory_limit": "1Gi",
    }
