"""Kinds of objects: what they are called, in which versions we can speak them, and which of these a cluster serves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import quote

Manifest = dict[str, Any]
"""An object as the API server reads and writes it."""

Addon = Literal["gateway-api", "gateway-api-experimental", "cert-manager"]

_ADDON_NAMES: Final[Mapping[Addon, str]] = {
    "gateway-api": "the Gateway API",
    "gateway-api-experimental": "the experimental channel of the Gateway API",
    "cert-manager": "cert-manager",
}


@dataclass(frozen=True)
class Kind:
    """One kind of objects.

    `versions` are those of its group that we can speak, the favourite first; which one the cluster serves is found by
    discovery where the kind is part of an `addon`.
    """

    kind: str
    plural: str
    versions: tuple[str, ...] = ("v1",)
    namespaced: bool = True
    addon: Addon | None = None

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.versions[0].rpartition("/")[0]

    @property
    def is_secret(self) -> bool:
        """Errors must not quote what was sent."""
        return (self.group, self.kind) == ("", "Secret")

    def path(self, version: str, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The path on the API server: of one object, or of the list of all (of a namespace) without a name."""
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        middle = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace is not None else ""
        end = "" if name is None else f"/{quote(name, safe='')}"
        return f"{root}{middle}/{self.plural}{end}" + (f"/{subresource}" if subresource else "")


K = TypeVar("K", bound=Kind)


class Kinds(Generic[K]):
    """All kinds that a program handles."""

    def __init__(self, kinds: Iterable[K]) -> None:
        self.all = tuple(kinds)
        self._by_name = {(kind.group, kind.kind): kind for kind in self.all}

    def of(self, manifest: Mapping[str, Any]) -> K:
        """The kind of an object, whatever version of its group it is written in.

        Raises:
            KeyError: we do not handle that kind.
        """
        return self._by_name[str(manifest["apiVersion"]).rpartition("/")[0], manifest["kind"]]

    def address(self, manifest: Manifest) -> tuple[K, str | None, str]:
        """Kind, namespace (None for what has none) and name of an object."""
        kind = self.of(manifest)
        metadata = manifest["metadata"]
        return kind, metadata["namespace"] if kind.namespaced else None, metadata["name"]


def called(kind: Kind, namespace: str | None, name: str | None) -> str:
    """What an object, or the list of all, is called in sentences."""
    place = "/".join(part for part in (namespace, name) if part is not None)
    return f"{kind.kind} {place}" if place else f"all {kind.kind} objects"


class Served(Generic[K]):
    """Which versions the cluster serves. Until discovery, optional kinds count as missing."""

    def __init__(self, kinds: Kinds[K]) -> None:
        self._all = kinds.all
        self._versions: dict[K, str] = {kind: kind.versions[0] for kind in self._all if kind.addon is None}
        self.is_known = False
        """Discovery has been made."""

    def optional_versions(self) -> tuple[str, ...]:
        """The group versions that discovery has to ask for."""
        return tuple(dict.fromkeys(one for kind in self._all if kind.addon is not None for one in kind.versions))

    def learn(self, resources: Mapping[str, Iterable[str]]) -> frozenset[K]:
        """Take over what discovery found: the plurals that each group version has. Gives the kinds that are new."""
        found = {version: frozenset(plurals) for version, plurals in resources.items()}
        self.is_known = True
        new = set()
        for kind in self._all:
            if kind.addon is None:
                continue
            version = next((version for version in kind.versions if kind.plural in found.get(version, ())), None)
            if version is None:
                self._versions.pop(kind, None)
            elif self._versions.get(kind) != version:
                self._versions[kind] = version
                new.add(kind)
        return frozenset(new)

    def forget(self, kind: K) -> None:
        """The cluster says that it has this optional kind no more."""
        if kind.addon is not None:
            self._versions.pop(kind, None)

    def version(self, kind: K) -> str | None:
        """The version in which the cluster serves the kind; None when it does not."""
        return self._versions.get(kind)

    def kinds(self) -> frozenset[K]:
        """Every kind that there is."""
        return frozenset(self._versions)

    def why_not(self, kind: K) -> str:
        """A sentence for people who want an object of a kind that the cluster does not have."""
        addon = _ADDON_NAMES[kind.addon] if kind.addon else "a complete Kubernetes"
        where = kind.group or "the core API"
        return f"This cluster has no {kind.kind} ({where}): {addon} must be installed in it first."
