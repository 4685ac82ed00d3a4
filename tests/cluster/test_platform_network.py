"""The network of apps on a real cluster, as their users shape it and as the world sees it through the gateway."""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from controller.domain.render_network import render_network
from controller.domain.spec import AppSpec
from support.acme import Acme, known_hosts, running_pebble
from support.certificates import make_pair, trusting
from support.cluster_platform import ENTRY, Platform, PlatformApp, StartPlatform, until
from support.cluster_rights import Rights
from support.kubectl import Kubectl
from support.kubernetes_networks import domain, tls, web_app, with_domains
from support.lacking_api_server import LackingApiServer
from support.logs import captured_log

pytestmark = pytest.mark.timeout(240)
UDP_PORT: Final = 9001
PROCFILE: Final = {"web": "sample web", "database": "sample web"}
GATEWAY_API: Final = "gateway.networking.k8s.io"
CERT_MANAGER: Final = "cert-manager.io"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def acme(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Acme]:
    """A server of automatic certificates."""
    async with running_pebble(tmp_path_factory.mktemp("pebble")) as running:
        yield running


@pytest.fixture(scope="module")
def hosts(kubectl: Kubectl) -> Iterator[list[str]]:
    """Host names of the world that lead to the gateway."""
    names = [f"he-{uuid4().hex[:10]}.example.net" for _ in range(3)]
    with known_hosts(*names, address=ENTRY):
        yield names


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(start_platform: StartPlatform, acme: Acme) -> AsyncIterator[Platform]:
    """A controller whose operator has a private ACME server."""
    authority = b64encode(acme.authority.encode()).decode()
    async with start_platform(prefix="he", config={"acme_ca_bundle": authority}) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shop(platform: Platform) -> PlatformApp:
    """An app with one web, and a process type that may listen on TCP."""
    return await platform.deploy(procfile=PROCFILE)


async def seen(host: str, *, secure: ssl.SSLContext | None = None) -> httpx.Response:
    """The answer to a request for a host; with `secure` over HTTPS."""
    scheme = "http" if secure is None else "https"
    async with httpx.AsyncClient(verify=secure or True, timeout=10, trust_env=False) as client:
        extensions = {"sni_hostname": host}
        return await client.get(f"{scheme}://{ENTRY}/", headers={"Host": host}, extensions=extensions)


async def answers(host: str, status: int, *, secure: ssl.SSLContext | None = None) -> httpx.Response:
    """The answer to a request for a host, as soon as it has that status."""

    async def ask() -> httpx.Response:
        response = await seen(host, secure=secure)
        assert response.status_code == status, f"{host}: {response.status_code} {response.text}"
        return response

    return await until(ask, seconds=60)


async def events(app: PlatformApp) -> list[dict[str, str]]:
    """What the API tells about the app's certificates and gateways."""
    found: list[dict[str, str]] = (await app.call("GET", "tls/"))["events"]
    return found


async def told(app: PlatformApp, kind: str, type_: str, status: str) -> dict[str, str]:
    """The event of that kind, as soon as there is one."""

    async def ask() -> dict[str, str] | None:
        everything = await events(app)
        found = [each for each in everything if (each["kind"], each["type"], each["status"]) == (kind, type_, status)]
        assert found, everything
        return found[0]

    found = await until(ask, seconds=60)
    assert found is not None
    return found


async def objects(app: PlatformApp, *kinds: str) -> list[str]:
    """Names of the objects in the app's namespace, with their kinds."""
    listed = await app.platform.run_kubectl("get", ",".join(kinds), "-n", app.name, "-o", "name", "--ignore-not-found")
    return listed.split()


