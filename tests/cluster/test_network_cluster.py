"""What the renderers of an app's network make, on a real cluster: every object is admitted, and requests arrive."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from controller.domain.ingress import Gateway, GatewayPort, IngressState
from controller.domain.render_network import render_network
from controller.domain.spec_network import ParentRef
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig, PlatformCertificate
from controller.engine.kubernetes.manifests.network import render_network_manifests
from support.certificates import MadePair, make_pair
from support.kubectl import Kubectl, eventually
from support.kubernetes_networks import CASES, certificate, domain, route, tls, to, web_app, with_domains

APP_DOMAIN = "apps.example.com"
IMAGE = os.environ.get("TEST_IMAGE", "busybox:1")

Namespaces = Callable[[], str]


@dataclass(frozen=True)
class Entry:
    """The one entry of all apps."""

    kubectl: Kubectl
    config: KubernetesConfig

    def run(self, app: str, state: IngressState, **changes: Any) -> None:
        """A pod that answers with the app's name, and its network."""
        spec = render_network(state)
        self.kubectl.apply([_pod(app), *render_network_manifests(app, spec, replace(self.config, **changes))])

    def address(self, app: str) -> str:
        """Where the default gateway of the app can be reached."""

        def ask() -> str:
            found = self.kubectl.get("gateway", app, "-n", app)["status"].get("addresses")
            assert found, "the gateway has no address"
            return str(found[0]["value"])

        return eventually(ask)

    def get(self, app: str, host: str, scheme: str = "http", verify: ssl.SSLContext | bool = True) -> httpx.Response:
        """The answer to a request for a host."""
        with httpx.Client(verify=verify, timeout=10, trust_env=False) as client:
            url = f"{scheme}://{self.address(app)}/"
            return client.get(url, headers={"Host": host}, extensions={"sni_hostname": host})

    def expect(self, app: str, host: str, status: int, **options: Any) -> httpx.Response:
        """The answer, once it has that status."""

        def ask() -> httpx.Response:
            try:
                answer = self.get(app, host, **options)
            except httpx.TransportError as error:
                raise AssertionError(f"{host}: {error!r}") from error
            assert answer.status_code == status, f"{host} answers {answer.status_code}"
            return answer

        return eventually(ask)


@pytest.fixture
def entry(kubectl: Kubectl) -> Entry:
    """The entry that the first accepted gateway class makes."""
    for item in kubectl.get("gatewayclass")["items"]:
        conditions = {each["type"]: each["status"] for each in item.get("status", {}).get("conditions", ())}
        if conditions.get("Accepted") == "True":
            return Entry(kubectl, KubernetesConfig(gateway_class=item["metadata"]["name"], app_domain=APP_DOMAIN))
    pytest.fail("no gateway class of the cluster is accepted")


@pytest.mark.parametrize("name", CASES)
def test_the_api_server_admits_every_object(name: str, kubectl: Kubectl, make_namespace: Namespaces) -> None:
    namespace = make_namespace()
    manifests = [_moved(manifest, namespace) for manifest in CASES[name].render()]
    assert kubectl.apply(manifests, "--dry-run=server").count("serverside-applied") == len(manifests)


def test_each_app_answers_on_its_own_host(entry: Entry, make_namespace: Namespaces) -> None:
    apps = [make_namespace(), make_namespace()]
    for app in apps:
        entry.run(app, web_app(app))
    for app in apps:
        assert entry.expect(app, f"{app}.{APP_DOMAIN}", 200).text.strip() == app
    assert entry.get(apps[0], f"nobody-{apps[0]}.{APP_DOMAIN}").status_code == 404


def test_weakness_33_redirect_for_the_host_with_a_certificate_only(entry: Entry, make_namespace: Namespaces) -> None:
    app = make_namespace()
    secure, plain = f"www.{app}.example.org", f"plain.{app}.example.org"
    pair = make_pair(secure)
    state = with_domains(
        web_app(app),
        domain(secure, certificate="cert-a", app=app),
        domain(plain, app=app),
        tls=tls(enforced=True),
        certificates=(certificate("cert-a", pair.certificate, pair.key),),
    )
    entry.run(app, state)
    answer = entry.expect(app, secure, 200, scheme="https", verify=_trusting(pair))
    assert answer.text.strip() == app
    redirect = entry.expect(app, secure, 301)
    assert httpx.URL(redirect.headers["location"]).copy_with(port=None) == httpx.URL(f"https://{secure}/")
    assert entry.expect(app, plain, 200).text.strip() == app
    assert entry.expect(app, f"{app}.{APP_DOMAIN}", 200).text.strip() == app


def test_the_operators_certificate_serves_the_own_host(entry: Entry, make_namespace: Namespaces) -> None:
    app, platform = make_namespace(), make_namespace()
    # Below the app's name, so that no other certificate on the entry is good for it.
    config = {"app_domain": f"{platform}.example.com", "platform_certificate": PlatformCertificate(platform, "apps")}
    host = f"{app}.{platform}.example.com"
    pair = make_pair(host)
    entry.kubectl.apply(_platform_certificate(platform, pair, app))
    entry.run(app, web_app(app), **config)
    assert entry.expect(app, host, 200, scheme="https", verify=_trusting(pair)).text.strip() == app
    assert entry.expect(app, host, 200).text.strip() == app


def test_a_tcp_route_leads_to_its_pod(tcp_port: int, entry: Entry, make_namespace: Namespaces) -> None:
    app = make_namespace()
    state = web_app(app)
    gateway = Gateway(2, app, "ann", "database", (GatewayPort(tcp_port, "TCP"),))
    routes = (*state.routes, route("database", "TCPRoute", [ParentRef("database", tcp_port)], to(app, 80), app=app))
    entry.run(app, replace(state, gateways=(*state.gateways, gateway), routes=routes))

    def ask() -> None:
        with socket.create_connection((entry.address(app), tcp_port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            received = b"".join(iter(lambda: connection.recv(4096), b""))
        assert received.endswith(app.encode() + b"\n"), received[-60:]

    eventually(ask)


def _pod(app: str) -> dict[str, Any]:
    """What the app's service leads to: a web server whose only page is the app's name."""
    script = f"mkdir -p /tmp/www && echo {app} >/tmp/www/index.html && exec httpd -f -p 5000 -h /tmp/www"
    labels = names.pod_labels(app, "web", 1)
    container = {"name": "web", "image": IMAGE, "command": ["/bin/sh", "-c", script]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": app, "labels": labels},
        "spec": spec,
    }


def _platform_certificate(namespace: str, pair: MadePair, app: str) -> list[dict[str, Any]]:
    """The operator's certificate, and the grant to use it."""
    grant = {
        "from": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": app}],
        "to": [{"group": "", "kind": "Secret", "name": "apps"}],
    }
    pem = {"tls.crt": pair.certificate, "tls.key": pair.key}
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "apps", "namespace": namespace},
            "type": "kubernetes.io/tls",
            "stringData": pem,
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1beta1",
            "kind": "ReferenceGrant",
            "metadata": {"name": "apps", "namespace": namespace},
            "spec": grant,
        },
    ]


def _trusting(pair: MadePair) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pair.certificate)


def _moved(manifest: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}
