"""`gateways`, `routes` and `services` against the suite (cli.md 10.16)."""

from __future__ import annotations

import json
import re

import yaml

from client.suite import Suite
from client.world import App
from controller.domain.spec_network import Address, NetworkObservation

NO_ROUTE = '"No Route matches the given query."'
RULES = [
    {
        "matches": [{"path": {"type": "PathPrefix", "value": "/api"}}],
        "backendRefs": [{"kind": "Service", "name": "{app}", "port": 80, "weight": 100}],
    }
]


async def test_services(app: App) -> None:
    name = app.name
    none = f"No services found in {name} app.\n"
    assert (await app.ok("services")).stdout == none
    added = await app.ok("services", "add", "web", "80:8000")
    assert added.stdout == f"Adding web (80) to {name}... done\n"
    assert added.requests == [
        f'POST /v2/apps/{name}/services/ {{"ptype":"web","port":80,"protocol":"TCP","target_port":8000}}'
    ]
    assert added.exchanges[0].response.status == 201
    more = await app.ok("services", "add", "web", "53:5353", "--protocol=UDP")
    assert more.exchanges[0].response.status == 204
    await app.ok("services", "add", "worker", "9000:9000")
    listed = await app.ok("services", "list")
    assert listed.requests == [f"GET /v2/apps/{name}/services/"]
    assert listed.lines[0].split() == ["NAME", "PTYPE", "PORT", "PROTOCOL", "TARGET-PORT", "DOMAIN"]
    rows = {tuple(line.split()[:5]) for line in listed.lines[1:]}
    assert rows == {
        (name, "web", "80", "TCP", "8000"),
        (name, "web", "53", "UDP", "5353"),
        (f"{name}-worker", "worker", "9000", "TCP", "9000"),
    }
    assert all(line.split()[5].startswith(f"{line.split()[0]}.{name}.svc.") for line in listed.lines[1:])
    removed = await app.ok("services", "remove", "web", "53", "--protocol", "UDP")
    assert removed.stdout == f"Removing web from {name}... done\n"
    assert removed.requests == [f'DELETE /v2/apps/{name}/services/ {{"ptype":"web","port":53,"protocol":"UDP"}}']
    await app.ok("services", "remove", "web", "80")
    await app.ok("services", "remove", "worker", "9999")
    await app.ok("services", "remove", "worker", "9000")
    assert (await app.ok("services")).stdout == none
    assert await app.refused("services", "remove", "web", "80") == '"No Service matches the given query."'


async def test_services_that_are_refused(app: App) -> None:
    for ports in ("8:80", "80:9", "80", "http:80"):
        error = await app.refused("services", "add", "web", ports)
        assert error == f"'{ports}' does not match the pattern 'port:targatPort', ex: 80:8000"
    assert await app.refused("services", "remove", "web", "x") == 'strconv.Atoi: parsing "x": invalid syntax'
    bare = {
        ("web", "00:80"): "port needs to be between 1 and 65535",
        ("web", "65536:80"): "port needs to be between 1 and 65535",
        ("web", "80:65536"): "port needs to be between 1 and 65535",
        ("web", "80:80", "--protocol", "HTTP"): "the service protocol only supports: ^(TCP|UDP|SCTP)$",
        ("wo", "80:80"): "The length of ptype must be between 3 and 63",
    }
    for words, message in bare.items():
        assert await app.refused("services", "add", *words) == f'Unknown Error (400): ["{message}"]'
    await app.ok("services", "add", "web", "80:8000")
    for protocol in ("TCP", "UDP"):
        error = await app.refused("services", "add", "web", "80:9000", "--protocol", protocol)
        assert error == 'Unknown Error (400): {"detail":"port is occupied"}'


