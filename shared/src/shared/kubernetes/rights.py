"""What an account may do in a cluster, as sets of verbs and as the rules of a role. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.kubernetes.kinds import Kind, Manifest

Resource = tuple[str, str]
"""API group, empty for the core, and plural; a subresource stands after a slash."""
Rights = Mapping[Resource, frozenset[str]]
"""Verbs by resource."""

GROUP: Final = "rbac.authorization.k8s.io"
VERSION: Final = f"{GROUP}/v1"
VERBS: Final = ("get", "list", "watch", "create", "patch", "delete", "bind")
"""All that we know, in the order in which rules name them."""


def resource_of(kind: Kind) -> Resource:
    """The resource that objects of a kind are."""
    return kind.group, kind.plural


def rules(rights: Rights) -> list[Manifest]:
    """The rules of a role, the resources of a group with the same verbs together."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, plural), verbs in sorted(rights.items()):
        if verbs:
            found.setdefault((group, tuple(sorted(verbs, key=VERBS.index))), []).append(plural)
    return [
        {"apiGroups": [group], "resources": plurals, "verbs": list(verbs)} for (group, verbs), plurals in found.items()
    ]