async def test_a_domain_gets_a_certificate_and_then_the_redirect(
    platform: Platform, shop: PlatformApp, acme: Acme, hosts: list[str]
) -> None:
    host, trust = hosts[0], trusting(await acme.root())
    issuer = {"email": "ops@example.net", "server": acme.directory}
    await shop.call("POST", "domains/", expect=201, json={"domain": host, "ptype": "web"})
    await answers(host, 200)
    choice = {"certs_auto_enabled": True, "https_enforced": True, "issuer": issuer}
    await shop.call("POST", "tls/", expect=201, json=choice)
    while (plain := await seen(host)).status_code != 301:
        assert plain.status_code == 200, plain.text  # while there is no certificate
        await asyncio.sleep(0.05)
    assert httpx.URL(plain.headers["location"]).copy_with(port=None) == httpx.URL(f"https://{host}/")
    assert (await seen(host, secure=trust)).status_code == 200
    assert (await told(shop, "Certificate", "Ready", "True"))["name"].startswith(f"{shop.name}-tls-")
    assert (await told(shop, "Issuer", "Ready", "True"))["name"] == shop.name
    await shop.answers()  # its own host has no certificate, and no redirect
    # What goes with the domain: route, listener, Certificate, and the Secret that cert-manager has made of it.
    (secret,) = await objects(shop, "certificates")
    secret = secret.rpartition("/")[2]
    assert f"secret/{secret}" in await objects(shop, "secrets")
    await shop.call("DELETE", f"domains/{host}/", expect=204)
    await answers(host, 404)

    async def is_gone() -> bool:
        left = await objects(shop, "certificates", "secrets", "httproutes")
        assert not [name for name in left if name.endswith(secret) or "https-redirect" in name], left
        return [name for name in left if "httproute" in name] == [f"httproute.{GATEWAY_API}/{shop.name}"]

    await until(is_gone, seconds=30)
    gateway = await platform.objects("gateway", shop.name, "-n", shop.name)
    assert [each.get("hostname") for each in gateway["spec"]["listeners"]] == [shop.host]
    await shop.call("POST", "tls/", expect=201, json={"certs_auto_enabled": False, "https_enforced": False})


async def test_a_users_own_certificate(shop: PlatformApp, hosts: list[str]) -> None:
    host = hosts[1]
    pair = make_pair(host)
    await shop.call("POST", "domains/", expect=201, json={"domain": host, "ptype": "web"})
    certificate = {"name": "own", "certificate": pair.certificate, "key": pair.key}
    await shop.call("POST", "certs/", expect=201, json=certificate)
    await shop.call("POST", "certs/own/domain/", expect=201, json={"domain": host})
    await answers(host, 200, secure=trusting(pair.certificate))
    await answers(host, 200)  # nobody has enforced HTTPS
    await shop.call("POST", "tls/", expect=201, json={"https_enforced": True})
    await answers(host, 301)
    await shop.call("DELETE", f"certs/own/domain/{host}/", expect=204)
    await answers(host, 200)  # nothing to redirect to

    async def is_detached() -> bool:
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await seen(host, secure=trusting(pair.certificate))
        return True

    await until(is_detached, seconds=30)
    gateway = await shop.platform.objects("gateway", shop.name, "-n", shop.name)
    assert {each["port"] for each in gateway["spec"]["listeners"]} == {80}
    await shop.call("DELETE", f"domains/{host}/", expect=204)
    await answers(host, 404)
    await shop.call("POST", "tls/", expect=201, json={"https_enforced": False})


async def test_a_tcp_route_leads_to_a_process_and_udp_is_told_to_be_missing(shop: PlatformApp, tcp_port: int) -> None:
    await shop.scale(database=1)
    await shop.runs(web=1, database=1)
    service = {"ptype": "database", "port": 5432, "target_port": 5000, "protocol": "TCP"}
    await shop.call("POST", "services/", expect=201, json=service)
    await shop.call("POST", "gateways/", expect=201, json={"name": "edge", "port": tcp_port, "protocol": "TCP"})
    rules = [{"backendRefs": [{"kind": "Service", "name": f"{shop.name}-database", "port": 5432}]}]
    await shop.call("POST", "routes/", expect=201, json={"name": "data", "kind": "TCPRoute", "rules": rules})
    await shop.call("PATCH", "routes/data/attach/", json={"gateway": "edge", "port": tcp_port})
    (pod,) = await shop.pods("database")

    async def leads_there() -> bool:
        return pod["name"].encode() in await asyncio.to_thread(_exchange, tcp_port)

    await until(leads_there, seconds=60)
    # Traefik has no UDP in its gateways: the listener does not work, which the API tells; the others work on.
    await shop.call("POST", "gateways/", expect=201, json={"name": "edge", "port": UDP_PORT, "protocol": "UDP"})
    complaint = await told(shop, "Gateway", "Conflicted", "True")
    assert complaint["name"] == "edge"
    assert complaint["message"] == f'udp-{UDP_PORT}: Unsupported listener protocol "UDP"'
    assert await leads_there()
    await shop.call("DELETE", "gateways/", json={"name": "edge", "port": UDP_PORT, "protocol": "UDP"})
    await shop.call("DELETE", "routes/data/", expect=204)

    async def is_closed() -> bool:
        return pod["name"].encode() not in await asyncio.to_thread(_exchange, tcp_port)

    await until(is_closed, seconds=30)
    await shop.call("DELETE", "gateways/", json={"name": "edge", "port": tcp_port, "protocol": "TCP"})
    await shop.scale(database=0)


