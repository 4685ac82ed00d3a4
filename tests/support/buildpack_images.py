"""Builder image and run image of the buildpack stack, in the cluster's registry."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from support.cluster_image import REGISTRY, hash_of, made_image, of_pods

DIRECTORY: Final = Path(__file__).parents[2] / "services/builder/imagebuilder/buildpacks"


def run_image() -> str:
    """Name for pods of the image that apps run in."""
    return of_pods(_run_image())


def builder_image() -> str:
    """Name for pods of the image that apps are built in."""
    base = _run_image()
    tag = hash_of(DIRECTORY, "Dockerfile.builder", "cnb", base=base)
    return of_pods(_made("builder", f"--build-arg=RUN_IMAGE={base}", tag))


def _run_image() -> str:
    base = f"{REGISTRY}/library/debian:bookworm-slim"
    return _made("run", f"--build-arg=BASE={base}", hash_of(DIRECTORY, "Dockerfile.run", base=base))


def _made(kind: str, argument: str, tag: str) -> str:
    ignore = f"--ignorefile={DIRECTORY / '.containerignore'}"
    file = f"--file={DIRECTORY / f'Dockerfile.{kind}'}"
    return made_image(f"workflow-tests/buildpacks-{kind}", tag, DIRECTORY, argument, ignore, file)
