"""Writes one object so that it becomes what was rendered, also where server-side apply alone would not do."""

from __future__ import annotations

from typing import Any, Final

from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.kinds import DEPLOYMENT, ROLE_BINDING, SECRET, address
from controller.engine.kubernetes.lists import HAVE_KEYED_LISTS, with_foreign_elements
from controller.engine.kubernetes.names import FIELD_MANAGER
from controller.engine.kubernetes.trim import Entry
from shared.kubernetes.errors import ClusterConflictError, ClusterInvalidError, ClusterNotFoundError
from shared.kubernetes.kinds import Manifest

_SCALE_MANAGER: Final = f"{FIELD_MANAGER}-scale"
_REPAIR_MANAGER: Final = f"{FIELD_MANAGER}-repair"
# Kinds with fields that never change, whose objects may be made anew: others refer to nothing but their names.
_REPLACEABLE: Final = frozenset({SECRET, ROLE_BINDING})


async def write(client: Client, manifest: Manifest, known: Entry | None) -> Manifest:
    """Apply the manifest; `known` is the object that is there, as far as we know: one without our labels is unknown.

    Gives the object as it is now.

    Raises:
        ClusterError: the API server does not take it.
    """
    kind, _, _ = address(manifest)
    if known is not None and kind is DEPLOYMENT and "replicas" not in manifest["spec"] and known.owns_replicas:
        await _hand_over_replicas(client, manifest, known)
    try:
        return await client.apply(manifest)
    except ClusterInvalidError:
        if known is not None and kind in _REPLACEABLE:
            return await _replace(client, manifest, known)
        if kind in HAVE_KEYED_LISTS:
            there = await _find(client, manifest)
            if there is not None:
                return await _reset(client, manifest, there)
        raise


async def _hand_over_replicas(client: Client, manifest: Manifest, known: Entry) -> None:
    """Keep the count that is there when it stops being ours: else the API server would put its default, 1, in its place
    until the autoscaler has looked (kubernetes.md 5, weakness 20)."""
    if not known.object["spec"].get("replicas"):
        return  # an autoscaler leaves alone what has none: the default, 1, wakes it up
    metadata = {key: manifest["metadata"][key] for key in ("name", "namespace")}
    count = {"apiVersion": manifest["apiVersion"], "kind": "Deployment", "metadata": metadata}
    try:
        await client.apply(
            {**count, "spec": {"replicas": known.object["spec"]["replicas"]}}, manager=_SCALE_MANAGER, force=False
        )
    except ClusterConflictError:
        return  # another number by now: it is somebody else's already


async def _replace(client: Client, manifest: Manifest, known: Entry) -> Manifest:
    """Delete the object and make it anew, as it may not change."""
    kind, namespace, name = address(manifest)
    await client.delete(kind, name, namespace, uid=known.uid)
    return await client.apply(manifest)


async def _find(client: Client, manifest: Manifest) -> Manifest | None:
    kind, namespace, name = address(manifest)
    try:
        return await client.get(kind, name, namespace)
    except ClusterNotFoundError:
        return None


async def _reset(client: Client, manifest: Manifest, there: Manifest) -> Manifest:
    """Take out what others have put into our elements of lists or beside them, as ours cannot stand with it.

    A variable that somebody gave a plain value besides ours from a Secret is an example, and a port of a Service whose
    number somebody edited: that makes another port of it, and ours would be a second one of the same name. Elements of
    others stay if they can.
    """
    kind, namespace, name = address(manifest)
    spec = manifest["spec"]
    gentle = with_foreign_elements(kind, ("spec",), spec, there.get("spec"))
    try:
        await client.patch(kind, name, namespace, merge={"spec": gentle}, manager=_REPAIR_MANAGER)
    except ClusterInvalidError:
        await client.patch(kind, name, namespace, merge={"spec": spec}, manager=_REPAIR_MANAGER)
    live = await client.apply(manifest)
    index = _index_of(live, _REPAIR_MANAGER)
    if index is None:
        return live
    # Fields would stay when we stop sending them, as they would still have this other owner.
    path = f"/metadata/managedFields/{index}"
    operations: list[Any] = [
        {"op": "test", "path": f"{path}/manager", "value": _REPAIR_MANAGER},
        {"op": "remove", "path": path},
    ]
    return await client.patch(kind, name, namespace, operations=operations)


def _index_of(live: Manifest, manager: str) -> int | None:
    managed = live["metadata"].get("managedFields") or ()
    return next((index for index, one in enumerate(managed) if one.get("manager") == manager), None)
