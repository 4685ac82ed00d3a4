"""HTTP/1.1 as the client speaks it: a connection for each request, Go's headers, Go's redirects (cli.md 4).

Plain HTTP only: what TLS and proxies add is no matter of the API.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from client.model.failures import ClientError

_PATH_SAFE: Final = "-_.~$&+,/:;=@"  # what Go leaves as it is in a path
_MOST_REDIRECTS: Final = 10
_DEADLINE_SECONDS: Final = 60.0  # the client has none; a test that waits longer has found a server that hangs


@dataclass(frozen=True)
class Request:
    """What goes over the wire. `headers` are those besides Host, lengths and what Go adds by itself."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """An answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, as they went over the wire."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    response: Response

    @property
    def line(self) -> str:
        """Method, target and, where there is one, the body: for comparison in tests."""
        text = self.body.decode("utf-8", "replace")
        return f"{self.method} {self.target} {text}".rstrip()


@dataclass
class Transport:
    """Sends requests and keeps what was sent."""

    user_agent: str
    exchanges: list[Exchange] = field(default_factory=list)

    async def send(self, request: Request, *, follow: bool = True) -> Response:
        """The answer to `request`, after the redirects that Go follows.

        Raises:
            ClientError: no answer came, with Go's text.
        """
        for _ in range(_MOST_REDIRECTS):
            response = await self._once(request)
            location = response.headers.get("location")
            if not follow or location is None or response.status not in (301, 302, 303, 307, 308):
                return response
            request = _redirected(request, response.status, location)
        raise ClientError(f'{request.method.title()} "{request.url}": stopped after {_MOST_REDIRECTS} redirects')

    async def _once(self, request: Request) -> Response:
        parts = urlsplit(request.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = self._headers(request, parts)
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                response = await _converse(parts, request.method, target, headers, request.body)
        except (OSError, EOFError) as error:
            raise ClientError(f'{request.method.title()} "{request.url}": {_go_text(error, parts)}') from None
        self.exchanges.append(Exchange(request.method, target, headers, request.body, response))
        return response

    def _headers(self, request: Request, parts: SplitResult) -> dict[str, str]:
        headers = {"Host": parts.netloc, "User-Agent": self.user_agent}
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = str(len(request.body))
        return {**headers, **dict(sorted(request.headers.items())), "Accept-Encoding": "gzip", "Connection": "close"}


def url_of(controller: str, path: str) -> str:
    """`controller` with its path replaced by `path`, whose query is sent as it was typed."""
    base, (before, mark, query) = urlsplit(controller), path.partition("?")
    return f"{base.scheme}://{base.netloc}{quote(before, safe=_PATH_SAFE)}{mark}{query}"


def _redirected(request: Request, status: int, location: str) -> Request:
    url = urljoin(request.url, location)
    if status in (307, 308):
        return Request(request.method, url, request.headers, request.body)
    method = "GET" if request.method != "HEAD" else "HEAD"
    return Request(method, url, request.headers)


async def _converse(parts: SplitResult, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        await writer.drain()
        return await _read(reader, method)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader, method: str) -> Response:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        raise EOFError("unexpected EOF" if error.partial else "EOF") from None
    status_line, *lines = head.rstrip("\r\n").split("\r\n")
    status = int(status_line.split(" ")[1])
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = b"" if method == "HEAD" or status in (204, 304) else await _read_body(reader, headers)
    if headers.get("content-encoding", "").lower() == "gzip":
        body = gzip.decompress(body)
    return Response(status, headers, body)


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await _read_chunks(reader)
        if "content-length" in headers:
            return await reader.readexactly(int(headers["content-length"]))
    except asyncio.IncompleteReadError:
        raise EOFError("unexpected EOF") from None
    return await reader.read()


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return bytes(body)


def _go_text(error: Exception, parts: SplitResult) -> str:
    if isinstance(error, ConnectionRefusedError):
        return f"dial tcp {parts.hostname}:{parts.port or 80}: connect: connection refused"
    if isinstance(error, ConnectionResetError):
        return "read: connection reset by peer"
    return str(error)
