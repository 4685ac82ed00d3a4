"""Builder image and run image of the buildpack stack, in the cluster's registry; made again when their files change."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx

from support.cluster_image import REGISTRY, REGISTRY_OF_PODS
from support.tools import require_tool

DIRECTORY: Final = Path(__file__).parents[2] / "services/builder/imagebuilder/buildpacks"
_SECONDS: Final = 900
_OPTIONS: Final = ("--layers", "--isolation=chroot", "--network=host", "--tls-verify=false", "--quiet")
_ACCEPT: Final = {"Accept": "application/vnd.oci.image.manifest.v1+json"}


def run_image() -> str:
    """Name for pods of the image that apps run in."""
    return _made("run", f"--build-arg=BASE={REGISTRY}/library/debian:bookworm-slim", _tag("Dockerfile.run"))


def builder_image() -> str:
    """Name for pods of the image that apps are built in."""
    base = run_image().replace(REGISTRY_OF_PODS, REGISTRY, 1)
    return _made("builder", f"--build-arg=RUN_IMAGE={base}", _tag("Dockerfile.run", "Dockerfile.builder", "cnb"))


def _tag(*names: str) -> str:
    digest = hashlib.sha256(REGISTRY.encode())
    for path in (path for name in names for path in _files(DIRECTORY / name)):
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        digest.update(f"{path.relative_to(DIRECTORY)} {path.lstat().st_mode} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def _files(path: Path) -> Iterator[Path]:
    if path.is_symlink() or path.is_file():
        yield path
    elif path.name not in ("__pycache__", ".mypy_cache", ".ruff_cache"):
        for entry in sorted(path.iterdir()):
            yield from _files(entry)


def _made(kind: str, argument: str, tag: str) -> str:
    name = f"workflow-tests/buildpacks-{kind}"
    url = f"http://{REGISTRY}/v2/{name}/manifests/{tag}"
    if httpx.head(url, headers=_ACCEPT, timeout=10, trust_env=False).status_code != httpx.codes.OK:
        target = f"{REGISTRY}/{name}:{tag}"
        ignore = f"--ignorefile={DIRECTORY / '.containerignore'}"
        file = f"--file={DIRECTORY / f'Dockerfile.{kind}'}"
        _buildah("build", *_OPTIONS, argument, ignore, file, f"--tag={target}", str(DIRECTORY))
        _buildah("push", "--quiet", "--tls-verify=false", target)
    return f"{REGISTRY_OF_PODS}/{name}:{tag}"


def _buildah(*arguments: str) -> None:
    command = (str(require_tool("buildah")), *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    assert done.returncode == 0, f"buildah {' '.join(arguments)}: {done.stderr.strip()}"
