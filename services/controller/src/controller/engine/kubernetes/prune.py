"""What an app has in the cluster and should not have any more: the difference of two sets, over the cache."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.kinds import DEPLOYMENT, JOB, POD, PRUNED, REPLICA_SET, SECRET, Kind
from controller.engine.kubernetes.names import APP
from controller.engine.kubernetes.trim import Entry

_ISSUED_BY = "cert-manager.io/certificate-name"


@dataclass(frozen=True)
class Leftover:
    """An object to delete."""

    kind: Kind
    name: str
    uid: str


def leftovers(
    cache: Cache, app: str, rendered: Collection[tuple[Kind, str]], *, now: datetime, secret_grace: timedelta
) -> tuple[Leftover, ...]:
    """Objects of ours that are not rendered, those that depend on others first. Foreign ones are not in the cache.

    A Secret stays while a ReplicaSet, Job or Pod refers to it: a container that starts again needs it (kubernetes.md 5,
    weakness 14). It also stays for `secret_grace` after it was made: whoever made it may be about to refer to it.
    """
    used = _secrets_in_use(cache, app)
    may_prune_secrets = cache.synced(app) and cache.has_secrets(app)
    found = []
    for kind in PRUNED:
        if kind is SECRET and not may_prune_secrets:
            continue
        for name, entry in cache.entries(kind, app).items():
            if (kind, name) in rendered or entry.is_terminating or not _is_ours(entry, app):
                continue
            if kind is SECRET and (name in used or now - _made_at(entry, now) < secret_grace):
                continue
            found.append(Leftover(kind, name, entry.uid))
    return tuple(found)


def _secrets_in_use(cache: Cache, app: str) -> frozenset[str]:
    kinds = (DEPLOYMENT, REPLICA_SET, JOB, POD)
    return frozenset(name for kind in kinds for entry in cache.entries(kind, app).values() for name in entry.secrets)


def _is_ours(entry: Entry, app: str) -> bool:
    """Of this app, and not what somebody else has made of an object of ours."""
    metadata = entry.object["metadata"]
    is_made_of_another = bool(metadata.get("ownerReferences")) or _ISSUED_BY in (metadata.get("annotations") or {})
    return (metadata.get("labels") or {}).get(APP) == app and not is_made_of_another


def _made_at(entry: Entry, now: datetime) -> datetime:
    text = entry.object["metadata"].get("creationTimestamp")
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else now
    except ValueError:
        return now
