"""Images that tests on a cluster run: made with buildah, kept in a registry that the machine and the cluster reach.

The registry of `TEST_REGISTRY` is pushed to; pods pull from `TEST_REGISTRY_OF_PODS`, the same unless told otherwise. An
image's tag is a hash of what it is made of, so it is made again when that changes, and only then.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from support.tools import locked, require_tool

IMAGES: Final = Path(__file__).parent / "cluster_images"
REGISTRY: Final = os.environ.get("TEST_REGISTRY", "localhost:5000")
REGISTRY_OF_PODS: Final = os.environ.get(
    "TEST_REGISTRY_OF_PODS", "registry.kube-system.svc:5000" if REGISTRY == "localhost:5000" else REGISTRY
)
_SECONDS: Final = 900
_OPTIONS: Final = ("--layers", "--isolation=chroot", "--network=host", "--tls-verify=false", "--quiet")
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CACHES: Final = {"__pycache__", ".mypy_cache", ".ruff_cache"}


def image(name: str = "sample") -> str:
    """The name under which pods pull that image of `cluster_images`."""
    directory = IMAGES / name
    base = f"--build-arg=BASE={REGISTRY}/library/python:3.11-slim-bookworm"
    return of_pods(made_image(f"workflow-tests/{name}", hash_of(directory), directory, base))


def made_image(repository: str, tag: str, directory: Path, *options: str) -> str:
    """The name under which that image of `directory` is in the registry; made and pushed unless it is there.

    Others who want it at the same time wait for it.
    """
    target = f"{REGISTRY}/{repository}:{tag}"
    with locked(f"image-{repository.replace('/', '-')}"):
        if not _is_there(repository, tag):
            _buildah("build", *_OPTIONS, *options, f"--tag={target}", str(directory))
            _buildah("push", "--quiet", "--tls-verify=false", target)
    return target


def of_pods(name: str) -> str:
    """The name under which pods pull an image of that name in the registry."""
    return name.replace(REGISTRY, REGISTRY_OF_PODS, 1)


def hash_of(directory: Path, *names: str, base: str = "") -> str:
    """Of the files and directories of these `names` (the whole directory without any), and of what they are put on."""
    digest = hashlib.sha256(f"{REGISTRY} {REGISTRY_OF_PODS} {base}".encode())
    for path in (path for name in names or (".",) for path in _files(directory / name)):
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        digest.update(f"{path.relative_to(directory)} {path.lstat().st_mode} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or path.is_file():
        yield path
    elif path.name not in _CACHES:
        for entry in sorted(path.iterdir()):
            yield from _files(entry)


def _is_there(repository: str, tag: str) -> bool:
    url = f"http://{REGISTRY}/v2/{repository}/manifests/{tag}"
    answer = httpx.head(url, headers={"Accept": ", ".join(_MANIFESTS)}, timeout=10, trust_env=False)
    return answer.status_code == httpx.codes.OK


def _buildah(*arguments: str) -> None:
    command = (str(require_tool("buildah")), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, f"buildah {' '.join(arguments)}: {done.stderr.strip()}"
