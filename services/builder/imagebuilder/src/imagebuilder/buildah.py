"""buildah's command lines, environment and configuration files for one build."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from imagebuilder.request import Dockerfile, Request

# Directories below the work directory that the image's links lead to, and those that buildah is told of.
DIRECTORIES: Final = ("lib", "cache", "tmp", "lock", "home", "run", "storage")
OVERLAY, VFS = "overlay", "vfs"
_PASSED_ON: Final = ("PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


def environment(work: Path, own: Mapping[str, str]) -> dict[str, str]:
    """All that buildah gets: paths of this build, and of our own environment how the network is reached."""
    passed_on = {name: value for name, value in own.items() if name.upper() in _PASSED_ON}
    return passed_on | {
        "HOME": str(work / "home"),
        "TMPDIR": str(work / "tmp"),
        "XDG_RUNTIME_DIR": str(work / "run"),
        "CONTAINERS_REGISTRIES_CONF": str(work / "registries.conf"),
        "CONTAINERS_STORAGE_CONF": str(work / "storage.conf"),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }


def storage_conf(work: Path, driver: str) -> str:
    """`storage.conf`: layers on the work volume. `overlay` needs a kernel that has it in user namespaces."""
    return (
        f"[storage]\ndriver = {_toml(driver)}\n"
        f"graphroot = {_toml(str(work / 'storage'))}\nrunroot = {_toml(str(work / 'run' / 'containers'))}\n"
    )


def registries_conf(request: Request) -> str:
    """`registries.conf`: names as Docker reads them, mirrors, and for which registries TLS is not asked of."""
    blocks = ['unqualified-search-registries = ["docker.io"]\nshort-name-mode = "disabled"\n']
    insecure = set(request.insecure_registries)
    for name, mirror in request.registry_mirrors.items():
        blocks.append(_registry(name, name in insecure) + _location("registry.mirror", mirror, mirror in insecure))
    blocks += [_registry(name, True) for name in sorted(insecure - request.registry_mirrors.keys())]
    return "\n".join(blocks)


def build_command(
    entry: Dockerfile,
    request: Request,
    *,
    source: Path,
    secrets: Mapping[str, Path],
    arguments: Mapping[str, str],
    credentials: Path | None,
    cached: bool,
) -> list[str]:
    """Build one image.

    Docker's own format, because only that knows SHELL, HEALTHCHECK and ONBUILD. Config values are files that a RUN has
    to ask for by name. SYS_CHROOT is kept from RUN, because with it root leaves a directory that it was put into by
    chroot: buildah uses pivot_root where it can and chroot where not.
    """
    cache = cache_repository(request.cache_image) if request.cache_image and cached else None
    return [
        *("buildah", "build", "--isolation=chroot", "--network=host", "--format=docker", "--cap-drop=CAP_SYS_CHROOT"),
        "--layers",
        *((f"--cache-from={cache}", f"--cache-to={cache}") if cache else ()),
        *_credentials(credentials),
        *(f"--secret=id={name},src={path}" for name, path in secrets.items()),
        *(f"--build-arg={name}={value}" for name, value in arguments.items()),
        *(f"--label={name}={value}" for name, value in labels(request).items()),
        f"--file={source / entry.path}",
        f"--tag={entry.image}",
        str(source),
    ]


def push_command(image: str, *, digest_file: Path, credentials: Path | None) -> list[str]:
    """Push one image; its digest is in the file afterwards. A registry shows the tag only when all of it is there."""
    return [
        *("buildah", "push", "--quiet", "--format=v2s2", f"--digestfile={digest_file}"),
        *_credentials(credentials),
        image,
        f"docker://{image}",
    ]


def labels(request: Request) -> dict[str, str]:
    """What an image says about where it comes from (OCI image specification, annotations)."""
    return {"org.opencontainers.image.revision": request.sha, "org.opencontainers.image.version": request.number}


def repository(image: str) -> str:
    """An image's name without tag and digest."""
    name = image.partition("@")[0]
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def cache_repository(image: str) -> str:
    """Where buildah keeps layers: a repository, one tag (64 hex digits) for each instruction that it has seen."""
    return repository(image)


def _registry(name: str, insecure: bool) -> str:
    return f"[[registry]]\nprefix = {_toml(name)}\nlocation = {_toml(name)}\ninsecure = {_toml(insecure)}\n"


def _location(table: str, location: str, insecure: bool) -> str:
    return f"[[{table}]]\nlocation = {_toml(location)}\ninsecure = {_toml(insecure)}\n"


def _credentials(path: Path | None) -> Iterable[str]:
    return [f"--authfile={path}"] if path else []


def _toml(value: str | bool) -> str:  # JSON's strings and booleans are TOML's
    return json.dumps(value)
