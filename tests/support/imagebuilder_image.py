"""The image builder's own image, in the cluster's registry."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from support.cluster_image import IMAGES, REGISTRY, hash_of, made_image, of_pods

DIRECTORY: Final = Path(__file__).parents[2] / "services/builder/imagebuilder"
_TRIXIE: Final = IMAGES / "trixie"


def imagebuilder_image() -> str:
    """The name under which pods pull it."""
    base = f"--build-arg=BASE={REGISTRY}/library/debian:bookworm-slim"
    trixie = made_image("workflow-tests/trixie", hash_of(_TRIXIE), _TRIXIE, base)
    tag = hash_of(DIRECTORY, "Dockerfile", "src", base=trixie)
    return of_pods(made_image("workflow-tests/imagebuilder", tag, DIRECTORY, f"--build-arg=BASE={trixie}"))
