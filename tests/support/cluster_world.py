"""The part of the Kubernetes engine that talks to the API server, at work on a real cluster."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from controller.engine.kubernetes import names
from controller.engine.kubernetes.apply import Applied, Applier
from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.kinds import NAMESPACE, ROLE_BINDING, Kind, kind_of
from shared.kubernetes.kinds import Manifest
from shared.kubernetes.transport import Kubeconfig
from shared.testing.wait import eventually
from support.cluster_rights import Rights

SYNC_SECONDS = 30.0


@dataclass
class World:
    """A client, its cache and an applier. `rights` are what it has to give itself in each app."""

    client: Client
    cache: Cache
    applier: Applier
    rights: Rights

    def with_rights(self, app: str, manifests: Sequence[Manifest]) -> list[Manifest]:
        """The manifests with the RoleBindings of the app behind its namespace, unless they are there."""
        if any(kind_of(one) is ROLE_BINDING for one in manifests) or kind_of(manifests[0]) is not NAMESPACE:
            return list(manifests)
        return [manifests[0], *self.rights.bindings(app), *manifests[1:]]

    async def apply(self, app: str, manifests: Sequence[Manifest]) -> tuple[Applied, int, int]:
        """What was done, RoleBindings included, and how many reads and writes it took."""
        reads, writes = self.client.calls.reads, self.client.calls.writes
        applied = await self.applier.apply(app, self.with_rights(app, manifests))
        return applied, self.client.calls.reads - reads, self.client.calls.writes - writes

    async def seen(self, kind: Kind, app: str, name: str) -> Mapping[str, Any]:
        """An object as soon as the cache has it."""
        await eventually(lambda: self.cache.find(kind, app, name) is not None, timeout=SYNC_SECONDS)
        entry = self.cache.find(kind, app, name)
        assert entry is not None
        return entry.object


@asynccontextmanager
async def running_world(
    kubeconfig: Path, *, rights: Rights, secret_grace: timedelta = timedelta(0)
) -> AsyncIterator[World]:
    """One that has read everything."""
    client = Client(Kubeconfig(kubeconfig))
    await client.open()
    cache = Cache(client)
    try:
        await cache.start()
        assert await cache.wait_synced(seconds=SYNC_SECONDS)
        yield World(client, cache, Applier(client, cache, secret_grace=secret_grace), rights)
    finally:
        await cache.close()
        await client.close()


def namespace(app: str, **labels: str) -> Manifest:
    """The namespace of an app."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": app, "labels": names.labels(app) | labels}}


def secret(app: str, name: str, *, immutable: bool = True, **data: str) -> Manifest:
    """A Secret with these values, given in base64."""
    facts: Manifest = {"type": "Opaque", "data": data}
    return _object("v1", "Secret", app, name, facts | ({"immutable": True} if immutable else {}))


def service(app: str, name: str, port: int = 80) -> Manifest:
    """A Service that leads to the pods of `web`."""
    ports = [{"name": "tcp-main", "port": port, "targetPort": 8000, "protocol": "TCP"}]
    spec = {"type": "ClusterIP", "selector": names.selector(app, "web"), "ports": ports}
    return _object("v1", "Service", app, name, {"spec": spec})


def deployment(app: str, *, env: Mapping[str, str] | None = None, replicas: int | None = 0) -> Manifest:
    """The Deployment of `web`; `env` are variables and the Secrets that they come from, each under its own name."""
    variables = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": from_secret, "key": name}}}
        for name, from_secret in (env or {}).items()
    ]
    container = {
        "name": f"{app}-web",
        "image": "busybox:1",
        "command": ["sleep", "1000"],
        "env": variables,
        "resources": {"requests": {"cpu": "1m"}, "limits": {"cpu": "100m", "memory": "32Mi"}},
    }
    template = {
        "metadata": {"labels": names.pod_labels(app, "web", 1)},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1, "securityContext": {}},
    }
    spec: Manifest = {"selector": {"matchLabels": names.selector(app, "web")}, "template": template}
    if replicas is not None:
        spec["replicas"] = replicas
    return _object("apps/v1", "Deployment", app, f"{app}-web", {"spec": spec})


def without(manifest: Manifest, *path: str | int) -> Manifest:
    """A copy that lacks the field at that path."""
    copied = copy.deepcopy(manifest)
    place: Any = copied
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return copied


def _object(version: str, kind: str, app: str, name: str, facts: Mapping[str, Any]) -> Manifest:
    metadata = {"name": name, "namespace": app, "labels": names.labels(app, "web")}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **facts}
