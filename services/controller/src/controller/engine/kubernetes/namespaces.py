"""The namespace of an app: made when it is missing, never taken from somebody else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.kinds import NAMESPACE
from controller.engine.kubernetes.names import MANIFEST, OURS
from shared.errors import ConflictError, UnavailableError
from shared.kubernetes.errors import ClusterConflictError
from shared.kubernetes.kinds import Manifest


class NamespaceTakenError(ConflictError):
    """A namespace of the app's name is somebody else's."""

    code: ClassVar[str] = "namespace-taken"
    title: ClassVar[str] = "The namespace belongs to somebody else"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The namespace {name} is in the cluster already and was not made by this platform: "
            "give the app another name, or have the namespace removed",
            namespace=name,
        )


class NamespaceGoingError(UnavailableError):
    """The namespace is being deleted and not gone yet."""

    code: ClassVar[str] = "namespace-terminating"
    title: ClassVar[str] = "The namespace is being deleted"

    def __init__(self, name: str, remaining: str = "") -> None:
        super().__init__(
            f"The namespace {name} is being deleted and not gone yet" + (f": {remaining}" if remaining else ""),
            namespace=name,
        )


async def ensure(client: Client, cache: Cache, manifest: Manifest) -> bool:
    """See to it that the app has its namespace, not yet with all that the manifest says. True: it was made now.

    Asks the API server only when the cache knows of none.

    Raises:
        NamespaceTakenError: there is one that is not ours.
        NamespaceGoingError: it is on its way out.
        ClusterError: it cannot be read or made.
    """
    name = manifest["metadata"]["name"]
    known = cache.find(NAMESPACE, name, name)
    is_new = False
    if known is not None:
        live = known.object
    else:
        try:
            live = await client.create(_bare(manifest))
            is_new = True
        except ClusterConflictError as exc:
            if exc.reason != "AlreadyExists":
                raise
            live = await client.get(NAMESPACE, name)
    if not is_ours(live):
        raise NamespaceTakenError(name)
    if live["metadata"].get("deletionTimestamp"):
        raise NamespaceGoingError(name, remaining(live))
    if known is None:
        cache.take_written(live)
    return is_new


def is_ours(namespace: Mapping[str, Any]) -> bool:
    """This platform has made it: its labels tell, or where somebody has taken these off, the note on what we apply."""
    metadata = namespace["metadata"]
    labels = metadata.get("labels") or {}
    is_labelled = all(labels.get(key) == value for key, value in OURS.items())
    return is_labelled or MANIFEST in (metadata.get("annotations") or {})


def remaining(namespace: Mapping[str, Any]) -> str:
    """Why a namespace is not gone yet, in the API server's words; empty while it does not say."""
    found = [
        str(condition.get("message", ""))
        for condition in (namespace.get("status") or {}).get("conditions") or ()
        if condition.get("status") == "True" and condition.get("type") != "NamespaceDeletionDiscoveryFailure"
    ]
    return "; ".join(text.strip().rstrip(".") for text in found if text)


def _bare(manifest: Manifest) -> Manifest:
    """Created with what tells that it is ours and no more: what a creation sets, a later apply cannot take back."""
    metadata = manifest["metadata"]
    labels = {key: value for key, value in metadata["labels"].items() if key in OURS}
    return {
        **{key: manifest[key] for key in ("apiVersion", "kind")},
        "metadata": {"name": metadata["name"], "labels": labels},
    }
