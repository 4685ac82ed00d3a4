"""Claims of volumes that are there already: most of what they say can never change (kubernetes.md 2.11)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.kinds import PERSISTENT_VOLUME_CLAIM, address
from controller.engine.kubernetes.manifests.quantities import amount_of
from controller.engine.port import NotSupportedError
from shared.kubernetes.kinds import Manifest

_FIXED: Final = ("accessModes", "storageClassName", "volumeMode")


def as_they_are(cache: Cache, app: str, manifests: Iterable[Manifest]) -> tuple[Manifest, ...]:
    """The manifests, with claims as they were made where the operator has chosen other storage since, and no smaller
    than they have grown: the API server would refuse both, and with them all that the app should be."""
    return tuple(_kept(cache, app, manifest) for manifest in manifests)


def refuse_growth(known: Manifest | None, wanted: Manifest) -> None:
    """Refuse another size of a claim that has no storage yet, which is made as it was first asked for.

    Raises:
        NotSupportedError: it is such a claim; the text says what to do.
    """
    if known is None or (known.get("status") or {}).get("phase") == "Bound":
        return
    if amount_of(str(_size(known.get("spec") or {}))) != amount_of(str(_size(wanted["spec"]))):
        name = wanted["metadata"]["name"]
        raise NotSupportedError(
            f"volume {name} has no storage before a process uses it, and cannot be expanded until then: mount it, "
            "or delete it and add a larger one"
        )


def _kept(cache: Cache, app: str, manifest: Manifest) -> Manifest:
    kind, _, name = address(manifest)
    known = cache.find(kind, app, name) if kind is PERSISTENT_VOLUME_CLAIM else None
    if known is None:
        return manifest
    live: Mapping[str, Any] = known.object.get("spec") or {}
    kept = copy.deepcopy(manifest)
    kept["spec"] |= {field: live[field] for field in _FIXED if field in live and field in kept["spec"]}
    there = _size(live)
    if there is not None and amount_of(there) > amount_of(str(_size(kept["spec"]))):
        kept["spec"]["resources"]["requests"]["storage"] = there
    return kept


def _size(spec: Mapping[str, Any]) -> str | None:
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return None if size is None else str(size)