async def test_what_is_taken_away_answers_404(shop: PlatformApp) -> None:
    await shop.answers()
    await shop.call("POST", "settings/", json={"routable": False})
    await shop.answers(status=404)
    await shop.call("POST", "settings/", json={"routable": True})
    await shop.answers()
    port = {"name": shop.name, "port": 80, "protocol": "HTTP"}
    await shop.call("DELETE", "gateways/", expect=204, json=port)
    await shop.answers(status=404)
    assert f"gateway.{GATEWAY_API}/{shop.name}" not in await objects(shop, "gateways")
    await shop.call("POST", "gateways/", expect=201, json=port)
    await shop.answers()
    await shop.call("DELETE", f"routes/{shop.name}/", expect=204)
    await shop.answers(status=404)
    await shop.succeeds(await shop.set("web", MOOD="open"))  # the next release of web opens the way in again
    await shop.answers()


async def test_what_the_cluster_denies_of_the_network_fails_no_release(
    platform: Platform, shop: PlatformApp, acme: Acme, hosts: list[str]
) -> None:
    host, issuer = hosts[2], {"email": "ops@example.net", "server": acme.directory}
    async with denied(shop, CERT_MANAGER, "certificates", "no certificates on Fridays"):
        with captured_log("controller") as log:
            await shop.call("POST", "domains/", expect=201, json={"domain": host, "ptype": "web"})
            await shop.call("POST", "tls/", expect=201, json={"certs_auto_enabled": True, "issuer": issuer})
            event = await told(shop, "Certificate", "Applied", "False")
            assert "no certificates on Fridays" in event["message"]
            await shop.succeeds(await shop.set(MOOD="good"))
            await answers(host, 200)
        lines = [line for line in log.getvalue().splitlines() if "object_not_applied" in line]
        assert len(lines) == 1  # once until it changes
        assert "no certificates on Fridays" in lines[0]
    await shop.succeeds(await shop.set(MOOD="better"))
    assert "Applied" not in [event["type"] for event in await events(shop)]
    assert len(await objects(shop, "certificates")) == 1
    await shop.call("DELETE", f"domains/{host}/", expect=204)
    await shop.call("POST", "tls/", expect=201, json={"certs_auto_enabled": False})


async def test_more_listeners_than_a_gateway_can_have_are_refused_when_they_are_added(platform: Platform) -> None:
    app = await platform.create()
    for number in range(63):  # and one for its own host
        name = {"domain": f"d{number}.{app.name}.example.net", "ptype": "web"}
        await app.call("POST", "domains/", expect=201, json=name)
    refusal = await app.call(
        "POST", "domains/", expect=400, json={"domain": f"one-more.{app.name}.example.net", "ptype": "web"}
    )
    assert refusal == {
        "detail": f"the gateway {app.name} would have 65 listeners, and a Gateway can have 64 at most, one for each "
        "domain and port: remove domains or ports, or ask the operator for ListenerSets (CONTROLLER_GATEWAY_LISTENERS)"
    }
    port = {"name": app.name, "port": 9000, "protocol": "TCP"}
    assert "127 listeners" in (await app.call("POST", "tls/", expect=400, json={"certs_auto_enabled": True}))["detail"]
    await app.build()
    await app.succeeds()
    await app.answers()
    gateway = await platform.objects("gateway", app.name, "-n", app.name)
    assert len(gateway["spec"]["listeners"]) == 64
    assert "65 listeners" in (await app.call("POST", "gateways/", expect=400, json=port))["detail"]
    await app.succeeds(await app.set(MOOD="good"))


async def test_more_listeners_than_a_gateway_can_have_fail_nothing_else(platform: Platform) -> None:
    """As after the operator has changed `gateway_listeners` or `platform_certificate`."""
    app = await platform.create()
    names = [domain(f"d{number}.{app.name}.example.net", app=app.name) for number in range(40)]
    state = with_domains(web_app(app.name), *names, tls=tls(auto=True))
    await platform.engine.apply(AppSpec(app.name, network=render_network(state)))
    (event,) = [each for each in (await platform.engine.network(app.name)).tls_events if each.kind == "Gateway"]
    assert "must have at most 64 items" in event.message
    assert f"service/{app.name}" in await objects(app, "services")