async def test_gateways(suite: Suite, app: App) -> None:
    name = app.name
    none = f"No gateways found in {name} app.\n"
    assert (await app.ok("gateways")).stdout == none
    added = await app.ok("gateways", "add", "edge", "--port", "80", "--protocol=HTTP")
    assert added.stdout == f"Adding gateway edge to {name}... done\n"
    assert added.requests == [f'POST /v2/apps/{name}/gateways/ {{"name":"edge","port":80,"protocol":"HTTP"}}']
    await app.ok("gateways", "add", "edge", "--port=53", "--protocol", "UDP")
    await app.ok("gateways", "add", "edge", "--port=53", "--protocol", "TCP")
    await app.ok("domains", "add", f"{name}.example.org", "-p", "web")
    listed = await app.ok("gateways", "list")
    assert listed.lines[0].split() == ["NAME", "LISENTER", "PORT", "PROTOCOL", "ADDRESSES"]
    rows = {tuple(line.split()[:4]) for line in listed.lines[1:]}
    assert rows >= {
        ("edge", "tcp-80-0", "80", "HTTP"),
        ("edge", "tcp-80-1", "80", "HTTP"),
        ("edge", "udp-53-0", "53", "UDP"),
        ("edge", "tcp-53-0", "53", "TCP"),
    }
    addresses = {"edge": (Address("IPAddress", "203.0.113.7"), Address("Hostname", "lb.example.org"))}
    suite.engine.show_network(name, NetworkObservation(addresses=addresses))
    for line in (await app.ok("gateways")).lines[1:]:
        assert line.split()[4] == "203.0.113.7,lb.example.org"
    removed = await app.ok("gateways", "remove", "edge", "--port", "80", "--protocol=HTTP")
    assert removed.stdout == f"Removing gateway edge to {name}... done\n"
    assert removed.requests == [f'DELETE /v2/apps/{name}/gateways/ {{"name":"edge","port":80,"protocol":"HTTP"}}']
    for protocol in ("UDP", "TCP"):
        await app.ok("gateways", "remove", "edge", "--port", "53", "--protocol", protocol)
    assert (await app.ok("gateways")).stdout == none


async def test_gateways_that_are_refused(app: App) -> None:
    protocol = await app.refused("gateways", "add", "edge", "--port=80", "--protocol=SCTP")
    assert protocol == 'Unknown Error (400): ["the gateway protocol only supports: ^(HTTP|HTTPS|TCP|TLS|UDP)$"]'
    port = await app.refused("gateways", "add", "edge", "--port=65536", "--protocol=HTTP")
    assert port == 'Unknown Error (400): ["port needs to be between 1 and 65535"]'
    gone = await app.refused("gateways", "remove", "edge", "--port=80", "--protocol=HTTP")
    assert gone == '"No Gateway matches the given query."'
    await app.ok("gateways", "add", "edge", "--port=80", "--protocol=HTTP")
    for other in ("HTTP", "TCP"):
        error = await app.refused("gateways", "add", "edge", "--port=80", f"--protocol={other}")
        assert error == 'Unknown Error (400): {"detail":"port is occupied"}'
    listener = await app.refused("gateways", "remove", "edge", "--port=81", "--protocol=HTTP")
    assert listener == 'Unknown Error (400): {"detail":"no matching listener exists"}'


