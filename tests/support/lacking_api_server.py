"""The real API server, seen through a proxy that hides API groups: a cluster in which something is not installed."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, TCPConnector, web

from support.certificates import trusting
from support.faulty_api_server import write_kubeconfig

_NOT_HANDED_ON = frozenset({"host", "connection", "content-length", "transfer-encoding", "te"})


@dataclass
class LackingApiServer:
    """Hands requests on, but for those to the `hidden` groups, which it says are not there; no WebSockets."""

    server: str
    authority: str
    token: str
    hidden: set[str] = field(default_factory=set)
    port: int = 0

    @classmethod
    def before(cls, kubeconfig: Path, *hidden: str) -> LackingApiServer:
        """For the cluster and the account, known by a token, of that file."""
        content = json.loads(kubeconfig.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        return cls(cluster["server"], _authority(cluster), user["token"], set(hidden))

    def kubeconfig(self, directory: Path) -> Path:
        """The file that leads here."""
        return write_kubeconfig(directory / "lacking", f"http://127.0.0.1:{self.port}", token=self.token)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[LackingApiServer]:
        """Serve on a free port."""
        connector = TCPConnector(ssl=trusting(self.authority), limit=0)
        async with ClientSession(connector=connector, auto_decompress=False) as session:
            app = web.Application(client_max_size=64 * 1024 * 1024)

            async def answer(request: web.Request) -> web.StreamResponse:
                return await self._answer(request, session)

            app.router.add_route("*", "/{path:.*}", answer)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _answer(self, request: web.Request, session: ClientSession) -> web.StreamResponse:
        if any(request.path.startswith(f"/apis/{group}/") for group in self.hidden):
            return web.Response(status=404, text="404 page not found\n")
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_HANDED_ON}
        timeout = ClientTimeout(total=None)
        url = f"{self.server}{request.raw_path}"
        body = await request.read() or None
        async with session.request(request.method, url, headers=headers, data=body, timeout=timeout) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _NOT_HANDED_ON}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            try:
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            except (ClientConnectionError, asyncio.IncompleteReadError):
                if request.transport is not None:
                    request.transport.abort()
            return response


def _authority(cluster: dict[str, str]) -> str:
    if "certificate-authority" in cluster:
        return Path(cluster["certificate-authority"]).read_text()
    return b64decode(cluster["certificate-authority-data"]).decode()
