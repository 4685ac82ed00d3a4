"""Lists whose elements have an identity and may belong to different managers.

These are the ones with `x-kubernetes-list-map-keys` in the API's schema; every other list belongs to one manager as a
whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controller.engine.kubernetes.kinds import (
    DEPLOYMENT,
    GATEWAY,
    JOB,
    LISTENER_SET,
    SERVICE,
    SERVICE_ACCOUNT,
    X_LISTENER_SET,
    Kind,
)

Path = tuple[str, ...]

_POD_LISTS: Final[Mapping[str, Path]] = {
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    **{
        f"{containers}{field}": keys
        for containers in ("containers", "initContainers")
        for field, keys in {
            "": ("name",),
            ".env": ("name",),
            ".ports": ("containerPort", "protocol"),
            ".volumeMounts": ("mountPath",),
            ".volumeDevices": ("devicePath",),
        }.items()
    },
}
_TEMPLATE_LISTS: Final = {f"spec.template.spec.{path}": keys for path, keys in _POD_LISTS.items()}
_KEYED_LISTS: Final[Mapping[Kind, Mapping[str, Path]]] = {
    DEPLOYMENT: _TEMPLATE_LISTS,
    JOB: _TEMPLATE_LISTS,
    SERVICE: {"spec.ports": ("port", "protocol")},
    SERVICE_ACCOUNT: {"secrets": ("name",), "imagePullSecrets": ("name",)},
    GATEWAY: {"spec.listeners": ("name",)},
    LISTENER_SET: {"spec.listeners": ("name",)},
    X_LISTENER_SET: {"spec.listeners": ("name",)},
}
_KEY_DEFAULTS: Final = {"protocol": "TCP"}


HAVE_KEYED_LISTS: Final = frozenset(_KEYED_LISTS)
"""Kinds of objects with such lists."""


def keys_of(kind: Kind, path: Path) -> Path | None:
    """The fields that tell the elements of the list at `path` apart; None for a list that is one whole."""
    return _KEYED_LISTS.get(kind, {}).get(".".join(path))


def identity(element: Mapping[str, Any], keys: Path) -> tuple[object, ...]:
    """What an element of such a list is known by."""
    return tuple(element.get(key, _KEY_DEFAULTS.get(key)) for key in keys)


def with_foreign_elements(kind: Kind, path: Path, desired: Any, live: Any) -> Any:
    """What is rendered, and in such lists also the elements that others have added beside ours."""
    if isinstance(desired, dict) and isinstance(live, dict):
        return {key: with_foreign_elements(kind, (*path, key), value, live.get(key)) for key, value in desired.items()}
    keys = keys_of(kind, path)
    if keys is None or not isinstance(desired, list) or not isinstance(live, list):
        return desired
    ours = {identity(element, keys) for element in desired}
    return [*desired, *(element for element in live if identity(element, keys) not in ours)]