async def test_routes(app: App) -> None:
    name = app.name
    none = f"No routes found in {name} app.\n"
    assert (await app.ok("routes")).stdout == none
    await app.ok("services", "add", "web", "80:8000")
    await app.ok("services", "add", "worker", "9000:9000")
    await app.ok("gateways", "add", "edge", "--port=8080", "--protocol=HTTP")
    added = await app.ok("routes", "add", "main", "HTTPRoute", f"{name}:80,70", f"{name}-worker:9000,0")
    assert added.stdout == f"Adding route main to {name}... done\n"
    assert json.loads(added.exchanges[0].body) == {
        "name": "main",
        "kind": "HTTPRoute",
        "rules": [
            {
                "backendRefs": [
                    {"kind": "Service", "name": name, "port": 80, "weight": 70},
                    {"kind": "Service", "name": f"{name}-worker", "port": 9000},
                ]
            }
        ],
    }
    listed = await app.ok("routes", "list")
    assert listed.lines[0].split() == ["NAME", "OWNER", "KIND", "GATEWAYS", "SERVICES"]
    assert listed.lines[1].split() == ["main", "ana", "HTTPRoute", "null", f'["{name}:80","{name}-worker:9000"]']
    attached = await app.ok("routes", "attach", "main", "--gateway=edge", "--port", "8080")
    assert attached.stdout == "Attaching route main to gateway edge... done\n"
    assert attached.requests == [f'PATCH /v2/apps/{name}/routes/main/attach/ {{"port":8080,"gateway":"edge"}}']
    assert (await app.ok("routes")).lines[1].split()[3] == '["edge:8080"]'
    detached = await app.ok("routes", "detach", "main", "--gateway=edge", "--port", "8080")
    assert detached.stdout == "Detaching route main to gateway edge... done\n"
    assert detached.requests == [f'PATCH /v2/apps/{name}/routes/main/detach/ {{"port":8080,"gateway":"edge"}}']
    removed = await app.ok("routes", "remove", "main")
    assert removed.stdout == f"Removing route main to {name}... done\n"
    assert removed.requests == [f"DELETE /v2/apps/{name}/routes/main/"]
    assert (await app.ok("routes")).stdout == none
    assert await app.refused("routes", "remove", "main") == NO_ROUTE


async def test_rules(app: App) -> None:
    name = app.name
    await app.ok("services", "add", "web", "80:8000")
    await app.ok("services", "add", "worker", "9000:9000")
    await app.ok("routes", "add", "main", "HTTPRoute", f"{name}-worker:9000,100")
    rules = yaml.safe_load(yaml.safe_dump(RULES).replace("'{app}'", name))
    (app.owner.directory / "rules.yaml").write_text(yaml.safe_dump(rules))
    done = await app.ok("routes", "set", "main", "--rules-file", "rules.yaml")
    assert done.stdout == "Applying rules... done\n"
    (exchange,) = done.exchanges
    assert (exchange.method, exchange.target) == ("PUT", f"/v2/apps/{name}/routes/main/rules/")
    assert json.loads(json.loads(exchange.body)) == rules  # JSON within JSON
    shown = await app.ok("routes", "get", "main")
    assert yaml.safe_load(shown.stdout) == rules
    assert await app.refused("routes", "get", "nope") == NO_ROUTE
    assert await app.refused("routes", "set", "nope", "--rules-file=rules.yaml") == NO_ROUTE


REFUSED_RULES: list[tuple[object, str]] = [
    ({"a": 1}, "[\"could not validate {'a': 1}: {'a': 1} is not valid under any of the given schemas\"]"),
    ([{"backendRefs": [{"kind": "Foo", "name": "{app}", "port": 80}]}], "BackendRef only supports service kind"),
    ([{"backendRefs": [{"name": "{app}", "port": 8}]}], "service {app}:8 does not exist"),
    ([{"backendRefs": [{"name": "nope", "port": 80}]}], "service nope:80 does not exist"),
    ([{"filters": []}], ""),
    ("text", ""),
]


async def test_rules_that_are_refused(app: App) -> None:
    await app.ok("services", "add", "web", "80:8000")
    await app.ok("routes", "add", "main", "HTTPRoute", f"{app.name}:80,100")
    file = app.owner.directory / "rules.yaml"
    for rules, error in REFUSED_RULES:
        file.write_text(yaml.safe_dump(rules).replace("'{app}'", app.name))
        shown = await app.refused("routes", "set", "main", "--rules-file=rules.yaml")
        assert shown.startswith("Unknown Error (400): ")
        assert error.replace("{app}", app.name) in shown
    kept = yaml.safe_load((await app.ok("routes", "get", "main")).stdout)
    assert [each["name"] for each in kept[0]["backendRefs"]] == [app.name]


