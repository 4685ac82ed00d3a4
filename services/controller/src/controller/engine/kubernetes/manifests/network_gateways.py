"""Gateways, and the sets of listeners beside them (kubernetes.md 1.12; weaknesses 29, 30 and 55)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from controller.domain.domains import full_host
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import GatewayListeners, KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, app_object
from controller.engine.kubernetes.manifests.network_listeners import TLS, Listener

GATEWAY_GROUP: Final = "gateway.networking.k8s.io"

_SETS: Final[Mapping[GatewayListeners, tuple[str, str, str]]] = {
    "xlistenersets": ("gateway.networking.x-k8s.io", "v1alpha1", "XListenerSet"),
    "listenersets": (GATEWAY_GROUP, "v1", "ListenerSet"),
}


def gateways(app: str, listeners: Iterable[Listener], config: KubernetesConfig) -> tuple[Manifest, ...]:
    """The Gateways of the app, by name, each with its sets of listeners after it."""
    made: list[Manifest] = []
    for name, inside, beside in _by_gateway(app, listeners, config):
        made.append(_gateway(app, name, inside, config, has_sets=bool(beside)))
        made += [_listener_set(app, name, host, own, config) for host, own in _by_host(beside)]
    return tuple(made)


def parents_of(app: str, listeners: Iterable[Listener], config: KubernetesConfig) -> dict[Listener, Manifest]:
    """For each listener of the app, what a route that comes in by it refers to."""
    parents: dict[Listener, Manifest] = {}
    for gateway, inside, beside in _by_gateway(app, listeners, config):
        parents |= {each: {**gateway_ref(gateway), "sectionName": each.name} for each in inside}
        for host, group in _by_host(beside):
            parents |= {each: {**_set_ref(gateway, host, config), "sectionName": each.name} for each in group}
    return parents


def gateway_ref(name: str) -> Manifest:
    """A whole Gateway as the parent of a route."""
    return {"group": GATEWAY_GROUP, "kind": "Gateway", "name": name}


def _by_gateway(
    app: str, listeners: Iterable[Listener], config: KubernetesConfig
) -> Iterator[tuple[str, list[Listener], list[Listener]]]:
    """Each gateway with the listeners that stand in it and those that stand in sets beside it."""
    for gateway, group in groupby(sorted(listeners, key=_gateway_of), key=_gateway_of):
        own = list(group)
        if config.gateway_listeners == "listeners":
            yield gateway, own, []
        else:
            staying = _staying(app, own, config)
            inside = [listener for listener in own if listener.hostname in staying]
            yield gateway, inside, [listener for listener in own if listener.hostname not in staying]


def _staying(app: str, listeners: Sequence[Listener], config: KubernetesConfig) -> tuple[str | None, ...]:
    """The host names whose listeners stay in their Gateway, which has to have one: none, the app's own, or any one."""
    hosts = {listener.hostname for listener in listeners}
    fixed = (None, full_host(app, config.app_domain))
    return fixed if hosts.intersection(fixed) else (min(host or "" for host in hosts),)


def _gateway(
    app: str, name: str, listeners: Sequence[Listener], config: KubernetesConfig, *, has_sets: bool
) -> Manifest:
    spec: dict[str, Any] = {"gatewayClassName": config.gateway_class, "listeners": list(map(_listener, listeners))}
    if has_sets:
        spec["allowedListeners"] = {"namespaces": {"from": "Same"}}
    return app_object(f"{GATEWAY_GROUP}/v1", "Gateway", app, name, spec=spec)


def _listener_set(
    app: str, gateway: str, hostname: str, listeners: Sequence[Listener], config: KubernetesConfig
) -> Manifest:
    group, version, kind = _SETS[config.gateway_listeners]
    spec = {"parentRef": gateway_ref(gateway), "listeners": list(map(_listener, listeners))}
    return app_object(f"{group}/{version}", kind, app, names.listener_set(gateway, hostname), spec=spec)


def _set_ref(gateway: str, hostname: str, config: KubernetesConfig) -> Manifest:
    group, _, kind = _SETS[config.gateway_listeners]
    return {"group": group, "kind": kind, "name": names.listener_set(gateway, hostname)}


def _gateway_of(listener: Listener) -> str:
    return listener.gateway


def _by_host(listeners: Iterable[Listener]) -> list[tuple[str, list[Listener]]]:
    ordered = sorted(listeners, key=lambda own: own.hostname or "")
    return [(host or "", list(own)) for host, own in groupby(ordered, key=lambda own: own.hostname)]


def _listener(listener: Listener) -> Manifest:
    made: Manifest = {"name": listener.name, "port": listener.port, "protocol": listener.protocol}
    if listener.hostname is not None:
        made["hostname"] = listener.hostname
    if listener.certificate is not None:
        secret = listener.certificate
        elsewhere = {} if secret.namespace is None else {"namespace": secret.namespace}
        reference = {"group": "", "kind": "Secret", "name": secret.name, **elsewhere}
        made["tls"] = {"mode": "Terminate", "certificateRefs": [reference]}
    elif listener.protocol == TLS:
        made["tls"] = {"mode": "Passthrough"}
    return {**made, "allowedRoutes": {"namespaces": {"from": "Same"}}}