async def test_without_the_gateway_api_and_cert_manager_the_rest_works(
    start_platform: StartPlatform, rights: Rights, tmp_path: Path
) -> None:
    proxy = LackingApiServer.before(rights.kubeconfig(rights.whole), GATEWAY_API, CERT_MANAGER)
    async with proxy.running(), start_platform(prefix="he", kubeconfig=proxy.kubeconfig(tmp_path)) as lacking:
        app = await lacking.deploy()
        await app.runs(web=1)
        assert lacking.engine.features & {"gateways", "wildcards", "tls", "acme"} == set()
        missing = (
            "This cluster has no Gateway (gateway.networking.k8s.io): the Gateway API must be installed in it first."
        )
        port = {"name": "edge", "port": 9000, "protocol": "TCP"}
        own = {"https_enforced": True}
        automatic = {"certs_auto_enabled": True}
        for path, body in (("gateways/", port), ("tls/", own), ("tls/", automatic)):
            assert await app.call("POST", path, expect=400, json=body) == {"detail": missing}
        gateway = [each for each in await events(app) if each["kind"] == "Gateway"]
        assert [(each["type"], each["status"]) for each in gateway] == [("Applied", "False")]
        assert missing in gateway[0]["message"]
        await app.succeeds(await app.set(MOOD="good"))
        await app.answers(status=404)

        # It is installed: whoever asks for it finds it a moment later, and what apps lacked is made without a release.
        proxy.hidden.discard(GATEWAY_API)

        async def is_found() -> bool:
            return bool((await app.owner.client.post(f"/v2/apps/{app.name}/tls/", json=own)).is_success)

        await until(is_found, seconds=30)
        await app.answers(seconds=30)
        assert lacking.engine.features >= {"gateways", "wildcards", "tls"}
        refusal = await app.call("POST", "tls/", expect=400, json=automatic)
        assert refusal == {
            "detail": "This cluster has no Issuer (cert-manager.io): cert-manager must be installed in it first."
        }
        proxy.hidden.clear()

        async def is_complete() -> bool:
            return bool((await app.owner.client.post(f"/v2/apps/{app.name}/tls/", json=automatic)).is_success)

        await until(is_complete, seconds=30)


@asynccontextmanager
async def denied(app: PlatformApp, group: str, plural: str, words: str) -> AsyncIterator[None]:
    """A rule of the cluster denies such objects in the app's namespace during the block."""
    name = f"{app.name}-denies-{plural}"
    version, kind = "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"
    rule = {"apiGroups": [group], "apiVersions": ["*"], "resources": [plural], "operations": ["CREATE", "UPDATE"]}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": app.name}}, "resourceRules": [rule]}
    policy: dict[str, Any] = {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"matchConstraints": here, "validations": [{"expression": "false", "message": words}]},
    }
    binding: dict[str, Any] = {
        "apiVersion": version,
        "kind": f"{kind}Binding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    trial = {
        "apiVersion": f"{group}/v1",
        "kind": "Certificate",
        "metadata": {"name": "trial", "namespace": app.name},
        "spec": {"secretName": "trial", "dnsNames": ["trial.example.net"], "issuerRef": {"name": "trial"}},
    }
    kubectl = app.platform.kubectl

    async def counts(*, expected: bool) -> bool:
        try:
            await asyncio.to_thread(kubectl.apply, [trial], "--dry-run=server")
        except AssertionError as error:
            return expected and words in str(error)
        return not expected

    try:
        await asyncio.to_thread(kubectl.apply, [policy, binding])
        await until(lambda: counts(expected=True), seconds=30, pause=0.2)
        yield
    finally:
        for what in (f"{kind}Binding", kind):
            await app.platform.run_kubectl("delete", what.lower(), name, "--ignore-not-found")
    await until(lambda: counts(expected=False), seconds=30, pause=0.2)


def _exchange(port: int) -> bytes:
    """What is answered at a port for TCP; nothing when nobody does."""
    try:
        with socket.create_connection((ENTRY, port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return connection.recv(4096)
    except OSError:
        return b""