async def test_routes_that_are_refused(app: App) -> None:
    name = app.name
    local = {
        "web:80": "invalid backend format web:80",
        "web:80,1,2": "invalid backend format web:80,1,2",
        "web,100": "backend must be in 'service:port,weight' format",
        "web:x,100": 'strconv.Atoi: parsing "x": invalid syntax',
        "web:80,y": 'strconv.Atoi: parsing "y": invalid syntax',
    }
    for backend, error in local.items():
        done = await app.drycc("routes", "add", "main", "HTTPRoute", backend)
        assert (done.status, done.error, done.exchanges) == (1, error, ())
    assert await app.refused("routes", "add", "main", "HTTPRoute", f"{name}:80,100") == (
        '"route main no available backend"'
    )
    await app.ok("services", "add", "web", "80:8000")
    backend = f"{name}:80,100"
    short = await app.refused("routes", "add", "r1", "HTTPRoute", backend)
    assert short == 'Unknown Error (400): {"name":["The length of name must be between 3 and 63"]}'
    rule = await app.refused("routes", "add", "Rt_two", "HTTPRoute", backend)
    assert rule.startswith('Unknown Error (400): {"name":["name can only supports: ')
    for kind in ("GRPCRoute", "Foo"):
        error = await app.refused("routes", "add", "main", kind, backend)
        kinds = "the route kind only supports: ^(HTTPRoute|TCPRoute|UDPRoute|TLSRoute)$"
        assert error == f'Unknown Error (400): {{"kind":["{kinds}"]}}'
    await app.ok("routes", "add", "main", "HTTPRoute", backend)
    again = await app.refused("routes", "add", "main", "HTTPRoute", backend)
    assert again == 'Unknown Error (400): {"non_field_errors":["The fields app, name must make a unique set."]}'


async def test_listeners_that_are_refused(app: App) -> None:
    name = app.name
    await app.ok("services", "add", "web", "80:8000")
    for route, kind in (("main", "HTTPRoute"), ("one", "TCPRoute"), ("two", "TCPRoute")):
        await app.ok("routes", "add", route, kind, f"{name}:80,100")

    async def error(action: str, route: str, port: int, gateway: str = "edge") -> str:
        shown = await app.refused("routes", action, route, f"--gateway={gateway}", f"--port={port}")
        found = re.fullmatch(r'Unknown Error \(400\): \{"detail":"(.*)"\}', shown)
        return found.group(1) if found else shown

    assert await error("attach", "main", 80) == "this gateway edge does not exist"
    await app.ok("gateways", "add", "edge", "--port=80", "--protocol=HTTP")
    await app.ok("gateways", "add", "edge", "--port=5432", "--protocol=TCP")
    missing = "listener does not exist, please add gateway listener first."
    assert await error("attach", "main", 81) == missing
    assert await error("attach", "main", 5432) == missing
    await app.ok("routes", "attach", "main", "--gateway=edge", "--port=80")
    assert await error("attach", "main", 80) == "gateway and port already exist in this route"
    await app.ok("routes", "attach", "one", "--gateway=edge", "--port=5432")
    assert await error("attach", "two", 5432) == "this listener has already been referenced"
    assert await error("detach", "two", 5432) == "gateway and port do not exist in this route"
    unnamed = await app.drycc("routes", "detach", "main", "--port=80")
    assert unnamed.requests == [f'PATCH /v2/apps/{name}/routes/main/detach/ {{"port":80}}']
    assert unnamed.status == 1
    assert unnamed.error.startswith("Unknown Error (400): ")
    assert await app.refused("routes", "attach", "nope", "--gateway=edge", "--port=80") == NO_ROUTE


async def test_a_web_process_is_reachable_by_itself(deployed: App) -> None:
    """After the first deploy there are a service, a gateway and a route of the app's name."""
    name = deployed.name
    services = (await deployed.ok("services")).lines[1:]
    assert [line.split()[:4] for line in services] == [[name, "web", "80", "TCP"]]
    gateways = (await deployed.ok("gateways")).lines[1:]
    assert [line.split()[:4] for line in gateways] == [[name, "tcp-80-0", "80", "HTTP"]]
    (route,) = (await deployed.ok("routes")).lines[1:]
    assert route.split() == [name, "ana", "HTTPRoute", f'["{name}:80"]', f'["{name}:80"]']
    await deployed.ok("routing", "disable")
    await deployed.ok("routing", "enable")
