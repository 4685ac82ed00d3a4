"""The routes of apps in Caddy: everything below the object with the id `apps` in its configuration.

Caddy closes idle client connections, and all upgraded ones of every app, when its configuration changes. So a
rolling restart does not change it: each process type has a fixed number of upstream slots whose addresses stand in
small files, which Caddy reads for each request (its placeholder `{file.*}`). Replacing such a file redirects the next
request; only a new or a lost host, or very many replicas, change the configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import httpx

from controller.engine.local.config import LocalEngineConfig
from controller.engine.local.edgeconfig import apps_object, revision_id
from controller.engine.local.slots import SlotFiles, slots_for
from controller.engine.local.tasks import cancel, report
from shared.errors import UnavailableError
from shared.http import tls_context
from shared.logging import get_logger

log = get_logger(__name__)

_CALL_SECONDS = 5.0
_BURST_SECONDS = 0.01
_RETRY_SECONDS = 0.25


@dataclass(frozen=True)
class Place:
    """A process type of an app as the edge knows it."""

    app: str
    ptype: str


class Edge:
    """Keeps Caddy's routes and the slot files as they should be. Without an admin socket it does nothing.

    `confirmed` is called when Caddy has come to go by all routes.
    """

    def __init__(self, config: LocalEngineConfig, *, confirmed: Callable[[], None] = lambda: None) -> None:
        self._config = config
        self._tell_confirmed = confirmed
        self._files = SlotFiles(config.run_dir / "edge")
        self._hosts: dict[str, Place] = {}
        self._slots: dict[Place, int] = {}
        self._dirty = asyncio.Event()
        self._confirmed = asyncio.Event()
        self._wanted = revision_id([])
        self._applied: str | None = None
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.Task[None] | None = None
        self._locks: dict[Place, asyncio.Lock] = {}

    async def start(self) -> None:
        """Begin to keep the routes; Caddy need not be there yet.

        Raises:
            UnavailableError: Caddy could not read files in `run_dir`.
        """
        socket = self._config.caddy_admin_socket
        if socket is None:
            return
        if set("{}") & set(str(self._config.run_dir)):
            raise UnavailableError(f"the edge cannot work in {self._config.run_dir}: choose a path without braces")
        await asyncio.to_thread(self._files.reset)
        # Caddy's admin endpoint is a new one after each change; a kept connection would lead to the old one.
        limits = httpx.Limits(max_keepalive_connections=0)
        transport = httpx.AsyncHTTPTransport(uds=str(socket), limits=limits, verify=tls_context())
        self._client = httpx.AsyncClient(
            transport=transport, base_url="http://caddy", timeout=_CALL_SECONDS, trust_env=False
        )
        self._dirty.set()
        self._loop = asyncio.create_task(self._run(), name="edge")
        self._loop.add_done_callback(report)

    async def close(self) -> None:
        """Stop; the routes stay as they are."""
        if self._loop is not None:
            await cancel(self._loop)
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    @property
    def is_current(self) -> bool:
        """Whether Caddy has the routes that it should have."""
        return self._client is None or self._applied == self._wanted

    def set_routes(self, app: str, hosts: Mapping[str, str]) -> None:
        """The hosts of an app, each with its process type; replaces what was there."""
        kept = {host: place for host, place in self._hosts.items() if place.app != app}
        wanted = {self._host(host): Place(app, ptype) for host, ptype in hosts.items()}
        if {**kept, **wanted} != self._hosts:
            self._hosts = {**kept, **wanted}
            self._touch()

    async def publish(self, app: str, ptype: str, addresses: Callable[[], Sequence[str]]) -> tuple[str, ...]:
        """Requests for this type go to what `addresses` gives from now on; to a page that says why, if there are none.

        Gives what it wrote. Needs no word from Caddy: a host that Caddy does not know yet has no requests to lose.
        """
        place = Place(app, ptype)
        if self._client is None or place not in self._hosts.values():
            return tuple(addresses())
        # Two callers may be here at once: each writes what is true in its turn, so the last one writes the truth.
        async with self._locks.setdefault(place, asyncio.Lock()):
            now = tuple(addresses())
            needed = slots_for(len(now))
            if needed > self._slots.get(place, 0):
                self._slots[place] = needed
                self._touch()
            await asyncio.to_thread(self._files.write, app, ptype, now, self._slots[place])
        return now

    async def remove(self, app: str) -> None:
        """Forget an app."""
        self.set_routes(app, {})
        await self._wait_confirmed()
        for place in [place for place in self._slots if place.app == app]:
            del self._slots[place]
            self._locks.pop(place, None)
        await asyncio.to_thread(self._files.remove, app)

    def _host(self, host: str) -> str:
        return host if "." in host else f"{host}.{self._config.app_domain}"

    def _touch(self) -> None:
        self._wanted = revision_id(self._routes())
        self._confirmed.clear()
        self._dirty.set()

    async def _wait_confirmed(self) -> None:
        """Until Caddy goes by the routes, or a few seconds in which it did not answer: then it serves nobody."""
        if self.is_current:
            return
        try:
            async with asyncio.timeout(_CALL_SECONDS):
                await self._confirmed.wait()
        except TimeoutError:
            log.warning("edge_not_confirmed", socket=str(self._config.caddy_admin_socket))

    def _routes(self) -> list[tuple[str, str, str, int]]:
        return sorted((host, p.app, p.ptype, self._slots.get(p, slots_for(1))) for host, p in self._hosts.items())

    async def _run(self) -> None:
        complained = False
        while True:
            try:
                await self._sync()
                complained = False
                await self._next_turn()
            except (httpx.HTTPError, OSError) as exc:
                if not complained:
                    log.warning("edge_unreachable", reason=str(exc) or type(exc).__name__)
                complained = True
                await asyncio.sleep(_RETRY_SECONDS)

    async def _next_turn(self) -> None:
        """Until something has changed, or it is time to look whether Caddy still has our routes."""
        try:
            async with asyncio.timeout(self._config.edge_poll.total_seconds()):
                await self._dirty.wait()
            # Changes of one burst become one change of the configuration.
            await asyncio.sleep(_BURST_SECONDS)
        except TimeoutError:
            return

    async def _sync(self) -> None:
        client = self._client
        if client is None:
            return
        self._dirty.clear()
        revision, routes = self._wanted, self._routes()
        if self._applied == revision and await self._has(client, revision):
            self._confirmed.set()
            return
        places = {(app, ptype, slots) for _, app, ptype, slots in routes}
        await asyncio.to_thread(self._files.ensure, places)
        self._applied = None
        answer = await client.patch("/id/apps", json=apps_object(routes, self._files))
        answer.raise_for_status()
        self._applied = revision
        log.info("edge_routes_set", hosts=len(routes))
        if self._wanted == revision:
            self._confirmed.set()
            self._tell_confirmed()

    @staticmethod
    async def _has(client: httpx.AsyncClient, revision: str) -> bool:
        return (await client.get(f"/id/{revision}")).status_code == httpx.codes.OK
