"""Networks out of rows: listeners, routes, what follows TLS, and the rules that keep ports and backends apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from controller.domain.apps import App, AppSettings, Person
from controller.domain.certificates import Certificate
from controller.domain.domains import Domain
from controller.domain.gateways import (
    HTTP,
    HTTPS,
    add_port,
    is_occupied,
    listeners_of,
    remove_port,
    with_https,
    with_https_parent,
)
from controller.domain.ingress import Gateway, GatewayPort, IngressState, Route, Service
from controller.domain.policy import Policy
from controller.domain.releases import Build, Config, ConfigData, ProcessTarget, Release, ReleaseBundle
from controller.domain.render import AppState, render
from controller.domain.render_network import render_network
from controller.domain.route_rules import RULES, new_rules_problem, rules_problem
from controller.domain.routes import attach, default_rules, live_rules, parse_rules
from controller.domain.spec import RouteSpec
from controller.domain.spec_network import (
    CertificateSpec,
    GatewaySpec,
    IngressRouteSpec,
    IssuerSpec,
    ListenerSpec,
    NetworkSpec,
    ParentRef,
    ServicePort,
    ServiceSpec,
)
from controller.domain.tls import DEFAULT_ISSUER, Tls
from shared.errors import InvalidInputError

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
WEB = Service(1, "shop", "web", (ServicePort(80, "TCP", 5000),))
WORKER = Service(2, "shop", "worker", (ServicePort(90, "TCP", 9000), ServicePort(53, "UDP", 5353)))
GATEWAY = Gateway(1, "shop", "ana", "shop", (HTTP,))

protocols = st.sampled_from(["HTTP", "HTTPS", "TCP", "TLS", "UDP"])
ports = st.lists(st.builds(GatewayPort, st.integers(1, 4), protocols), max_size=12)
hosts = st.lists(st.sampled_from(["a.org", "b.org", "c.org", "shop", "*.d.org"]), unique=True)


def domain(name: str, ptype: str = "web", certificate: str | None = None) -> Domain:
    """A domain of the shop."""
    return Domain(1, "shop", "ana", name, name, ptype, certificate, NOW, NOW)


def certificate(name: str) -> Certificate:
    """A certificate of the shop."""
    return Certificate(
        1, "shop", "ana", name, f"PEM of {name}", f"key of {name}", None, (), "", NOW, NOW, "", "", (), NOW, NOW
    )


def tls(*, auto: bool = False, enforced: bool = False) -> Tls:
    """TLS settings of the shop."""
    return Tls(UUID(int=1), "shop", "ana", DEFAULT_ISSUER, enforced, auto, NOW, NOW)


def route(name: str = "shop", kind: str = "HTTPRoute", *parents: ParentRef, **facts: Any) -> Route:
    """A route of the shop."""
    rules = facts.pop("rules", default_rules("shop"))
    return Route(1, "shop", "ana", kind, name, rules, facts.get("routable", True), parents, NOW, NOW)


def backend(service: str, port: int) -> dict[str, Any]:
    """A rule with one backend."""
    return {"backendRefs": [{"name": service, "port": port}]}


def collected(wanted: list[GatewayPort]) -> tuple[GatewayPort, ...]:
    """As many of the ports as a gateway takes."""
    kept: tuple[GatewayPort, ...] = ()
    for port in wanted:
        if not is_occupied(kept, port):
            kept = add_port(kept, port)
    return kept


class TestRendering:
    def test_nothing(self) -> None:
        assert render_network(IngressState()) == NetworkSpec()

    def test_the_default_of_an_app(self) -> None:
        state = IngressState((WEB,), (GATEWAY,), (route("shop", "HTTPRoute", ParentRef("shop", 80)),))
        assert render_network(state) == NetworkSpec(
            services=(ServiceSpec("shop", "web", (ServicePort(80, "TCP", 5000),)),),
            gateways=(GatewaySpec("shop", (ListenerSpec("tcp-80-0", 80, "HTTP"),)),),
            routes=(
                IngressRouteSpec(
                    name="shop",
                    kind="HTTPRoute",
                    parents=(ParentRef("shop", 80),),
                    hostnames=(),
                    rules=({"backendRefs": [{"kind": "Service", "name": "shop", "port": 80, "weight": 100}]},),
                ),
            ),
        )

    def test_own_certificates_and_enforced_https(self) -> None:
        state = IngressState(
            services=(WORKER, WEB),
            gateways=(
                Gateway(2, "shop", "ana", "other", (GatewayPort(53, "UDP"), GatewayPort(90, "TCP"))),
                replace(GATEWAY, ports=(HTTP, HTTPS)),
            ),
            routes=(
                route("tcp", "TCPRoute", ParentRef("other", 90), ParentRef("other", 91), rules=(backend("shop", 80),)),
                route("work", "HTTPRoute", rules=(backend("shop-worker", 90),)),
                route("shop", "HTTPRoute", ParentRef("shop", 80), ParentRef("shop", 443)),
                route("hidden", "HTTPRoute", routable=False),
            ),
            domains=(domain("w.org", "worker"), domain("b.org"), domain("a.org", certificate="cert-a")),
            certificates=(certificate("unused"), certificate("cert-a")),
            tls=tls(enforced=True),
        )
        spec = render_network(state)
        assert [service.name for service in spec.services] == ["shop", "shop-worker"]
        assert [port.port for port in spec.services[1].ports] == [53, 90]
        assert spec.gateways == (
            GatewaySpec("other", (ListenerSpec("udp-53-0", 53, "UDP"), ListenerSpec("tcp-90-0", 90, "TCP"))),
            GatewaySpec(
                "shop",
                (
                    ListenerSpec("tcp-80-1", 80, "HTTP", "a.org"),
                    ListenerSpec("tcp-80-2", 80, "HTTP", "b.org"),
                    ListenerSpec("tcp-80-3", 80, "HTTP", "w.org"),
                    ListenerSpec("tcp-80-0", 80, "HTTP"),
                    ListenerSpec("mix-443-1", 443, "HTTPS", "a.org", "cert-a-certificate"),
                    ListenerSpec("mix-443-2", 443, "HTTPS", "b.org"),
                    ListenerSpec("mix-443-3", 443, "HTTPS", "w.org"),
                ),
            ),
        )
        assert [(each.name, each.parents, each.hostnames, each.redirect_hostnames) for each in spec.routes] == [
            ("shop", (ParentRef("shop", 80), ParentRef("shop", 443)), ("a.org", "b.org"), ("a.org",)),
            ("tcp", (ParentRef("other", 90),), (), ()),
            ("work", (), ("w.org",), ()),
        ]
        assert spec.certificates == (CertificateSpec("cert-a-certificate", "PEM of cert-a", "key of cert-a"),)
        assert (spec.issuer, spec.auto_hostnames) == (None, ())
        assert "key of" not in repr(spec)

    def test_automatic_certificates(self) -> None:
        state = IngressState(
            services=(WEB,),
            gateways=(replace(GATEWAY, ports=(HTTPS,)),),
            routes=(route(),),
            domains=(domain("b.org"), domain("a.org", certificate="cert-a")),
            tls=tls(auto=True, enforced=True),
        )
        spec = render_network(state)
        assert {listener.certificate for listener in spec.gateways[0].listeners} == {"shop-auto-tls"}
        assert spec.issuer == IssuerSpec(DEFAULT_ISSUER.email, DEFAULT_ISSUER.server)
        assert spec.auto_hostnames == spec.routes[0].redirect_hostnames == ("a.org", "b.org")

    def test_the_order_of_rows_does_not_matter(self) -> None:
        routes, gateways = (route("b-route"), route("a-route")), (GATEWAY, replace(GATEWAY, name="edge"))
        state = IngressState((WEB, WORKER), gateways, routes, (domain("a.org"), domain("b.org")))
        turned = IngressState(
            state.services[::-1], state.gateways[::-1], state.routes[::-1], domains=state.domains[::-1]
        )
        assert render_network(state) == render_network(turned)


class TestHosts:
    """What an edge that goes by host names alone is told."""

    def spec(self, *domains: Domain, routable: bool = True, app_domain: str | None = "apps.test") -> Any:
        build = Build(UUID(int=2), "shop", "ana", NOW, NOW, "workspace/shop:1", "python", procfile={"web": "./web"})
        config = Config(UUID(int=3), "shop", "ana", NOW, NOW, ConfigData())
        release = Release(UUID(int=4), "shop", "ana", NOW, NOW, 2, config.uuid, build.uuid)
        state = AppState(
            App(UUID(int=5), "shop", Person(1, "ana"), {}, 1, NOW, NOW),
            AppSettings(UUID(int=6), "shop", "ana", NOW, NOW, routable=routable),
            (ProcessTarget("web", 1, 2, "", NOW), ProcessTarget("worker", 1, None, "", NOW)),
            {2: ReleaseBundle(release, config, build)},
            ingress=IngressState(domains=domains),
        )
        return render(state, Policy(app_domain=app_domain)).routes

    def test_domains_of_deployed_types_lead_to_them(self) -> None:
        domains = (domain("shop.org"), domain("work.org", "worker"), domain("*.shop.org"), domain("label"))
        assert self.spec(*domains) == (
            RouteSpec("shop.apps.test", "web"),
            RouteSpec("shop.org", "web"),
            RouteSpec("label.apps.test", "web"),
        )

    def test_a_host_leads_to_one_place(self) -> None:
        assert self.spec(domain("shop.apps.test")) == (RouteSpec("shop.apps.test", "web"),)

    def test_nothing_is_routed(self) -> None:
        assert self.spec(domain("shop.org"), routable=False) == ()
        assert self.spec(domain("shop.org"), app_domain=None) == ()


class TestPorts:
    @given(ports, hosts, st.booleans())
    def test_listeners_have_names_of_their_own(self, wanted: list[GatewayPort], names: list[str], auto: bool) -> None:
        gateway = replace(GATEWAY, ports=collected(wanted))
        state = IngressState(domains=tuple(map(domain, names)), tls=tls(auto=auto))
        listeners = listeners_of(gateway, state)
        assert len({listener.name for listener in listeners}) == len(listeners)
        assert {(each.port, each.protocol) for each in listeners} <= {(p.port, p.protocol) for p in gateway.ports}
        for listener in listeners:
            assert (listener.hostname is None) == listener.name.endswith("-0")
            assert listener.certificate is None or listener.protocol in ("HTTPS", "TLS")

    @given(ports)
    def test_a_number_is_used_once_with_udp_and_once_without(self, wanted: list[GatewayPort]) -> None:
        kept = collected(wanted)
        users = [(port.port, port.protocol == "UDP") for port in kept]
        assert len(set(users)) == len(users)
        for port in wanted:
            assert port in kept or is_occupied(kept, port)

    @given(ports)
    def test_what_was_added_can_be_removed(self, wanted: list[GatewayPort]) -> None:
        kept = collected(wanted)
        for port in kept:
            assert port not in remove_port(kept, port)
            assert set(add_port(remove_port(kept, port), port)) == set(kept)

    @given(ports, st.booleans(), st.booleans())
    def test_443_is_there_iff_there_is_tls(self, wanted: list[GatewayPort], secured: bool, auto: bool) -> None:
        gateway = replace(GATEWAY, ports=tuple(p for p in collected(wanted) if p.port != 443))
        state = IngressState(domains=(domain("a.org", certificate="cert" if secured else None),), tls=tls(auto=auto))
        after = with_https(gateway, state)
        assert (HTTPS in after.ports) == (secured or auto)
        assert with_https(after, state) == after
        assert with_https(after, IngressState()) == gateway
        parent = with_https_parent(route("shop", "HTTPRoute", ParentRef("shop", 80)), after)
        assert (ParentRef("shop", 443) in parent.parents) == (HTTPS in after.ports)
        assert ParentRef("shop", 80) in parent.parents

    def test_other_gateways_and_routes_are_left_alone(self) -> None:
        state = IngressState(domains=(domain("a.org", certificate="cert"),))
        other = replace(GATEWAY, name="edge")
        assert with_https(other, state) == other
        for kept in (route("edge"), route("shop", "TCPRoute")):
            assert with_https_parent(kept, with_https(GATEWAY, state)) == kept

    def test_automatic_certificates_need_a_domain(self) -> None:
        assert not IngressState(tls=tls(auto=True)).has_tls


class TestRules:
    @pytest.mark.parametrize("kind", RULES)
    def test_the_schemas_are_schemas(self, kind: str) -> None:
        Draft202012Validator.check_schema(dict(RULES[kind]))

    @pytest.mark.parametrize("kind", RULES)
    def test_the_plainest_rule_fits_all(self, kind: str) -> None:
        assert rules_problem([backend("shop", 80)], kind) is None
        assert rules_problem([{**backend("shop", 80), "unknown": {"x": 1}}], kind) is None

    @pytest.mark.parametrize(
        ("kind", "extra", "fits"),
        [
            ("HTTPRoute", {"matches": [{"path": {"type": "PathPrefix", "value": "/"}, "method": "GET"}]}, True),
            ("HTTPRoute", {"matches": [{"path": {"type": "Prefix"}}]}, False),
            ("HTTPRoute", {"matches": [{"path": {"value": "/" * 1025}}]}, False),
            ("HTTPRoute", {"matches": [{"method": "FETCH"}]}, False),
            ("HTTPRoute", {"matches": [{}] * 9}, False),
            ("HTTPRoute", {"matches": [{"headers": [{"name": "x", "value": "1", "type": "Prefix"}]}]}, False),
            ("HTTPRoute", {"matches": [{"queryParams": [{"name": "q", "value": "1", "type": "Exact"}]}]}, True),
            ("HTTPRoute", {"filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 302}}]}, True),
            ("HTTPRoute", {"filters": [{"type": "RequestRedirect", "requestRedirect": {"statusCode": 307}}]}, False),
            ("HTTPRoute", {"filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "a.org"}}]}, True),
            ("HTTPRoute", {"filters": [{"type": "Magic"}]}, False),
            ("HTTPRoute", {"filters": [{}]}, False),
            ("HTTPRoute", {"filters": [{"type": "RequestMirror", "requestMirror": {}}]}, False),
            ("HTTPRoute", {"filters": [{"type": "ExtensionRef"}] * 17}, False),
            ("HTTPRoute", {"timeouts": {"request": "10s", "backendRequest": "1m30s"}}, True),
            ("HTTPRoute", {"timeouts": {"request": "10"}}, False),
            ("HTTPRoute", {"timeouts": {"request": "10s\n"}}, False),
            ("HTTPRoute", {"matches": [{"headers": [{"name": "x\n", "value": "1"}]}]}, False),
            ("HTTPRoute", {"sessionPersistence": {"type": "Cookie", "absoluteTimeout": "1h"}}, True),
            ("HTTPRoute", {"sessionPersistence": {"type": "Token"}}, False),
            ("GRPCRoute", {"matches": [{"method": {"service": "a.B", "method": "Get", "type": "Exact"}}]}, True),
            ("GRPCRoute", {"filters": [{"type": "RequestRedirect"}]}, False),
            ("TCPRoute", {"backendRefs": [{"name": "a"}] * 17}, False),
            ("TLSRoute", {"backendRefs": [{"name": "a", "weight": 1_000_001}]}, False),
            ("UDPRoute", {"backendRefs": [{"name": "a" * 254}]}, False),
            ("UDPRoute", {"backendRefs": [{"port": 1}]}, False),
        ],
    )
    def test_limits(self, kind: str, extra: dict[str, Any], fits: bool) -> None:
        assert (rules_problem([{**backend("shop", 80), **extra}], kind) is None) is fits

    @pytest.mark.parametrize(("kind", "fits"), [("TCPRoute", False), ("HTTPRoute", True)])
    def test_sixteen_rules_at_most_and_one_at_least(self, kind: str, fits: bool) -> None:
        assert rules_problem([backend("shop", 80)] * 16, kind) is None
        assert rules_problem([backend("shop", 80)] * 17, kind) is not None
        assert (rules_problem([], kind) is None) is fits

    def test_rules_have_an_end(self) -> None:
        long = [{**backend("shop", 80), "unknown": "x" * 300_000}]
        assert rules_problem(long, "HTTPRoute") == (
            "could not validate the rules: they are longer than 262144 characters"
        )

    def test_other_rules_may_be_of_any_kind(self) -> None:
        grpc = [{**backend("shop", 80), "matches": [{"method": {"service": "a.B"}}]}]
        assert rules_problem(grpc, "HTTPRoute") is not None
        assert new_rules_problem(grpc, "HTTPRoute") is None

    def test_what_fits_no_kind_is_told_by_its_own(self) -> None:
        problem = new_rules_problem([{"backendRefs": [{"name": "a", "port": 0}]}], "TCPRoute")
        assert problem is not None
        assert problem.endswith("0 is less than the minimum of 1")

    @pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
    def test_values_of_headers_are_never_repeated(self, kind: str) -> None:
        """They may be passwords, and messages about bad input are logged."""
        secret = {"name": "X-Key", "value": "hush-hush"}
        for wrong in (
            {"filters": [{"type": "Magic", "requestHeaderModifier": {"set": [secret]}}]},
            {"filters": [{"type": "Magic", "responseHeaderModifier": {"add": [secret]}}]},
            {"matches": [{"headers": [{**secret, "type": "Magic"}], "path": {"value": "/shop"}}]},
            {"filters": [{"requestHeaderModifier": {"set": [{**secret, "value": "hush-hush" * 500}]}}]},
            {"filters": [{"requestHeaderModifier": {"set": [{**secret, "value": ["hush-hush"]}]}}]},
        ):
            no_rules = [{**backend("shop", 0), **wrong}]
            for problem in (rules_problem([{**backend("shop", 80), **wrong}], kind), new_rules_problem(no_rules, kind)):
                assert problem is not None
                assert "hush" not in problem
                assert "***" in problem
                assert ("/shop" in problem) == ("path" in str(wrong))

    def test_filters_that_are_none_do_no_harm(self) -> None:
        rules = parse_rules([{"backendRefs": [{"name": "shop", "port": 80}], "filters": ["x"]}], "TCPRoute")
        assert live_rules(rules, "shop", (WEB,)) == rules
        assert live_rules(({"backendRefs": [], "filters": [1]}, backend("shop", 80)), "shop", (WEB,)) == (
            backend("shop", 80),
        )

    @given(st.lists(st.lists(st.tuples(st.sampled_from(["shop", "shop-worker", "no"]), st.sampled_from([80, 90])))))
    def test_live_rules_lead_to_what_there_is(self, wanted: list[list[tuple[str, int]]]) -> None:
        rules = tuple({"backendRefs": [{"name": name, "port": port} for name, port in each]} for each in wanted)
        alive: Any = live_rules(rules, "shop", (WEB, WORKER))
        assert live_rules(alive, "shop", (WEB, WORKER)) == alive
        real = {("shop", 80), ("shop-worker", 90)}
        assert [[(b["name"], b["port"]) for b in rule["backendRefs"]] for rule in alive if rule] == [
            kept for each in wanted if (kept := [pair for pair in each if pair in real])
        ]


class TestAttaching:
    @pytest.mark.parametrize(
        ("kind", "carried"),
        [("HTTPRoute", {80, 443}), ("TCPRoute", {90}), ("UDPRoute", {53}), ("TLSRoute", {444})],
    )
    def test_kinds_go_with_protocols(self, kind: str, carried: set[int]) -> None:
        gateway = replace(
            GATEWAY, ports=(HTTP, HTTPS, GatewayPort(90, "TCP"), GatewayPort(53, "UDP"), GatewayPort(444, "TLS"))
        )
        state = IngressState(gateways=(gateway,))
        for port in gateway.ports:
            parent = ParentRef("shop", port.port)
            if port.port in carried:
                assert attach(route("mine", kind), parent, state).parents == (parent,)
            else:
                with pytest.raises(InvalidInputError, match="listener does not exist"):
                    attach(route("mine", kind), parent, state)
