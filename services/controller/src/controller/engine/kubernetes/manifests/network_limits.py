"""How much of a network the Gateway API admits in one object; said before it is stored, as later nobody is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from controller.engine.kubernetes.manifests.base import Manifest
from controller.engine.kubernetes.manifests.network_tls import MOST_PARENTS
from controller.engine.port import NotSupportedError

MOST_LISTENERS: Final = 64
"""How many listeners the Gateway API admits in a Gateway."""


def check_limits(manifests: Iterable[Manifest]) -> None:
    """Refuse a network, given as its objects, of which the cluster would refuse an object for its size.

    Raises:
        NotSupportedError: a gateway would have more listeners, or a route more parents, than they can have.
    """
    for manifest in manifests:
        if manifest["kind"] == "Gateway":
            _check_gateway(manifest["metadata"]["name"], len(manifest["spec"]["listeners"]))
        elif manifest["kind"].endswith("Route"):
            _check_route(manifest["metadata"]["name"], len(manifest["spec"]["parentRefs"]))


def _check_gateway(name: str, count: int) -> None:
    if count > MOST_LISTENERS:
        raise NotSupportedError(
            f"the gateway {name} would have {count} listeners, and a Gateway can have {MOST_LISTENERS} at most, one "
            "for each domain and port: remove domains or ports, or ask the operator for ListenerSets "
            "(CONTROLLER_GATEWAY_LISTENERS)"
        )


def _check_route(name: str, count: int) -> None:
    if count > MOST_PARENTS:
        raise NotSupportedError(
            f"the route {name} would be attached to {count} ports, and a route can have {MOST_PARENTS} parents at "
            "most: detach it from some"
        )
