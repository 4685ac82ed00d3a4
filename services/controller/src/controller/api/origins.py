"""Where a request comes from: the client's address behind trusted proxies, and the origin that the audit trail notes.

Pure ASGI, so that the origin is set in the task that handles the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from controller.domain.audit import Origin
from controller.origin import CURRENT_ORIGIN
from controller.settings import Settings
from shared.logging import current_request_id

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
_SOURCES: Final = {"/v2/hooks/": "builder", "/v2/manager/": "manager"}


class OriginMiddleware:
    """Sets the client of the scope and the origin of every unit of work that is begun for the request.

    `X-Forwarded-For` and `X-Forwarded-Proto` count only when a trusted proxy sent them: one in
    `CONTROLLER_TRUSTED_PROXIES`, or whoever may connect to our unix socket.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._on_socket = settings.bind_socket is not None
        self._trusted = tuple(ip_network(network) for network in settings.trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        address = self._look(scope)
        # In place: the layers outside look at this very scope when the request is over.
        scope["client"] = (address, scope["client"][1] if scope.get("client") else 0) if address else None
        source = next((name for prefix, name in _SOURCES.items() if scope["path"].startswith(prefix)), "api")
        token = CURRENT_ORIGIN.set(Origin(source, address, current_request_id()))
        try:
            await self._app(scope, receive, send)
        finally:
            CURRENT_ORIGIN.reset(token)

    def _look(self, scope: Scope) -> str | None:
        """The address of the client. Believes a trusted proxy about the scheme as well."""
        peer = None if self._on_socket or not scope.get("client") else str(scope["client"][0])
        if not self._on_socket and not is_trusted(peer, self._trusted):
            return peer
        headers = Headers(scope=scope)
        if (scheme := headers.get("x-forwarded-proto")) in ("http", "https"):
            is_secure = scheme == "https"
            scope["scheme"] = ("wss" if is_secure else "ws") if scope["type"] == "websocket" else scheme
        return client_address(peer, headers.getlist("x-forwarded-for"), self._trusted)


def client_address(peer: str | None, forwarded: Sequence[str], trusted: Sequence[Network]) -> str | None:
    """Who a trusted `peer` speaks for: the last address in `X-Forwarded-For` that is no trusted proxy itself.

    What stands before it anybody can have written. Without one, or behind something that is no address, it is the
    nearest hop that is known.
    """
    client = peer
    for hop in reversed([hop.strip() for line in forwarded for hop in line.split(",")]):
        address = _address(hop)
        if address is None:
            break
        client = str(address)
        if not is_trusted(client, trusted):
            break
    return client


def is_trusted(address: str | None, trusted: Sequence[Network]) -> bool:
    """Whether the address is that of a trusted proxy."""
    parsed = None if address is None else _address(address)
    return parsed is not None and any(parsed in network for network in trusted)


def _address(hop: str) -> Address | None:
    """The address in a hop: `192.0.2.7`, `192.0.2.7:80`, `2001:db8::1` or `[2001:db8::1]:80`."""
    host = hop
    if hop.startswith("["):
        host = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        host = hop.partition(":")[0]
    with suppress(ValueError):
        return ip_address(host)
    return None
