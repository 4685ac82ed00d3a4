"""Routes and their redirects to HTTPS (kubernetes.md 1.13; weaknesses 28, 33 and 34).

A route that goes by host names becomes one object for each of them. So a host name that is redirected, or whose domain
comes or goes, touches no other; and neither 16 host names nor 32 parents, which are the most that the Gateway API
admits in a route, are a limit for an app. (Traefik 3.6 also keeps but one listener's names of a TLSRoute.)
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.domain.domains import full_host
from controller.domain.names import WEB
from controller.domain.routes import backends_of
from controller.domain.spec_network import IngressRouteSpec, NetworkSpec, ParentRef
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, app_object, plain
from controller.engine.kubernetes.manifests.network_gateways import GATEWAY_GROUP
from controller.engine.kubernetes.manifests.network_listeners import (
    CARRIED,
    HTTP,
    HTTP_PORT,
    HTTPS,
    HTTPS_PORT,
    Hosts,
    Listener,
    is_covered,
)

# Clusters serve other versions as well; which one is found when the objects are written.
_VERSIONS: Final = {"HTTPRoute": "v1", "GRPCRoute": "v1"}
_BY_HOST: Final = frozenset({"HTTPRoute", "GRPCRoute", "TLSRoute"})


@dataclass(frozen=True)
class RouteWriter:
    """Makes the routes of one app. `parents` are all its listeners and what a route refers to for each; `pending` are
    the host names whose certificate is known not to be there yet: plain HTTP goes on for them."""

    app: str
    network: NetworkSpec
    hosts: Hosts
    parents: Mapping[Listener, Manifest]
    config: KubernetesConfig
    pending: Collection[str] = ()

    def routes(self, spec: IngressRouteSpec) -> Iterator[Manifest]:
        """The objects of one route; none as long as it is attached to nothing."""
        attached = [own for own in self.parents if _is_attached(spec, own)]
        if spec.kind not in _BY_HOST:
            yield from self._route(spec, None, None, attached)
            return
        for host in self._hosts(spec):
            yield from self._of_host(spec, host, [own for own in attached if own.hostname == host])

    def _of_host(self, spec: IngressRouteSpec, host: str | None, listeners: list[Listener]) -> Iterator[Manifest]:
        part = None if host in (None, self.hosts.own) else host
        secure = [own for own in listeners if own.protocol == HTTPS]
        if host is None or not secure or not self._redirects(spec, host):
            yield from self._route(spec, host, part, listeners)
            return
        # The redirect first: no moment without an answer to plain HTTP.
        insecure = [own for own in listeners if own.protocol == HTTP]
        if insecure:
            name = names.redirect(spec.name, host)
            yield self._object(spec, name, host, insecure, [_redirect_rule(secure)])
        yield from self._route(spec, host, part, secure)

    def _route(
        self, spec: IngressRouteSpec, host: str | None, part: str | None, listeners: Sequence[Listener]
    ) -> Iterator[Manifest]:
        if listeners:
            yield self._object(spec, names.route(spec.name, part), host, listeners, plain(spec.rules))

    def _object(
        self, spec: IngressRouteSpec, name: str, host: str | None, listeners: Sequence[Listener], rules: list[Any]
    ) -> Manifest:
        content: dict[str, Any] = {} if host is None else {"hostnames": [host]}
        content["parentRefs"] = [dict(self.parents[own]) for own in listeners]
        version = f"{GATEWAY_GROUP}/{_VERSIONS.get(spec.kind, 'v1alpha2')}"
        return app_object(version, spec.kind, self.app, name, spec={**content, "rules": rules})

    def _hosts(self, spec: IngressRouteSpec) -> tuple[str | None, ...]:
        """The host names that a route is for; (None,) is every name."""
        domains = tuple(full_host(host, self.config.app_domain) for host in spec.hostnames)
        if self.hosts.own is not None and (not domains or self._leads_to_web(spec)):
            return (self.hosts.own, *domains)
        return domains if domains or self.hosts.is_shared else (None,)

    def _leads_to_web(self, spec: IngressRouteSpec) -> bool:
        web = {service.name for service in self.network.services if service.ptype == WEB}
        return any(backend["name"] in web for backend in backends_of(spec.rules))

    def _redirects(self, spec: IngressRouteSpec, host: str) -> bool:
        if host in self.pending:
            return False
        wanted = {full_host(each, self.config.app_domain) for each in spec.redirect_hostnames}
        return host in wanted or (spec.https_enforced and is_covered(host, self.config))


def _is_attached(spec: IngressRouteSpec, listener: Listener) -> bool:
    ports = {listener.port, HTTP_PORT} if listener.implied else {listener.port}
    wanted = any(ParentRef(listener.gateway, port) in spec.parents for port in ports)
    return wanted and listener.protocol in CARRIED[spec.kind]


def _redirect_rule(secure: Sequence[Listener]) -> dict[str, Any]:
    ports = {own.port for own in secure}
    port = HTTPS_PORT if HTTPS_PORT in ports else min(ports)
    redirect = {"scheme": "https", "port": port, "statusCode": 301}
    return {"filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]}
