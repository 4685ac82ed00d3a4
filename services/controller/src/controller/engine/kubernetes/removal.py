"""Takes everything of an app out of the cluster, and says so only when it is gone (kubernetes.md 5, weakness 45)."""

from __future__ import annotations

from typing import Final

from controller.engine.kubernetes.cache import SELECTOR, Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.kinds import NAMESPACE, PERSISTENT_VOLUME
from controller.engine.kubernetes.names import APP
from controller.engine.kubernetes.namespaces import is_ours, remaining
from controller.engine.port import StillThereError
from shared.kubernetes.errors import ClusterConflictError, ClusterNotFoundError
from shared.kubernetes.kinds import Manifest
from shared.logging import get_logger

GONE_SECONDS: Final = 60.0
log = get_logger(__name__)


async def remove(client: Client, cache: Cache, app: str, *, seconds: float = GONE_SECONDS) -> None:
    """Delete the app's namespace with all that is in it, and its volumes outside; both are gone when this returns.

    A namespace of that name that is not ours is left alone.

    Raises:
        StillThereError: not all was gone after `seconds`; tells what holds it.
        ClusterError: the API server refuses, or does not answer.
    """
    space = await _find_ours(client, app)
    volumes = (await client.list(PERSISTENT_VOLUME, labels=f"{APP}={app},{SELECTOR}")).items
    for live in (*volumes, *(() if space is None else (space,))):
        # The watch may not have told of it yet, and is what tells that it is gone.
        cache.take_written(live)
        await _delete(client, live)
    if await cache.wait(app, lambda: _is_gone(cache, app), seconds=seconds):
        return
    space = await _find_ours(client, app)
    if space is not None:
        why = remaining(space) or "Kubernetes is still deleting what is in it"
        raise StillThereError(f"The namespace {app} is not gone yet: {why}")
    left = (await client.list(PERSISTENT_VOLUME, labels=f"{APP}={app},{SELECTOR}")).items
    if left:
        names = ", ".join(sorted(volume["metadata"]["name"] for volume in left))
        raise StillThereError(f"Volumes of {app} are not gone yet: {names}")


def _is_gone(cache: Cache, app: str) -> bool:
    return cache.find(NAMESPACE, app, app) is None and not cache.entries(PERSISTENT_VOLUME, app)


async def _find_ours(client: Client, app: str) -> Manifest | None:
    try:
        space = await client.get(NAMESPACE, app)
    except ClusterNotFoundError:
        return None
    if is_ours(space):
        return space
    log.warning("namespace_not_ours", app=app)
    return None


async def _delete(client: Client, live: Manifest) -> None:
    metadata = live["metadata"]
    kind = NAMESPACE if live["kind"] == "Namespace" else PERSISTENT_VOLUME
    if metadata.get("deletionTimestamp"):
        return
    try:
        await client.delete(kind, metadata["name"], uid=metadata["uid"])
    except ClusterConflictError as exc:
        # Somebody else's by now, or being deleted by somebody else: the wait tells.
        log.info("delete_conflicted", kind=kind.kind, name=metadata["name"], error=exc.words)
