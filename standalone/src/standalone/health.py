"""Is every part of the platform there? Asked by a start until the answer is yes, and by `workflow status`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import httpx

from shared.http import tls_context
from standalone.home import Config, Home, connect_host
from standalone.services import sockets


@dataclass(frozen=True)
class Health:
    """One component's state; `detail` says what is wrong."""

    component: str
    healthy: bool
    detail: str = ""


async def all_health(home: Home, config: Config) -> list[Health]:
    """Ask every component at once; each has two seconds."""
    checks = [_service(name, socket) for name, socket in sockets(home).items()]
    checks += [
        _edge(config),
        _port("git over ssh", config.bind, config.ssh_port),
    ]
    return list(await asyncio.gather(*checks))


async def _service(name: str, socket: Path) -> Health:
    transport = httpx.AsyncHTTPTransport(uds=str(socket), verify=tls_context())
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://service", timeout=2.0) as client:
            response = await client.get("/readiness")
    except (httpx.HTTPError, OSError) as exc:
        return Health(name, healthy=False, detail=f"does not answer: {exc}")
    if response.status_code != 200:
        return Health(name, healthy=False, detail=response.text.strip()[:300])
    return Health(name, healthy=True)


async def ask_edge(config: Config) -> None:
    """Return when the edge has answered a request, for a host that no app can have; waits up to two seconds.

    Raises:
        httpx.HTTPError: it did not answer.
    """
    url = httpx.URL(scheme="http", host=connect_host(config.bind), port=config.http_port)
    async with httpx.AsyncClient(verify=tls_context(), trust_env=False, timeout=2.0) as client:
        await client.get(url, headers={"Host": "_"})


async def _edge(config: Config) -> Health:
    # A connection alone would say nothing: the platform holds the socket, whether Caddy runs or not.
    try:
        await ask_edge(config)
    except (httpx.HTTPError, OSError) as exc:
        return Health("edge", healthy=False, detail=f"does not answer on port {config.http_port}: {exc}")
    return Health("edge", healthy=True, detail=f"port {config.http_port}")


async def _port(name: str, host: str, port: int) -> Health:
    try:
        async with asyncio.timeout(2.0):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as exc:
        return Health(name, healthy=False, detail=f"nothing answers on port {port}: {exc}")
    writer.close()
    return Health(name, healthy=True, detail=f"port {port}")
