"""A registry that gives nobody an image: it asks for credentials, or does not come to an end.

It speaks plain HTTP, and so is only for machines that pull from themselves, by a loopback address.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

HOST: Final = "127.0.0.2"
"""An address of this machine that the platform takes for a registry's: it refuses `localhost` and 127.0.0.1."""
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_LAYER_BYTES: Final = 10_000_000


@dataclass
class UselessRegistry:
    """What it refuses and what it is slow with."""

    port: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """When set, nothing is slow any more: what is asked for is not there."""

    @property
    def private(self) -> str:
        """An image that needs credentials."""
        return f"{HOST}:{self.port}/private/shop:1"

    @property
    def endless(self) -> str:
        """An image that is there, with a layer that does not end."""
        return f"{HOST}:{self.port}/endless/shop:1"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The answer to any request."""
        path = request.path.removeprefix("/v2/")
        if path.startswith("private/"):
            body = {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}
            return web.json_response(body, status=401, headers={"WWW-Authenticate": 'Basic realm="private"'})
        name, _, wanted = path.partition("endless/shop/")
        if name or not wanted or self.ended.is_set():
            return web.Response(status=404)
        if wanted.startswith("manifests/"):
            return _given(_manifest(), _MANIFEST)
        if wanted == f"blobs/{_digest(_config())}":
            return _given(_config(), "application/octet-stream")
        return await self._layer(request)

    async def _layer(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(_LAYER_BYTES)})
        with suppress(ConnectionError):
            await response.prepare(request)
            await response.write(b"\0")
        await self.ended.wait()
        response.force_close()
        return response


@asynccontextmanager
async def useless_registry() -> AsyncIterator[UselessRegistry]:
    """A registry that answers until the end of the block."""
    registry = UselessRegistry()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", registry.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    registry.port = runner.addresses[0][1]
    try:
        yield registry
    finally:
        registry.ended.set()
        await runner.cleanup()


def _manifest() -> bytes:
    config = {"mediaType": "application/vnd.oci.image.config.v1+json", **_about(_config())}
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": _digest(b"never"), "size": _LAYER_BYTES}
    return _json({"schemaVersion": 2, "mediaType": _MANIFEST, "config": config, "layers": [layer]})


def _config() -> bytes:
    rootfs = {"type": "layers", "diff_ids": [_digest(b"never")]}
    return _json({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]}, "rootfs": rootfs})


def _about(content: bytes) -> dict[str, Any]:
    return {"digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _given(content: bytes, kind: str) -> web.Response:
    headers = {"Content-Type": kind, "Docker-Content-Digest": _digest(content)}
    return web.Response(body=content, headers=headers)
