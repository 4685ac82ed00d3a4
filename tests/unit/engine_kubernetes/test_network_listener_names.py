"""Names that others hold on to: unique, valid for the API, and the same whatever else comes and goes (weakness 29)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.gateways import add_port, is_occupied
from controller.domain.ingress import Gateway, GatewayPort, IngressState
from controller.domain.render_network import render_network
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import GatewayListeners, KubernetesConfig
from controller.engine.kubernetes.manifests.network import render_network_manifests
from controller.engine.kubernetes.manifests.network_listeners import Listener, listeners_of
from support.kubernetes_networks import ALONE, APP, PLATFORM, SHARED, domain, tls, web_app

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_LISTENERS: Final[tuple[GatewayListeners, ...]] = ("listeners", "xlistenersets", "listenersets")

label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
host = st.builds(
    lambda star, labels: star + ".".join(labels), st.sampled_from(["", "*."]), st.lists(label, min_size=1, max_size=4)
)
# Names that become one when dots become hyphens.
alike = st.sampled_from(["a.b-c", "a-b.c", "a-b-c", "a.b.c", "*.a.b", "a.b"])
hosts = st.lists(
    st.one_of(host, alike).filter(lambda name: name[:2] != "*." or "." in name[2:]), max_size=12, unique=True
)
port = st.builds(GatewayPort, st.sampled_from([80, 443, 8080]), st.sampled_from(["HTTP", "HTTPS", "TCP", "TLS", "UDP"]))
configs = st.sampled_from([ALONE, SHARED, PLATFORM])


def state_of(names: list[str], ports: list[GatewayPort], *, auto: bool) -> IngressState:
    """An app with these domains and as many of the ports as its two gateways take."""
    kept: tuple[GatewayPort, ...] = ()
    for own in ports:
        if not is_occupied(kept, own):
            kept = add_port(kept, own)
    gateways = tuple(Gateway(1, APP, "ann", name, kept) for name in (APP, "edge"))
    return replace(web_app(), gateways=gateways, domains=tuple(map(domain, names)), tls=tls(auto=auto))


def listeners(state: IngressState, config: KubernetesConfig) -> tuple[Listener, ...]:
    """What becomes of it."""
    return listeners_of(APP, render_network(state), config)


@given(hosts, st.lists(port, max_size=4), st.booleans(), configs)
def test_weakness_29_listener_names_are_unique_and_valid(
    domains: list[str], ports: list[GatewayPort], auto: bool, config: KubernetesConfig
) -> None:
    made = listeners(state_of(domains, ports, auto=auto), config)
    keys = [(own.gateway, own.name) for own in made]
    assert len(keys) == len(set(keys))
    places = [(own.gateway, own.port, own.protocol, own.hostname) for own in made]
    assert len(places) == len(set(places))
    for own in made:
        assert _NAME.fullmatch(own.name)
        assert len(own.name) <= 253


@given(hosts, hosts, st.lists(port, max_size=4), configs)
def test_weakness_29_other_domains_change_no_listener(
    domains: list[str], more: list[str], ports: list[GatewayPort], config: KubernetesConfig
) -> None:
    before = listeners(state_of(domains, ports, auto=True), config)
    both = list(dict.fromkeys((*domains, *more)))
    after = listeners(state_of(both, ports, auto=True), config)
    # A domain that is the app's own host takes its place; that is the one that may differ.
    kept = {own for own in before if own.hostname != f"{APP}.apps.example.com"}
    assert kept <= set(after)


@pytest.mark.parametrize("mode", _LISTENERS)
@given(domains=hosts, ports=st.lists(port, max_size=4), config=configs)
def test_routes_refer_to_listeners_that_are_there(
    mode: GatewayListeners, domains: list[str], ports: list[GatewayPort], config: KubernetesConfig
) -> None:
    config = replace(config, gateway_listeners=mode)
    manifests = render_network_manifests(APP, render_network(state_of(domains, ports, auto=True)), config)
    there = {
        (each["kind"], each["metadata"]["name"], own["name"])
        for each in manifests
        for own in each.get("spec", {}).get("listeners", ())
    }
    used = {
        (ref["kind"], ref["name"], ref["sectionName"])
        for each in manifests
        for ref in each.get("spec", {}).get("parentRefs", ())
    }
    assert used <= there
    objects = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(objects) == len(set(objects))
    for each in manifests:
        assert _NAME.fullmatch(each["metadata"]["name"])
        assert len(each["metadata"]["name"]) <= 253
        assert all(own is not None for own in each["metadata"]["labels"].values())
        if "listeners" in each.get("spec", {}):
            assert each["spec"]["listeners"]


def test_names_of_one_host_are_told_apart_from_those_that_users_choose() -> None:
    assert "." in names.route("shop", "www.example.org")
    assert names.redirect("shop", "www.example.org") != names.route("shop", "www.example.org")
    assert len(names.certificate("a" * 63, "www.example.org")) <= 63
    assert names.certificate("a" * 63, "www.example.org") != names.certificate("a" * 63, "shop.example.org")
