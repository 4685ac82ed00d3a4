"""Tells the edge where each host leads: to the instances of one process type of one app.

It does so by files alone (`edgefiles`), so nothing here waits for Caddy, and a Caddy that has ended and come back knows
what the one before knew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from controller.engine.local.config import LocalEngineConfig
from controller.engine.local.edgeconfig import is_routable
from controller.engine.local.edgefiles import EdgeFiles, Place
from controller.engine.port import NotSupportedError
from shared.logging import get_logger

log = get_logger(__name__)


class Edge:
    """Routes of all apps. What it has written holds for every request that comes after its return."""

    def __init__(self, config: LocalEngineConfig) -> None:
        self._app_domain = config.app_domain
        self._files = EdgeFiles(config.edge_dir) if config.edge_dir is not None else None
        self._routing = asyncio.Lock()
        self._publishing: dict[Place, asyncio.Lock] = {}

    async def start(self) -> None:
        """Begin with no routes."""
        if self._files is not None:
            await asyncio.to_thread(self._files.reset)

    async def set_routes(self, app: str, hosts: Mapping[str, str]) -> None:
        """The hosts of an app, each with its process type; replaces what was there.

        Raises:
            NotSupportedError: such a host cannot be routed; nothing is changed.
        """
        wanted = {self._host(host): Place(app, ptype) for host, ptype in hosts.items()}
        if self._files is None:
            return
        # In the order of the calls: the last one says how it is to be.
        async with self._routing:
            if await asyncio.to_thread(self._files.route, app, wanted):
                log.info("edge_routes_set", app=app, hosts=len(wanted))

    async def publish(self, app: str, ptype: str, addresses: Callable[[], Sequence[str]]) -> tuple[str, ...]:
        """Requests for this type go to what `addresses` gives from now on; to a page that says why, if there are none.

        Gives what it wrote.
        """
        if self._files is None:
            return tuple(addresses())
        place = Place(app, ptype)
        # Two callers may be here at once: each writes what is true in its turn, so the last one writes the truth.
        async with self._publishing.setdefault(place, asyncio.Lock()):
            now = tuple(addresses())
            await asyncio.to_thread(self._files.write, place, now)
        return now

    async def remove(self, app: str) -> None:
        """Forget an app."""
        await self.set_routes(app, {})
        for place in [place for place in self._publishing if place.app == app]:
            del self._publishing[place]
        if self._files is not None:
            await asyncio.to_thread(self._files.remove, app)

    def _host(self, host: str) -> str:
        full = (host if "." in host else f"{host}.{self._app_domain}").lower()
        if not is_routable(full):
            raise NotSupportedError(
                f"the edge of this machine cannot route {host!r}: choose a name of letters, digits, hyphens and dots"
            )
        return full
