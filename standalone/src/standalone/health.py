"""Is every part of the platform there? Asked by a start until the answer is yes, and by `workflow status`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import httpx

from shared.http import tls_context
from standalone.home import Config, Home
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
        _port("edge", config.bind, config.http_port),
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


async def _port(name: str, host: str, port: int) -> Health:
    try:
        async with asyncio.timeout(2.0):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as exc:
        return Health(name, healthy=False, detail=f"nothing answers on port {port}: {exc}")
    writer.close()
    return Health(name, healthy=True, detail=f"port {port}")
