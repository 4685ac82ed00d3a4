"""What must be true of an app's network in a cluster, by the weaknesses of kubernetes.md 5 that it must not have."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.ingress import Gateway, GatewayPort, IngressState, Service
from controller.domain.render_network import render_network
from controller.domain.spec_network import ParentRef, ServicePort
from controller.domain.tls import Issuer
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest
from controller.engine.kubernetes.manifests.network import render_network_manifests
from controller.engine.kubernetes.manifests.network_limits import check_limits
from controller.engine.port import NotSupportedError
from support.kubernetes_networks import (
    ALONE,
    APP,
    CASES,
    PLATFORM,
    SHARED,
    certificate,
    domain,
    route,
    tls,
    to,
    web_app,
    with_domains,
)

OWN = "tidepool.apps.example.com"


def render(state: IngressState, config: KubernetesConfig = SHARED, **facts: Any) -> tuple[Manifest, ...]:
    """The objects of these rows."""
    return render_network_manifests(APP, render_network(state), config, **facts)


def of_kind(manifests: Iterable[Manifest], kind: str) -> list[Manifest]:
    """Those of that kind."""
    return [each for each in manifests if each["kind"] == kind]


def answers(manifests: Iterable[Manifest], host: str | None) -> dict[int, str]:
    """What each port does with requests for a host: `app` or `redirect`."""
    gateways = {each["metadata"]["name"]: each["spec"]["listeners"] for each in of_kind(manifests, "Gateway")}
    found: dict[int, str] = {}
    for own in of_kind(manifests, "HTTPRoute"):
        if own["spec"].get("hostnames") != (None if host is None else [host]):
            continue
        for parent in own["spec"]["parentRefs"]:
            (listener,) = (each for each in gateways[parent["name"]] if each["name"] == parent["sectionName"])
            assert listener.get("hostname") == host
            assert listener["port"] not in found
            found[listener["port"]] = "app" if own["spec"]["rules"][0].get("backendRefs") else "redirect"
    return found


def one_certificate(*, enforced: bool) -> IngressState:
    """An app with a domain that has a certificate and one that has none."""
    domains = (domain("plain.example.org"), domain("www.example.org", certificate="cert-a"))
    return with_domains(web_app(), *domains, tls=tls(enforced=enforced), certificates=(certificate("cert-a"),))


def test_weakness_27_a_new_domain_touches_no_object_of_another_but_the_gateway() -> None:
    before = render(with_domains(web_app(), domain("www.example.org")))
    after = render(with_domains(web_app(), domain("www.example.org"), domain("aaa.example.org")))
    changed = [each["kind"] for each in after if each not in before]
    assert changed == ["Gateway", "HTTPRoute"]
    assert [each["kind"] for each in before if each not in after] == ["Gateway"]


def test_weakness_28_routes_follow_the_services_at_once() -> None:
    state = web_app()
    worker = Service(2, APP, "worker", (ServicePort(90, "TCP", 9000),))
    state = replace(
        state, routes=(*state.routes, route("work", "HTTPRoute", [ParentRef(APP, 80)], to(worker.name, 90)))
    )
    state = with_domains(state, domain("work.example.org", "worker"))
    assert "work.example.org" not in {
        host for each in of_kind(render(state), "HTTPRoute") for host in each["spec"]["hostnames"]
    }
    assert answers(render(replace(state, services=(*state.services, worker))), "work.example.org") == {80: "app"}


def test_weakness_30_nothing_of_tls_stays_when_it_is_switched_off() -> None:
    on = with_domains(web_app(), domain("www.example.org"), tls=tls(auto=True, enforced=True))
    assert of_kind(render(on), "Certificate")
    off = render(with_domains(web_app(), domain("www.example.org"), tls=tls()))
    assert off == render(with_domains(web_app(), domain("www.example.org")))
    assert not of_kind(off, "Issuer")
    assert all("tls" not in own for each in of_kind(off, "Gateway") for own in each["spec"]["listeners"])


def test_weakness_31_one_certificate_for_each_name_and_a_listener_that_uses_it() -> None:
    manifests = CASES["network-auto-tls"].render()
    certificates = {each["spec"]["secretName"]: each["spec"]["dnsNames"] for each in of_kind(manifests, "Certificate")}
    (gateway,) = of_kind(manifests, "Gateway")
    used = {
        own["tls"]["certificateRefs"][0]["name"]: [own["hostname"]]
        for own in gateway["spec"]["listeners"]
        if own["protocol"] == "HTTPS"
    }
    assert certificates == used
    assert len(certificates) == 2


def test_weakness_32_challenges_come_in_by_the_gateways_of_now() -> None:
    def gateways(state: IngressState) -> list[str]:
        (issuer,) = of_kind(render(state), "Issuer")
        solvers = issuer["spec"]["acme"]["solvers"]
        return [ref["name"] for each in solvers for ref in each["http01"]["gatewayHTTPRoute"]["parentRefs"]]

    state = with_domains(web_app(), domain("www.example.org"), tls=tls(auto=True))
    assert gateways(state) == [APP]
    edge = Gateway(2, APP, "ann", "edge", (GatewayPort(80, "HTTP"), GatewayPort(8080, "HTTP")))
    udp = Gateway(3, APP, "ann", "games", (GatewayPort(80, "UDP"),))
    assert gateways(replace(state, gateways=(*state.gateways, udp, edge))) == ["edge", APP]
    assert gateways(replace(state, gateways=())) == []


def test_weakness_33_hosts_without_a_certificate_keep_their_plain_route() -> None:
    manifests = render(one_certificate(enforced=True))
    assert answers(manifests, "www.example.org") == {80: "redirect", 443: "app"}
    assert answers(manifests, "plain.example.org") == {80: "app"}
    assert answers(manifests, OWN) == {80: "app"}
    relaxed = render(one_certificate(enforced=False))
    assert answers(relaxed, "www.example.org") == {80: "app", 443: "app"}


def test_weakness_33_a_certificate_that_is_not_there_yet_leaves_plain_http() -> None:
    state = with_domains(
        web_app(), domain("www.example.org"), domain("new.example.org"), tls=tls(auto=True, enforced=True)
    )
    manifests = render(state, pending=frozenset({"new.example.org"}))
    assert answers(manifests, "new.example.org") == {80: "app", 443: "app"}
    assert answers(manifests, "www.example.org") == {80: "redirect", 443: "app"}
    assert len(of_kind(manifests, "Certificate")) == 2


def test_weakness_33_a_wildcard_gets_no_automatic_certificate_and_no_redirect_to_nowhere() -> None:
    manifests = CASES["network-wildcard"].render()
    assert answers(manifests, "*.example.org") == {80: "app"}
    assert answers(manifests, "*.example.net") == {80: "redirect", 443: "app"}
    assert not of_kind(manifests, "Certificate")


def test_weakness_33_a_route_that_has_no_https_of_its_own_is_not_redirected() -> None:
    state = one_certificate(enforced=True)
    state = replace(state, routes=(*state.routes, route("other", "HTTPRoute", [ParentRef(APP, 80)], to(APP, 80))))
    redirects = [
        each["metadata"]["name"]
        for each in of_kind(render(state), "HTTPRoute")
        if "requestRedirect" in json.dumps(each["spec"]["rules"])
    ]
    assert len(redirects) == 1
    assert redirects[0].startswith("tidepool.")


def test_weakness_34_nothing_is_rendered_for_what_is_gone() -> None:
    state = with_domains(
        web_app(),
        domain("www.example.org"),
        tls=tls(auto=True, enforced=True, issuer=Issuer("a@example.org", "https://acme.example.net", "kid", "secret")),
    )
    tcp = Gateway(2, APP, "ann", "edge", (GatewayPort(90, "TCP"),))
    routes = (*state.routes, route("database", "TCPRoute", [ParentRef("edge", 90)], to(APP, 80)))
    state = replace(state, gateways=(*state.gateways, tcp), routes=routes)
    assert {each["kind"] for each in render(state)} >= {"Secret", "HTTPRoute", "TCPRoute"}
    hidden = render(replace(state, routes=tuple(replace(own, routable=False) for own in routes)))
    assert not of_kind(hidden, "HTTPRoute") + of_kind(hidden, "TCPRoute")
    unbound = render(with_domains(web_app(), domain("www.example.org"), tls=tls(auto=True)))
    assert not of_kind(unbound, "Secret")


def test_weakness_52_only_the_apps_own_certificates_in_its_own_namespace() -> None:
    state = one_certificate(enforced=False)
    secrets = of_kind(render(replace(state, certificates=(*state.certificates, certificate("unused")))), "Secret")
    assert [(each["metadata"]["namespace"], each["metadata"]["name"]) for each in secrets] == [
        (APP, "cert-a-certificate")
    ]
    # A name without a certificate in the spec is not believed: nobody else's Secret is used.
    manifests = render(replace(state, certificates=()))
    assert "cert-a" not in json.dumps(manifests)
    assert answers(manifests, "www.example.org") == {80: "app"}


def test_weakness_57_types_email_and_account_binding() -> None:
    (secret,) = of_kind(CASES["network-user-certificate"].render(), "Secret")
    assert secret["type"] == "kubernetes.io/tls"
    assert {key: b64decode(value) for key, value in secret["data"].items()} == {
        "tls.crt": b"PEM of cert-a",
        "tls.key": b"key of cert-a",
    }
    manifests = CASES["network-auto-tls"].render()
    (binding,), (issuer,) = of_kind(manifests, "Secret"), of_kind(manifests, "Issuer")
    acme = issuer["spec"]["acme"]
    assert acme["email"] == "ann@example.org"
    assert acme["externalAccountBinding"] == {
        "keyID": "kid-1",
        "keySecretRef": {"name": binding["metadata"]["name"], "key": "secret"},
    }
    # base64url without padding, as cert-manager wants it.
    assert {key: b64decode(value) for key, value in binding["data"].items()} == {"secret": b"a-b_c-secret"}
    assert "a+b/c" not in json.dumps(manifests)


def test_the_apps_own_host_reaches_web_without_a_domain() -> None:
    assert answers(render(web_app()), OWN) == {80: "app"}
    assert answers(render(web_app(), ALONE), None) == {80: "app"}


def test_a_domain_that_is_the_own_host_leads_where_it_says() -> None:
    worker = Service(2, APP, "worker", (ServicePort(90, "TCP", 9000),))
    state = replace(web_app(), services=(*web_app().services, worker))
    state = replace(
        state, routes=(*state.routes, route("work", "HTTPRoute", [ParentRef(APP, 80)], to(worker.name, 90)))
    )
    for name in (APP, OWN):
        manifests = render(with_domains(state, domain(name, "worker")))
        assert answers(manifests, OWN) == {80: "app"}
        (own,) = of_kind(manifests, "HTTPRoute")
        assert own["spec"]["rules"][0]["backendRefs"][0]["name"] == "tidepool-worker"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.config.app_domain])
def test_on_a_shared_entry_no_app_takes_every_host(name: str) -> None:
    for manifest in CASES[name].render():
        if manifest["kind"] in ("HTTPRoute", "GRPCRoute", "TLSRoute"):
            assert len(manifest["spec"]["hostnames"]) == 1
        for listener in manifest["spec"].get("listeners", ()) if manifest["kind"] == "Gateway" else ():
            assert "hostname" in listener or listener["protocol"] in ("TCP", "UDP")


def test_a_route_without_domains_answers_on_the_own_host_of_a_shared_entry() -> None:
    worker = Service(2, APP, "worker", (ServicePort(90, "TCP", 9000),))
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/work"}}], **to(worker.name, 90)}
    state = web_app()
    state = replace(
        state,
        services=(*state.services, worker),
        routes=(*state.routes, route("work", "HTTPRoute", [ParentRef(APP, 80)], rule)),
    )
    shared, alone = ({each["metadata"]["name"]: each for each in render(state, own)} for own in (SHARED, ALONE))
    assert shared["work"]["spec"]["hostnames"] == [OWN]
    assert "hostnames" not in alone["work"]["spec"]


def test_the_operators_certificate_serves_names_below_the_apps_domain() -> None:
    domains = (domain("shop"), domain("www.example.org"), domain("deep.er.apps.example.com"))
    relaxed = render(with_domains(web_app(), *domains), PLATFORM)
    enforced = render(with_domains(web_app(), *domains, tls=tls(enforced=True)), PLATFORM)
    for host in (OWN, "shop.apps.example.com"):
        assert answers(relaxed, host) == {80: "app", 443: "app"}
        assert answers(enforced, host) == {80: "redirect", 443: "app"}
    for host in ("www.example.org", "deep.er.apps.example.com"):
        assert answers(relaxed, host) == answers(enforced, host) == {80: "app"}


@pytest.mark.parametrize(("protocol", "ports"), [("TCP", {80}), ("UDP", {80, 443}), ("TLS", {80, 443})])
def test_the_operators_certificate_leaves_a_port_that_the_user_took(protocol: str, ports: set[int]) -> None:
    state = web_app()
    gateway = replace(state.gateways[0], ports=(*state.gateways[0].ports, GatewayPort(443, protocol)))
    state = replace(state, gateways=(gateway,), domains=(domain("shop"),))
    assert set(answers(render(state, PLATFORM), OWN)) == ports
    # TLS for a name is passed through; HTTPS for the same name on the same port cannot be.
    shop = {80} if protocol == "TLS" else ports
    assert set(answers(render(state, PLATFORM), "shop.apps.example.com")) == shop


def test_a_users_certificate_wins_over_the_operators() -> None:
    state = with_domains(web_app(), domain("shop", certificate="cert-a"), certificates=(certificate("cert-a"),))
    (gateway,) = of_kind(render(state, PLATFORM), "Gateway")
    (listener,) = (
        own
        for own in gateway["spec"]["listeners"]
        if own["protocol"] == "HTTPS" and own["hostname"] == "shop.apps.example.com"
    )
    assert listener["tls"]["certificateRefs"] == [{"group": "", "kind": "Secret", "name": "cert-a-certificate"}]


def test_tls_without_a_certificate_is_passed_through() -> None:
    gateway = Gateway(2, APP, "ann", "edge", (GatewayPort(8443, "TLS"), GatewayPort(9443, "HTTPS")))
    state = replace(web_app(), gateways=(gateway,))
    (made,) = of_kind(render(with_domains(state, domain("www.example.org"))), "Gateway")
    assert [(own["protocol"], own["tls"]) for own in made["spec"]["listeners"]] == [("TLS", {"mode": "Passthrough"})]


def test_a_gateway_without_a_listener_that_could_be_is_not_rendered() -> None:
    gateway = Gateway(2, APP, "ann", "edge", (GatewayPort(9443, "HTTPS"),))
    state = replace(web_app(), gateways=(gateway,), routes=())
    assert not of_kind(render(with_domains(state, domain("www.example.org"))), "Gateway")


def test_rules_are_as_the_user_wrote_them() -> None:
    network = CASES["network-all-kinds"].network
    (versions,) = (each for each in network.routes if each.name == "versions")
    (made,) = (each for each in CASES["network-all-kinds"].render() if each["metadata"]["name"].startswith("versions."))
    assert made["spec"]["rules"] == [dict(rule) for rule in versions.rules]


def test_more_listeners_than_a_gateway_can_have_are_refused_in_words() -> None:
    names = [f"d{number}.example.org" for number in range(32)]
    fits = with_domains(web_app(), *map(domain, names[:31]), tls=tls(auto=True))
    (gateway,) = of_kind(render(fits), "Gateway")
    assert len(gateway["spec"]["listeners"]) == 63
    state = with_domains(web_app(), *map(domain, names), tls=tls(auto=True))
    check_limits(render(fits))
    with pytest.raises(NotSupportedError, match=r"would have 65 listeners, .* \(CONTROLLER_GATEWAY_LISTENERS\)$"):
        check_limits(render(state))
    manifests = render(state, replace(SHARED, gateway_listeners="listenersets"))
    check_limits(manifests)
    sets = of_kind(manifests, "ListenerSet")
    assert len(sets) == 32
    assert {each["apiVersion"] for each in sets} == {"gateway.networking.k8s.io/v1"}
    # The Gateway itself keeps the own host, so that no domain ever moves.
    (gateway,) = of_kind(manifests, "Gateway")
    assert [own["hostname"] for own in gateway["spec"]["listeners"]] == [OWN]
    assert gateway["spec"]["allowedListeners"] == {"namespaces": {"from": "Same"}}


def test_a_route_with_more_parents_than_it_can_have_is_refused_in_words() -> None:
    ports = tuple(GatewayPort(port, "TCP") for port in range(1, 34))
    parents = [ParentRef("edge", port.port) for port in ports]
    state = replace(
        web_app(),
        gateways=(Gateway(2, APP, "ann", "edge", ports),),
        routes=(route("database", "TCPRoute", parents, to(APP, 80)),),
    )
    with pytest.raises(NotSupportedError, match="the route database would be attached to 33 ports"):
        check_limits(render(state))


def test_without_a_gateway_class_services_and_secrets_are_all() -> None:
    manifests = render(one_certificate(enforced=True), KubernetesConfig())
    assert [each["kind"] for each in manifests] == ["Secret", "Service"]


def test_a_secret_whose_name_would_be_too_long_is_cut_and_still_found() -> None:
    name = "c" * 250
    state = with_domains(web_app(), domain("www.example.org", certificate=name), certificates=(certificate(name),))
    manifests = render(state)
    (secret,), (gateway,) = of_kind(manifests, "Secret"), of_kind(manifests, "Gateway")
    (reference,) = (own["tls"]["certificateRefs"][0] for own in gateway["spec"]["listeners"] if "tls" in own)
    assert len(secret["metadata"]["name"]) == 253
    assert reference["name"] == secret["metadata"]["name"]
