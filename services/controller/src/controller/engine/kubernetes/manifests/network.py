"""The network of an app as objects of a cluster: pure, the same spec gives the same objects."""

from __future__ import annotations

from collections.abc import Collection

from controller.domain.spec_network import NetworkSpec
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest
from controller.engine.kubernetes.manifests.network_gateways import gateways, parents_of
from controller.engine.kubernetes.manifests.network_listeners import hosts_of, listeners_of
from controller.engine.kubernetes.manifests.network_routes import RouteWriter
from controller.engine.kubernetes.manifests.network_services import service
from controller.engine.kubernetes.manifests.network_tls import account_binding, certificate, issuer, user_certificate


def render_network_manifests(
    app: str, network: NetworkSpec, config: KubernetesConfig, *, pending: Collection[str] = ()
) -> tuple[Manifest, ...]:
    """The objects in the order of apply: Secrets, Services, Gateways, routes, Issuer, Certificates.

    Without a gateway class (`config.gateway_class`) there are the Secrets and Services only. `pending` are the host
    names whose automatic certificate is known not to be there yet: they are not redirected to HTTPS until it is.

    What is more than an object can hold (`network_limits`) is rendered all the same: the cluster refuses that object,
    and nothing else of the app.
    """
    services = tuple(service(app, spec) for spec in network.services)
    secrets = tuple(user_certificate(app, spec) for spec in network.certificates)
    if not config.gateway_class:
        return (*secrets, *services)
    listeners, hosts = listeners_of(app, network, config), hosts_of(app, network, config)
    parents = parents_of(app, listeners, config)
    writer = RouteWriter(app, network, hosts, parents, config, pending)
    routes = (manifest for spec in network.routes for manifest in writer.routes(spec))
    if network.issuer is None:
        return (*secrets, *services, *gateways(app, listeners, config), *routes)
    return (
        *secrets,
        *account_binding(app, network.issuer),
        *services,
        *gateways(app, listeners, config),
        *routes,
        issuer(app, network.issuer, parents, config),
        *(certificate(app, host) for host in sorted(hosts.automatic)),
    )
