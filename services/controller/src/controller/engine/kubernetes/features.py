"""What apps can have on this cluster: more when the Gateway API and cert-manager are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from controller.engine.kubernetes.kinds import CERTIFICATE, GATEWAY, ISSUER, ROUTES, Kind
from controller.engine.port import Feature
from shared.kubernetes.kinds import Served

_ALWAYS: Final[frozenset[Feature]] = frozenset({"autoscale", "lifecycle", "quota", "tags", "volumes"})
_NEEDS: Final[Mapping[Feature, tuple[Kind, ...]]] = {
    "gateways": (GATEWAY,),
    "wildcards": (GATEWAY,),
    "tls": (GATEWAY,),
    "acme": (GATEWAY, ISSUER, CERTIFICATE),
}
"""The kinds that a cluster has to have for a feature."""
_ROUTES: Final[Mapping[str, tuple[Kind, ...]]] = {kind.kind: (GATEWAY, kind) for kind in ROUTES}
_NOT_KNOWN: Final = "The cluster has not answered yet, so that nobody knows what it has: try again in a minute"
_NO_CLASS: Final = (
    "This platform has no gateways for apps: its operator has to choose a GatewayClass (CONTROLLER_GATEWAY_CLASS)"
)


def features_of(served: Served[Kind], gateway_class: str) -> frozenset[Feature]:
    """What a cluster can have that serves these kinds; gateways need a class as well."""
    return _ALWAYS.union(feature for feature in _NEEDS if lack_of(feature, served, gateway_class) is None)


def lack_of(what: str, served: Served[Kind], gateway_class: str) -> str | None:
    """Why there is no such feature, or no routes of that kind, in words that say what to do; None when there is."""
    needed = next((kinds for feature, kinds in _NEEDS.items() if feature == what), _ROUTES.get(what, ()))
    missing = next((kind for kind in needed if served.version(kind) is None), None)
    if missing is not None:
        return served.why_not(missing) if served.is_known else _NOT_KNOWN
    return _NO_CLASS if needed and not gateway_class else None
