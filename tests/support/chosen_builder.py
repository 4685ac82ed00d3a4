"""A builder image of somebody else, and what its apps run on, in the cluster's registry."""

from __future__ import annotations

import hashlib
import subprocess
from typing import Final

import httpx

from support.cluster_image import IMAGES, REGISTRY, REGISTRY_OF_PODS
from support.tools import require_tool

DIRECTORY: Final = IMAGES / "chosen"
REPOSITORY: Final = "acme/builder"
_OPTIONS: Final = ("--isolation=chroot", "--network=host", "--tls-verify=false", "--quiet", "--format=docker")
_ACCEPT: Final = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
_SECONDS: Final = 300


def chosen_builder() -> str:
    """Its name for pods; made when the registry does not have it."""
    tag = _tag()
    run = f"acme/run:{tag}"
    _make("run", run)
    _make("builder", f"{REPOSITORY}:{tag}", f"--build-arg=RUN_IMAGE={REGISTRY_OF_PODS}/{run}")
    return f"{REGISTRY_OF_PODS}/{REPOSITORY}:{tag}"


def _tag() -> str:
    digest = hashlib.sha256(f"{REGISTRY} {REGISTRY_OF_PODS}".encode())
    for path in sorted(path for path in DIRECTORY.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(DIRECTORY)} {path.stat().st_mode} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _make(kind: str, name: str, *options: str) -> None:
    repository, _, tag = name.partition(":")
    url = f"http://{REGISTRY}/v2/{repository}/manifests/{tag}"
    if httpx.head(url, headers=_ACCEPT, timeout=10, trust_env=False).status_code == httpx.codes.OK:
        return
    base = f"--build-arg=BASE={REGISTRY}/library/busybox:1"
    file = f"--file={DIRECTORY / f'Dockerfile.{kind}'}"
    _buildah("build", *_OPTIONS, base, *options, file, f"--tag={REGISTRY}/{name}", str(DIRECTORY))
    _buildah("push", "--quiet", "--tls-verify=false", f"{REGISTRY}/{name}")


def _buildah(*arguments: str) -> None:
    command = (str(require_tool("buildah")), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, f"buildah {' '.join(arguments)}: {done.stderr.strip()}"
