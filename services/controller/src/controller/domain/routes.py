"""Rules of routes: which kinds there are, where they may be attached, which backends they may have (4.22)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from controller.domain.domains import Domain
from controller.domain.errors import NON_FIELD, InvalidFieldsError, InvalidValueError
from controller.domain.fields import NULL, FieldChecker
from controller.domain.ingress import IngressState, Route, Rule, Service, port_number, required
from controller.domain.names import name_problem
from controller.domain.route_rules import new_rules_problem, rules_problem
from controller.domain.shown import brief
from controller.domain.spec_network import ParentRef
from shared.errors import InvalidInputError, NotFoundError

NOT_UNIQUE: Final = "The fields app, name must make a unique set."
_KINDS: Final = "^(HTTPRoute|TCPRoute|UDPRoute|TLSRoute)$"
_SERVICE: Final = "Service"
_PROTOCOLS: Final[Mapping[str, frozenset[str]]] = {
    "HTTPRoute": frozenset({"HTTP", "HTTPS"}),
    "GRPCRoute": frozenset({"HTTPS"}),
    "TLSRoute": frozenset({"TCP"}),
    "TCPRoute": frozenset({"TCP"}),
    "UDPRoute": frozenset({"UDP"}),
}
"""What routes of each kind carry: two that share a protocol cannot share a port, unless they are told apart by HTTP."""


class NoBackendError(NotFoundError):
    """No rule of a route would lead to a service of the app."""

    code: ClassVar[str] = "no-backend"

    def __init__(self, route: str) -> None:
        super().__init__(f"route {route} no available backend", route=route)


@dataclass(frozen=True)
class NewRoute:
    """A route that was asked for."""

    name: str
    kind: str
    rules: tuple[Rule, ...]


def parse_route(body: Mapping[str, object]) -> NewRoute:
    """The route in a request; without rules it has none.

    Raises:
        InvalidFieldsError: it is malformed.
    """
    fields = FieldChecker(body)
    kind = fields.text("kind", required=True)
    known = re.fullmatch(_KINDS, kind) is not None
    if kind and not known:
        fields.fail("kind", f"the route kind only supports: {_KINDS}")
    name = fields.text("name", required=True)
    if name and (problem := name_problem(name)) is not None:
        fields.fail("name", problem)
    rules = body.get("rules", [])
    if rules is None:
        fields.fail("rules", NULL)
    elif "rules" in body and known and (problem := rules_problem(rules, kind)) is not None:
        fields.fail("rules", problem)
    fields.finish()
    return NewRoute(name, kind, _normalised(rules))


def parse_rules(value: object, kind: str) -> tuple[Rule, ...]:
    """Rules that take the place of those of a route of that kind.

    Raises:
        InvalidValueError: they fit no kind of route.
        InvalidInputError: a backend is not a service.
    """
    if (problem := new_rules_problem(value, kind)) is not None:
        raise InvalidValueError(problem)
    rules = _normalised(value)
    for backend in backends_of(rules):
        if backend.get("kind", _SERVICE) != _SERVICE:
            raise InvalidInputError("BackendRef only supports service kind")
    return rules


def parse_parent(body: Mapping[str, object]) -> ParentRef:
    """The gateway and the port that a request names.

    Raises:
        InvalidFieldsError: there is no gateway; InvalidValueError: the port is none.
    """
    return ParentRef(required(body, "gateway"), port_number(body.get("port")))


def check_new_name(name: str, routes: Iterable[Route]) -> None:
    """Refuse a name that another route of the app has.

    Raises:
        InvalidFieldsError: it is taken.
    """
    if any(route.name == name for route in routes):
        raise InvalidFieldsError.of(NON_FIELD, NOT_UNIQUE)


def check_backends(rules: Iterable[Rule], app: str, services: Sequence[Service]) -> None:
    """Refuse rules with a backend that the app does not have.

    Raises:
        InvalidInputError: names the first of them.
    """
    for backend in backends_of(rules):
        if not _exists(backend, app, services):
            raise InvalidInputError(f"service {brief(str(backend['name']))}:{backend.get('port')} does not exist")


def live_rules(rules: Sequence[Rule], app: str, services: Sequence[Service]) -> tuple[Rule, ...]:
    """The rules with those backends that the app has. A rule that has none left goes, unless it answers by itself, with
    a redirect; without any backend in any rule nothing is left."""
    alive = [
        {**rule, "backendRefs": [backend for backend in _backends(rule) if _exists(backend, app, services)]}
        for rule in rules
    ]
    if not any(rule["backendRefs"] for rule in alive):
        return ()
    kept = [
        new
        for old, new in zip(rules, alive, strict=True)
        if new["backendRefs"] or (not list(_backends(old)) and _redirects(old))
    ]
    return tuple(kept)


def attach(route: Route, parent: ParentRef, ingress: IngressState) -> Route:
    """The route with one more parent.

    Raises:
        InvalidInputError: there is no such listener for this kind of route, or it is taken.
    """
    gateway = ingress.gateway(parent.gateway)
    if gateway is None:
        raise InvalidInputError(f"this gateway {brief(parent.gateway)} does not exist")
    if not any(own.port == parent.port and carries(route.kind, own.protocol) for own in gateway.ports):
        raise InvalidInputError("listener does not exist, please add gateway listener first.")
    if any(_collides(route, other) and parent in other.parents for other in ingress.routes):
        raise InvalidInputError("this listener has already been referenced")
    if parent in route.parents:
        raise InvalidInputError("gateway and port already exist in this route")
    return replace(route, parents=(*route.parents, parent))


def detach(route: Route, parent: ParentRef) -> Route:
    """The route without that parent.

    Raises:
        InvalidInputError: it has no such parent.
    """
    if parent not in route.parents:
        raise InvalidInputError("gateway and port do not exist in this route")
    return replace(route, parents=tuple(own for own in route.parents if own != parent))


def carries(kind: str, protocol: str) -> bool:
    """Whether a route of that kind can be attached to a listener of that protocol: HTTP routes to HTTP and HTTPS."""
    return kind.removesuffix("Route") in protocol


def hosts_of(route: Route, ingress: IngressState) -> tuple[Domain, ...]:
    """The domains of the process types that the route leads to, by name."""
    names = {backend["name"] for backend in backends_of(route.rules)}
    ptypes = {service.ptype for service in ingress.services if service.name in names}
    return tuple(
        sorted((each for each in ingress.domains if each.ptype in ptypes), key=lambda each: each.domain),
    )


def audit_facts(route: Route) -> dict[str, object]:
    """What the audit trail tells of a route. Its rules are not repeated: they may set headers with secrets."""
    return {
        "kind": route.kind,
        "gateways": [f"{parent.gateway}:{parent.port}" for parent in route.parents],
        "rules": len(route.rules),
        "backends": [f"{backend['name']}:{backend.get('port')}" for backend in backends_of(route.rules)],
    }


def default_rules(app: str) -> tuple[Rule, ...]:
    """The rules of the route that every app with a web process has: everything goes to its service."""
    return ({"backendRefs": [{"kind": _SERVICE, "name": app, "port": 80, "weight": 100}]},)


def backends_of(rules: Iterable[Rule]) -> Iterator[Mapping[str, object]]:
    """The backends of all rules."""
    return (backend for rule in rules for backend in _backends(rule))


def _backends(rule: Rule) -> Iterator[Mapping[str, object]]:
    backends = rule["backendRefs"]
    return iter(backends if isinstance(backends, list) else [])


def _exists(backend: Mapping[str, object], app: str, services: Iterable[Service]) -> bool:
    """Whether it is a port of a service of the app itself: those of others are theirs."""
    own = backend.get("group", "") == "" and backend.get("kind", _SERVICE) == _SERVICE
    if not own or backend.get("namespace", app) != app:
        return False
    return any(service.name == backend["name"] and service.has_port(backend.get("port")) for service in services)


def _collides(route: Route, other: Route) -> bool:
    if other.name == route.name or other.kind == "HTTPRoute":
        return False
    return bool(_PROTOCOLS[route.kind] & _PROTOCOLS[other.kind])


def _redirects(rule: Rule) -> bool:
    filters = rule.get("filters")
    if not isinstance(filters, list):
        return False
    return any(isinstance(each, Mapping) and each.get("type") == "RequestRedirect" for each in filters)


def _normalised(value: object) -> tuple[Rule, ...]:
    """Checked rules, with the numbers of backends as integers: 80.0 is one for JSON Schema, but not for clients."""
    rules = value if isinstance(value, list) else []
    return tuple({**rule, "backendRefs": list(map(_with_integers, rule["backendRefs"]))} for rule in rules)


def _with_integers(backend: Mapping[str, object]) -> Mapping[str, object]:
    numbers = {key: backend.get(key) for key in ("port", "weight")}
    return {**backend, **{key: int(number) for key, number in numbers.items() if isinstance(number, float)}}
