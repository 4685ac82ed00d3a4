"""Reads what the cache has of an app into the forms that the pure functions take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from controller.domain.spec_network import Address, NetworkObservation, NetworkSpec, TlsEvent
from controller.engine.kubernetes import names
from controller.engine.kubernetes.apply import ObjectError
from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.facts import Seen, holds, name_of
from controller.engine.kubernetes.kinds import CERTIFICATE, DEPLOYMENT, EVENT, GATEWAY, ISSUER, JOB, POD, REPLICA_SET
from controller.engine.kubernetes.manifests.network_listeners import hosts_of
from shared.kubernetes.kinds import Manifest

_WRONG: Final = {"Accepted": "False", "ResolvedRefs": "False", "Conflicted": "True"}
"""Conditions of listeners, and when they say that something is wrong."""


def seen_of(cache: Cache, app: str) -> Seen:
    """What runs of an app, and what happened to it."""
    return Seen(
        deployments=cache.objects(DEPLOYMENT, app),
        replica_sets=cache.objects(REPLICA_SET, app),
        pods=cache.objects(POD, app),
        jobs=cache.objects(JOB, app),
        events=cache.objects(EVENT, app),
    )


def pending_hosts(cache: Cache, app: str, network: NetworkSpec, config: KubernetesConfig) -> frozenset[str]:
    """The host names whose automatic certificate is not there yet."""
    return frozenset(
        host
        for host in hosts_of(app, network, config).automatic
        if (entry := cache.find(CERTIFICATE, app, names.certificate(app, host))) is None
        or not holds(entry.object, "Ready")
    )


def network_of(cache: Cache, app: str, problems: Iterable[ObjectError] = ()) -> NetworkObservation:
    """The addresses of its gateways, what is wrong with their listeners, and the conditions of its issuer and its
    certificates. `problems` are what could not be applied, which is told besides."""
    addresses = {
        name_of(gateway): found for gateway in cache.objects(GATEWAY, app) if (found := tuple(_addresses(gateway)))
    }
    told = [event for gateway in cache.objects(GATEWAY, app) for event in _complaints(gateway)]
    told += [event for kind in (ISSUER, CERTIFICATE) for thing in cache.objects(kind, app) for event in _events(thing)]
    told += [TlsEvent(one.name, one.kind, "", "Applied", "False", one.message) for one in problems]
    return NetworkObservation(addresses, tuple(told))


def _addresses(gateway: Manifest) -> Iterator[Address]:
    for one in (gateway.get("status") or {}).get("addresses") or ():
        if one.get("value"):
            yield Address(str(one.get("type") or "IPAddress"), str(one["value"]))


def _complaints(gateway: Manifest) -> Iterator[TlsEvent]:
    """What keeps listeners from working: a port that nobody listens on, a certificate that is not there."""
    for listener in (gateway.get("status") or {}).get("listeners") or ():
        for one in _events({**gateway, "status": listener}):
            if _WRONG.get(one.type) == one.status:
                yield replace(one, message=f"{listener.get('name')}: {one.message}")


def _events(thing: Manifest) -> Iterator[TlsEvent]:
    for one in (thing.get("status") or {}).get("conditions") or ():
        yield TlsEvent(
            name=name_of(thing),
            kind=str(thing["kind"]),
            time=str(one.get("lastTransitionTime") or ""),
            type=str(one.get("type") or ""),
            status=str(one.get("status") or ""),
            message=str(one.get("message") or ""),
        )
