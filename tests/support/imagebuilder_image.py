"""The image builder's own image, in the cluster's registry; made again when its files change."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import httpx

from support.cluster_image import IMAGES, REGISTRY, REGISTRY_OF_PODS
from support.tools import require_tool

DIRECTORY: Final = Path(__file__).parents[2] / "services/builder/imagebuilder"
_TRIXIE: Final = IMAGES / "trixie"
_SECONDS: Final = 900
_OPTIONS: Final = ("--layers", "--isolation=chroot", "--network=host", "--tls-verify=false", "--quiet")
_ACCEPT: Final = {"Accept": "application/vnd.oci.image.manifest.v1+json"}


def imagebuilder_image() -> str:
    """The name under which pods pull it."""
    base = _tag([_TRIXIE / "Dockerfile"], REGISTRY)
    own = _tag([DIRECTORY / "Dockerfile", *sorted((DIRECTORY / "src").rglob("*.py"))], base)
    if not _is_there("imagebuilder", own):
        trixie = f"{REGISTRY}/workflow-tests/trixie:{base}"
        if not _is_there("trixie", base):
            _make(_TRIXIE, f"{REGISTRY}/library/debian:bookworm-slim", trixie)
        _make(DIRECTORY, trixie, f"{REGISTRY}/workflow-tests/imagebuilder:{own}")
    return f"{REGISTRY_OF_PODS}/workflow-tests/imagebuilder:{own}"


def _tag(paths: Iterable[Path], base: str) -> str:
    digest = hashlib.sha256(base.encode())
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _is_there(name: str, tag: str) -> bool:
    url = f"http://{REGISTRY}/v2/workflow-tests/{name}/manifests/{tag}"
    return httpx.head(url, headers=_ACCEPT, timeout=10, trust_env=False).status_code == httpx.codes.OK


def _make(directory: Path, base: str, target: str) -> None:
    _buildah("build", *_OPTIONS, f"--build-arg=BASE={base}", f"--tag={target}", str(directory))
    _buildah("push", "--quiet", "--tls-verify=false", target)


def _buildah(*arguments: str) -> None:
    command = (str(require_tool("buildah")), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, f"buildah {' '.join(arguments)}: {done.stderr.strip()}"
