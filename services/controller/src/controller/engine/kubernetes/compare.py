"""Does a live object have everything that we render? What the API server or others add to it is no difference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from controller.engine.kubernetes.kinds import JOB, SECRET, SERVICE, Kind, kind_of
from controller.engine.kubernetes.lists import identity, keys_of
from controller.engine.kubernetes.manifests.quantities import canonical
from controller.engine.kubernetes.names import MANIFEST, content_hash
from controller.engine.kubernetes.trim import DIGESTS, digests
from shared.kubernetes.kinds import Manifest

Path = tuple[str, ...]
Difference = tuple[str, str]
"""The path of a field, and a hash of what the live object has there."""

_SETS: Final = frozenset({"metadata.finalizers"})
# Maps that belong to one manager as a whole, and that nobody adds defaults to.
_WHOLE_MAPS: Final = frozenset({"nodeSelector", "matchLabels"})
_QUANTITIES: Final = frozenset({"resources", "hard", "capacity", "limits", "sizeLimit"})
_ADDRESS: Final = frozenset({"apiVersion", "kind", "status"})


def stamped(manifest: Manifest) -> Manifest:
    """The object as it is applied: with a hash of all that was rendered, Secrets' values excepted.

    A field that is not rendered any more changes the hash and nothing else that `differences` could see.
    """
    metadata = manifest["metadata"]
    facts = manifest
    if kind_of(manifest) is SECRET:
        facts = {key: sorted(value) if key in ("data", "stringData") else value for key, value in manifest.items()}
    note = {MANIFEST: content_hash(facts)}
    return {**manifest, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), **note}}}


def differences(desired: Manifest, live: Manifest) -> frozenset[Difference]:
    """Where a live object, as the cache keeps it, is not what was rendered; empty when there is nothing to do."""
    kind = kind_of(desired)
    given = {key: value for key, value in desired.items() if key not in _ADDRESS}
    if kind is SECRET:
        given = {key: value for key, value in given.items() if key not in ("data", "stringData")}
        given[DIGESTS] = digests(desired)
    if kind is JOB:  # its pods never change, and the cache does not keep all of them
        given["spec"] = {key: value for key, value in given["spec"].items() if key != "template"}
    return frozenset((".".join(path), content_hash(value)) for path, value in _compare(kind, (), given, live))


def _compare(kind: Kind, path: Path, desired: Any, live: Any) -> Iterator[tuple[Path, Any]]:
    if _is_nothing(desired) and (live is None or _is_nothing(live)):
        return
    if isinstance(desired, dict) and isinstance(live, dict):
        yield from _compare_maps(kind, path, desired, live)
    elif isinstance(desired, list) and isinstance(live, list):
        yield from _compare_lists(kind, path, desired, live)
    elif not _is_same(path, desired, live):
        yield path, live


def _compare_maps(kind: Kind, path: Path, desired: dict[str, Any], live: dict[str, Any]) -> Iterator[tuple[Path, Any]]:
    is_whole = path[-1:] and (path[-1] in _WHOLE_MAPS or (kind is SERVICE and path == ("spec", "selector")))
    if is_whole and desired.keys() != live.keys():
        yield path, live
        return
    for key, value in desired.items():
        yield from _compare(kind, (*path, key), value, live.get(key))


def _compare_lists(kind: Kind, path: Path, desired: list[Any], live: list[Any]) -> Iterator[tuple[Path, Any]]:
    place = ".".join(path)
    if place in _SETS:
        if not set(desired) <= set(live):
            yield path, live
        return
    keys = keys_of(kind, path)
    if keys is None:
        if len(desired) != len(live):
            yield path, live
            return
        for wanted, there in zip(desired, live, strict=True):
            yield from _compare(kind, path, wanted, there)
        return
    known = {identity(element, keys): element for element in live}
    for element in desired:
        yield from _compare(kind, path, element, known.get(identity(element, keys)))


def _is_same(path: Path, desired: object, live: object) -> bool:
    if desired == live and isinstance(desired, bool) == isinstance(live, bool):
        return True
    is_quantity = bool(_QUANTITIES.intersection(path)) and None not in (desired, live)
    return is_quantity and canonical(str(desired)) == canonical(str(live))


def _is_nothing(value: object) -> bool:
    """The API server leaves such values out where a field is no pointer. A `false` may be a choice: that is told."""
    return value is None or (not isinstance(value, bool) and value in ({}, [], "", 0))
