"""A line to the API server on which a test catches requests: for what happens between two of them."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from support.faulty_api_server import write_kubeconfig

Catch = Callable[[str, str, bytes], bool]
"""Whether a request of that method, path and body is kept."""
_OF_CONNECTIONS: Final = frozenset({"connection", "content-length", "host", "keep-alive", "transfer-encoding"})


class ApiLine:
    """Passes requests on as they are, watches and logs too. What `catch` says is kept, for good, and is in `caught`."""

    def __init__(self, kubeconfig: Path) -> None:
        content = json.loads(kubeconfig.read_text())
        cluster = content["clusters"][0]["cluster"]
        self._user = content["users"][0]["user"]
        self._server = cluster["server"].rstrip("/")
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._trust = ssl.create_default_context(cadata=authority)
        self.catch: Catch = lambda _method, _path, _body: False
        self.caught: list[str] = []

    @asynccontextmanager
    async def open(self, directory: Path) -> AsyncIterator[Path]:
        """The kubeconfig, in `directory`, of those who go this way."""
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True, access_log=None)
        connector = aiohttp.TCPConnector(ssl=self._trust, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as self._session:
            await runner.setup()
            try:
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                url = f"http://127.0.0.1:{runner.addresses[0][1]}"
                yield write_kubeconfig(directory / "kubeconfig-of-line", url, **self._user)
            finally:
                await runner.cleanup()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if self.catch(request.method, request.path, body):
            self.caught.append(f"{request.method} {request.path}")
            await asyncio.Event().wait()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_CONNECTIONS}
        url = self._server + request.raw_path
        async with self._session.request(request.method, url, headers=headers, data=body or None) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_CONNECTIONS}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
