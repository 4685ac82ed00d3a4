"""Services, gateways and routes: what they answer, what they refuse, and what the platform does by itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from zlib import crc32

import pytest
import pytest_asyncio
from sqlalchemy import select

from controller.domain.ingress import MOST_OBJECTS, MOST_PORTS
from controller.domain.spec_network import Address, NetworkObservation, NetworkSpec, ParentRef
from controller.engine.port import NotSupportedError
from controller.schema.audit import AuditRow
from controller.services.network import NO_GATEWAYS
from support import eventually
from support.controller_api import Api, Person, running_api
from support.fixtures import MakeDatabase

REQUIRED = ["This field is required."]
NAME = r"name can only supports: ^(?P<name>[a-z0-9]+(\-[a-z0-9]+)*)$"
LENGTH = "The length of name must be between 3 and 63"
PTYPE = r"Process types can only supports: ^(?P<type>[a-z0-9]+(\-[a-z0-9]+)*)$"
NUMERIC, RANGE = ["port can only be a numeric value"], ["port needs to be between 1 and 65535"]
SERVICE_PROTOCOL = ["the service protocol only supports: ^(TCP|UDP|SCTP)$"]
GATEWAY_PROTOCOL = ["the gateway protocol only supports: ^(HTTP|HTTPS|TCP|TLS|UDP)$"]
KINDS = "the route kind only supports: ^(HTTPRoute|TCPRoute|UDPRoute|TLSRoute)$"
OCCUPIED = {"detail": "port is occupied"}


class Client:
    """Calls about the network of one app."""

    def __init__(self, person: Person, app: str) -> None:
        self._http, self.app = person.client, app

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer, None for an empty one."""
        response = await self._http.request(method, f"/v2/apps/{self.app}/{path}/", json=body)
        if not response.content:
            assert "content-type" not in response.headers
        return response.status_code, response.json() if response.content else None

    async def do(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of an answer that has to be a success."""
        status, answer = await self.call(method, path, body)
        assert status < 300, answer
        return answer

    async def services(self) -> list[dict[str, Any]]:
        """The list of services."""
        found: list[dict[str, Any]] = (await self.do("GET", "services"))["services"]
        return found

    async def gateways(self) -> list[dict[str, Any]]:
        """The list of gateways."""
        page = await self.do("GET", "gateways")
        assert page["count"] == len(page["results"])
        found: list[dict[str, Any]] = page["results"]
        return found

    async def routes(self) -> dict[str, dict[str, Any]]:
        """The routes by name."""
        page = await self.do("GET", "routes")
        assert page["count"] == len(page["results"])
        return {route["name"]: route for route in page["results"]}

    async def listeners(self, gateway: str) -> list[tuple[str, str | None]]:
        """Names and hosts of the listeners of a gateway; none when it is not there."""
        found = [each for each in await self.gateways() if each["name"] == gateway]
        return [(each["name"], each.get("hostname")) for gateway in found for each in gateway["listeners"]]

    async def serve(self, ptype: str, port: Any, target: Any = 5000, protocol: str = "TCP") -> tuple[int, Any]:
        """Open a port of a process type."""
        body = {"ptype": ptype, "port": port, "target_port": target, "protocol": protocol}
        return await self.call("POST", "services", body)

    async def listen(self, name: str, port: Any, protocol: str) -> tuple[int, Any]:
        """Have a gateway listen."""
        return await self.call("POST", "gateways", {"name": name, "port": port, "protocol": protocol})

    async def route(self, name: str, kind: str, *backends: tuple[str, int]) -> tuple[int, Any]:
        """A route, as released clients make it."""
        refs = [{"kind": "Service", "name": service, "port": port, "weight": 100} for service, port in backends]
        return await self.call("POST", "routes", {"name": name, "kind": kind, "rules": [{"backendRefs": refs}]})


def rule(*backends: tuple[str, int | None], **more: Any) -> dict[str, Any]:
    """A rule that leads to these ports of services."""
    return {"backendRefs": [{"name": name, **({"port": port} if port else {})} for name, port in backends], **more}


@pytest_asyncio.fixture(loop_scope="session")
async def shop(api: Api, ana: Person, request: pytest.FixtureRequest) -> Client:
    """A new app without a build."""
    name = f"net-{crc32(request.node.nodeid.encode()):08x}"
    return Client(ana, await api.create(name))


@pytest_asyncio.fixture(loop_scope="session")
async def deployed(api: Api, shop: Client) -> Client:
    """An app with a running web and worker."""
    await api.build(shop.app)
    return shop


def network(api: Api, app: str) -> NetworkSpec:
    """What the engine was told last."""
    spec = api.engine.spec(app)
    assert spec is not None
    return spec.network


class TestServices:
    async def test_new_more_and_gone(self, shop: Client) -> None:
        assert await shop.services() == []
        assert await shop.serve("worker", 80, 8080) == (201, None)
        assert await shop.serve("worker", "82", "9000", "UDP") == (204, None)
        assert await shop.serve("web", 443) == (201, None)
        domain = f"{shop.app}.svc.cluster.local"
        assert await shop.services() == [
            {
                "name": shop.app,
                "domain": f"{shop.app}.{domain}",
                "ports": [{"name": "tcp-443", "port": 443, "protocol": "TCP", "targetPort": 5000}],
                "ptype": "web",
            },
            {
                "name": f"{shop.app}-worker",
                "domain": f"{shop.app}-worker.{domain}",
                "ports": [
                    {"name": "tcp-80", "port": 80, "protocol": "TCP", "targetPort": 8080},
                    {"name": "udp-82", "port": 82, "protocol": "UDP", "targetPort": 9000},
                ],
                "ptype": "worker",
            },
        ]
        assert await shop.call("DELETE", "services", {"ptype": "worker", "port": 80, "protocol": "TCP"}) == (204, None)
        assert [port["port"] for port in (await shop.services())[1]["ports"]] == [82]
        await shop.do("DELETE", "services", {"ptype": "worker", "port": 82, "protocol": "UDP"})
        assert [service["ptype"] for service in await shop.services()] == ["web"]

    async def test_the_protocol_is_tcp_unless_said(self, shop: Client) -> None:
        for port, protocol in ((80, None), (81, "")):
            await shop.do("POST", "services", {"ptype": "web", "port": port, "target_port": 1, "protocol": protocol})
        await shop.do("POST", "services", {"ptype": "web", "port": 82, "target_port": 1})
        assert [port["name"] for port in (await shop.services())[0]["ports"]] == ["tcp-80", "tcp-81", "tcp-82"]

    @pytest.mark.parametrize(
        ("change", "answer"),
        [
            ({"port": "x"}, NUMERIC),
            ({"port": None}, NUMERIC),
            ({"port": True}, NUMERIC),
            ({"port": 80.5}, NUMERIC),
            ({"port": "٨٠"}, NUMERIC),
            ({"port": "9" * 5000}, NUMERIC),
            ({"target_port": "x"}, NUMERIC),
            ({"target_port": None}, NUMERIC),
            ({"port": 0}, RANGE),
            ({"port": -1}, RANGE),
            ({"port": 65536}, RANGE),
            ({"target_port": "65536"}, RANGE),
            ({"protocol": "HTTP"}, SERVICE_PROTOCOL),
            ({"protocol": "tcp"}, SERVICE_PROTOCOL),
            ({"protocol": ["TCP"]}, SERVICE_PROTOCOL),
            ({"ptype": "wo"}, ["The length of ptype must be between 3 and 63"]),
            ({"ptype": "Work"}, [PTYPE]),
            ({"ptype": None}, {"ptype": REQUIRED}),
            ({"ptype": ""}, {"ptype": REQUIRED}),
        ],
    )
    async def test_bad_ports(self, shop: Client, change: dict[str, Any], answer: Any) -> None:
        body = {"ptype": "worker", "port": 80, "target_port": 80, "protocol": "TCP", **change}
        assert await shop.call("POST", "services", body) == (400, answer)
        assert await shop.services() == []

    async def test_what_is_missing(self, shop: Client) -> None:
        assert await shop.call("POST", "services", {}) == (400, {"ptype": REQUIRED})
        assert await shop.call("POST", "services", {"ptype": "web", "port": 80}) == (400, NUMERIC)
        assert await shop.call("POST", "services", {"ptype": "web", "target_port": 80}) == (400, NUMERIC)
        assert await shop.call("DELETE", "services", {"port": 80}) == (400, {"ptype": REQUIRED})
        assert await shop.call("DELETE", "services", {"ptype": "web"}) == (400, NUMERIC)

    async def test_a_number_is_taken_once(self, shop: Client) -> None:
        assert (await shop.serve("worker", 80))[0] == 201
        for protocol in ("TCP", "UDP", "SCTP"):
            assert await shop.serve("worker", 80, protocol=protocol) == (400, OCCUPIED)

    async def test_closing_what_is_not_open(self, shop: Client) -> None:
        gone = {"ptype": "worker", "port": 80, "protocol": "TCP"}
        assert await shop.call("DELETE", "services", gone) == (404, "No Service matches the given query.")
        await shop.serve("worker", 80)
        before = await shop.services()
        assert await shop.call("DELETE", "services", {**gone, "port": 81}) == (204, None)
        assert await shop.call("DELETE", "services", {**gone, "protocol": "UDP"}) == (204, None)
        assert await shop.services() == before

    async def test_names_fit_dns(self, api: Api, ana: Person) -> None:
        client = Client(ana, await api.create("a" * 50))
        status, answer = await client.serve("p" * 13, 80)
        assert (status, len(answer)) == (400, 1)
        assert answer[0].endswith("longer than 63 characters: choose a shorter process type")
        assert (await client.serve("p" * 12, 80))[0] == 201

    async def test_routes_lose_backends_that_are_gone(self, shop: Client) -> None:
        for ptype in ("web", "worker"):
            await shop.serve(ptype, 80)
        worker = f"{shop.app}-worker"
        await shop.route("both", "HTTPRoute", (shop.app, 80), (worker, 80))
        await shop.route("one", "TCPRoute", (worker, 80))
        await shop.do("DELETE", "services", {"ptype": "worker", "port": 80})
        routes = await shop.routes()
        assert set(routes) == {"both"}
        assert [backend["name"] for backend in routes["both"]["rules"][0]["backendRefs"]] == [shop.app]


class TestGateways:
    async def test_listeners_of_a_gateway(self, api: Api, shop: Client) -> None:
        assert await shop.gateways() == []
        for port, protocol in ((80, "HTTP"), (90, "TCP"), (90, "UDP"), (443, "HTTPS"), (444, "TLS")):
            assert await shop.listen("edge", port, protocol) == (201, None)
        anyone = {"namespaces": {"from": "All"}}
        (gateway,) = await shop.gateways()
        assert gateway == {
            "app": shop.app,
            "owner": "ana",
            "name": "edge",
            "listeners": [
                {"allowedRoutes": anyone, "name": "tcp-80-0", "port": 80, "protocol": "HTTP"},
                {"allowedRoutes": anyone, "name": "tcp-90-0", "port": 90, "protocol": "TCP"},
                {"allowedRoutes": anyone, "name": "udp-90-0", "port": 90, "protocol": "UDP"},
            ],
            "addresses": [],
        }
        for host in (f"b.{shop.app}.org", f"a.{shop.app}.org"):
            await shop.do("POST", "domains", {"domain": host, "ptype": "web"})
        first, second = f"a.{shop.app}.org", f"b.{shop.app}.org"
        assert await shop.listeners("edge") == [
            ("tcp-80-1", first),
            ("tcp-80-2", second),
            ("tcp-80-0", None),
            ("tcp-90-0", None),
            ("udp-90-0", None),
            ("mix-443-1", first),
            ("mix-443-2", second),
            ("tcp-444-1", first),
            ("tcp-444-2", second),
        ]
        api.engine.show_network(
            shop.app, NetworkObservation({"edge": (Address("IPAddress", "203.0.113.7"), Address("Hostname", "lb.org"))})
        )
        assert (await shop.gateways())[0]["addresses"] == [
            {"type": "IPAddress", "value": "203.0.113.7"},
            {"type": "Hostname", "value": "lb.org"},
        ]

    async def test_secured_listeners_name_their_secret(self, shop: Client) -> None:
        await shop.listen("edge", 443, "HTTPS")
        await shop.do("POST", "domains", {"domain": f"{shop.app}.org", "ptype": "web"})
        assert "tls" not in (await shop.gateways())[0]["listeners"][0]
        await shop.do("POST", "tls", {"certs_auto_enabled": True})
        assert (await shop.gateways())[0]["listeners"][0]["tls"] == {
            "certificateRefs": [{"kind": "Secret", "name": f"{shop.app}-auto-tls"}]
        }

    @pytest.mark.parametrize(
        ("change", "answer"),
        [
            ({"protocol": "SCTP"}, GATEWAY_PROTOCOL),
            ({"protocol": "http"}, GATEWAY_PROTOCOL),
            ({"protocol": 1}, GATEWAY_PROTOCOL),
            ({"port": "x"}, NUMERIC),
            ({"port": 0}, RANGE),
            ({"port": 70000}, RANGE),
            ({"name": "gw"}, [LENGTH]),
            ({"name": "g" * 64}, [LENGTH]),
            ({"name": "Edge_1"}, [NAME]),
            ({"name": None}, {"name": REQUIRED}),
            ({"port": None}, {"port": REQUIRED}),
            ({"protocol": ""}, {"protocol": REQUIRED}),
        ],
    )
    @pytest.mark.parametrize("method", ["POST", "DELETE"])
    async def test_bad_ports(self, shop: Client, method: str, change: dict[str, Any], answer: Any) -> None:
        body = {"name": "edge", "port": 80, "protocol": "HTTP", **change}
        assert await shop.call(method, "gateways", body) == (400, answer)
        assert await shop.gateways() == []

    async def test_all_that_is_missing_is_said(self, shop: Client) -> None:
        answer = {"name": REQUIRED, "port": REQUIRED, "protocol": REQUIRED}
        assert await shop.call("POST", "gateways", {}) == (400, answer)

    async def test_ports_that_collide(self, shop: Client) -> None:
        await shop.listen("edge", 80, "HTTP")
        for protocol in ("HTTP", "HTTPS", "TCP", "TLS"):
            assert await shop.listen("edge", 80, protocol) == (400, OCCUPIED)
        assert await shop.listen("edge", "80", "UDP") == (201, None)
        assert await shop.listen("edge", 80, "UDP") == (400, OCCUPIED)
        assert await shop.listen("other", 80, "TCP") == (201, None)

    async def test_a_gateway_goes_with_its_last_port(self, shop: Client) -> None:
        await shop.listen("edge", 80, "HTTP")
        await shop.listen("edge", 81, "TCP")
        body = {"name": "edge", "port": 80, "protocol": "HTTP"}
        no_listener = {"detail": "no matching listener exists"}
        assert await shop.call("DELETE", "gateways", {**body, "protocol": "UDP"}) == (400, no_listener)
        assert await shop.call("DELETE", "gateways", {**body, "port": 82}) == (400, no_listener)
        unknown = (404, "No Gateway matches the given query.")
        assert await shop.call("DELETE", "gateways", {**body, "name": "none"}) == unknown
        assert await shop.call("DELETE", "gateways", body) == (204, None)
        assert await shop.listeners("edge") == [("tcp-81-0", None)]
        assert await shop.call("DELETE", "gateways", {"name": "edge", "port": 81, "protocol": "TCP"}) == (204, None)
        assert await shop.gateways() == []

    async def test_pages(self, shop: Client, ana: Person) -> None:
        for name in ("one", "two", "three"):
            await shop.listen(name, 80, "HTTP")
        page = await shop.do("GET", "gateways")
        assert [gateway["name"] for gateway in page["results"]] == ["three", "two", "one"]
        url = f"/v2/apps/{shop.app}/gateways/?limit=2&offset=1"
        second = (await ana.client.get(url)).json()
        assert ([gateway["name"] for gateway in second["results"]], second["count"]) == (["two", "one"], 3)
        assert second["previous"] == f"http://drycc.test/v2/apps/{shop.app}/gateways/?limit=2"

    async def test_the_owner_is_the_owner_of_the_app(self, api: Api, shop: Client) -> None:
        helper = await api.grant(shop.app, "gwen", "view,change")
        assert (await Client(helper, shop.app).listen("edge", 80, "HTTP"))[0] == 201
        assert (await shop.gateways())[0]["owner"] == "ana"

    async def test_short_app_names_name_their_gateway(self, api: Api, ana: Person) -> None:
        client = Client(ana, await api.create("gw"))
        assert await client.listen("gw", 8080, "HTTP") == (201, None)


class TestRoutes:
    @pytest_asyncio.fixture(loop_scope="session")
    async def served(self, shop: Client) -> Client:
        """An app with services and a gateway."""
        await shop.serve("web", 80)
        await shop.serve("worker", 90)
        for port, protocol in ((80, "HTTP"), (90, "TCP"), (443, "HTTPS"), (90, "UDP"), (444, "TLS")):
            await shop.listen("edge", port, protocol)
        return shop

    async def test_a_new_route(self, served: Client, ana: Person) -> None:
        status, route = await served.route("front", "HTTPRoute", (served.app, 80))
        backend = {"kind": "Service", "name": served.app, "port": 80, "weight": 100}
        assert status == 201
        number, created, updated = (route.pop(key) for key in ("id", "created", "updated"))
        assert isinstance(number, int)
        assert created == updated
        assert route == {
            "app": served.app,
            "owner": "ana",
            "kind": "HTTPRoute",
            "name": "front",
            "rules": [{"backendRefs": [backend]}],
            "parent_refs": [],
            "routable": True,
        }
        assert list(await served.routes()) == ["front"]
        page = (await ana.client.get(f"/v2/apps/{served.app}/routes/whatever/")).json()
        assert [each["name"] for each in page["results"]] == ["front"]
        assert await served.do("GET", "routes/front/rules") == [{"backendRefs": [backend]}]
        assert await served.call("DELETE", "routes/front") == (204, None)
        assert await served.call("DELETE", "routes/front") == (404, "No Route matches the given query.")

    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            ({}, {"kind": REQUIRED, "name": REQUIRED}),
            ({"name": "r1", "kind": "TCPRoute"}, {"name": [LENGTH]}),
            ({"name": "Rt_two", "kind": "TCPRoute"}, {"name": [NAME]}),
            ({"name": "rt-two", "kind": "GRPCRoute"}, {"kind": [KINDS]}),
            ({"name": "rt-two", "kind": "Foo", "rules": [rule(("app", 80))]}, {"kind": [KINDS]}),
            ({"name": "rt-two", "kind": ["Foo"]}, {"kind": ["Not a valid string."]}),
            ({"name": "rt-two", "kind": "TCPRoute", "rules": None}, {"rules": ["This field may not be null."]}),
            (
                {"name": "rt-two", "kind": "TCPRoute", "rules": [{"backendRefs": []}]},
                {"rules": ["could not validate [{'backendRefs': []}]: [] should be non-empty"]},
            ),
            (
                {"name": "rt-two", "kind": "HTTPRoute", "rules": [{}]},
                {"rules": ["could not validate [{}]: 'backendRefs' is a required property"]},
            ),
            (
                {"name": "rt-two", "kind": "HTTPRoute", "rules": {}},
                {"rules": ["could not validate {}: {} is not of type 'array'"]},
            ),
            (
                {"name": "rt-two", "kind": "UDPRoute", "rules": [{"backendRefs": [{"name": "a", "port": 65536}]}]},
                {
                    "rules": [
                        "could not validate [{'backendRefs': [{'name': 'a', 'port': 65536}]}]: "
                        "65536 is greater than the maximum of 65535"
                    ]
                },
            ),
        ],
    )
    async def test_bad_routes(self, shop: Client, body: dict[str, Any], answer: Any) -> None:
        assert await shop.call("POST", "routes", body) == (400, answer)
        assert await shop.routes() == {}

    async def test_names_are_taken_once(self, served: Client) -> None:
        await served.route("front", "HTTPRoute", (served.app, 80))
        answer = {"non_field_errors": ["The fields app, name must make a unique set."]}
        assert await served.route("front", "TCPRoute", (served.app, 80)) == (400, answer)

    async def test_backends_that_are_not_there_are_dropped(self, served: Client) -> None:
        worker = f"{served.app}-worker"
        rules = [
            rule((served.app, 80), (served.app, 81), ("nobody", 80), (worker, None)),
            rule((worker, 80)),
            {"backendRefs": [{"name": worker, "port": 90, "kind": "Foo"}, {"name": worker, "port": 90}]},
            {"backendRefs": [{"name": worker, "port": 90, "namespace": "another-app"}]},
        ]
        made = await served.do("POST", "routes", {"name": "front", "kind": "HTTPRoute", "rules": rules})
        assert made["rules"] == [rule((served.app, 80)), rule((worker, 90))]

    async def test_no_backend_at_all(self, served: Client) -> None:
        answer = (404, "route rt-two no available backend")
        bodies: list[dict[str, Any]] = [{}, *({"rules": rules} for rules in ([], [rule(("nobody", 80))], [rule()]))]
        for body in bodies:
            made = await served.call("POST", "routes", {"name": "rt-two", "kind": "HTTPRoute", **body})
            assert made == answer
        assert await served.routes() == {}

    async def test_redirects_need_no_backend(self, served: Client) -> None:
        filters = [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}]
        rules = [{"backendRefs": [], "filters": filters}, rule((served.app, 80))]
        made = await served.do("POST", "routes", {"name": "front", "kind": "HTTPRoute", "rules": rules})
        assert made["rules"] == rules

    async def test_rules_are_replaced(self, served: Client) -> None:
        """The worker was no backend so far: the reference looks only at the services of the current rules."""
        await served.route("front", "HTTPRoute", (served.app, 80))
        matches = [{"path": {"type": "PathPrefix", "value": "/work"}}]
        rules = [rule((f"{served.app}-worker", 90), matches=matches)]
        assert await served.call("PUT", "routes/front/rules", rules) == (204, None)
        assert await served.do("GET", "routes/front/rules") == rules
        assert await served.call("PUT", "routes/front/rules", json.dumps([rule((served.app, 80))])) == (204, None)
        assert await served.do("GET", "routes/front/rules") == [rule((served.app, 80))]

    async def test_numbers_stay_integers(self, served: Client) -> None:
        await served.route("front", "HTTPRoute", (served.app, 80))
        text = f'[{{"backendRefs":[{{"name":"{served.app}","port":80.0,"weight":5.0}}]}}]'
        await served.do("PUT", "routes/front/rules", text)
        (backend,) = (await served.do("GET", "routes/front/rules"))[0]["backendRefs"]
        assert (repr(backend["port"]), repr(backend["weight"])) == ("80", "5")

    async def test_bad_rules(self, served: Client) -> None:
        await served.route("front", "HTTPRoute", (served.app, 80))
        before = await served.routes()
        fits_nothing = "is not valid under any of the given schemas"
        cases: list[tuple[Any, Any]] = [
            ({"a": 1}, [f"could not validate {{'a': 1}}: {{'a': 1}} {fits_nothing}"]),
            ('{"a": 1}', [f"could not validate {{'a': 1}}: {{'a': 1}} {fits_nothing}"]),
            ([{}], ["could not validate [{}]: 'backendRefs' is a required property"]),
            ("nope", {"detail": "JSON parse error - Expecting value: line 1 column 1 (char 0)"}),
            (
                [{"backendRefs": [{"name": served.app, "port": 80, "kind": "Foo"}]}],
                {"detail": "BackendRef only supports service kind"},
            ),
            ([rule((served.app, 8))], {"detail": f"service {served.app}:8 does not exist"}),
            ([rule((served.app, 80), ("nobody", 80))], {"detail": "service nobody:80 does not exist"}),
            (
                [{"backendRefs": [{"name": served.app, "port": 80, "namespace": "another-app"}]}],
                {"detail": f"service {served.app}:80 does not exist"},
            ),
        ]
        for body, answer in cases:
            assert await served.call("PUT", "routes/front/rules", body) == (400, answer)
        nothing = (404, "route front no available backend")
        assert await served.call("PUT", "routes/front/rules", []) == nothing
        assert await served.call("PUT", "routes/front/rules", [{"backendRefs": []}]) == nothing
        assert await served.routes() == before
        unknown = (404, "No Route matches the given query.")
        assert await served.call("PUT", "routes/none/rules", []) == unknown
        assert await served.call("GET", "routes/none/rules") == unknown

    async def test_what_no_column_can_hold(self, served: Client, ana: Person) -> None:
        await served.route("front", "HTTPRoute", (served.app, 80))
        url, backend = (
            f"/v2/apps/{served.app}/routes/front/rules/",
            f'"backendRefs":[{{"name":"{served.app}","port":80}}]',
        )
        for extra in ('"x":"\\u0000"', '"x":1e999', '"x":"\\ud800"', '"x":' + "[" * 5000 + "]" * 5000):
            for text in (f"[{{{backend},{extra}}}]", json.dumps(f"[{{{backend},{extra}}}]")):
                response = await ana.client.put(url, content=text)
                assert response.status_code == 400, response.text
                assert response.json()["detail"].startswith("JSON parse error - ")
        deep: dict[str, Any] = {"backendRefs": [{"name": served.app, "port": 80}], "x": 1}
        for _ in range(40):
            deep["x"] = [deep["x"]]
        assert await served.call("PUT", "routes/front/rules", [deep]) == (
            400,
            ["could not validate the rules: they are nested deeper than 32 levels"],
        )

    async def test_attach_and_detach(self, served: Client) -> None:
        await served.route("front", "HTTPRoute", (served.app, 80))
        edge = {"gateway": "edge", "port": 80}
        assert await served.call("PATCH", "routes/front/attach", edge) == (204, None)
        assert await served.call("PATCH", "routes/front/attach", {"gateway": "edge", "port": "443"}) == (204, None)
        parents = [{"name": "edge", "port": 80}, {"name": "edge", "port": 443}]
        assert (await served.routes())["front"]["parent_refs"] == parents
        assert await served.call("PATCH", "routes/front/detach", edge) == (204, None)
        assert (await served.routes())["front"]["parent_refs"] == parents[1:]

    async def test_where_no_route_can_be_attached(self, served: Client) -> None:
        await served.route("front", "HTTPRoute", (served.app, 80))
        await served.route("plain", "TCPRoute", (served.app, 80))
        await served.route("more", "TCPRoute", (served.app, 80))
        await served.route("mail", "UDPRoute", (served.app, 80))
        await served.do("PATCH", "routes/front/attach", {"gateway": "edge", "port": 80})
        await served.do("PATCH", "routes/plain/attach", {"gateway": "edge", "port": 90})
        await served.do("PATCH", "routes/mail/attach", {"gateway": "edge", "port": 90})
        no_listener = {"detail": "listener does not exist, please add gateway listener first."}
        cases: list[tuple[str, str, dict[str, Any], Any]] = [
            ("front", "attach", {"gateway": "nope", "port": 80}, {"detail": "this gateway nope does not exist"}),
            ("front", "attach", {"gateway": "edge", "port": 81}, no_listener),
            ("front", "attach", {"gateway": "edge", "port": 90}, no_listener),
            ("plain", "attach", {"gateway": "edge", "port": 80}, no_listener),
            ("mail", "attach", {"gateway": "edge", "port": 444}, no_listener),
            (
                "front",
                "attach",
                {"gateway": "edge", "port": 80},
                {"detail": "gateway and port already exist in this route"},
            ),
            (
                "more",
                "attach",
                {"gateway": "edge", "port": 90},
                {"detail": "this listener has already been referenced"},
            ),
            (
                "front",
                "detach",
                {"gateway": "edge", "port": 81},
                {"detail": "gateway and port do not exist in this route"},
            ),
        ]
        for action in ("attach", "detach"):
            cases += [
                ("front", action, {"gateway": "edge", "port": "x"}, NUMERIC),
                ("front", action, {"gateway": "edge"}, NUMERIC),
                ("front", action, {"gateway": "edge", "port": 0}, RANGE),
                ("front", action, {"port": 80}, {"gateway": REQUIRED}),
                ("front", action, {"gateway": ["edge"], "port": 80}, {"gateway": REQUIRED}),
            ]
        before = await served.routes()
        for name, action, body, answer in cases:
            assert await served.call("PATCH", f"routes/{name}/{action}", body) == (400, answer)
        assert await served.routes() == before
        for action in ("attach", "detach"):
            unknown = await served.call("PATCH", f"routes/none/{action}", {"gateway": "edge", "port": 80})
            assert unknown == (404, "No Route matches the given query.")

    async def test_http_routes_share_a_port(self, served: Client) -> None:
        for name in ("front", "second"):
            await served.route(name, "HTTPRoute", (served.app, 80))
            await served.do("PATCH", f"routes/{name}/attach", {"gateway": "edge", "port": 80})
        await served.route("secret", "TLSRoute", (served.app, 80))
        await served.do("PATCH", "routes/secret/attach", {"gateway": "edge", "port": 444})

    async def test_removing_needs_a_name(self, shop: Client) -> None:
        assert await shop.call("DELETE", "routes") == (405, {"detail": 'Method "DELETE" not allowed.'})


class TestHowMuchThereMayBe:
    """Whoever looks at the network of an app reads all of it, so that it has to have an end."""

    async def test_services_and_their_ports(self, shop: Client) -> None:
        for number in range(MOST_PORTS):
            await shop.serve("web", 1000 + number)
        full = (400, {"detail": "a service can have 64 ports at most: remove one first"})
        assert await shop.serve("web", 999) == full
        for number in range(MOST_OBJECTS - 1):
            await shop.serve(f"type{number}", 80)
        full = (400, {"detail": "an app can have 100 services at most: remove one first"})
        assert await shop.serve("other", 80) == full
        await shop.do("DELETE", "services", {"ptype": "type0", "port": 80})
        assert (await shop.serve("other", 80))[0] == 201

    async def test_gateways_and_their_ports(self, shop: Client) -> None:
        for number in range(MOST_PORTS):
            await shop.listen("edge", 1000 + number, "TCP")
        full = (400, {"detail": "a gateway can have 64 ports at most: remove one first"})
        assert await shop.listen("edge", 999, "TCP") == full
        for number in range(MOST_OBJECTS - 1):
            await shop.listen(f"edge{number}", 80, "HTTP")
        full = (400, {"detail": "an app can have 100 gateways at most: remove one first"})
        assert await shop.listen("other", 80, "HTTP") == full

    async def test_routes(self, shop: Client) -> None:
        await shop.serve("web", 80)
        for number in range(MOST_OBJECTS):
            assert (await shop.route(f"way{number}", "HTTPRoute", (shop.app, 80)))[0] == 201
        full = (400, {"detail": "an app can have 100 routes at most: remove one first"})
        assert await shop.route("other", "HTTPRoute", (shop.app, 80)) == full
        await shop.do("DELETE", "routes/way0")
        assert (await shop.route("other", "HTTPRoute", (shop.app, 80)))[0] == 201


class TestTheDefaultIngress:
    async def test_it_comes_with_web(self, api: Api, deployed: Client) -> None:
        app = deployed.app
        (service,) = await deployed.services()
        assert service["ports"] == [{"name": "tcp-80", "port": 80, "protocol": "TCP", "targetPort": 5000}]
        assert await deployed.listeners(app) == [("tcp-80-0", None)]
        route = (await deployed.routes())[app]
        assert route["rules"] == [{"backendRefs": [{"kind": "Service", "name": app, "port": 80, "weight": 100}]}]
        assert (route["kind"], route["parent_refs"]) == ("HTTPRoute", [{"name": app, "port": 80}])
        spec = network(api, app)
        assert [gateway.name for gateway in spec.gateways] == [app]
        assert spec.routes[0].parents == (ParentRef(app, 80),)

    async def test_no_web_no_ingress(self, api: Api, shop: Client) -> None:
        await api.build(shop.app, procfile={"worker": "./work"})
        assert (await shop.services(), await shop.gateways(), await shop.routes()) == ([], [], {})
        await api.build(shop.app, sha="1" * 16)
        assert [gateway["name"] for gateway in await shop.gateways()] == [shop.app]

    async def test_it_leads_to_port(self, api: Api, deployed: Client, ana: Person) -> None:
        await deployed.serve("web", 81, 7000)
        for value, target in (("8080", 8080), (None, 5000)):
            body = {"values": [{"name": "PORT", "value": value, "group": "global"}]}
            await ana.client.post(f"/v2/apps/{deployed.app}/config/", json=body)
            await api.settled(deployed.app)
            ports = (await deployed.services())[0]["ports"]
            assert [(port["port"], port["targetPort"]) for port in ports] == [(80, target), (81, 7000)]

    async def test_a_rollback_leads_back(self, api: Api, deployed: Client, ana: Person) -> None:
        api.engine.fail(deployed.app, "web")
        body = {"values": [{"name": "PORT", "value": "8080", "group": "global"}]}
        await ana.client.post(f"/v2/apps/{deployed.app}/config/", json=body)
        assert (await api.settled(deployed.app))["failed"]
        assert (await deployed.services())[0]["ports"][0]["targetPort"] == 5000

    async def test_what_is_there_stays_and_what_is_missing_comes(self, api: Api, deployed: Client) -> None:
        app = deployed.app
        await deployed.listen(app, 8080, "HTTP")
        await deployed.do("DELETE", "gateways", {"name": app, "port": 80, "protocol": "HTTP"})
        await deployed.do("DELETE", "services", {"ptype": "web", "port": 80})
        assert await deployed.routes() == {}
        await api.build(app, image=f"workspace/{app}:2")
        assert await deployed.listeners(app) == [("tcp-8080-0", None)]
        assert (await deployed.services())[0]["ports"][0]["port"] == 80
        assert (await deployed.routes())[app]["parent_refs"] == []

    async def test_443_follows_tls(self, api: Api, deployed: Client) -> None:
        app, host = deployed.app, f"shop.{deployed.app}.org"
        plain = [("tcp-80-1", host), ("tcp-80-0", None)]
        await deployed.do("POST", "domains", {"domain": host, "ptype": "web"})
        assert await deployed.listeners(app) == plain
        await deployed.do("POST", "tls", {"certs_auto_enabled": True})
        assert await deployed.listeners(app) == [*plain, ("mix-443-1", host)]
        assert (await deployed.routes())[app]["parent_refs"][1:] == [{"name": app, "port": 443}]

        async def told() -> bool:
            return network(api, app).auto_hostnames == (host,)

        await eventually(told)
        assert network(api, app).issuer is not None
        refused = {"name": app, "port": 443, "protocol": "HTTPS"}
        assert await deployed.call("POST", "gateways", refused) == (400, OCCUPIED)
        status, answer = await deployed.call("DELETE", "gateways", refused)
        assert (status, answer["detail"].partition(":")[0]) == (
            400,
            f"443/HTTPS of the gateway {app} stays as long as a domain has TLS",
        )
        status, answer = await deployed.call("PATCH", f"routes/{app}/detach", {"gateway": app, "port": 443})
        assert (status, answer["detail"].partition(":")[0]) == (
            400,
            f"443/HTTPS of the gateway {app} leads to the route {app} as long as a domain has TLS",
        )
        await deployed.do("DELETE", f"domains/{host}")
        assert await deployed.listeners(app) == [("tcp-80-0", None)]
        assert (await deployed.routes())[app]["parent_refs"] == [{"name": app, "port": 80}]

    async def test_443_without_tls_is_refused(self, deployed: Client) -> None:
        status, answer = await deployed.listen(deployed.app, 443, "HTTPS")
        assert (status, answer["detail"].partition(":")[0]) == (
            400,
            f"443/HTTPS of the gateway {deployed.app} comes by itself with TLS",
        )
        assert await deployed.listen("other", 443, "HTTPS") == (201, None)

    async def test_an_own_443_stays(self, deployed: Client) -> None:
        await deployed.listen(deployed.app, 443, "TCP")
        await deployed.do("POST", "domains", {"domain": f"x.{deployed.app}.org", "ptype": "web"})
        await deployed.do("POST", "tls", {"certs_auto_enabled": True})
        assert [name for name, _ in await deployed.listeners(deployed.app)] == ["tcp-80-1", "tcp-80-0", "tcp-443-0"]
        assert (await deployed.routes())[deployed.app]["parent_refs"] == [{"name": deployed.app, "port": 80}]

    async def test_unroutable_apps_have_no_routes(self, api: Api, deployed: Client) -> None:
        async def routes_told(count: int) -> bool:
            return len(network(api, deployed.app).routes) == count

        await deployed.do("POST", "settings", {"routable": False})
        assert (await deployed.routes())[deployed.app]["routable"] is False
        assert (await deployed.route("more", "HTTPRoute", (deployed.app, 80)))[1]["routable"] is False
        await eventually(lambda: routes_told(0))
        assert [gateway.name for gateway in network(api, deployed.app).gateways] == [deployed.app]
        await deployed.do("POST", "settings", {"routable": True})
        assert {route["routable"] for route in (await deployed.routes()).values()} == {True}
        await eventually(lambda: routes_told(2))


class TestTheRest:
    async def test_who_may_do_what(self, api: Api, served_by_bo: Client) -> None:
        app = served_by_bo.app
        viewer = Client(await api.grant(app, "vic", "view", owner="bo"), app)
        changer = Client(await api.grant(app, "cho", "view,change", owner="bo"), app)
        stranger = Client(await api.person("stan"), app)
        service = {"ptype": "web", "port": 80, "target_port": 1}
        for path in ("services", "gateways", "routes", "routes/x", "routes/one/rules"):
            assert (await viewer.call("GET", path))[0] == 200
            assert await stranger.call("GET", path) == (404, "No App matches the given query.")
        forbidden = (403, {"detail": "You do not have permission to perform this action."})
        changes = [
            ("POST", "services"),
            ("POST", "gateways"),
            ("POST", "routes"),
            ("PUT", "routes/one/rules"),
            ("PATCH", "routes/one/attach"),
            ("PATCH", "routes/one/detach"),
        ]
        for method, path in changes:
            assert await viewer.call(method, path, {}) == forbidden
            assert await stranger.call(method, path, {}) == (404, "No App matches the given query.")
        for path, body in (("services", service), ("gateways", {}), ("routes/one", None)):
            assert await changer.call("DELETE", path, body) == forbidden
        assert (await changer.serve("worker", 80))[0] == 201

    @pytest_asyncio.fixture(loop_scope="session")
    async def served_by_bo(self, api: Api, bo: Person) -> Client:
        """An app of bo's with a route."""
        client = Client(bo, await api.create("bo-routes", owner="bo"))
        await client.serve("web", 80)
        await client.route("one", "HTTPRoute", (client.app, 80))
        return client

    async def test_changes_leave_a_trail(self, api: Api, shop: Client) -> None:
        await shop.serve("web", 80, 8080)
        await shop.listen("edge", 80, "HTTP")
        await shop.route("front", "HTTPRoute", (shop.app, 80))
        await shop.do("PATCH", "routes/front/attach", {"gateway": "edge", "port": 80})
        await shop.do("DELETE", "services", {"ptype": "web", "port": 80})
        query = select(AuditRow).where(AuditRow.app == shop.app).order_by(AuditRow.uuid)
        async with api.context.unit_of_work() as uow:
            rows = (await uow.session.scalars(query)).all()
        entries = [(row.action, row.target) for row in rows if row.action != "app.created"]
        assert entries == [
            ("service.created", shop.app),
            ("gateway.created", "edge"),
            ("route.created", "front"),
            ("route.attached", "front"),
            ("route.removed", "front"),
            ("service.removed", shop.app),
        ]
        assert {row.actor for row in rows} == {"ana"}
        attached = next(row for row in rows if row.action == "route.attached")
        facts = {"kind": "HTTPRoute", "rules": 1, "backends": [f"{shop.app}:80"]}
        assert attached.before == {**facts, "gateways": []}
        assert attached.after == {**facts, "gateways": ["edge:80"]}

    async def test_the_engine_hears_of_it(self, api: Api, deployed: Client) -> None:
        await deployed.serve("worker", 90)

        async def told() -> bool:
            return [service.name for service in network(api, deployed.app).services] == [
                deployed.app,
                f"{deployed.app}-worker",
            ]

        await eventually(told)

    async def test_domains_reach_an_edge_that_goes_by_hosts(self, api: Api, deployed: Client) -> None:
        hosts = [(f"shop.{deployed.app}.org", "web"), (f"gone.{deployed.app}.org", "nothing")]
        for host, ptype in hosts:
            await deployed.do("POST", "domains", {"domain": host, "ptype": ptype})

        async def told() -> bool:
            spec = api.engine.spec(deployed.app)
            return spec is not None and [(route.host, route.ptype) for route in spec.routes] == [
                (f"{deployed.app}.apps.test", "web"),
                hosts[0],
            ]

        await eventually(told)


@pytest_asyncio.fixture(loop_scope="session")
async def plain(make_database: MakeDatabase) -> AsyncIterator[Api]:
    """A controller on an engine that has one edge for all apps."""
    async with running_api(await make_database("controller"), features=frozenset()) as api:
        yield api


async def test_what_the_engine_has_no_room_for_is_refused_when_it_is_added(api: Api, shop: Client) -> None:
    """Otherwise nobody would be told, or the next release would fail."""
    await shop.serve("worker", 53)
    await shop.listen("edge", 53, "TCP")
    await shop.route("names", "TCPRoute", (f"{shop.app}-worker", 53))
    name = f"www.{shop.app}.example.org"
    before = [await shop.do("GET", path) for path in ("domains", "gateways", "routes")]
    api.engine.refuse_networks(NotSupportedError("there is no room: remove something"))
    try:
        refused = (400, {"detail": "there is no room: remove something"})
        assert await shop.call("POST", "domains", {"domain": name, "ptype": "web"}) == refused
        assert await shop.listen("edge", 81, "HTTP") == refused
        assert await shop.listen("other", 81, "HTTP") == refused
        assert await shop.call("PATCH", "routes/names/attach", {"gateway": "edge", "port": 53}) == refused
        assert await shop.call("POST", "tls", {"certs_auto_enabled": True}) == refused
        assert [await shop.do("GET", path) for path in ("domains", "gateways", "routes")] == before
        # What makes it smaller is always possible.
        assert await shop.call("DELETE", "gateways", {"name": "edge", "port": 53, "protocol": "TCP"}) == (204, None)
        assert await shop.call("DELETE", "routes/names") == (204, None)
    finally:
        api.engine.refuse_networks(None)


async def test_an_engine_without_gateways_shows_what_there_is(plain: Api) -> None:
    client = Client(await plain.person("ana"), await plain.create("plain"))
    await plain.build("plain")
    assert [service["name"] for service in await client.services()] == ["plain"]
    assert await client.listeners("plain") == [("tcp-80-0", None)]
    assert list(await client.routes()) == ["plain"]
    refused = (400, {"detail": NO_GATEWAYS})
    assert await client.serve("worker", 80) == refused
    assert await client.call("DELETE", "services", {"ptype": "web", "port": 80}) == refused
    assert await client.listen("plain", 81, "HTTP") == refused
    body = {"name": "plain", "port": 80, "protocol": "HTTP"}
    assert await client.call("DELETE", "gateways", body) == refused
    assert await client.route("more", "HTTPRoute", ("plain", 80)) == refused
    assert await client.call("PUT", "routes/plain/rules", []) == refused
    for action in ("attach", "detach"):
        assert await client.call("PATCH", f"routes/plain/{action}", {"gateway": "plain", "port": 80}) == refused
    assert await client.call("DELETE", "routes/plain") == refused
