"""Secrets of a process type: its variables, and the credentials for its image.

Both are named after their content and never change: a pod that started with one finds the same again when it starts
anew, whatever was released since (weakness 14).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from controller.domain.spec import ProcessSpec
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig, RegistryCredentials
from controller.engine.kubernetes.manifests.base import Manifest, app_object

DOCKER_HUB: Final = "https://index.docker.io/v1/"
"""What Docker Hub is called where credentials are kept."""

_DOCKER_HUB_HOSTS: Final = frozenset(
    ("", "docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
)
_KEY: Final = re.compile(r"(?!\.{1,2}\Z|\.\.)[-._a-zA-Z0-9]{1,253}")
_ENCODED, _HASHED = "hex-", "sha256-"


def key_of(variable: str) -> str:
    """The key of a variable in the Secret: its name as it is, so that no two share one (weakness 49).

    Names that cannot be keys are encoded, and so are those that look encoded.
    """
    if _KEY.fullmatch(variable) and not variable.startswith((_ENCODED, _HASHED)):
        return variable
    encoded = _ENCODED + variable.encode().hex()
    return encoded if len(encoded) <= names.NAME_LIMIT else _HASHED + sha256(variable.encode()).hexdigest()


def env_secret(app: str, process: ProcessSpec) -> Manifest:
    """The variables of a process type."""
    data = {key_of(name): _encoded(text) for name, text in sorted(process.env.items())}
    name = names.env_secret(app, process.ptype, names.content_hash(data))
    return _secret(app, process.ptype, name, of="env", kind="Opaque", data=data)


def pull_secret(app: str, process: ProcessSpec, config: KubernetesConfig) -> Manifest | None:
    """The credentials for its image: the app's own, else the platform's; None where there are neither."""
    credentials = _own(process) or config.registry
    if credentials is None:
        return None
    auth = _encoded(f"{credentials.username}:{credentials.password}")
    document = {"auths": {_auth_host(credentials.host): {"auth": auth}}}
    data = {".dockerconfigjson": _encoded(json.dumps(document, sort_keys=True, separators=(",", ":")))}
    name = names.pull_secret(config.pull_secret_prefix, process.ptype, names.content_hash(data))
    return _secret(app, process.ptype, name, of="registry", kind="kubernetes.io/dockerconfigjson", data=data)


def registry_host(image: str) -> str:
    """The registry that an image comes from; empty for Docker Hub, which images need not name."""
    first, slash, _ = image.partition("/")
    return first if slash and (set(first) & {".", ":"} or first == "localhost") else ""


def _own(process: ProcessSpec) -> RegistryCredentials | None:
    entry = process.registry or {}
    username, password = entry.get("username", ""), entry.get("password", "")
    if not username and not password:
        return None
    return RegistryCredentials(entry.get("hostname") or registry_host(process.image), username, password)


def _auth_host(host: str) -> str:
    return DOCKER_HUB if host in _DOCKER_HUB_HOSTS else host


def _secret(app: str, ptype: str, name: str, *, of: str, kind: str, data: Mapping[str, str]) -> Manifest:
    labels = {names.CLASS: of}
    content = {"data": dict(data)} if data else {}
    return app_object("v1", "Secret", app, name, ptype=ptype, more_labels=labels, type=kind, immutable=True, **content)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
