"""A builder image of somebody else, and what its apps run on, in the cluster's registry."""

from __future__ import annotations

from typing import Final

from support.cluster_image import IMAGES, REGISTRY, hash_of, made_image, of_pods

DIRECTORY: Final = IMAGES / "chosen"
REPOSITORY: Final = "acme/builder"


def chosen_builder() -> str:
    """Its name for pods."""
    run = of_pods(_made("run", "acme/run"))
    return of_pods(_made("builder", REPOSITORY, f"--build-arg=RUN_IMAGE={run}"))


def _made(kind: str, repository: str, *options: str) -> str:
    base = f"--build-arg=BASE={REGISTRY}/library/busybox:1"
    file = f"--file={DIRECTORY / f'Dockerfile.{kind}'}"
    return made_image(repository, hash_of(DIRECTORY), DIRECTORY, "--format=docker", base, file, *options)
