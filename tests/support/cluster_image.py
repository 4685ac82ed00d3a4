"""Images that tests on a cluster run: made with buildah, kept in a registry that the machine and the cluster reach.

The registry of `TEST_REGISTRY` is pushed to; pods pull from `TEST_REGISTRY_OF_PODS`, the same unless told otherwise.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Final

import httpx

from support.tools import require_tool

IMAGES: Final = Path(__file__).parent / "cluster_images"
REGISTRY: Final = os.environ.get("TEST_REGISTRY", "localhost:5000")
REGISTRY_OF_PODS: Final = os.environ.get(
    "TEST_REGISTRY_OF_PODS", "registry.kube-system.svc:5000" if REGISTRY == "localhost:5000" else REGISTRY
)
_SECONDS: Final = 300
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


def image(name: str = "sample") -> str:
    """The name under which pods pull that image of `cluster_images`; made and pushed unless the registry has it.

    Its tag is a hash of what it is made of.
    """
    directory = IMAGES / name
    where = f"workflow-tests/{name}", _tag(directory)
    if not _is_there(*where):
        _make(directory, f"{REGISTRY}/{where[0]}:{where[1]}")
    return f"{REGISTRY_OF_PODS}/{where[0]}:{where[1]}"


def _tag(directory: Path) -> str:
    digest = hashlib.sha256(REGISTRY.encode())
    for path in sorted(path for path in directory.iterdir() if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _is_there(name: str, tag: str) -> bool:
    url = f"http://{REGISTRY}/v2/{name}/manifests/{tag}"
    answer = httpx.head(url, headers={"Accept": ", ".join(_MANIFESTS)}, timeout=10, trust_env=False)
    return answer.status_code == httpx.codes.OK


def _make(directory: Path, target: str) -> None:
    base = f"--build-arg=BASE={REGISTRY}/library/python:3.11-slim-bookworm"
    options = ("--isolation=chroot", "--network=host", "--tls-verify=false", "--quiet", base)
    _buildah("build", *options, f"--tag={target}", str(directory))
    try:
        _buildah("push", "--quiet", "--tls-verify=false", target)
    finally:
        _buildah("rmi", target)


def _buildah(*arguments: str) -> None:
    command = (str(require_tool("buildah")), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, f"buildah {' '.join(arguments)}: {done.stderr.strip()}"
